// Judges recorded answers and events with the types that Rocket.Chat publishes in
// @rocket.chat/core-typings, rest-typings and ddp-client. Usage: node types.mjs FILE.
// Each becomes a value of a TypeScript program, which the compiler then checks; a
// finding is told as "ENDPOINT: what the compiler says". Prints counts.
import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createRequire, Module } from 'node:module';
import path from 'node:path';

// Without noErrorTruncation the compiler cuts types too short to tell one from another,
// with it a finding prints a megabyte: it gets a limit between.
const compiler = new Module('typescript');
compiler.filename = createRequire(import.meta.url).resolve('typescript');
compiler.paths = [path.dirname(compiler.filename)];
compiler._compile(readFileSync(compiler.filename, 'utf8').replace(/(noTruncationMaximumTruncationLength = )1e6/, '$12e3'), compiler.filename);
const ts = compiler.exports;

const simulates = '8.6'; // the packages are of 8.6.1
const head = `
import type { Endpoints } from '@rocket.chat/rest-typings';
import type { StreamerEvents } from '@rocket.chat/ddp-client';
type Result<M extends string, P> = P extends keyof Endpoints
	? M extends keyof Endpoints[P] ? Endpoints[P][M] extends (...args: any) => infer R ? Sent<R> : unknown : unknown : unknown;
type Sent<T> = T extends Date ? string : T extends string ? (string extends T ? string : \`\${T}\`) : T extends number ? number
	: T extends (infer U)[] ? Sent<U>[] : T extends object ? { [K in keyof T]: Sent<T[K]> } : T;
type Live<T> = T extends Date ? { $date: number } : T extends string ? (string extends T ? string : \`\${T}\`) : T extends number ? number
	: T extends (infer U)[] ? (U[] extends T ? Live<U>[] : { [K in keyof T]: Live<T[K]> }) : T extends object ? { [K in keyof T]: Live<T[K]> } : T;
type Told<T, Not = 'success'> = T extends object ? { [K in keyof T as K extends Not ? never : K]: T[K] } : T;
type Args<S extends keyof StreamerEvents, E extends string> = StreamerEvents[S][number] extends infer X
	? X extends { key: infer K; args: infer A } ? E extends K ? Live<A> : never : never : never;
declare function answer<T>(): <U extends T>(value: U) => void;
`;
// One element of each form is enough of a list: the compiler takes its time.
const form = (v) => Array.isArray(v) ? `[${[...new Set(v.map(form))].sort()}]` : v && typeof v === 'object'
	? `{${Object.keys(v).sort().map((k) => `${k}:${['t', 'type', 'status'].includes(k) ? v[k] : form(v[k])}`)}}` : v === null ? 'null' : typeof v;
const few = (v) => Array.isArray(v) ? [...new Map(v.map((x) => [form(x), few(x)])).values()] : v && typeof v === 'object'
	? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, few(x)])) : v;
