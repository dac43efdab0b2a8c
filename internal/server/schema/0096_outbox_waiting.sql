-- +goose Up
-- outbox: letters that wait, in the order in which they are taken. Without statistics, which a table that fills at once does not have, PostgreSQL sorted the whole
-- backlog for each hundred letters.
CREATE INDEX outbox_letter_waiting ON outbox_letter (channel, next_at) WHERE state = 'waiting';
