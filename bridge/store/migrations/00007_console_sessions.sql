-- +goose Up
-- Who is signed in to the console. key is the SHA-256 of the cookie, in hexadecimal.
-- Times are milliseconds since 1970: asked is when Rocket.Chat last confirmed the role.
CREATE TABLE console_sessions (
	key      TEXT PRIMARY KEY,
	user_id  TEXT NOT NULL,
	username TEXT NOT NULL,
	began    BIGINT NOT NULL,
	seen     BIGINT NOT NULL,
	asked    BIGINT NOT NULL
);

-- +goose Down
DROP TABLE console_sessions;
