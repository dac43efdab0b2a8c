-- +goose Up
-- Times are integer milliseconds since 1970 UTC, ids are UUIDv7 text, secrets are keyed
-- digests, contact data is sealed. The comment on each table names the package that owns it.

-- keyring: which keys this database was written with
CREATE TABLE keyring_check (
    key_id     TEXT PRIMARY KEY,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- audit: append-only record of security events; no contact data
CREATE TABLE audit_event (
    id         TEXT PRIMARY KEY,
    at         BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    account_id TEXT,
    actor      TEXT NOT NULL,
    source     BYTEA,          -- client address, sealed
    detail     TEXT NOT NULL,  -- JSON, no contact data
    mac        BYTEA NOT NULL
);
-- for holders, and for operators who ask what happened to an account
CREATE INDEX audit_event_account ON audit_event (account_id, at);

-- outbox: letters accepted, not yet sent
CREATE TABLE outbox_letter (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    channel     TEXT NOT NULL,          -- email, sms
    account_id  TEXT,
    sealed      BYTEA,                  -- recipient and words, sealed; NULL once done
    state       TEXT NOT NULL,          -- waiting, sent, withheld, expired, dead
    attempts    INTEGER NOT NULL,
    next_at     BIGINT NOT NULL,
    lease       TEXT,
    expires_at  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    done_at     BIGINT,
    provider    TEXT,
    provider_id TEXT,
    last_error  TEXT
);
CREATE INDEX outbox_letter_due ON outbox_letter (state, next_at);

-- throttle: how often anything may be tried. key is a keyed digest
CREATE TABLE throttle_bucket (
    key        BYTEA PRIMARY KEY,
    tat        BIGINT NOT NULL,         -- theoretical arrival time of GCRA
    expires_at BIGINT NOT NULL
);
CREATE INDEX throttle_bucket_expires ON throttle_bucket (expires_at);
CREATE TABLE throttle_failure (
    key        BYTEA PRIMARY KEY,
    failures   INTEGER NOT NULL,        -- consecutive, counted before they are evaluated
    not_before BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX throttle_failure_expires ON throttle_failure (expires_at);

-- account: who exists. state decoy rows stand in for whoever does not
CREATE TABLE account (
    id         TEXT PRIMARY KEY,
    state      TEXT NOT NULL,           -- active, locked, closed, decoy
    language   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE TABLE account_identifier (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES account (id),
    kind        TEXT NOT NULL,          -- email, phone, username
    lookup      BYTEA NOT NULL,         -- keyed blind index of the normal form
    sealed      BYTEA NOT NULL,         -- the normal form, sealed
    signs_in    BOOLEAN NOT NULL,
    notices     BOOLEAN NOT NULL,
    recovers    BOOLEAN NOT NULL,
    verified_at BIGINT,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX account_identifier_signin ON account_identifier (lookup) WHERE signs_in;
CREATE INDEX account_identifier_account ON account_identifier (account_id);

-- password
CREATE TABLE password (
    account_id TEXT PRIMARY KEY REFERENCES account (id),
    hash       TEXT NOT NULL,           -- PHC string over the peppered NFC form
    key_id     TEXT NOT NULL,           -- of the pepper
    set_at     BIGINT NOT NULL
);

-- device: returning devices that may skip the second step
CREATE TABLE device (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES account (id),
    name          TEXT NOT NULL,
    public_key    BYTEA NOT NULL,       -- SubjectPublicKeyInfo, P-256
    created_at    BIGINT NOT NULL,
    last_seen_at  BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    ended_why     TEXT
);
-- live ones only: what an account had before must not make its next sign-in slower
CREATE INDEX device_account ON device (account_id) WHERE ended_at IS NULL;
CREATE INDEX device_expires ON device (expires_at);
CREATE TABLE device_handle (
    digest     BYTEA PRIMARY KEY,
    device_id  TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    spent_at   BIGINT
);
CREATE INDEX device_handle_device ON device_handle (device_id);

-- session: signed-in browsers and apps
CREATE TABLE session (
    id               TEXT PRIMARY KEY,
    digest           BYTEA NOT NULL UNIQUE,
    account_id       TEXT NOT NULL REFERENCES account (id),
    device_id        TEXT,
    name             TEXT NOT NULL,
    methods          TEXT NOT NULL,     -- what was proved, comma separated: password,sms,email,device
    created_at       BIGINT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    last_seen_at     BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    ended_why        TEXT
);
CREATE INDEX session_account ON session (account_id) WHERE ended_at IS NULL; -- live ones only, as above
CREATE INDEX session_expires ON session (expires_at);
-- session: what nodes tell one another (ended sessions); re-read over a short window
CREATE TABLE session_change (
    id         TEXT PRIMARY KEY,
    at         BIGINT NOT NULL,
    session_id TEXT NOT NULL
);
CREATE INDEX session_change_at ON session_change (at);

-- onetime: one code a flow, the newest
CREATE TABLE onetime_code (
    flow_id    TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    way        TEXT NOT NULL,           -- sms, email
    digest     BYTEA NOT NULL,
    sends      INTEGER NOT NULL,
    sent_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    spent_at   BIGINT
);
CREATE INDEX onetime_code_expires ON onetime_code (expires_at);

-- signin: flows under way
CREATE TABLE signin_flow (
    id          TEXT PRIMARY KEY,
    handle      BYTEA NOT NULL UNIQUE,  -- keyed digest of the handle
    browser     BYTEA NOT NULL,         -- keyed digest of the browser's secret
    account_id  TEXT NOT NULL,
    name_key    BYTEA NOT NULL,         -- keyed digest of the name typed: limits that show count by it
    owner_key   BYTEA NOT NULL,         -- stands for the account: limits over all its names count by it
    step        TEXT NOT NULL,          -- password, device, second, done, over
    barred      BOOLEAN NOT NULL,       -- can never succeed: unknown, locked, closed, or wrong password
    taken       INTEGER NOT NULL,       -- tries of the source's limit, which a success gives back
    nonce       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX signin_flow_expires ON signin_flow (expires_at);
