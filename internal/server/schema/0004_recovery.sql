-- +goose Up
-- Ways back into an account.

-- recovery: recoveries under way
CREATE TABLE recovery_flow (
    id         TEXT PRIMARY KEY,
    handle     BYTEA NOT NULL UNIQUE,  -- keyed digest of the handle
    browser    BYTEA NOT NULL,         -- keyed digest of the browser's secret
    account_id TEXT NOT NULL,          -- a decoy's for whoever does not exist
    name_key   BYTEA NOT NULL,         -- keyed digest of the name typed: limits that show count by it
    owner_key  BYTEA NOT NULL,         -- stands for the account: silent limits count by it
    to_key     BYTEA NOT NULL,         -- keyed digest of the destination typed
    way        TEXT NOT NULL,          -- sms, email: how the last code went
    address_id TEXT NOT NULL,          -- which address of the account the destination typed is, if any
    barred     BOOLEAN NOT NULL,       -- can never succeed
    proved     TEXT NOT NULL,          -- what was proved, comma separated
    saved      BYTEA,                  -- keyed digest of the saved code that was shown
    asked_at   BIGINT,                 -- the contacts were sent their codes
    ready_at   BIGINT,                 -- the wait is over then
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at   BIGINT
);
CREATE INDEX recovery_flow_expires ON recovery_flow (expires_at);
CREATE INDEX recovery_flow_account ON recovery_flow (account_id) WHERE ended_at IS NULL;

-- recovery: people whom a holder trusts
CREATE TABLE recovery_contact (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id),
    sealed     BYTEA NOT NULL,         -- names and address, sealed
    created_at BIGINT NOT NULL
);
CREATE INDEX recovery_contact_account ON recovery_contact (account_id);
-- recovery: the code of each contact in a recovery
CREATE TABLE recovery_contact_code (
    flow_id    TEXT NOT NULL REFERENCES recovery_flow (id) ON DELETE CASCADE,
    contact_id TEXT NOT NULL REFERENCES recovery_contact (id) ON DELETE CASCADE,
    digest     BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT,
    PRIMARY KEY (flow_id, contact_id)
);
CREATE INDEX recovery_contact_code_contact ON recovery_contact_code (contact_id);

-- recovery: saved codes; every decoy has one that nothing opens
CREATE TABLE recovery_saved_code (
    lookup     BYTEA PRIMARY KEY,      -- keyed digest of the account's id: who has none reads the next one's row, and that must be anybody's
    account_id TEXT NOT NULL REFERENCES account (id),
    digest     BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX recovery_saved_code_account ON recovery_saved_code (account_id);
