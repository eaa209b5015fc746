-- +goose Up
-- Leases of lanes, for the processes that share a PostgreSQL. A row stays for as long
-- as the database does, so that fence only ever grows. With SQLite, which one process
-- has, only due is used.
--   waiting  1 while the lane may have items
--   due      since or from when its first item may be tried
--   held     until when owner may deliver it, 0 when no process does
--   fence    grows with each take-over; what is written under an older one is refused
-- Times are those of the database.
ALTER TABLE lanes ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE lanes ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;
CREATE INDEX lanes_waiting ON lanes (due) WHERE waiting > 0;

-- What one process at a time does for all, and until when.
CREATE TABLE roles (
	role  TEXT PRIMARY KEY,
	owner TEXT NOT NULL,
	until BIGINT NOT NULL
);

-- The processes that run, and until when that is believed.
CREATE TABLE replicas (
	id    TEXT PRIMARY KEY,
	until BIGINT NOT NULL
);

-- +goose Down
DROP TABLE replicas;
DROP TABLE roles;
DROP INDEX lanes_waiting;
ALTER TABLE lanes DROP COLUMN fence;
ALTER TABLE lanes DROP COLUMN owner;
