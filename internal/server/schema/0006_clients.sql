-- +goose Up
-- Which versions of which applications may call the API.

-- client: what the operator decided about an application. Bounds are versions, "all" or "".
CREATE TABLE client_rule (
    client       TEXT PRIMARY KEY,
    warn_below   TEXT NOT NULL,
    refuse_below TEXT NOT NULL,
    warned_at    BIGINT NOT NULL, -- since when; 0: nobody is warned
    sunset_at    BIGINT NOT NULL, -- from then on who is warned is refused; 0: never
    changed_at   BIGINT NOT NULL
);
-- client: versions of the API that are withdrawn, or will be
CREATE TABLE client_api (
    version      TEXT PRIMARY KEY,
    announced_at BIGINT NOT NULL,
    retired_at   BIGINT NOT NULL
);
-- client: two rows that change with every change of the rules (1) and of the counts (2). Nodes look
-- at the first to see whether to read the rules again; both let one change follow the other.
CREATE TABLE client_revision (
    id       INTEGER PRIMARY KEY,
    revision BIGINT NOT NULL
);
INSERT INTO client_revision (id, revision) VALUES (1, 0);
INSERT INTO client_revision (id, revision) VALUES (2, 0);
-- client: which versions call what
CREATE TABLE client_usage (
    client     TEXT NOT NULL,
    version    TEXT NOT NULL,
    route      TEXT NOT NULL,
    calls      BIGINT NOT NULL,
    refused    BIGINT NOT NULL,         -- of the calls
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (client, version, route)
);
CREATE INDEX client_usage_seen ON client_usage (last_seen);
