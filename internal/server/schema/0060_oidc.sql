-- +goose Up
-- Applications that sign people in through us (OpenID Connect).

-- oidc: applications that were registered by command; others stand in the file of clients
CREATE TABLE oidc_client (
    id            TEXT PRIMARY KEY,
    metadata      TEXT NOT NULL,   -- JSON: name, redirect URIs, scopes, public keys
    secret        BYTEA,           -- a stable digest; null for one that has none
    former_secret BYTEA,           -- the one before it, which is taken until former_until
    former_until  BIGINT,
    created_at    BIGINT NOT NULL
);

-- oidc: the keys that tokens are signed with
CREATE TABLE oidc_key (
    id         TEXT PRIMARY KEY, -- RFC 7638, SHA-256: what tokens call kid
    alg        TEXT NOT NULL,
    jwk        TEXT NOT NULL,    -- the public half
    sealed     BYTEA NOT NULL,   -- the private half, PKCS #8
    created_at BIGINT NOT NULL,
    ends_at    BIGINT            -- published until then; null for the newest of its kind
);

-- oidc: authorization requests that wait for somebody to sign in, or to consent
CREATE TABLE oidc_request (
    id         TEXT PRIMARY KEY,
    client_id  TEXT NOT NULL,
    browser    BYTEA NOT NULL,     -- digest of the secret of the browser that brought it
    request    TEXT NOT NULL,      -- JSON
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    done_at    BIGINT
);
CREATE INDEX oidc_request_expires ON oidc_request (expires_at);

-- oidc: what an application was let do for an account. Its code, and the tokens that follow, are of one family
CREATE TABLE oidc_grant (
    id               TEXT PRIMARY KEY,
    client_id        TEXT NOT NULL,
    account_id       TEXT NOT NULL REFERENCES account (id),
    session_id       TEXT NOT NULL, -- the first of the line of sessions that it was given in
    scopes           TEXT NOT NULL,
    code             BYTEA NOT NULL, -- digest
    code_until       BIGINT NOT NULL,
    code_used_at     BIGINT,
    redirect_uri     TEXT NOT NULL,
    challenge        TEXT NOT NULL, -- PKCE, S256; empty for a client that is exempt
    nonce            TEXT NOT NULL,
    methods          TEXT NOT NULL, -- what the sign-in proved
    authenticated_at BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    ended_why        TEXT
);
CREATE UNIQUE INDEX oidc_grant_code ON oidc_grant (code);
CREATE INDEX oidc_grant_account ON oidc_grant (account_id, client_id);
CREATE INDEX oidc_grant_expires ON oidc_grant (expires_at);

-- oidc: access and refresh tokens
CREATE TABLE oidc_token (
    digest     BYTEA PRIMARY KEY,
    grant_id   TEXT NOT NULL REFERENCES oidc_grant (id),
    kind       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT            -- of a refresh token, which is kept to be known when it comes again
);
CREATE INDEX oidc_token_grant ON oidc_token (grant_id);
CREATE INDEX oidc_token_expires ON oidc_token (expires_at);

-- oidc: what holders agreed to, so that they are not asked again
CREATE TABLE oidc_consent (
    account_id TEXT NOT NULL REFERENCES account (id),
    client_id  TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    given_at   BIGINT NOT NULL,
    PRIMARY KEY (account_id, client_id)
);

-- oidc: assertions by which applications proved who they are, each good for one call
CREATE TABLE oidc_assertion (
    digest     BYTEA PRIMARY KEY, -- of the application's id and the assertion's own name
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_assertion_expires ON oidc_assertion (expires_at);

-- session: a session that takes another's place, after its holder has proved once more who they are, is of its line
ALTER TABLE session ADD COLUMN origin_id TEXT NOT NULL DEFAULT ''; -- the first of the line; empty: itself

-- signin
ALTER TABLE signin_flow ADD COLUMN least TEXT NOT NULL DEFAULT ''; -- the assurance that is asked for, where that is more than usual
