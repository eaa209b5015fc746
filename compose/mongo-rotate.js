// Run when passwords of MongoDB are replaced, and when it is asked which of them sign in.
// What is wanted stands above it as `given`: for each user the new value and the one before,
// and whether they are to be changed. Running it again changes nothing. The last line that
// it prints says of each user whether the new value signs in, and whether the old one does.
const admin = db.getSiblingDB("admin");
const opens = (user, password) => {
  try {
    return !!admin.auth(user, password).ok;
  } catch (e) {
    if (e.codeName !== "AuthenticationFailed") throw e;
    return false;
  }
};

if (given.change) {
  const root = given.root;
  if (!opens("root", root.now) && !(root.was && opens("root", root.was))) {
    throw new Error("neither the new nor the old password of root signs in");
  }
  for (const [user, { now }] of Object.entries(given.users)) admin.updateUser(user, { pwd: now });
}
const said = {};
for (const [user, { now, was }] of Object.entries(given.users)) said[user] = { was: was ? opens(user, was) : false, now: opens(user, now) };
print(JSON.stringify(said));
