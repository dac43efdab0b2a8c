-- +goose Up
-- Codes on paper, for when nothing else is at hand.

-- backup
CREATE TABLE backup_code (
    account_id TEXT NOT NULL REFERENCES account (id),
    number     INTEGER NOT NULL,          -- from 1 to 10: of two lists made at once, one remains
    digest     BYTEA NOT NULL UNIQUE,     -- keyed, of the account and the code
    created_at BIGINT NOT NULL,
    used_at    BIGINT,
    PRIMARY KEY (account_id, number)
);
