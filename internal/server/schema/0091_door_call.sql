-- +goose Up

-- seconddoor: calls that applications gave a name, and what came of them, so that a repetition has no other effect
CREATE TABLE door_call (
    name       BYTEA PRIMARY KEY, -- a stable digest of the application and its name for the call
    id         TEXT NOT NULL,     -- of this try; the answer is sealed to it
    print      BYTEA NOT NULL,    -- a stable digest of what was asked
    taken_till BIGINT NOT NULL,   -- when a try that has not answered is given up
    answer     BYTEA,             -- sealed; null while it is under way
    expires_at BIGINT NOT NULL
);
CREATE INDEX door_call_expires ON door_call (expires_at);
