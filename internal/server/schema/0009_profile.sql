-- +goose Up
-- What holders change once signed in, and how they prove who they are for it.

-- account: since when it has been frozen, however often that was prolonged
ALTER TABLE account ADD COLUMN frozen_at BIGINT NOT NULL DEFAULT 0;
-- device: what was remembered with the same key before
CREATE INDEX device_key ON device (public_key);

-- signin: a flow of somebody who is signed in replaces a session, and leads back to where they were
ALTER TABLE signin_flow ADD COLUMN replaces TEXT NOT NULL DEFAULT '';
ALTER TABLE signin_flow ADD COLUMN back     TEXT NOT NULL DEFAULT ''; -- a word of the door's own

-- signin: which password was proved (its set_at): a flow ends with it
ALTER TABLE signin_flow ADD COLUMN proved BIGINT NOT NULL DEFAULT 0;

-- profile: an address being added to an account, until its code is typed
CREATE TABLE profile_address_flow (
    id         TEXT PRIMARY KEY,
    handle     BYTEA NOT NULL UNIQUE,  -- keyed digest of the handle
    account_id TEXT NOT NULL REFERENCES account (id),
    session_id TEXT NOT NULL,          -- that began it
    sealed     BYTEA NOT NULL,         -- the address
    barred     BOOLEAN NOT NULL,       -- can never succeed: it is somebody else's
    done       BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX profile_address_flow_expires ON profile_address_flow (expires_at);
-- profile: when a holder last said that addresses, contacts and saved code are still right
CREATE TABLE profile_review (
    account_id  TEXT PRIMARY KEY REFERENCES account (id),
    reviewed_at BIGINT NOT NULL
);
