package sqldb_test

import (
	"sync"
	"testing"
	"testing/fstest"

	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
	"countersign/internal/testkit/dbtest"
)

func onEmpty(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) { f(t, dbtest.EmptyURL(t, engine)) })
	}
}

func migrations(texts ...string) sqldb.Migrations {
	names := []string{"0001_a.sql", "0002_b.sql", "0003_c.sql", "0004_d.sql"}
	files := fstest.MapFS{}
	for i, text := range texts {
		files[names[i]] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return sqldb.Migrations{Files: files}
}

func TestNodesThatMigrateAtOnceAllComeUp(t *testing.T) {
	onEmpty(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		applied := make([]int, 4)
		start := make(chan struct{})
		for i := range applied {
			db := dbtest.Open(t, url, dbtest.NewClock())
			wg.Go(func() {
				<-start
				n, err := schema.Migrations().Up(t.Context(), db)
				if err != nil {
					t.Errorf("node %d: %v", i, err)
				}
				applied[i] = n
				if missing, _, err := schema.Migrations().Pending(t.Context(), db); err != nil || missing != 0 {
					t.Errorf("node %d comes up with %d missing, %v", i, missing, err)
				}
			})
		}
		close(start)
		wg.Wait()
		total := 0
		for _, n := range applied {
			total += n
		}
		all, _, err := schema.Migrations().Pending(t.Context(), dbtest.Open(t, dbtest.EmptyURL(t, sqldb.SQLite), dbtest.NewClock()))
		if err != nil || total != all {
			t.Errorf("applied %v, in all %d of %d (%v)", applied, total, all, err)
		}
	})
}

func TestPendingCountsWhatIsMissing(t *testing.T) {
	one := "CREATE TABLE a (x TEXT);"
	onEmpty(t, func(t *testing.T, url string) {
		ctx := t.Context()
		db := dbtest.Open(t, url, dbtest.NewClock())
		check := func(m sqldb.Migrations, wantMissing int, wantEmpty bool) {
			t.Helper()
			missing, empty, err := m.Pending(ctx, db)
			if err != nil || missing != wantMissing || empty != wantEmpty {
				t.Fatalf("Pending = %d, empty %v, %v; want %d, %v", missing, empty, err, wantMissing, wantEmpty)
			}
		}
		old, now := migrations(one), migrations(one, "CREATE TABLE b (x TEXT);", "CREATE TABLE c (x TEXT);")
		check(now, 3, true)
		check(now, 3, true) // asking changes nothing
		if n, err := old.Up(ctx, db); err != nil || n != 1 {
			t.Fatalf("Up = %d, %v", n, err)
		}
		check(old, 0, false)
		check(now, 2, false)
		if n, err := now.Up(ctx, db); err != nil || n != 2 {
			t.Fatalf("Up = %d, %v", n, err)
		}
		check(now, 0, false)
		if n, err := now.Up(ctx, db); err != nil || n != 0 {
			t.Fatalf("a second Up = %d, %v", n, err)
		}
	})
}

// A database whose versions were lost is not empty: taken for a new one, it would get new keys.
func TestRowsWithoutVersionsAreNotAnEmptySchema(t *testing.T) {
	onEmpty(t, func(t *testing.T, url string) {
		ctx := t.Context()
		db := dbtest.Open(t, url, dbtest.NewClock())
		m := migrations("CREATE TABLE a (x TEXT);")
		if _, err := m.Up(ctx, db); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			statement string
			empty     bool
		}{
			{"DELETE FROM goose_db_version WHERE version_id > 0", false},
			{"DROP TABLE a", true}, // as another node leaves it that is about to migrate
		} {
			if _, err := db.Writer().ExecContext(ctx, c.statement); err != nil {
				t.Fatal(err)
			}
			if missing, empty, err := m.Pending(ctx, db); err != nil || missing != 1 || empty != c.empty {
				t.Errorf("after %s: %d missing, empty %v, %v; want empty %v", c.statement, missing, empty, err, c.empty)
			}
		}
	})
}

// The release before may run on the schema after; anything older must not.
func TestASchemaTwoAheadIsRefused(t *testing.T) {
	a, b, c := "CREATE TABLE a (x TEXT);", "CREATE TABLE b (x TEXT);", "CREATE TABLE c (x TEXT);"
	onEmpty(t, func(t *testing.T, url string) {
		ctx := t.Context()
		db := dbtest.Open(t, url, dbtest.NewClock())
		if _, err := migrations(a, b, c).Up(ctx, db); err != nil {
			t.Fatal(err)
		}
		if missing, _, err := migrations(a, b).Pending(ctx, db); err != nil || missing != 0 {
			t.Errorf("one ahead: %d, %v; want it accepted", missing, err)
		}
		if _, _, err := migrations(a).Pending(ctx, db); err == nil {
			t.Error("two ahead was accepted")
		}
	})
}

func TestAFailedMigrationLeavesNothingAndCanBeTriedAgain(t *testing.T) {
	onEmpty(t, func(t *testing.T, url string) {
		ctx := t.Context()
		db := dbtest.Open(t, url, dbtest.NewClock())
		bad := migrations("CREATE TABLE a (x TEXT);", "CREATE TABLE b (x TEXT);\nCREATE TABLE a (x TEXT);")
		if _, err := bad.Up(ctx, db); err == nil {
			t.Fatal("a migration that fails was reported as done")
		}
		if missing, _, err := bad.Pending(ctx, db); err != nil || missing != 1 {
			t.Fatalf("Pending = %d, %v; want the failed one", missing, err)
		}
		good := migrations("CREATE TABLE a (x TEXT);", "CREATE TABLE b (x TEXT);") // fails if half of the bad one is there
		if n, err := good.Up(ctx, db); err != nil || n != 1 {
			t.Fatalf("Up = %d, %v", n, err)
		}
	})
}

// What a statement of many rows would undo is not written to disk, neither before nor after a migration.
func TestTheWritersTemporaryFilesAreInMemory(t *testing.T) {
	db := dbtest.SQLite(t)
	var where int
	if err := db.Writer().QueryRowContext(t.Context(), "PRAGMA temp_store").Scan(&where); err != nil || where != 2 {
		t.Errorf("temp_store %d, %v", where, err)
	}
}

// What stands in a comment of SQLite's is a comment for PostgreSQL.
func TestAMigrationMaySayMoreToSQLite(t *testing.T) {
	onEmpty(t, func(t *testing.T, url string) {
		db := dbtest.Open(t, url, dbtest.NewClock())
		m := migrations("CREATE TABLE a (x BYTEA PRIMARY KEY) /*sqlite WITHOUT ROWID*/ /* as it is */;", "INSERT INTO a (x) VALUES (/*sqlite CAST(*/ 'x' /*sqlite AS BLOB)*/);")
		if _, err := m.Up(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		_, err := db.Writer().ExecContext(t.Context(), "SELECT rowid FROM a")
		if err == nil {
			t.Error("it has row ids")
		}
		var n int
		if err := db.Writer().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM a WHERE x = $1", []byte("x")).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows, %v", n, err)
		}
	})
}

func TestAPartForSharedDatabasesIsLeftOutOfSQLite(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		want := map[sqldb.Engine]string{sqldb.SQLite: "", sqldb.Postgres: " FOR SHARE"}[db.Engine()]
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if got := tx.IfShared(" FOR SHARE"); got != want {
				t.Errorf("%q", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
