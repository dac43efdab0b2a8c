-- +goose Up
-- Applications are told of security events by signed webhooks.

-- subscriber: who is told, and where
CREATE TABLE subscriber (
    id         TEXT PRIMARY KEY,
    url        BYTEA NOT NULL,  -- sealed: its path may be a secret
    created_at BIGINT NOT NULL,
    paused_at  BIGINT,
    paused_why TEXT
);

-- subscriber: of which kinds; * is every kind
CREATE TABLE subscriber_kind (
    kind          TEXT NOT NULL,
    subscriber_id TEXT NOT NULL,
    PRIMARY KEY (kind, subscriber_id)
);

-- subscriber: what deliveries are signed with, more than one while one replaces another
CREATE TABLE subscriber_secret (
    id            TEXT PRIMARY KEY,
    subscriber_id TEXT NOT NULL,
    sealed        BYTEA NOT NULL,
    expires_at    BIGINT          -- NULL: not replaced
);

-- subscriber: the events that somebody has still to be told of; what they say is in audit_event
CREATE TABLE subscriber_event (
    subscriber_id TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    account_id    TEXT,
    state         TEXT NOT NULL,    -- waiting, dead
    attempts      BIGINT NOT NULL,
    next_at       BIGINT NOT NULL,  -- when it is due; with a lease, when that runs out
    lease         TEXT,
    give_up_at    BIGINT NOT NULL,  -- a try that fails after this is the last
    created_at    BIGINT NOT NULL,
    last_error    TEXT,
    PRIMARY KEY (subscriber_id, event_id)
);
CREATE INDEX subscriber_event_due ON subscriber_event (subscriber_id, state, next_at);
-- what an account's event waits behind
CREATE INDEX subscriber_event_order ON subscriber_event (subscriber_id, account_id, event_id);