// What genuine servers of 7.2 and 8.3 were recorded to answer although the types say
// otherwise. It is put right before an answer is judged, so that the rest of it is judged:
// the compiler tells one error of a value and leaves out the others.
const recorded = {
	'the lastMessage of a room has no _updatedAt': (v, key) => key === 'lastMessage' && v._updatedAt === undefined && { ...v, _updatedAt: v.ts },
	'a direct room has no u': (v) => v.t === 'd' && v.msgs !== undefined && v.u === undefined && { ...v, u: { _id: '', username: '' } },
	'chat.postMessage answers with the id of the room, and without _updatedAt': (v, key) => key === 'POST chat.postMessage' &&
		{ ...v, channel: undefined, message: { ...v.message, _updatedAt: v.message.ts } },
	'members are shown with less than a user has': (v, key) => /^GET (channels|groups)\.members$|\.membersOrderedByRole$/.test(key) && { ...v, members: [] },
	'a setting shows _id, value and enterprise': (v, key) => key === 'GET settings.public' && { ...v, settings: [] },
	'users.info answers without _updatedAt': (v, key) => key === 'GET users.info' && { ...v, user: { ...v.user, _updatedAt: '' } },
	'chat.syncMessages with lastUpdate has no cursor': (v, key) => key === 'result' && v.updated && v.deleted && v.cursor === undefined && { ...v, cursor: { next: null, previous: null } },
	'a message that was posted has parseUrls': (v) => v.msg !== undefined && v.parseUrls !== undefined && { ...v, parseUrls: undefined },
	'an edited message has editedAt and editedBy, which the types know of IEditedMessage alone': (v) =>
		v.msg !== undefined && v.editedAt !== undefined && { ...v, editedAt: undefined, editedBy: undefined },
	'the attachment of a file that is sent with msg has description: null': (v) => v.title_link && v.description === null && { ...v, description: undefined },
	'announcementDetails is null': (v) => v.announcementDetails === null && { ...v, announcementDetails: undefined },
	'inactiveReason is null': (v) => v.inactiveReason === null && { ...v, inactiveReason: undefined },
};
const odd = 'never'; // of a message with wrong types, with which TestAnOddMessageDoesNotStopTheCatchUp tries the client
const met = new Set();
function corrected(v, key) {
	if (Array.isArray(v)) return v.filter((x) => x?.editedAt !== odd).map((x) => corrected(x));
	if (!v || typeof v !== 'object') return v;
	for (const [what, correct] of Object.entries(recorded)) {
		const better = correct(v, key);
		if (better) { met.add(what); v = better; }
	}
	return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, corrected(x, k)]));
}
// An answer whose lists have one element each, for every element: of one with several the
// compiler makes up a common type, and finds fault with that.
function single(v) {
	if (Array.isArray(v)) return v.length && v.every((x) => x && typeof x === 'object') ? v.flatMap((x) => single(x).map((y) => [y])) : [v];
	if (!v || typeof v !== 'object') return [v];
	const each = Object.entries(v).map(([k, x]) => [k, k === 'md' ? [x] : single(x)]); // of md a part is none
	const n = Math.max(1, ...each.map(([, l]) => l.length));
	return Array.from({ length: n }, (_, i) => Object.fromEntries(each.map(([k, l]) => [k, l[Math.min(i, l.length - 1)]])));
}
const lines = [head];
const about = [];
const count = { answers: 0, single: 0, untyped: 0, events: 0 };
// Each server that a test starts writes down its own answers: one of each form will do.
const seen = new Set();
const isNew = (key) => !seen.has(key) && seen.add(key);
for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
	const r = JSON.parse(line);
	if (r.version !== simulates) continue;
	if (r.stream) {
		if (!isNew(`${r.stream} ${r.fields.eventName.replace(/^[^/]*\//, '')} ${form(r.fields.args)}`)) continue;
		about[lines.length] = `${r.stream} ${r.fields.eventName.replace(/^[^/]*\//, '')}`;
		lines.push(`answer<Args<'${r.stream.slice('stream-'.length)}', ${JSON.stringify(r.fields.eventName)}>>()(${JSON.stringify(corrected(r.fields.args))});`);
		count.events++;
		continue;
	}
	if (r.status !== 200) continue;
	const { success, ...rest } = r.answer;
	if (Object.keys(rest).length === 0) continue;
	if (!isNew(`${r.method} ${r.endpoint} ${form(r.answer)}`)) continue;
	for (const one of single(corrected(few(rest), `${r.method} ${r.endpoint}`))) {
		if (!isNew(`one ${r.method} ${r.endpoint} ${form(one)}`)) continue;
		about[lines.length] = `${r.method} ${r.endpoint}`;
		const not = r.endpoint === 'chat.postMessage' ? `'success' | 'channel'` : `'success'`;
		lines.push(`answer<Told<Result<'${r.method}', '/v1/${r.endpoint}'>, ${not}>>()(${JSON.stringify(one)});`);
		count.single++;
	}
	count.answers++;
}
const file = path.resolve('answers.ts');
const options = { strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
	moduleResolution: ts.ModuleResolutionKind.Bundler, types: [], noErrorTruncation: true };
const host = ts.createCompilerHost(options);
const read = host.getSourceFile.bind(host);
const source = lines.map((l) => l.replaceAll('\n', ' ')).join('\n');
host.getSourceFile = (name, ...more) => (name === file ? ts.createSourceFile(name, source, options.target) : read(name, ...more));
const exists = host.fileExists.bind(host);
host.fileExists = (name) => name === file || exists(name);
const program = ts.createProgram([file], options, host);
const starts = []; // where each line begins
for (let at = 0, i = 0; i < lines.length; i++) { starts.push(at); at += lines[i].length + 1; }
const checker = program.getTypeChecker();
const untyped = new Set();
program.getSourceFile(file).statements.forEach((statement, i) => {
	if (!ts.isExpressionStatement(statement)) return;
	const [signature] = checker.getTypeAtLocation(statement.expression.expression).getCallSignatures();
	const wanted = signature.typeParameters[0].getConstraint();
	if (!wanted || wanted.flags & (ts.TypeFlags.Unknown | ts.TypeFlags.Any)) {
		untyped.add(about[starts.findLastIndex((s) => s <= statement.getStart())]);
		count.untyped++;
	}
});
const findings = new Map();
for (const d of ts.getPreEmitDiagnostics(program)) {
	const where = d.file?.fileName === file ? about[starts.findLastIndex((s) => s <= d.start)] : d.file?.fileName;
	let text = ts.flattenDiagnosticMessageText(d.messageText, '\n').split('\n').at(-1).trim();
	text = text.replace(/(type '.{0,160}).*?'( is not| but req|\\.|$)/gs, "$1…'$2").slice(0, 300);
	if (process.env.FULL) text = ts.flattenDiagnosticMessageText(d.messageText, '\n').slice(0, 3000);
	const key = `${where}: ${text}`;
	findings.set(key, (findings.get(key) || 0) + 1);
}
for (const [f, n] of [...findings].sort()) console.log(`${f} (${n})`);
for (const what of Object.keys(recorded)) if (!met.has(what)) console.log(`corrected, but never met: ${what}`);
console.log(`${untyped.size} endpoints have no published type: ${[...untyped].sort().join(', ')}`);
console.log(`types: ${count.answers} answers and ${count.events} events of different form, ${count.single + count.events - count.untyped} parts of them with a type; ${findings.size} kinds of error`);
process.exit(findings.size ? 1 : 0);
