// A server of MongoDB as far as our scripts ask it, and mongosh, which runs them. The state
// comes as JSON and goes back the same way, after what the script has printed.
const fs = require("fs");
const vm = require("vm");
const [script, given] = process.argv.slice(2);
const server = JSON.parse(given);
server.did = [];
const answer = {
  getParameter: () => ({ ok: 1, featureCompatibilityVersion: { version: server.format } }),
  setFeatureCompatibilityVersion: ({ setFeatureCompatibilityVersion: to, confirm }) => {
    if (confirm !== true) throw new Error("MongoServerError: Once you have upgraded to " + to + ", you will not be able to downgrade. Set confirm: true");
    server.did.push("setFeatureCompatibilityVersion " + to);
    server.format = to;
    return { ok: 1 };
  },
};
const passwords = (server.passwords ||= { root: "root-password", rocketchat: "password" });
const admin = {
  auth: (user, password) => {
    if (passwords[user] !== password) throw Object.assign(new Error("MongoServerError: Authentication failed."), { codeName: "AuthenticationFailed" });
    server.auth = user === "root";
    return { ok: 1 };
  },
  updateUser: (user, { pwd }) => {
    if (!server.auth) throw new Error("MongoServerError: Command updateUser requires authentication");
    if (server.broken) throw new Error("MongoServerError: " + server.broken);
    server.did.push("updateUser " + user);
    passwords[user] = pwd;
  },
  runCommand: (c) => {
    const name = Object.keys(c)[0];
    if (!server.auth) throw new Error("MongoServerError: Command " + name + " requires authentication");
    if (server.broken) throw new Error("MongoServerError: " + server.broken);
    return answer[name](c);
  },
  getUser: (name) => (server.users || []).includes(name),
  createUser: (u) => { server.did.push("createUser " + u.user); (server.users ||= []).push(u.user); },
};
class Quit extends Error {}
const world = {
  db: { getSiblingDB: () => admin, version: () => server.version, hello: () => ({ isWritablePrimary: server.primary }) },
  rs: {
    status: () => { if (!server.set) throw Object.assign(new Error("no replset config"), { codeName: "NotYetInitialized" }); },
    initiate: () => { server.did.push("initiate"); server.set = true; },
  },
  print: (text) => console.log(text),
  quit: (status) => { server.exit = status; throw new Quit(); },
  require: (name) => (name === "fs" ? { readFileSync: (file) => file.replace("/run/secrets/mongo_", "").replace("root_password", "root-password") + "\n" } : undefined),
};
try {
  vm.runInNewContext((server.given ? "const given = " + JSON.stringify(server.given) + ";\n" : "") + fs.readFileSync(script, "utf8"), world);
} catch (e) {
  if (!(e instanceof Quit)) {
    console.log(e.message);
    server.exit = 1;
  }
}
console.log(JSON.stringify(server));
