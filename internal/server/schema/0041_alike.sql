-- +goose Up
-- Whether an account has a passkey or a list is looked up in an index alone: reading its rows, which no decoy has, takes a time
-- that tells (P2).

-- passkey
CREATE INDEX passkey_live ON passkey (account_id, ended_at) WHERE ended_at IS NULL;

-- backup
CREATE INDEX backup_code_left ON backup_code (account_id, used_at) WHERE used_at IS NULL;
