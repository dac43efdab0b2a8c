-- +goose Up
-- What an account's holder may change.

-- account
ALTER TABLE account ADD COLUMN frozen_until BIGINT NOT NULL DEFAULT 0; -- no change of addresses, contacts or recovery code before
ALTER TABLE account ADD COLUMN erase_at     BIGINT;                    -- its holder wants it erased then
CREATE INDEX account_erase ON account (erase_at) WHERE erase_at IS NOT NULL;
-- account: every change of addresses with what was before, so that it can be undone, and so that
-- who was written to lately is still told. A removed address is held for its account for a while.
CREATE TABLE account_address_change (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES account (id),
    identifier_id TEXT NOT NULL,
    what          TEXT NOT NULL,           -- added, removed, uses
    at            BIGINT NOT NULL,
    kind          TEXT NOT NULL,
    lookup        BYTEA NOT NULL,
    sealed        BYTEA NOT NULL,          -- under the place it has in account_identifier
    signs_in      BOOLEAN NOT NULL,        -- before the change
    notices       BOOLEAN NOT NULL,
    recovers      BOOLEAN NOT NULL,
    verified_at   BIGINT,
    created_at    BIGINT NOT NULL,
    held_until    BIGINT NOT NULL          -- nobody else can sign in with it before; 0: not held
);
CREATE INDEX account_address_change_account ON account_address_change (account_id, at);
CREATE INDEX account_address_change_held ON account_address_change (lookup, held_until) WHERE held_until > 0;
CREATE INDEX account_address_change_at ON account_address_change (at);
-- account: what else an operator asks people for (name, birthday, …)
CREATE TABLE account_claim (
    account_id TEXT NOT NULL REFERENCES account (id),
    name       TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    PRIMARY KEY (account_id, name)
);
