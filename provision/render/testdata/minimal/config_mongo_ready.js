// Run by the health check of the mongo service. Looks before it acts, so running
// it again changes nothing: makes the one-member replica set, waits until the
// member is primary, makes Rocket.Chat's user, and succeeds when all is there. The last
// line that it prints says which version runs and in which format it keeps its data, and
// whether the password on disk of Rocket.Chat's user is refused.
const fs = require("fs");
const read = (name) => fs.readFileSync("/run/secrets/" + name, "utf8").trim();
const admin = db.getSiblingDB("admin");

admin.auth("root", read("mongo_root_password"));
try {
  rs.status();
} catch (e) {
  if (e.codeName !== "NotYetInitialized") throw e;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
if (!db.hello().isWritablePrimary) {
  print("not primary yet");
  quit(1);
}
const roles = [
  { role: "readWrite", db: "rocketchat" },
  { role: "read", db: "local" },
  { role: "clusterMonitor", db: "admin" },
];
if (!admin.getUser("rocketchat")) {
  admin.createUser({ user: "rocketchat", pwd: read("mongo_password"), roles });
}
try {
  const { featureCompatibilityVersion: f } = admin.runCommand({ getParameter: 1, featureCompatibilityVersion: 1 });
  const said = { version: db.version(), featureCompatibilityVersion: f.version };
  try {
    admin.auth("rocketchat", read("mongo_password"));
  } catch (e) {
    if (e.codeName === "AuthenticationFailed") said.rocketchat = "refused";
  }
  print(JSON.stringify(said));
} catch (e) {
  print("no format: " + e); // it serves nevertheless
}
quit(0);
