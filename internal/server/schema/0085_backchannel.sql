-- +goose Up
-- Applications are told that somebody is signed out (OpenID Connect Back-Channel Logout).

-- oidc: applications that have still to be told. Who it is about stands here by the names that they know, so that an erased account is told of too
CREATE TABLE oidc_logout (
    id         TEXT PRIMARY KEY,
    client_id  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    sid        TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL, -- when it is due; with a lease, when that runs out
    lease      TEXT,
    give_up_at BIGINT NOT NULL  -- a try that fails after this is the last
);
CREATE INDEX oidc_logout_due ON oidc_logout (client_id, next_at);
