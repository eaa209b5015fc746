-- +goose Up
-- Times are milliseconds since 1970. The same statements run on SQLite and PostgreSQL.

-- What waits to be delivered, and what was buried.
CREATE TABLE items (
	seq      BIGINT PRIMARY KEY, -- order of acceptance; given by the store, of which there is one
	id       TEXT NOT NULL UNIQUE,
	lane     TEXT NOT NULL,
	kind     TEXT NOT NULL,
	payload  BYTEA NOT NULL,
	accepted BIGINT NOT NULL,
	attempts INTEGER NOT NULL DEFAULT 0,
	failures INTEGER NOT NULL DEFAULT 0,
	cause    TEXT NOT NULL DEFAULT '', -- of the last failure
	buried   BIGINT NOT NULL DEFAULT 0 -- when; 0 while it waits
);
CREATE INDEX items_waiting ON items (lane, seq) WHERE buried = 0;
CREATE INDEX items_buried ON items (buried) WHERE buried > 0;

-- One row for each lane in which something waits.
CREATE TABLE lanes (
	lane    TEXT PRIMARY KEY,
	waiting BIGINT NOT NULL,
	due     BIGINT NOT NULL, -- when its first item may be tried
	held    BIGINT NOT NULL  -- until when somebody delivers it
);
CREATE INDEX lanes_due ON lanes (due);

-- Items that are gone from items, so that a repeat of one is recognised.
CREATE TABLE done (
	id TEXT PRIMARY KEY,
	at BIGINT NOT NULL
);
CREATE INDEX done_at ON done (at);

CREATE TABLE links (
	item       TEXT NOT NULL, -- the item that made it
	part       INTEGER NOT NULL,
	rc_room    TEXT NOT NULL,
	rc_message TEXT NOT NULL,
	mx_room    TEXT NOT NULL,
	mx_event   TEXT NOT NULL,
	PRIMARY KEY (item, part)
);
CREATE INDEX links_rc ON links (rc_message);
CREATE INDEX links_mx ON links (mx_event);

CREATE TABLE portals (
	rc_room   TEXT PRIMARY KEY,
	mx_room   TEXT NOT NULL UNIQUE,
	rc_type   TEXT NOT NULL,
	rc_reader TEXT NOT NULL,
	mx_reader TEXT NOT NULL,
	created   BIGINT NOT NULL
);

CREATE TABLE ghosts (
	rc_user  TEXT PRIMARY KEY,
	mx_user  TEXT NOT NULL UNIQUE,
	username TEXT NOT NULL,
	name     TEXT NOT NULL
);

CREATE TABLE puppets (
	mx_user  TEXT PRIMARY KEY,
	rc_user  TEXT NOT NULL UNIQUE,
	username TEXT NOT NULL UNIQUE,
	name     TEXT NOT NULL,
	token    TEXT NOT NULL
);

CREATE TABLE cursors (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

-- +goose Down
DROP TABLE cursors;
DROP TABLE puppets;
DROP TABLE ghosts;
DROP TABLE portals;
DROP TABLE links;
DROP TABLE done;
DROP TABLE lanes;
DROP TABLE items;
