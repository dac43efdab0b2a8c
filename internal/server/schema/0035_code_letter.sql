-- +goose Up
-- A flow's page tells what became of the message with its code.

-- onetime: the letter with the newest code; NULL where nobody asks what becomes of it
ALTER TABLE onetime_code ADD COLUMN letter_id TEXT;
