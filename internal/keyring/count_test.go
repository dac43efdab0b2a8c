package keyring_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// A row that needs a key for its seal and for its digest is one row, and one that needs two keys is one for each.
func TestARowCountsOnceForEachKeyThatItNeeds(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		a.exec(`CREATE TABLE both_made (id TEXT PRIMARY KEY, sealed BYTEA, digest BYTEA NOT NULL)`)
		put := func(id string, sealed, digest []byte) {
			a.exec(`INSERT INTO both_made (id, sealed, digest) VALUES ($1, $2, $3)`, id, sealed, digest)
		}
		values := func() (sealed, digest []byte) {
			return a.Seal([]byte("x"), keyring.Place{}), a.Digest("p", secret.NewToken("css"))
		}
		old, next := a.ID(), a.add()
		oldSealed, oldDigest := values()
		if err := a.rotation().Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		sealed, digest := values()
		put("the old key's", oldSealed, oldDigest)
		put("the old key's, nothing sealed", nil, oldDigest)
		put("of either, one way", oldSealed, digest)
		put("of either, the other way", sealed, oldDigest)
		put("the new key's", sealed, digest)
		put("the new key's, nothing sealed", nil, digest)
		column := func(name string) keyring.Column { return keyring.Column{Table: "both_made", Name: name} }
		var got map[string]int64
		err := a.db.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
			got, err = a.CountBoth(column("sealed"), column("digest"))(t.Context(), tx)
			return err
		})
		if want := map[string]int64{old: 4, next: 4}; err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	})
}

// To count the rows of a large table takes longer than a transaction that somebody waits for may.
func TestRowsAreCountedLongerThanAnybodyElseMayTake(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		h := a.things(30)
		count := h.Count
		h.Count = func(ctx context.Context, tx *sqldb.Tx) (map[string]int64, error) {
			time.Sleep(600 * time.Millisecond)
			return count(ctx, tx)
		}
		old, next := a.ID(), a.add()
		ro := a.rotation(h)
		ro.DB = ro.DB.Patient(500 * time.Millisecond)
		if err := ro.Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		needs, err := ro.Needs(t.Context())
		if err != nil || len(needs) != 1 || needs[0].Rows[old] != 30 {
			t.Errorf("Needs = %v, %v", needs, err)
		}
		if odd, err := ro.Renew(t.Context(), quiet); err != nil || len(odd) > 0 {
			t.Errorf("Renew = %v, %v", odd, err)
		}
	})
}

// What is only waited for is not counted before rows are made anew: a million sessions need not be.
func TestOnlyWhatCanBeMadeAnewIsCountedBefore(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		tokens := keyring.Holding{Table: "token", Count: func(context.Context, *sqldb.Tx) (map[string]int64, error) {
			return nil, errors.New("counted")
		}}
		ro := a.rotation(a.things(3), tokens)
		if err := ro.Begin(t.Context(), a.add()); err != nil {
			t.Fatal(err)
		}
		if odd, err := ro.Renew(t.Context(), quiet); err != nil || len(odd) > 0 {
			t.Errorf("Renew = %v, %v", odd, err)
		}
	})
}
