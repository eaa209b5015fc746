// Runs Rocket.Chat's own clients, unmodified, against a server. Usage: node
// --experimental-websocket --import ./resolve.mjs clients.mjs with ROCKETCHAT_URL,
// ROCKETCHAT_USER and ROCKETCHAT_PASSWORD, an administrator's. Each step checks one
// thing; what fails is printed. Prints counts; exits 1 when anything failed.
import crypto from 'node:crypto';
import { createRequire } from 'node:module';

const { ROCKETCHAT_URL: url, ROCKETCHAT_USER: user, ROCKETCHAT_PASSWORD: password } = process.env;
const require = createRequire(import.meta.url);
const { DDPSDK } = await import('@rocket.chat/ddp-client');
const { RestClient } = await import('@rocket.chat/api-client');
const { Bot, settings } = require('@rocket.chat/sdk');

const totals = {};
let client = '';
async function step(what, f, fits = () => true) {
	totals[client] ??= [0, 0];
	totals[client][1]++;
	try {
		const timeout = new Promise((_, no) => { setTimeout(() => no(new Error('timed out')), 15000).unref(); });
		const got = await Promise.race([f(), timeout]);
		if (!fits(got)) throw new Error(`got ${JSON.stringify(got)?.slice(0, 300)}`);
		totals[client][0]++;
		return got;
	} catch (err) {
		const said = err instanceof Response ? `${err.status} ${await err.text()}` : err?.message || JSON.stringify(err?.error || err);
		console.log(`${client}: ${what}: ${said.slice(0, 400)}`);
		return undefined;
	}
}
const arrives = (watch) => new Promise((done) => { watch(done); });
const hash = (p) => crypto.createHash('sha256').update(p).digest('hex');
const factor = { 'x-2fa-method': 'password', 'x-2fa-code': hash(password) };

