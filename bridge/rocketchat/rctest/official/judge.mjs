// Judges recorded requests with the validators that Rocket.Chat publishes in
// @rocket.chat/rest-typings. Usage: node --import ./resolve.mjs judge.mjs FILE FORMS,
// where FORMS is what the simulator's endpoints take.
// A request that the simulator took must be valid in every version named here; one
// that it refused for its form must be refused by the version it simulates too.
// Prints what is wrong and the counts; exits 1 when anything is.
import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const packages = {
	'7.10.0': 'rest-typings-7.10',
	'8.0.0': 'rest-typings-8.0',
	'8.6.1': '@rocket.chat/rest-typings',
	'8.8.1': 'rest-typings-8.8',
};
const target = '8.6.1';

// What the packages call the validator where the endpoint's name does not tell.
const named = {
	'POST rooms.muteUser': 'isRoomsMuteUnmuteUserProps',
	'POST rooms.unmuteUser': 'isRoomsMuteUnmuteUserProps',
	'POST method.call/:m': 'isMeteorCall',
	'POST method.callAnon/:m': 'isMeteorCall',
	'POST roles.addUserToRole': 'isRoleAddUserToRoleProps',
	'POST roles.removeUserFromRole': 'isRoleRemoveUserFromRoleProps',
	'POST settings': 'isSettingsBulkProps',
	'GET settings.public': 'isSettingsPublicWithPaginationProps',
	'GET emoji-custom.list': 'isEmojiCustomList',
	'POST emoji-custom.delete': 'isEmojiCustomDelete',
	'GET users.info': 'isUsersInfoParamsGetProps',
	'PUT integrations.update': 'isIntegrationsUpdateProps',
	'POST users.resetAvatar': 'isUsersResetAvatarProps',
};

// Validators that do not belong to the endpoint of their name: genuine servers took
// logins of every form.
const mistaken = new Set(['POST login']);

const capital = (s) => s.charAt(0).toUpperCase() + s.slice(1);

function candidates(method, endpoint) {
	const key = `${method} ${endpoint}`;
	if (mistaken.has(key)) return [];
	const words = endpoint.replace(/^im\./, 'dm.').split('/')[0].split(/[.-]/).map(capital);
	const full = words.join('');
	const singular = full.replace(/^Users/, 'User').replace(/^Roles/, 'Role');
	const names = [named[key]];
	for (const n of [full, singular]) names.push(`is${n}Props`, `is${n}Params${method}`, `is${n}Params`, `is${n}`);
	return names.filter(Boolean);
}

const quiet = console.warn;
console.warn = () => undefined; // ajv has opinions on the schemas
const versions = {};
for (const [version, name] of Object.entries(packages)) versions[version] = await import(name);
console.warn = quiet;

const find = (version, method, endpoint) => candidates(method, endpoint).map((n) => versions[version][n]).find((f) => typeof f === 'function');

const wrong = [];
const count = { requests: 0, judged: 0, refusals: 0 };
const without = new Set();
for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
	const r = JSON.parse(line);
	if (!r.endpoint || r.status === 401 || r.status === 429) continue;
	count.requests++;
	const refused = r.status === 400 && ['invalid-params', 'error-invalid-params'].includes(r.answer.errorType);
	const params = r.method === 'GET' ? r.query : r.body;
	if (refused) {
		const judge = find(target, r.method, r.endpoint);
		if (!judge || r.version !== target.slice(0, 3)) continue;
		count.refusals++;
		if (judge(structuredClone(params))) wrong.push(`${r.method} ${r.endpoint} was refused (${r.answer.error}), but is valid in ${target}: ${JSON.stringify(params)}`);
		continue;
	}
	if (r.status >= 400) continue; // refused for another reason, or before it was looked at
	let judged = false;
	for (const version of Object.keys(packages)) {
		const judge = find(version, r.method, r.endpoint);
		if (!judge) continue;
		judged = true;
		count.judged++;
		if (!judge(structuredClone(params))) {
			wrong.push(`${r.method} ${r.endpoint} was taken by ${r.version}, but is refused by ${version}: ${JSON.stringify(params)}: ` +
				(judge.errors || []).map((e) => `${e.instancePath} ${e.message}`).join('; '));
		}
	}
	if (!judged) without.add(`${r.method} ${r.endpoint}`);
}
// Every field that the simulator takes must be one that the target knows.
let fields = 0;
function properties(schema) { // all that one of the alternatives has; nothing for an open schema
	const all = new Set(Object.keys(schema.properties || {}));
	const alternatives = [...(schema.oneOf || []), ...(schema.anyOf || []), ...(schema.allOf || [])];
	for (const s of alternatives) {
		const more = s.properties || s.oneOf || s.anyOf || s.allOf ? properties(s) : new Set();
		if (!more) return null;
		more.forEach((p) => all.add(p));
	}
	return alternatives.length || schema.additionalProperties === false ? all : null;
}
for (const form of JSON.parse(readFileSync(process.argv[3], 'utf8'))) {
	const judge = find(target, form.method, form.endpoint);
	if (!judge) continue;
	const known = properties(judge.schema);
	for (const f of new Set(form.fields.flatMap(Object.keys))) {
		fields++;
		if (known && !known.has(f)) wrong.push(`${form.method} ${form.endpoint} takes ${f}, which ${target} does not know`);
	}
}
for (const w of new Set(wrong)) console.log(w);
console.log(`${without.size} endpoints have no published validator: ${[...without].sort().join(', ')}`);
console.log(`requests: ${count.requests} of different form; ${count.judged} judgements of ${Object.keys(packages).length} versions and ` +
	`${count.refusals} refusals and ${fields} fields compared; ${new Set(wrong).size} wrong`);
process.exit(wrong.length ? 1 : 0);
