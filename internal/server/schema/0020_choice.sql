-- +goose Up
-- What operators and holders choose about the second door.

-- account: groups that the operator puts accounts in
CREATE TABLE account_group (
    account_id TEXT NOT NULL REFERENCES account (id),
    name       TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
);
CREATE INDEX account_group_name ON account_group (name, account_id);

-- factor: a policy or '' each, and ways with commas between them
CREATE TABLE factor_choice (
    account_id TEXT PRIMARY KEY REFERENCES account (id),
    operator   TEXT NOT NULL,
    holder     TEXT NOT NULL,
    ways       TEXT NOT NULL,    -- the holder's order
    off        TEXT NOT NULL,    -- those that the holder does not want to be sent
    asked      INTEGER NOT NULL  -- sign-ins that asked to enrol something better
);

-- factor: those with a hundred wrong codes in a row, until they are set up anew
CREATE TABLE factor_stopped (
    account_id TEXT NOT NULL REFERENCES account (id),
    way        TEXT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (account_id, way)
);

-- session: good for nothing before something is enrolled
ALTER TABLE session ADD COLUMN enrol BOOLEAN NOT NULL DEFAULT FALSE;

-- signin: the device that was recognised on the way to a second door that is asked for all the same
ALTER TABLE signin_flow ADD COLUMN device TEXT NOT NULL DEFAULT '';
