-- +goose Up
-- An operator stops letters of one channel, on every node.

-- outbox
CREATE TABLE outbox_pause (
    channel TEXT PRIMARY KEY,
    since   BIGINT NOT NULL,
    why     TEXT NOT NULL
);
