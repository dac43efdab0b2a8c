package server_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/server/schema"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// settings are those of a node with a key file of its own.
func settings(t *testing.T, database string) config.Config {
	t.Helper()
	c := config.Default()
	c.Database.URL = config.NewSecret(database)
	c.Keys.File = filepath.Join(t.TempDir(), "countersign.key")
	c.Metrics.Listen = ""
	return c
}

func deps() server.Deps {
	return server.Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now, TokenCost: true, Decoys: testkit.FewDecoys}
}

// start starts and stops a node.
func start(ctx context.Context, c config.Config) error {
	s, err := server.New(ctx, c, deps())
	if err != nil {
		return err
	}
	return s.Close()
}

func eachEmpty(t *testing.T, f func(t *testing.T, url string)) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) { f(t, dbtest.EmptyURL(t, engine)) })
	}
}

func pending(t *testing.T, url string) (missing int, empty bool) {
	t.Helper()
	missing, empty, err := schema.Migrations().Pending(t.Context(), dbtest.Open(t, url, dbtest.NewClock()))
	if err != nil {
		t.Fatal(err)
	}
	return missing, empty
}

func TestTheFirstStartMakesAKeyFileAndTheSecondUsesIt(t *testing.T) {
	eachEmpty(t, func(t *testing.T, url string) {
		c := settings(t, url)
		for range 2 {
			if err := start(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		st, err := os.Stat(c.Keys.File)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("key file: %v %v", st, err)
		}
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("database file: %v %v", st.Mode(), err)
			}
		}
	})
}

// A database that has been claimed is never given a new key: everything in it would be lost.
func TestNoNewKeyForADatabaseThatHasOne(t *testing.T) {
	eachEmpty(t, func(t *testing.T, url string) {
		if err := start(t.Context(), settings(t, url)); err != nil {
			t.Fatal(err)
		}
		c := settings(t, url)
		if err := start(t.Context(), c); !errors.Is(err, keyring.ErrMissing) || !strings.Contains(err.Error(), c.Keys.File) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(c.Keys.File); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a key file was made")
		}
	})
}

// The keys are compared before the schema is touched: an old schema stays as it was.
func TestAWrongKeyIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	eachEmpty(t, func(t *testing.T, url string) {
		if err := start(t.Context(), settings(t, url)); err != nil {
			t.Fatal(err)
		}
		clock := dbtest.NewClock()
		db := dbtest.Open(t, url, clock)
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error { // as if this program had one migration more
			_, err := tx.Exec(t.Context(), "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := pending(t, url)
		c := settings(t, url)
		if _, err := keyring.CreateFile(c.Keys.File); err != nil {
			t.Fatal(err)
		}
		if err := start(t.Context(), c); !errors.Is(err, keyring.ErrWrongKey) {
			t.Errorf("got %v", err)
		}
		if after, _ := pending(t, url); before == 0 || after != before {
			t.Errorf("%d migrations were missing, now %d", before, after)
		}
	})
}

func TestWithoutLeaveToMigrateTheServerSaysWhoDoes(t *testing.T) {
	eachEmpty(t, func(t *testing.T, url string) {
		c := settings(t, url)
		c.Database.MigrateAtStart = false
		if err := start(t.Context(), c); !errors.Is(err, server.ErrPending) || !strings.Contains(err.Error(), "countersign migrate") {
			t.Errorf("got %v", err)
		}
		if _, empty := pending(t, url); !empty {
			t.Error("the schema was written")
		}
		if _, err := os.Stat(c.Keys.File); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a key file was made")
		}
		c.Database.MigrateAtStart = true
		if err := start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		c.Database.MigrateAtStart = false
		if err := start(t.Context(), c); err != nil {
			t.Errorf("with nothing to migrate: %v", err)
		}
	})
}

func TestAKeyFileOthersCanReadIsRefused(t *testing.T) {
	c := settings(t, dbtest.EmptyURL(t, sqldb.SQLite))
	if err := start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(c.Keys.File, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
}

func TestKeysFromTheEnvironmentNeedNoFile(t *testing.T) {
	c := settings(t, dbtest.EmptyURL(t, sqldb.SQLite))
	c.Keys.Value = config.NewSecret(keyring.Generate())
	if err := start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Keys.File); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key file was made")
	}
	c.Keys.Value = config.NewSecret("canary " + keyring.Generate())
	if err := start(t.Context(), c); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

// Nodes on one disk, or with the same keys from the environment, started at once.
func TestManyNodesStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	eachEmpty(t, func(t *testing.T, url string) {
		c := settings(t, url)
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = start(t.Context(), c) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
}

// Nodes with key files of their own: one wins the database, and the others never write to it again.
func TestOfNodesWithDifferentKeysOneGetsTheDatabase(t *testing.T) {
	url := dbtest.EmptyURL(t, sqldb.Postgres)
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i := range errs {
		c := settings(t, url)
		wg.Go(func() { errs[i] = start(t.Context(), c) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, keyring.ErrWrongKey) && !errors.Is(err, keyring.ErrMissing):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d nodes started", won)
	}
}