// api-client: every endpoint that it types and a client of people calls.
client = 'api-client';
const rest = new RestClient({ baseUrl: url });
const login = await step('login', () => rest.post('/v1/login', { user, password }), (r) => r.data.authToken);
rest.setCredentials({ 'X-User-Id': login.data.userId, 'X-Auth-Token': login.data.authToken });
const get = (path, params, fits) => step(`GET ${path}`, () => rest.get(path, params), fits);
const post = (path, params, fits) => step(`POST ${path}`, () => rest.post(path, params), fits);
await get('/v1/me', undefined, (r) => r.username === user && r.settings.preferences);
const made = await step('POST /v1/users.create', () => rest.post('/v1/users.create', { username: 'grace', name: 'Grace', email: 'grace@example.org', password: 'grace', roles: ['user'], verified: true }), (r) => r.user._id);
await get('/v1/users.info', { username: 'grace' }, (r) => r.user.name === 'Grace');
await get('/v1/users.list', { count: 10, offset: 0 }, (r) => r.total > 1);
await get('/v1/users.presence', { ids: [login.data.userId] }, (r) => r.users.length === 1);
await get('/v1/users.getStatus', { userId: made.user._id }, (r) => r._id === made.user._id);
await post('/v1/users.setStatus', { status: 'online', message: 'here' });
await post('/v1/users.setPreferences', { userId: login.data.userId, data: { sendOnEnter: 'alternative' } }, (r) => r.user.settings.preferences.sendOnEnter === 'alternative');
const channel = (await post('/v1/channels.create', { name: 'lounge', members: ['grace'] }, (r) => r.channel.name === 'lounge')).channel;
const group = (await post('/v1/groups.create', { name: 'cabin', members: [] }, (r) => r.group.t === 'p')).group;
const direct = (await post('/v1/im.create', { username: 'grace' }, (r) => r.room.rid)).room;
await get('/v1/channels.info', { roomId: channel._id }, (r) => r.channel._id === channel._id);
await get('/v1/channels.list', { count: 10 }, (r) => r.channels.length > 0);
await get('/v1/channels.list.joined', { count: 10 }, (r) => r.channels.some((c) => c._id === channel._id));
await get('/v1/channels.members', { roomId: channel._id }, (r) => r.members.length === 2);
await get('/v1/channels.history', { roomId: channel._id, count: 5 }, (r) => Array.isArray(r.messages));
await get('/v1/groups.list', { count: 10 }, (r) => r.groups.length === 1);
await get('/v1/groups.info', { roomId: group._id }, (r) => r.group._id === group._id);
await post('/v1/groups.invite', { roomId: group._id, userId: made.user._id }, (r) => r.group);
await post('/v1/groups.kick', { roomId: group._id, userId: made.user._id });
await get('/v1/im.list', { count: 10 }, (r) => r.ims.length === 1);
await get('/v1/rooms.info', { roomId: channel._id }, (r) => r.room.name === 'lounge');
await get('/v1/rooms.get', undefined, (r) => r.update.length > 2);
await post('/v1/rooms.favorite', { roomId: channel._id, favorite: true });
await post('/v1/rooms.hide', { roomId: channel._id });
await post('/v1/rooms.open', { roomId: channel._id });
await post('/v1/rooms.saveRoomSettings', { rid: channel._id, roomTopic: 'tea' }, (r) => r.rid === channel._id);
await get('/v1/subscriptions.get', undefined, (r) => r.update.length > 2);
await get('/v1/subscriptions.getOne', { roomId: channel._id }, (r) => r.subscription.f === true && r.subscription.open === true);
const said = (await post('/v1/chat.sendMessage', { message: { rid: channel._id, msg: 'hello @grace, see https://example.org/a' } }, (r) => r.message.mentions.length === 1 && r.message.md[0].type === 'PARAGRAPH')).message;
await get('/v1/chat.getMessage', { msgId: said._id }, (r) => r.message.msg === said.msg);
await post('/v1/chat.update', { roomId: channel._id, msgId: said._id, text: 'changed' }, (r) => r.message.editedAt);
await post('/v1/chat.react', { messageId: said._id, emoji: ':smile:', shouldReact: true });
await post('/v1/chat.pinMessage', { messageId: said._id }, (r) => r.message);
await get('/v1/chat.getPinnedMessages', { roomId: channel._id }, (r) => r.total === 1 && r.messages[0]._id === said._id);
await post('/v1/chat.starMessage', { messageId: said._id });
await post('/v1/chat.postMessage', { channel: '#lounge', text: 'posted' }, (r) => r.message.msg === 'posted');
await post('/v1/chat.sendMessage', { message: { rid: channel._id, msg: 'in a thread', tmid: said._id } }, (r) => r.message.tmid === said._id);
await get('/v1/chat.getThreadMessages', { tmid: said._id }, (r) => r.messages.length === 1);
await get('/v1/chat.getThreadsList', { rid: channel._id }, (r) => r.threads.length === 1);
await get('/v1/chat.syncMessages', { roomId: channel._id, lastUpdate: new Date(0).toISOString() }, (r) => r.result.updated.length > 2);
await get('/v1/chat.search', { roomId: channel._id, searchText: 'posted' }, (r) => r.messages.length === 1);
await post('/v1/subscriptions.unread', { roomId: channel._id });
await get('/v1/subscriptions.getOne', { roomId: channel._id }, (r) => r.subscription.alert === true);
await post('/v1/subscriptions.read', { rid: channel._id });
await get('/v1/channels.counters', { roomId: channel._id }, (r) => r.joined === true);
await get('/v1/channels.files', { roomId: channel._id }, (r) => r.total === 0);
await get('/v1/groups.files', { roomId: group._id }, (r) => Array.isArray(r.files));
await get('/v1/im.files', { roomId: direct.rid }, (r) => Array.isArray(r.files));
await get('/v1/spotlight', { query: 'lounge' }, (r) => r.rooms.length === 1);
await get('/v1/directory', { text: 'lounge', type: 'channels' }, (r) => r.result.length === 1);
await get('/v1/commands.list', undefined, (r) => r.commands.length > 5);
await post('/v1/commands.run', { command: 'shrug', roomId: channel._id, params: 'well' });
await get('/v1/permissions.listAll', undefined, (r) => r.update.length > 10);
await get('/v1/roles.list', undefined, (r) => r.roles.length > 5);
await get('/v1/settings.public', { _id: 'Site_Url' }, (r) => r.settings.length === 1);
await get('/v1/emoji-custom.list', undefined, (r) => Array.isArray(r.emojis.update));
await get('/v1/rooms.adminRooms', { types: ['c'] }, (r) => r.rooms.length > 1);
await get('/v1/rooms.membersOrderedByRole', { roomId: channel._id }, (r) => r.members[0].roles.includes('owner'));
await get('/v1/rooms.isMember', { roomId: channel._id, username: 'grace' }, (r) => r.isMember === true);
await post('/v1/rooms.createDiscussion', { prid: channel._id, t_name: 'aside' }, (r) => r.discussion.prid === channel._id);
const aside = (await post('/v1/rooms.createDiscussion', { prid: channel._id, t_name: 'by the fire' }, (r) => r.discussion.prid === channel._id)).discussion;
const grace = new RestClient({ baseUrl: url });
const hers = await step('login of grace', () => grace.post('/v1/login', { user: 'grace', password: 'grace' }), (r) => r.data.authToken);
grace.setCredentials({ 'X-User-Id': hers.data.userId, 'X-Auth-Token': hers.data.authToken });
const kinds = async (r) => (await rest.get('/v1/channels.messages', { roomId: r })).messages.map((m) => m.t).filter(Boolean).reverse();
await step('grace joins the discussion', () => grace.post('/v1/channels.join', { roomId: aside._id }).then(() => kinds(aside._id)), (k) => k.join() === 'ut');
await post('/v1/video-conference.start', { roomId: aside._id }, (r) => r.data.type === 'videoconference' && r.data.callId);
await step('the call is told', () => kinds(aside._id), (k) => k.join() === 'ut,videoconf');
const secret = (await post('/v1/groups.create', { name: 'vault', members: [], extraData: { encrypted: true } }, (r) => r.group.encrypted === true)).group;
await post('/v1/rooms.saveRoomSettings', { rid: secret._id, encrypted: false }, (r) => r.rid === secret._id);
const token = await step('POST /v1/users.generatePersonalAccessToken', () => rest.send('/v1/users.generatePersonalAccessToken', 'POST', { body: JSON.stringify({ tokenName: 'clients', bypassTwoFactor: true }), headers: { ...factor, 'Content-Type': 'application/json' } }).then((r) => r.json()), (r) => r.token);
await post('/v1/chat.delete', { roomId: channel._id, msgId: said._id }, (r) => r._id === said._id);

