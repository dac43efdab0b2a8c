-- +goose Up
-- By which of several providers a message goes depends on what became of others.

-- outbox: the letter before, where this one was asked for because that had not arrived
ALTER TABLE outbox_letter ADD COLUMN follows_id TEXT;
-- outbox: how many of the attempts were none, since the letter only waited its turn
ALTER TABLE outbox_letter ADD COLUMN put_off BIGINT NOT NULL DEFAULT 0;
-- outbox: when the code in it was typed
ALTER TABLE outbox_letter ADD COLUMN typed_at BIGINT;
