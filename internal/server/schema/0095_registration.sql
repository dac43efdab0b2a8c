-- +goose Up
-- Applications that register themselves with a token of the operator's (RFC 7591), and read, change or take back what they said (RFC 7592).

-- oidc: initial access tokens that were not used yet
CREATE TABLE oidc_invitation (
    digest     BYTEA PRIMARY KEY, -- stable
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_invitation_expires ON oidc_invitation (expires_at);

-- oidc: the stable digest of the token that changes an application; null for one that a command registered
ALTER TABLE oidc_client ADD COLUMN own_token BYTEA;
