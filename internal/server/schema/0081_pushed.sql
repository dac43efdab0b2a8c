-- +goose Up
-- Requests that applications push before a browser brings them (RFC 9126).

-- oidc: what was pushed, until a browser has brought it
CREATE TABLE oidc_pushed (
    digest     BYTEA PRIMARY KEY,
    client_id  TEXT NOT NULL,
    parameters TEXT NOT NULL,  -- as in a query: what the request says
    request_id TEXT,           -- what came of it, in the one browser that brought it
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL -- when nobody may bring it any more; of one that was brought, when the request ends
);
CREATE INDEX oidc_pushed_expires ON oidc_pushed (expires_at);