const team = (await post('/v1/teams.create', { name: 'crew', type: 0, members: [] }, (r) => r.team.roomId)).team;
await get('/v1/teams.list', undefined, (r) => r.teams.length === 1);
await get('/v1/teams.info', { teamId: team._id }, (r) => r.teamInfo.name === 'crew');
await post('/v1/teams.addMembers', { teamId: team._id, members: [{ userId: made.user._id, roles: ['member'] }] });
await get('/v1/teams.members', { teamId: team._id }, (r) => r.members.length === 2);
await post('/v1/teams.addRooms', { teamId: team._id, rooms: [channel._id] }, (r) => r.rooms[0].teamId === team._id);
await get('/v1/teams.listRooms', { teamId: team._id, filter: '' }, (r) => r.rooms.length === 1);
await post('/v1/teams.removeRoom', { teamId: team._id, roomId: channel._id }, (r) => !r.room.teamId);
await post('/v1/teams.removeMember', { teamId: team._id, userId: made.user._id });
await step('grace joins and leaves the team', () => grace.post('/v1/channels.join', { roomId: team.roomId }).then(() => grace.post('/v1/rooms.leave', { roomId: team.roomId })));
await step('what the team is told', () => kinds(team.roomId), (k) => k.join() === 'added-user-to-team,user-added-room-to-team,user-removed-room-from-team,removed-user-from-team,ujt,ult');
await post('/v1/teams.delete', { teamId: team._id });

