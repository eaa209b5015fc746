// Run at the end of an upgrade, once the new version has proved itself: raises the
// featureCompatibilityVersion to the series that runs. Looks before it acts, so running it
// again changes nothing. Prints what is there then.
const fs = require("fs");
const admin = db.getSiblingDB("admin");

admin.auth("root", fs.readFileSync("/run/secrets/mongo_root_password", "utf8").trim());
const format = () => admin.runCommand({ getParameter: 1, featureCompatibilityVersion: 1 }).featureCompatibilityVersion.version;
const version = db.version();
const series = version.split(".").slice(0, 2).join(".");
if (format() !== series) {
  const done = admin.runCommand({ setFeatureCompatibilityVersion: series, confirm: true });
  if (!done.ok) throw new Error(done.errmsg);
}
print(JSON.stringify({ version, featureCompatibilityVersion: format() }));
