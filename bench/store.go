package main

import (
	"context"
	"strconv"
	"strings"

	"countersign/internal/platform/sqldb"
)

// widen gives SQLite's one writer room for the pages that a filler comes back to again and again.
// The served database never sees it: the setting is the connection's.
func widen(ctx context.Context, tx *sqldb.Tx, e sqldb.Engine) error {
	if e != sqldb.SQLite {
		return nil
	}
	_, err := tx.Exec(ctx, `PRAGMA cache_size = -512000`)
	return err
}

// forget clears the limits that an earlier run has used up, and letters that it left.
func forget(ctx context.Context, tx *sqldb.Tx) error {
	for _, table := range []string{"throttle_bucket", "throttle_failure", "outbox_letter"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	return nil
}

// tables are what the filler writes, in an order that foreign keys allow.
func tables() []bulk {
	return []bulk{
		{"account", "id state language created_at changed_at", nil},
		{"account_identifier", "id account_id kind sealed signs_in notices recovers verified_at created_at", nil},
		{"account_lookup", "lookup account_id", nil},
		{"password", "account_id hash key_id set_at", nil},
		{"device", "id account_id name public_key created_at last_seen_at expires_at", nil},
		{"device_handle", "digest device_id created_at", nil},
		{"session", "id digest account_id device_id name methods created_at authenticated_at last_seen_at expires_at", nil},
	}
}

// bulk gathers a table's rows: one statement writes some, since most of what a statement costs is being
// read, but not hundreds, since the SQLite driver seeks each argument's name among all.
type bulk struct {
	name, columns string
	args          []any
}

func (t *bulk) add(values ...any) { t.args = append(t.args, values...) }

func (t *bulk) write(ctx context.Context, tx *sqldb.Tx) error {
	columns := strings.Fields(t.columns)
	step := len(columns) * 20
	for len(t.args) > 0 {
		n := min(step, len(t.args))
		var b strings.Builder
		b.WriteString("INSERT INTO " + t.name + " (" + strings.Join(columns, ", ") + ") VALUES ")
		for i := range n {
			switch {
			case i == 0:
				b.WriteString("($")
			case i%len(columns) == 0:
				b.WriteString("), ($")
			default:
				b.WriteString(", $")
			}
			b.WriteString(strconv.Itoa(i + 1))
		}
		b.WriteString(")")
		if _, err := tx.Exec(ctx, b.String(), t.args[:n]...); err != nil {
			return err
		}
		t.args = t.args[n:]
	}
	return nil
}
