-- +goose Up
-- What holders see of their devices and sessions, and what an erased account leaves behind: nothing.

-- session
ALTER TABLE session ADD COLUMN source BYTEA; -- network address that it was opened from, sealed
-- Those that ended, for erasing them. Together with session_account it has every row, and a sign-in writes only that one.
CREATE INDEX session_over ON session (account_id) WHERE ended_at IS NOT NULL;

-- device
ALTER TABLE device ADD COLUMN source BYTEA; -- network address that it last signed in from, sealed
CREATE INDEX device_over ON device (account_id) WHERE ended_at IS NOT NULL; -- as with sessions

-- notice
CREATE INDEX notice_link_account ON notice_link (account_id);

-- recovery
CREATE INDEX recovery_flow_over ON recovery_flow (account_id) WHERE ended_at IS NOT NULL;

-- profile
CREATE INDEX profile_address_flow_account ON profile_address_flow (account_id);
