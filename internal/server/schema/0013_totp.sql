-- +goose Up
-- One-time codes that an app or a hardware token computes.

-- totp: who has which secret, and up to where its codes are used up
CREATE TABLE totp_authenticator (
    id           TEXT PRIMARY KEY,
    account_id   TEXT REFERENCES account (id), -- NULL: a hardware token that nobody has
    serial_key   BYTEA UNIQUE,            -- keyed digest of a hardware token's serial number; NULL: an app
    serial       BYTEA,                   -- the number, sealed
    kind         TEXT NOT NULL,           -- totp, hotp
    algorithm    TEXT NOT NULL,           -- SHA1, SHA256, SHA512
    digits       INTEGER NOT NULL,
    period       INTEGER NOT NULL,        -- seconds of a step; 0 for hotp
    secret       BYTEA NOT NULL,          -- sealed
    name         BYTEA NOT NULL,          -- its holder's, sealed
    next         BIGINT NOT NULL,         -- the first step or counter whose code is not used up
    drift        BIGINT NOT NULL,         -- steps that its clock is ahead of ours
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,                  -- of an enrolment that no code has proved yet
    confirmed_at BIGINT,
    last_used_at BIGINT
);
-- Every check reads a few rows of this from its account on, so it has no others.
CREATE INDEX totp_authenticator_confirmed ON totp_authenticator (account_id, id) WHERE confirmed_at IS NOT NULL;
-- An account has one enrolment under way at the most.
CREATE UNIQUE INDEX totp_authenticator_begun ON totp_authenticator (account_id) WHERE confirmed_at IS NULL;
CREATE INDEX totp_authenticator_expires ON totp_authenticator (expires_at) WHERE expires_at IS NOT NULL;
