-- +goose Up
-- One key takes over from another while the server serves.

-- keyring: the row "first" is sealed with the key that everything new is made with, the row "stable" holds a
-- secret that no change of keys changes, the others are named after the keys that are looked for
ALTER TABLE keyring_check ADD COLUMN coming BOOLEAN NOT NULL DEFAULT FALSE; -- looked for already, and nothing is made with it yet
ALTER TABLE keyring_check ADD COLUMN bare   BOOLEAN NOT NULL DEFAULT FALSE; -- its digests do not begin with its id
ALTER TABLE keyring_check ADD COLUMN epoch  BIGINT NOT NULL DEFAULT 0;      -- of "first": counts the changes, and is read in every transaction
-- keyring: nodes whose key file lacks a key that is coming
CREATE TABLE keyring_lack (
    node   TEXT NOT NULL,
    key_id TEXT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (node, key_id)
);
