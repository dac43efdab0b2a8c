-- +goose Up
-- Sign-ins that wait for a device that is signed in already.

-- approval: id is the sign-in's; the number that it shows follows from seed, under a key that is not here
CREATE TABLE approval (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES account (id),
    seed        TEXT NOT NULL,
    asked_from  BYTEA NOT NULL, -- network address and browser, sealed
    tries_left  INTEGER NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    approved_at BIGINT,
    approved_by TEXT,           -- the session in which the number was typed
    refused_at  BIGINT,
    spent_at    BIGINT
);
CREATE INDEX approval_account ON approval (account_id, created_at);
CREATE INDEX approval_created ON approval (created_at);
