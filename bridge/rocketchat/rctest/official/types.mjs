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
type Args<S extends keyof StreamerEvents, E extends string> = StreamerEvents[S][number] extends infer X
	? X extends { key: infer K; args: infer A } ? E extends K ? Live<A> : never : never : never;
declare function answer<T>(): <U extends T>(value: U) => void;
`;
// One element of each form is enough of a list: the compiler takes its time.
const form = (v) => Array.isArray(v) ? `[${[...new Set(v.map(form))].sort()}]` : v && typeof v === 'object'
	? `{${Object.keys(v).sort().map((k) => `${k}:${['t', 'type', 'status'].includes(k) ? v[k] : form(v[k])}`)}}` : v === null ? 'null' : typeof v;
const few = (v) => Array.isArray(v) ? [...new Map(v.map((x) => [form(x), few(x)])).values()] : v && typeof v === 'object'
	? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, few(x)])) : v;
const lines = [head];
const about = [];
const count = { answers: 0, untyped: 0, events: 0 };
// Each server that a test starts writes down its own answers: one of each form will do.
const seen = new Set();
const isNew = (key) => !seen.has(key) && seen.add(key);
for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
	const r = JSON.parse(line);
	if (r.version !== simulates) continue;
	if (r.stream) {
		if (!isNew(`${r.stream} ${r.fields.eventName.replace(/^[^/]*\//, '')} ${form(r.fields.args)}`)) continue;
		about[lines.length] = `${r.stream} ${r.fields.eventName.replace(/^[^/]*\//, '')}`;
		lines.push(`answer<Args<'${r.stream.slice('stream-'.length)}', ${JSON.stringify(r.fields.eventName)}>>()(${JSON.stringify(r.fields.args)});`);
		count.events++;
		continue;
	}
	if (r.status !== 200) continue;
	const { success, ...rest } = r.answer;
	if (Object.keys(rest).length === 0) continue;
	if (!isNew(`${r.method} ${r.endpoint} ${form(r.answer)}`)) continue;
	about[lines.length] = `${r.method} ${r.endpoint}`;
	lines.push(`answer<Result<'${r.method}', '/v1/${r.endpoint}'>>()(${JSON.stringify(few(r.answer))});`);
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
console.log(`${untyped.size} endpoints have no published type: ${[...untyped].sort().join(', ')}`);
console.log(`types: ${count.answers} answers and ${count.events} events of different form, ${count.answers + count.events - count.untyped} of them with a type; ${findings.size} kinds of error`);
process.exit(findings.size ? 1 : 0);
