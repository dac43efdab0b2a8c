-- +goose Up
-- The second door as OpenID Connect.

-- signin: the application's request that a flow is for, in a browser on our own pages, and what such a flow has proved once it is done
ALTER TABLE signin_flow ADD COLUMN request TEXT NOT NULL DEFAULT '';
ALTER TABLE signin_flow ADD COLUMN methods TEXT NOT NULL DEFAULT '';
CREATE INDEX signin_flow_request ON signin_flow (request) WHERE request <> '';
