-- +goose Up
-- What holders are told, and how they say that it was not them.

-- notice: the links in letters. digest is keyed, of the secret behind the #
CREATE TABLE notice_link (
    digest     BYTEA PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id),
    address_id TEXT NOT NULL,           -- the identifier that the letter went to
    kind       TEXT NOT NULL,           -- of the letter
    at         BIGINT NOT NULL,         -- of what it told
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);
CREATE INDEX notice_link_expires ON notice_link (expires_at);

-- signin: a right password with a failed second proof is told once, some time after
ALTER TABLE signin_flow ADD COLUMN failed_at   BIGINT; -- of the last wrong code, until its holder is told
ALTER TABLE signin_flow ADD COLUMN failed_from BYTEA;  -- whence it came, sealed
CREATE INDEX signin_flow_failed ON signin_flow (failed_at) WHERE failed_at IS NOT NULL;

-- password: one that may be known to somebody opens nothing until it is replaced
ALTER TABLE password ADD COLUMN stopped_at BIGINT;
