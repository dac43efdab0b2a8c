-- +goose Up
-- Devices without a browser are signed in by somebody at another one (RFC 8628).

-- oidc: devices that wait to be let in
CREATE TABLE oidc_device (
    id          TEXT PRIMARY KEY,
    client_id   TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    least       TEXT NOT NULL,   -- the assurance that is asked for; empty for the usual
    device_code BYTEA NOT NULL,  -- digest
    user_code   BYTEA NOT NULL,  -- digest
    state       TEXT NOT NULL,   -- waiting, allowed, refused, used
    grant_id    TEXT,            -- once it is allowed
    pause       BIGINT NOT NULL, -- between two questions of the device, in milliseconds
    next_at     BIGINT NOT NULL, -- when it may ask again
    expires_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX oidc_device_code ON oidc_device (device_code);
CREATE INDEX oidc_device_user ON oidc_device (user_code);
CREATE INDEX oidc_device_expires ON oidc_device (expires_at);
