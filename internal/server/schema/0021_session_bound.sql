-- +goose Up
-- Sessions that are bound to the key of the browser they were opened in (DBSC).

-- session
ALTER TABLE session ADD COLUMN bound_at BIGINT; -- null: it is not
