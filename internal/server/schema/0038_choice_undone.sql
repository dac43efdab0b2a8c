-- +goose Up
-- What a thief takes back of a holder's choice comes back.

-- factor: when the holder's wish to be asked at every sign-in was last taken back; 0: never
ALTER TABLE factor_choice ADD COLUMN eased_at BIGINT NOT NULL DEFAULT 0;
