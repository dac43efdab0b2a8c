-- +goose Up
-- Passkeys.

-- passkey
CREATE TABLE passkey (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL REFERENCES account (id),
    lookup          BYTEA NOT NULL UNIQUE, -- keyed digest of the credential's id: it is nobody else's, even once removed
    credential      BYTEA NOT NULL,        -- its id and public key, and of which make it is, sealed
    name            BYTEA NOT NULL,        -- as its holder calls it, sealed
    backup_eligible BOOLEAN NOT NULL,      -- may be copied to other devices; never changes
    backed_up       BOOLEAN NOT NULL,
    user_verified   BOOLEAN NOT NULL,      -- when it was enrolled
    sign_count      BIGINT NOT NULL,       -- the highest seen; 0 for those that do not count
    created_at      BIGINT NOT NULL,
    last_used_at    BIGINT,
    ended_at        BIGINT,
    ended_why       TEXT
);
CREATE INDEX passkey_account ON passkey (account_id);
CREATE INDEX passkey_ended ON passkey (ended_at) WHERE ended_at IS NOT NULL;

-- passkey: challenges that have been answered, until they would have expired
CREATE TABLE passkey_spent (
    challenge  BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX passkey_spent_expires ON passkey_spent (expires_at);
