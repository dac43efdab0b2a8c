package recovery

import (
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// Of two requests that read a flow at once, one changes it: the statement itself decides, whatever locks the
// limits before it happen to hold.
func TestAFlowIsChangedOnceFromWhereItWasRead(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		read := flow{ID: "0190a1b2-0000-7000-8000-000000000001", NameKey: []byte("n"), OwnerKey: []byte("o"), ToKey: []byte("t"), Way: "email", Address: nowhere}
		change := func(what string, want bool, do func(tx *sqldb.Tx) (bool, error)) {
			t.Helper()
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				got, err := do(tx)
				if got != want {
					t.Errorf("%s: %t, want %t", what, got, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		change("put", true, func(tx *sqldb.Tx) (bool, error) {
			read.ExpiresAt = tx.Now().Add(time.Hour)
			return true, put(t.Context(), tx, read, []byte("handle"), []byte("browser"))
		})
		first := read
		first.Proved = []proof{proof(BySaved)}
		for i, want := range []bool{true, false} {
			label := []string{" first", " second"}[i]
			change("a proof,"+label, want, func(tx *sqldb.Tx) (bool, error) { return setProved(t.Context(), tx, first, nil) })
		}
		change("the end, from before the proof", false, func(tx *sqldb.Tx) (bool, error) { return endFlow(t.Context(), tx, read) })
		change("the wait, from before the proof", false, func(tx *sqldb.Tx) (bool, error) { return setReady(t.Context(), tx, read) })
		for i, want := range []bool{true, false} {
			label := []string{" first", " second"}[i]
			change("asked,"+label, want, func(tx *sqldb.Tx) (bool, error) { return setAsked(t.Context(), tx, first) })
			change("the wait,"+label, want, func(tx *sqldb.Tx) (bool, error) { return setReady(t.Context(), tx, first) })
		}
		for i, want := range []bool{true, false} {
			label := []string{" first", " second"}[i]
			change("the end,"+label, want, func(tx *sqldb.Tx) (bool, error) { return endFlow(t.Context(), tx, first) })
		}
		change("a proof, after the end", false, func(tx *sqldb.Tx) (bool, error) { return setProved(t.Context(), tx, first, first.Proved) })
	})
}
