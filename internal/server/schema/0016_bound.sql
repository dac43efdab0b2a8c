-- +goose Up
-- Keys that browsers bind to the machine (DBSC).

-- device
ALTER TABLE device ADD COLUMN bound_key BYTEA; -- SubjectPublicKeyInfo, P-256 or RSA; null: it has none
CREATE TABLE device_challenge ( -- those that have been answered, until they would have expired
    digest     BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX device_challenge_expires ON device_challenge (expires_at);

-- signin
ALTER TABLE signin_flow ADD COLUMN asked BIGINT NOT NULL DEFAULT 0; -- times that the device was asked to sign with such a key
