-- +goose Up
-- What the page of the queue counts of dead letters is read from here alone, and not from
-- the items, each of which has its payload beside it.
CREATE INDEX items_dead_groups ON items (kind, cause, lane) WHERE buried > 0;

-- +goose Down
DROP INDEX items_dead_groups;
