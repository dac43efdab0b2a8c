-- +goose Up

-- seconddoor: where the codes of an account went that its application erased, so that it opens under another address only later
CREATE TABLE door_former (
    name    BYTEA NOT NULL,  -- a stable digest of the application and what it called the account
    contact BYTEA NOT NULL,  -- a stable digest of an address
    until   BIGINT NOT NULL,
    PRIMARY KEY (name, contact)
);
CREATE INDEX door_former_until ON door_former (until);
