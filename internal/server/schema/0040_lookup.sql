-- +goose Up
-- What people are found by, in a table of its own: it is written in its own order, as no table of people can be.

-- account: an index for each key under which somebody's name is looked for. Those of one key stand together, but for
-- the first key that the database had: see keyring
CREATE TABLE account_lookup (
    lookup     BYTEA PRIMARY KEY,       -- keyed blind index of the normal form of what signs in
    account_id TEXT NOT NULL            -- of account; no reference: each row would be looked up that is written
) /*sqlite WITHOUT ROWID*/;
INSERT INTO account_lookup (lookup, account_id)
    SELECT lookup, account_id FROM account_identifier
    WHERE signs_in AND account_id <> 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY lookup;
-- the last of all, which no key makes: 40 times ff
INSERT INTO account_lookup (lookup, account_id)
    SELECT /*sqlite CAST(*/ lookup || substr(lookup, 1, 40 - length(lookup)) /*sqlite AS BLOB)*/, account_id FROM account_identifier
    WHERE account_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
DROP INDEX account_identifier_signin;
ALTER TABLE account_identifier DROP COLUMN lookup;
