package leak_test

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// snapshot is every row of every table, by table and primary key (the first column of each, or
// as many as keyed says). A row's values stand in the order of the columns.
type snapshot map[string]map[string]row

// keyed is how many columns a primary key has that has several.
var keyed = map[string]int{"account_claim": 2, "recovery_contact_code": 2, "registration_consent": 2, "client_usage": 3, "keyring_lack": 2, "backup_code": 2, "account_group": 2, "factor_stopped": 2, "subscriber_kind": 2, "subscriber_event": 2}

type row []any

// tables lists the tables and their columns. New tables are compared without being asked to.
func tables(t testing.TB, db *sqldb.DB) map[string][]string {
	t.Helper()
	query := `SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, p.cid`
	if db.Engine() == sqldb.Postgres {
		query = `SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position`
	}
	out := map[string][]string{}
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), query, func(scan func(...any) error) error {
			var table, column string
			if err := scan(&table, &column); err != nil {
				return err
			}
			out[table] = append(out[table], column)
			return nil
		})
	})
	if err != nil || len(out) < 10 {
		t.Fatalf("list tables: %d, %v", len(out), err)
	}
	return out
}

// reader takes snapshots of a database, one after another. A table is read again only when its trigger said that it was written to: to read
// them all after every request took most of the time of these tests.
type reader struct {
	db      *sqldb.DB
	columns map[string][]string // of every table

	last snapshot
}

const postgresTouch = `CREATE FUNCTION leak_touch() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO leak_touched VALUES (TG_TABLE_NAME); RETURN NULL; END $$`

func newReader(t testing.TB, db *sqldb.DB) *reader {
	t.Helper()
	r := &reader{db: db, columns: tables(t, db), last: snapshot{}}
	statements := []string{"CREATE TABLE leak_touched (name TEXT NOT NULL)"}
	if db.Engine() == sqldb.Postgres {
		statements = append(statements, postgresTouch)
	}
	for table := range r.columns {
		if db.Engine() == sqldb.Postgres {
			statements = append(statements, fmt.Sprintf("CREATE TRIGGER leak_touch AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION leak_touch()", table))
		} else {
			for _, change := range []string{"INSERT", "UPDATE", "DELETE"} {
				statements = append(statements, fmt.Sprintf("CREATE TRIGGER leak_%[1]s_%[2]s AFTER %[1]s ON %[2]s BEGIN INSERT INTO leak_touched VALUES ('%[2]s'); END", change, table))
			}
		}
		statements = append(statements, fmt.Sprintf("INSERT INTO leak_touched VALUES ('%s')", table))
	}
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reader) take(t testing.TB) (out snapshot) {
	t.Helper()
	err := r.db.Write(t.Context(), func(tx *sqldb.Tx) error {
		out = maps.Clone(r.last)
		touched := map[string]bool{}
		err := tx.Each(t.Context(), "DELETE FROM leak_touched RETURNING name", func(scan func(...any) error) error {
			var table string
			err := scan(&table)
			touched[table] = true
			return err
		})
		for table := range touched {
			if err == nil {
				out[table], err = r.read(t, tx, table)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.last = out
	return out
}

func (r *reader) read(t testing.TB, tx *sqldb.Tx, table string) (rows map[string]row, err error) {
	t.Helper()
	rows, names := map[string]row{}, r.columns[table]
	query := "SELECT " + strings.Join(names, ", ") + " FROM " + table
	err = tx.Each(t.Context(), query, func(scan func(...any) error) error {
		values, into := make(row, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := scan(into...); err != nil {
			return err
		}
		key := ""
		for _, v := range values[:max(1, keyed[table])] {
			key += fmt.Sprintf("%x/", v)
		}
		if rows[key] != nil {
			t.Fatalf("two rows of %s have one key: a table whose key has several columns belongs into keyed", table)
		}
		rows[key] = values
		return nil
	})
	return rows, err
}

// words are columns whose values come from a fixed list, so the values themselves are compared.
// Of every other text or blob its length is, of every number its value: the clock stands still.
//
// signin_flow.barred is the one column that tells known from unknown, to whoever can read the
// database (docs/decisions/0001); it is left out.
var words = []string{"kind", "state", "language", "actor", "detail", "channel", "way", "step", "ended_why", "provider", "methods", "last_error"}

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// shape is what can be compared of a value.
func shape(column string, v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case string:
		v = uuid.ReplaceAllString(v, "uuid") // in a detail, too
		if v == "uuid" || slices.Contains(words, column) {
			return v
		}
		return fmt.Sprintf("%d characters", len(v))
	case bool:
		if column == "barred" {
			return "bool"
		}
	case int64:
		if column == "barred" {
			return "bool"
		}
	}
	return fmt.Sprint(v)
}

// changes lists what happened to rows between two snapshots, in words that are the same for
// whoever it happened to.
func changes(before, after snapshot, columns map[string][]string) string {
	var out []string
	for table, rows := range after {
		for key, now := range rows {
			was, there := before[table][key]
			var parts []string
			for i, v := range now {
				column := columns[table][i]
				switch {
				case !there:
					parts = append(parts, column+"="+shape(column, v))
				case table == "throttle_bucket" && !same(was[i], v):
					parts = append(parts, column+": "+further(was[i], v))
				case !same(was[i], v) && column != "barred":
					parts = append(parts, column+": "+shape(column, was[i])+" -> "+shape(column, v))
				}
			}
			switch {
			case !there:
				out = append(out, table+" + "+strings.Join(parts, ", "))
			case len(parts) > 0:
				out = append(out, table+" ~ "+strings.Join(parts, ", "))
			}
		}
	}
	for table, rows := range before {
		for key := range rows {
			if _, there := after[table][key]; !there {
				out = append(out, table+" -")
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// further is how far a limit has moved. That over all has one row for everybody, which each leaves further on.
func further(a, b any) string {
	x, ok := a.(int64)
	y, too := b.(int64)
	if !ok || !too {
		return fmt.Sprint(a, " -> ", b)
	}
	return fmt.Sprintf("%+d", y-x)
}

func same(a, b any) bool {
	x, ok := a.([]byte)
	y, too := b.([]byte)
	if ok && too {
		return bytes.Equal(x, y)
	}
	return ok == too && a == b
}

// What compares nothing finds nothing: a row that comes, changes in one column or goes is seen, and one that stays is not.
func TestASnapshotSeesEveryChange(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		db := dbtest.Open(t, url, dbtest.NewClock())
		rows := newReader(t, db)
		before := rows.take(t)
		for _, step := range []struct{ statement, want string }{
			{"INSERT INTO throttle_bucket (key, tat, expires_at) VALUES ('k', 1, 2)", "throttle_bucket + "},
			{"UPDATE throttle_bucket SET tat = 3", "throttle_bucket ~ tat: +2"},
			{"UPDATE throttle_bucket SET tat = 3", ""},
			{"UPDATE throttle_bucket SET expires_at = 4", "throttle_bucket ~ expires_at: +2"},
			{"DELETE FROM throttle_bucket", "throttle_bucket -"},
		} {
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := tx.Exec(t.Context(), step.statement)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			after := rows.take(t)
			if got := changes(before, after, rows.columns); !strings.HasPrefix(got, step.want) || (got == "") != (step.want == "") {
				t.Errorf("%s: %q, want %q", step.statement, got, step.want)
			}
			before = after
		}
	})
}