// ddp-client: what the web client does over its websocket.
client = 'ddp-client';
const sdk = await step('connect', () => DDPSDK.createAndConnect(url));
await step('login', () => sdk.account.loginWithPassword(user, hash(password)), () => sdk.account.uid === login.data.userId);
await step('the own user', async () => sdk.account.user, (u) => u.username === user);
const call = (method, params, fits) => step(method, () => sdk.call(method, ...params), fits);
await call('rooms/get', [], (r) => r.some((x) => x._id === channel._id));
await call('subscriptions/get', [], (r) => r.some((x) => x.rid === channel._id));
await call('rooms/get', [{ $date: 1 }], (r) => r.update.length > 2);
await call('public-settings/get', [], (r) => r.length > 10);
await call('permissions/get', [], (r) => r.length > 10);
await call('getRoomRoles', [channel._id], (r) => r.length === 1);
await call('openRoom', [channel._id]);
await call('hideRoom', [direct.rid]);
await call('readMessages', [channel._id]);
const hall = (await step('grace makes a channel', () => grace.post('/v1/channels.create', { name: 'hall', members: [] }), (r) => r.channel._id)).channel;
await call('joinRoom', [hall._id]);
await call('leaveRoom', [{ rid: hall._id }]);
await step('the hall is left', () => rest.get('/v1/rooms.isMember', { roomId: hall._id, username: user }), (r) => r.isMember === false);
await call('spotlight', ['lounge'], (r) => r.rooms.length === 1);
const stream = async (name, key) => {
	const events = [];
	let wake = () => undefined;
	const s = sdk.stream(name, key, (...args) => { events.push(args); wake(); });
	await step(`stream ${name} ${key.replace(/.*\//, '')}`, () => s.ready());
	return { stop: () => s.stop(), next: (what, fits) => step(what, () => arrives((done) => {
		wake = () => { const found = events.find(fits); if (found) done(found); };
		wake();
	})) };
};
const messages = await stream('room-messages', channel._id);
const typing = await stream('notify-room', `${channel._id}/user-activity`);
const deleted = await stream('notify-room', `${channel._id}/deleteMessage`);
const subscriptions = await stream('notify-user', `${login.data.userId}/subscriptions-changed`);
const roomsChanged = await stream('notify-user', `${login.data.userId}/rooms-changed`);
const status = await stream('notify-logged', 'user-status');
await call('stream-notify-room', [`${channel._id}/user-activity`, user, ['user-typing']]);
await typing.next('typing arrives', ([who, what]) => who === user && what[0] === 'user-typing');
const live = await call('sendMessage', [{ _id: 'fromddp', rid: channel._id, msg: 'live' }], (m) => m._id === 'fromddp');
await messages.next('the message arrives', ([m]) => m._id === live._id && m.ts.$date);
await roomsChanged.next('the room changes', ([action, r]) => action === 'updated' && r._id === channel._id);
await call('updateMessage', [{ _id: live._id, rid: channel._id, msg: 'edited' }]);
await messages.next('the edit arrives', ([m]) => m.msg === 'edited' && m.editedAt);
await call('setReaction', [':wave:', live._id]);
await messages.next('the reaction arrives', ([m]) => m.reactions?.[':wave:']);
await call('loadHistory', [channel._id, null, 5, null], (h) => h.messages.some((m) => m._id === live._id));
await call('loadMissedMessages', [channel._id, { $date: 1 }], (l) => l.some((m) => m._id === live._id));
await call('loadSurroundingMessages', [{ _id: live._id, rid: channel._id }, 10], (r) => r.messages.some((m) => m._id === live._id));
await call('messages/get', [channel._id, { lastUpdate: { $date: 1 } }], (r) => r.updated.some((m) => m._id === live._id));
await call('getSingleMessage', [live._id], (m) => m.msg === 'edited');
await call('deleteMessage', [{ _id: live._id }]);
await deleted.next('the deletion arrives', ([d]) => d._id === live._id);
await call('createDirectMessage', [user, 'grace'], (r) => r.rid);
const extra = await call('createChannel', ['deck', ['grace'], false], (r) => r.rid);
await subscriptions.next('the subscription arrives', ([action, s]) => action === 'inserted' && s.rid === extra.rid);
await call('addUsersToRoom', [{ rid: extra.rid, users: ['grace'] }]);
await call('getUsersOfRoom', [extra.rid], (r) => r.total === 2);
await call('removeUserFromRoom', [{ rid: extra.rid, username: 'grace' }]);
await call('addUsersToRoom', [{ rid: channel._id, users: ['grace'] }]);
await call('messages/get', [channel._id, { latestDate: { $date: Date.now() }, count: 5 }], (l) => Array.isArray(l));
await call('setUserStatus', ['busy', 'writing']);
await status.next('the status arrives', ([who]) => JSON.stringify(who).includes('writing'));
await step('rest over the same session', () => sdk.rest.get('/v1/me'), (r) => r.username === user);
for (const s of [messages, typing, deleted, subscriptions, roomsChanged, status]) s.stop();
await step('logout', () => sdk.account.logout());
sdk.connection.close();

