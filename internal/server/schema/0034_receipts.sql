-- +goose Up
-- What providers tell of letters they took.

-- outbox: delivery is underway, unclear, not_delivered or delivered; NULL: nobody has told
ALTER TABLE outbox_letter ADD COLUMN delivery TEXT;
ALTER TABLE outbox_letter ADD COLUMN delivery_at BIGINT;
-- message centres know letters by their own ids alone
CREATE INDEX outbox_letter_smpp ON outbox_letter (provider_id) WHERE provider = 'smpp';
