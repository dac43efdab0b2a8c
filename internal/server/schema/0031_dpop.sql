-- +goose Up
-- Sessions of apps that are bound to a key (DPoP, RFC 9449).

-- session
ALTER TABLE session ADD COLUMN key_thumbprint TEXT; -- RFC 7638, SHA-256; null: whoever has the token has the session

-- dpop: proofs that were used, of apps whose calls go to several nodes
CREATE TABLE dpop_proof (
    digest     BYTEA PRIMARY KEY, -- of the key's thumbprint and the proof's own name
    expires_at BIGINT NOT NULL
);
CREATE INDEX dpop_proof_expires ON dpop_proof (expires_at);
