-- +goose Up
-- What holders change once signed in, and how they prove who they are for it.

-- account: since when it has been frozen, however often that was prolonged
ALTER TABLE account ADD COLUMN frozen_at BIGINT NOT NULL DEFAULT 0;
-- device: what was remembered with the same key before
CREATE INDEX device_key ON device (public_key);

-- signin: a flow of somebody who is signed in replaces a session, and leads back to where they were
ALTER TABLE signin_flow ADD COLUMN replaces TEXT NOT NULL DEFAULT '';
ALTER TABLE signin_flow ADD COLUMN back     TEXT NOT NULL DEFAULT ''; -- a word of the door's own
