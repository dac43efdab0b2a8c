-- +goose Up
-- Applications' tokens that are bound to a key (RFC 9449).

-- oidc: the key's thumbprint (RFC 7638); empty for none. Of a grant whose code was not used yet: the key that was announced
ALTER TABLE oidc_grant ADD COLUMN jkt TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_token ADD COLUMN jkt TEXT NOT NULL DEFAULT '';
