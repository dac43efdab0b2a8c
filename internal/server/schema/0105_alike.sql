-- +goose Up
-- As 0041: whether an account has an app or a token is looked up in an index alone, since no decoy has one to read (P2).

-- totp
CREATE INDEX totp_authenticator_has ON totp_authenticator (account_id, confirmed_at) WHERE confirmed_at IS NOT NULL;
