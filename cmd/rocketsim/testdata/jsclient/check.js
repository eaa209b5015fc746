// Signs in with Rocket.Chat's own clients, lists rooms, subscribes, sends and
// receives. Usage: node --experimental-websocket check.js sdk|ddp-client
// with ROCKETCHAT_URL, ROCKETCHAT_USER, ROCKETCHAT_PASSWORD, CHECK_ROOM (a name)
// and CHECK_RID (its id). Prints "ok <client>" and exits 0, or says what failed.
'use strict';

const crypto = require('crypto');
const { ROCKETCHAT_URL: url, ROCKETCHAT_USER: user, ROCKETCHAT_PASSWORD: password, CHECK_ROOM: room, CHECK_RID: rid } = process.env;

const want = (ok, what, got) => {
	if (!ok) throw new Error(`${what}: got ${JSON.stringify(got)}`);
};

// A promise with its resolver, for one event.
const once = () => {
	let done;
	const promise = new Promise((resolve) => { done = resolve; });
	return { promise, done };
};

// @rocket.chat/ddp-client: what the web client and newer apps are built on.
async function ddpClient() {
	const { DDPSDK } = require('@rocket.chat/ddp-client');
	const sdk = await DDPSDK.createAndConnect(url);
	await sdk.account.loginWithPassword(user, crypto.createHash('sha256').update(password).digest('hex'));
	want(sdk.account.uid, 'signed in', sdk.account.uid);
	want(sdk.account.user.username === user, 'own user document', sdk.account.user);

	const rooms = await sdk.call('rooms/get');
	want(rooms.some((r) => r._id === rid), 'rooms/get', rooms);
	const subscriptions = await sdk.rest.get('/v1/subscriptions.get');
	want(subscriptions.update.some((s) => s.rid === rid), 'subscriptions.get', subscriptions);

	const received = once(), typing = once();
	const messages = sdk.stream('room-messages', rid, (m) => { if (m.msg === 'hello from ddp-client') received.done(m); });
	await messages.ready();
	const activity = sdk.stream('notify-room', `${rid}/user-activity`, (name, what) => typing.done([name, what]));
	await activity.ready();

	await sdk.call('stream-notify-room', `${rid}/user-activity`, user, ['user-typing'], {});
	want((await typing.promise)[0] === user, 'typing', await typing.promise);
	const sent = await sdk.rest.post('/v1/chat.sendMessage', { message: { rid, msg: 'hello from ddp-client' } });
	const got = await received.promise;
	want(got._id === sent.message._id && got.u.username === user && got.ts.$date, 'stream-room-messages', got);

	const history = await sdk.call('loadHistory', rid, null, 5, null);
	want(history.messages.some((m) => m._id === got._id), 'loadHistory', history);
	messages.stop();
	await sdk.account.logout();
	sdk.connection.close();
}

// @rocket.chat/sdk: what bots were built on for years.
async function sdk() {
	const { driver, api } = require('@rocket.chat/sdk');
	const quiet = () => undefined;
	driver.useLog({ debug: quiet, info: quiet, warn: quiet, warning: quiet, error: console.error });
	await driver.connect({ host: url, useSsl: false });
	want(await driver.login({ username: user, password }), 'signed in', driver.userId);
	const [joined] = await driver.joinRooms([room]).then(() => driver.joinedIds);
	want(joined === rid, 'joined', joined);
	await driver.subscribeToMessages();
	const received = once();
	driver.reactToMessages((err, m, meta) => {
		if (!err && m.msg === 'hello from sdk') received.done([m, meta]);
	});
	await driver.sendToRoom('hello from sdk', room);
	const [m, meta] = await received.promise;
	want(m.rid === rid && m.u._id === driver.userId && meta.roomParticipant === true && meta.roomName === room, '__my_messages__', [m, meta]);
	want(await driver.getRoomName(rid) === room, 'getRoomNameById', room);
	await driver.sendDirectToUser('psst', process.env.CHECK_OTHER);

	await api.login({ username: user, password });
	const { channels } = await api.get('channels.list.joined');
	want(channels.some((c) => c._id === rid), 'channels.list.joined', channels);
	await api.logout();
	await driver.disconnect();
}

const clients = { 'ddp-client': ddpClient, sdk };
const name = process.argv[2];
setTimeout(() => { console.error(`${name}: timed out`); process.exit(1); }, 30000);
clients[name]().then(
	() => { console.log(`ok ${name}`); process.exit(0); },
	(err) => { console.error(`${name}:`, err); process.exit(1); },
);