// sdk: what bots are built on. It also has calls for endpoints that no server has,
// such as chat.getRoomIdByNameOrId and info: those are left out.
client = 'sdk';
const silent = { debug() {}, info() {}, warn() {}, warning() {}, error: console.error };
const bot = new Bot({ host: url, useSsl: false, protocol: 'ddp', logger: silent });
await step('connect', () => bot.connect({ host: url, useSsl: false }));
await step('login', () => bot.login({ username: user, password }), () => bot.userId);
await step('subscribeToMessages', () => bot.subscribeToMessages());
const heard = arrives((done) => { bot.reactToMessages((err, m) => { if (!err && m?.msg === 'from the bot') done([m]); }); });
const sent = await step('sendMessage', () => bot.sendMessage('from the bot', channel._id), (r) => r);
await step('its message is heard', () => heard, ([m]) => m.rid === channel._id);
await step('setReaction', () => bot.setReaction(':smile:', sent?.message?._id || sent?._id));
await step('editMessage', () => bot.editMessage({ rid: channel._id, _id: sent?.message?._id || sent?._id, msg: 'changed by the bot' }));
await step('loadHistory', () => bot.loadHistory(channel._id, new Date(0)), (r) => JSON.stringify(r).includes('changed by the bot'));
await step('createDirectMessage', () => bot.createDirectMessage('grace'), (r) => r);
await step('channelInfo', () => bot.channelInfo({ roomId: channel._id }), (r) => JSON.stringify(r).includes('lounge'));
await step('privateInfo', () => bot.privateInfo({ roomId: group._id }), (r) => JSON.stringify(r).includes('cabin'));
await step('users.onlineNames', () => bot.users.onlineNames(), (r) => Array.isArray(r));
await step('users.all', () => bot.users.all(), (r) => r.length > 1);
await step('subscribeRoom', () => bot.subscribeRoom(channel._id));
await step('subscribeNotifyUser', () => bot.subscribeNotifyUser());
await step('subscribeLoggedNotify', () => bot.subscribeLoggedNotify());
await step('methodCall', () => bot.methodCall('getSingleMessage', 'none').catch((e) => e), (r) => r);
await step('disconnect', () => bot.disconnect());

let failed = 0;
for (const [name, [ok, all]] of Object.entries(totals)) {
	console.log(`${name}: ${ok} of ${all} checks`);
	failed += all - ok;
}
process.exit(failed ? 1 : 0);
