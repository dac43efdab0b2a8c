-- +goose Up
-- Applications get access tokens in their own name (client credentials).

-- oidc: access tokens that are about nobody
CREATE TABLE oidc_own_token (
    digest     BYTEA PRIMARY KEY,
    client_id  TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    key        TEXT NOT NULL,   -- that it is bound to (RFC 9449); empty for none
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_own_token_expires ON oidc_own_token (expires_at);
