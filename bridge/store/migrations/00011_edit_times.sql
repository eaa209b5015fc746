-- +goose Up
-- When the server of its sender made an edit, in milliseconds: the newest counts, also when an
-- older one comes after it. 0 is for those that did not cross, and those of earlier releases.
ALTER TABLE edits ADD COLUMN at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX edits_target ON edits (target, at);

-- +goose Down
DROP INDEX edits_target;
ALTER TABLE edits DROP COLUMN at;
