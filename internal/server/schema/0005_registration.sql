-- +goose Up
-- How people open accounts.

-- registration: accounts being opened. What was typed is sealed, with room for any of it
CREATE TABLE registration_flow (
    id            TEXT PRIMARY KEY,
    handle        BYTEA NOT NULL UNIQUE, -- keyed digest of the handle
    browser       BYTEA NOT NULL,        -- keyed digest of the browser's secret
    sealed        BYTEA NOT NULL,        -- the address and the languages
    name_key      BYTEA NOT NULL,        -- keyed digest of the address: limits count by it
    invitation_id TEXT NOT NULL,         -- empty where none is needed
    step          TEXT NOT NULL,         -- code, about, done
    barred        BOOLEAN NOT NULL,      -- can never succeed: the address is taken
    nonce         TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX registration_flow_expires ON registration_flow (expires_at);
-- registration: who accepted which terms when
CREATE TABLE registration_consent (
    account_id  TEXT NOT NULL REFERENCES account (id),
    version     TEXT NOT NULL,
    accepted_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, version)
);
-- registration: who may open an account where not everybody may
CREATE TABLE registration_invitation (
    id         TEXT PRIMARY KEY,
    digest     BYTEA NOT NULL UNIQUE,    -- keyed, of the secret in the link
    bound_to   BYTEA,                    -- keyed digest of the one address it is for; NULL: any
    uses       INTEGER NOT NULL,
    uses_left  INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX registration_invitation_expires ON registration_invitation (expires_at);
