-- +goose Up
-- What phones vouch for of their apps' keys.

-- device
ALTER TABLE device ADD COLUMN attested TEXT NOT NULL DEFAULT ''; -- android_tee, android_strongbox, app_attest; '': nothing
