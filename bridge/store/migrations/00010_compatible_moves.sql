-- +goose Up
-- The oldest schema whose release may use this database beside this one, as both do during a
-- rolling upgrade. A migration that an older release could not live with raises it.
CREATE TABLE compatible (
	oldest BIGINT NOT NULL
);
INSERT INTO compatible (oldest) VALUES (10);

-- Where a move between databases has got to: one row at most. state is 'arriving' while
-- this database is being filled, 'home' once it is in use, and 'left' when the data was
-- moved away. Both ends of a move have the same token.
CREATE TABLE moves (
	token TEXT NOT NULL,
	state TEXT NOT NULL,
	other TEXT NOT NULL, -- the other end, for people: no password is in it
	at    BIGINT NOT NULL
);

-- +goose Down
DROP TABLE moves;
DROP TABLE compatible;
