-- +goose Up
-- The mark that an account of Rocket.Chat carries because the bridge made it. It is
-- stored before the account is created, so that a lost answer is recognised later.
CREATE TABLE puppet_marks (
	mx_user TEXT PRIMARY KEY,
	mark    TEXT NOT NULL
);

-- The event that an edit made on Matrix replaced. An edit can be taken back for as
-- long as its message exists.
CREATE TABLE edits (
	event  TEXT PRIMARY KEY,
	target TEXT NOT NULL
);
INSERT INTO edits (event, target) SELECT substr(source, 9), target FROM media WHERE source LIKE 'mx:edit:%';

-- Hints about invitations are kept in memory now. Stored ones may hold anything.
DELETE FROM items WHERE kind = 'mx.hint';
DELETE FROM lanes WHERE lane LIKE 'hint:%';

-- Lanes are ordered in memory.
DROP INDEX lanes_due;

-- +goose Down
CREATE INDEX lanes_due ON lanes (due);
DROP TABLE edits;
DROP TABLE puppet_marks;
