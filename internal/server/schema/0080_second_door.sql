-- +goose Up
-- The second door alone, for applications that have accounts of their own.

-- signin: the application that looked at the first proof, and the origin of its pages, whose browsers sign
ALTER TABLE signin_flow ADD COLUMN app TEXT NOT NULL DEFAULT '';
ALTER TABLE signin_flow ADD COLUMN site TEXT NOT NULL DEFAULT '';
