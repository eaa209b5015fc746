-- +goose Up
-- What a file became on the other side, so that it is carried only once however
-- often its message is tried or edited.
CREATE TABLE media (
	source TEXT PRIMARY KEY, -- "rc:" and a Rocket.Chat file ID, or "mx:" and a Matrix event ID
	target TEXT NOT NULL,    -- an mxc:// address, or a Rocket.Chat file ID
	info   TEXT NOT NULL,    -- the event content that describes it, or ''
	at     BIGINT NOT NULL
);
CREATE INDEX media_at ON media (at);

-- +goose Down
DROP TABLE media;
