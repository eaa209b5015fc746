-- +goose Up
-- What the operator's pages list comes by key, whatever the size of the store.
-- The name of a room in Rocket.Chat as it was last seen; '' while it is not known.
ALTER TABLE portals ADD COLUMN title TEXT NOT NULL DEFAULT '';
CREATE INDEX portals_created ON portals (created, rc_room);
CREATE INDEX items_dead_lane ON items (lane, seq) WHERE buried > 0;
CREATE INDEX ghosts_username ON ghosts (username);

-- +goose Down
DROP INDEX ghosts_username;
DROP INDEX items_dead_lane;
DROP INDEX portals_created;
ALTER TABLE portals DROP COLUMN title;
