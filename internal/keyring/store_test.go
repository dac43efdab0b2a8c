package keyring_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func claims(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT count(*) FROM keyring_check").Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCheckKnowsTheRingThatClaimedTheDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		mine := ring(t, root("kaaaaaaa", 1))
		if known, err := mine.Check(ctx, db); known || err != nil {
			t.Fatalf("unclaimed: %v, %v", known, err)
		}
		for range 2 { // every start claims
			if err := mine.Claim(ctx, db); err != nil {
				t.Fatal(err)
			}
		}
		if known, err := mine.Check(ctx, db); !known || err != nil {
			t.Fatalf("claimed: %v, %v", known, err)
		}
	})
}

func TestAWrongKeyIsRefusedAndWritesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := ring(t, root("kaaaaaaa", 1)).Claim(ctx, db); err != nil {
			t.Fatal(err)
		}
		before := claims(t, db)
		for name, wrong := range map[string]*keyring.Ring{
			"another key":           ring(t, root("kbbbbbbb", 2)),
			"another key, same id":  ring(t, root("kaaaaaaa", 2)),
			"half right, same id":   ring(t, root("kaaaaaaa", 9), root("kbbbbbbb", 1)),
			"old key under new ids": ring(t, root("kccccccc", 1)),
		} {
			if known, err := wrong.Check(ctx, db); !known || !errors.Is(err, keyring.ErrWrongKey) {
				t.Errorf("%s: Check = %v, %v; want ErrWrongKey", name, known, err)
			}
			if err := wrong.Claim(ctx, db); !errors.Is(err, keyring.ErrWrongKey) {
				t.Errorf("%s: Claim = %v; want ErrWrongKey", name, err)
			}
		}
		if after := claims(t, db); after != before {
			t.Errorf("a wrong key left %d rows where there were %d", after, before)
		}
	})
}

// Which key is the current one is written in the database, and not in the order of the file.
func TestTheOrderOfTheFileDecidesNothingOnceTheDatabaseIsClaimed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := ring(t, root("kaaaaaaa", 1)).Claim(ctx, db); err != nil {
			t.Fatal(err)
		}
		r := ring(t, root("kbbbbbbb", 2), root("kaaaaaaa", 1))
		if err := r.Claim(ctx, db); err != nil || r.ID() != "kaaaaaaa" || claims(t, db) != 3 {
			t.Errorf("Claim = %v, the current key is %s, %d rows", err, r.ID(), claims(t, db))
		}
	})
}

// A database from before keys could change: its rows say no more than which key was the first.
func TestADatabaseFromBeforeKeysCouldChangeIsTakenAsItIs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		was := ring(t, root("kaaaaaaa", 1))
		token := secret.NewToken("css")
		if err := was.Claim(ctx, db); err != nil {
			t.Fatal(err)
		}
		err := db.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE keyring_check SET epoch = 0, bare = FALSE")
			if err == nil {
				_, err = tx.Exec(ctx, "DELETE FROM keyring_check WHERE key_id = 'stable'")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*keyring.Ring{ring(t, root("kbbbbbbb", 2), root("kaaaaaaa", 1)), ring(t, root("kaaaaaaa", 1))} {
			if err := r.Claim(ctx, db); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.Digest("session", token), was.Digest("session", token)) || !bytes.Equal(r.Stable("decoy", "1"), was.Stable("decoy", "1")) {
				t.Error("digests changed")
			}
		}
	})
}

// Two new nodes with a key file each and one database: one of them must not go on.
func TestOfTwoRingsThatClaimAtOnceOneWins(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		rings := []*keyring.Ring{ring(t, root("kaaaaaaa", 1)), ring(t, root("kbbbbbbb", 2)), ring(t, root("kccccccc", 3))}
		errs := make([]error, len(rings))
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i, r := range rings {
			wg.Go(func() {
				<-start
				errs[i] = r.Claim(t.Context(), db)
			})
		}
		close(start)
		wg.Wait()
		won := 0
		for i, err := range errs {
			if err == nil {
				won++
				if known, err := rings[i].Check(t.Context(), db); !known || err != nil {
					t.Errorf("the winner is not known: %v", err)
				}
			} else if !errors.Is(err, keyring.ErrWrongKey) {
				t.Errorf("ring %d: %v", i, err)
			}
		}
		if won != 1 {
			t.Errorf("%d rings claimed one database: %v", won, errs)
		}
	})
}

func TestLoadOrCreateMakesAKeyForANewDatabaseOnly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, path := t.Context(), filepath.Join(t.TempDir(), "countersign.key")
		made, err := keyring.LoadOrCreate(ctx, db, path, false) // migrated, never claimed
		if err != nil {
			t.Fatal(err)
		}
		if err := made.Claim(ctx, db); err != nil {
			t.Fatal(err)
		}
		again, err := keyring.LoadOrCreate(ctx, db, path, false)
		if err != nil {
			t.Fatal(err)
		}
		if known, err := again.Check(ctx, db); !known || err != nil {
			t.Errorf("the next start: %v, %v", known, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		_, err = keyring.LoadOrCreate(ctx, db, path, false)
		if !errors.Is(err, keyring.ErrMissing) || !strings.Contains(err.Error(), path) {
			t.Errorf("a lost key file: %v; want ErrMissing with its name", err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a new key was made for an old database")
		}
	})
}

func TestLoadOrCreateBeforeTheFirstMigration(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			db := dbtest.Open(t, dbtest.EmptyURL(t, engine), dbtest.NewClock())
			path := filepath.Join(t.TempDir(), "countersign.key")
			if _, err := keyring.LoadOrCreate(t.Context(), db, path, true); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := keyring.LoadOrCreate(t.Context(), db, path, true); err == nil {
				t.Error("a key file that others can read was taken")
			}
		})
	}
}

// A database that cannot be asked is no reason to make a new key.
func TestLoadOrCreateMakesNoKeyWhileTheDatabaseIsAway(t *testing.T) {
	db := dbtest.SQLite(t)
	path := filepath.Join(t.TempDir(), "countersign.key")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.LoadOrCreate(t.Context(), db, path, false); err == nil || fault.Of(err).Code == "" {
		t.Errorf("LoadOrCreate = %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was made")
	}
}
