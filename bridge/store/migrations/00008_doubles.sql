-- +goose Up
-- The accounts of Rocket.Chat that people of Matrix have themselves and that the bridge
-- writes with, by the consent of both sides. The bridge has not created them.
CREATE TABLE doubles (
	mx_user  TEXT PRIMARY KEY,
	rc_user  TEXT NOT NULL UNIQUE,
	username TEXT NOT NULL,
	token    TEXT NOT NULL,
	since    BIGINT NOT NULL
);

-- What the owner of an account has asked for and the Matrix user has not confirmed yet.
-- digest is the SHA-256 of the code, in hexadecimal.
CREATE TABLE double_claims (
	rc_user  TEXT PRIMARY KEY,
	username TEXT NOT NULL,
	mx_user  TEXT NOT NULL,
	digest   TEXT NOT NULL,
	expires  BIGINT NOT NULL,
	attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX double_claims_mx ON double_claims (mx_user);

-- Whether a file in Rocket.Chat is one that the bridge has brought there.
CREATE INDEX media_target ON media (target);

-- +goose Down
DROP INDEX media_target;
DROP TABLE double_claims;
DROP TABLE doubles;
