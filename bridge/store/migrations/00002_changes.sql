-- +goose Up
-- Who sent the event of a link on Matrix: only the sender may take it back
-- everywhere.
ALTER TABLE links ADD COLUMN mx_sender TEXT NOT NULL DEFAULT '';

-- One row for each reaction that is on both sides.
CREATE TABLE reactions (
	rc_message TEXT NOT NULL,
	emoji      TEXT NOT NULL, -- Rocket.Chat's key: ":smile:"
	rc_user    TEXT NOT NULL, -- who reacted, or the puppet that did
	mx_event   TEXT NOT NULL, -- the m.reaction event
	mx_room    TEXT NOT NULL,
	mx_sender  TEXT NOT NULL,
	PRIMARY KEY (rc_message, emoji, rc_user)
);
CREATE INDEX reactions_mx ON reactions (mx_event);

-- +goose Down
DROP TABLE reactions;
ALTER TABLE links DROP COLUMN mx_sender;
