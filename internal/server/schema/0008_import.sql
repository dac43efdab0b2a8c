-- +goose Up
-- What is brought along from other systems.

-- password
ALTER TABLE password ADD COLUMN family TEXT NOT NULL DEFAULT ''; -- of a hash that another system made; '' is ours
ALTER TABLE password ADD COLUMN work   BIGINT NOT NULL DEFAULT 0;
ALTER TABLE password ADD COLUMN sealed BYTEA;                    -- that hash, or what is done before ours
CREATE INDEX password_family ON password (family, work) WHERE family <> '';
-- password: which of those are in use, and the most work of each: everybody's check does as much
CREATE TABLE password_kind (
    family  TEXT PRIMARY KEY,
    work    BIGINT NOT NULL,
    seen_at BIGINT NOT NULL             -- when the last one came
);
-- transfer: the lines that were imported, so that none is twice
CREATE TABLE transfer_line (
    digest BYTEA PRIMARY KEY,           -- its number, and keyed what it says
    at     BIGINT NOT NULL
);
CREATE INDEX transfer_line_at ON transfer_line (at);
-- signin: what replaces another system's hash once the flow is done, sealed; of the same length for all.
-- Only where the answers do not say whether the password was right.
ALTER TABLE signin_flow ADD COLUMN renewal BYTEA;
