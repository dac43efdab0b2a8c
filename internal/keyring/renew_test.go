package keyring_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// What rows are found by is written before any of them, of all pages together and in its order.
func TestWhatRowsAreFoundByIsWrittenFirstAndInOrder(t *testing.T) {
	const rows = 1300
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		h := a.things(rows)
		read, write := h.Read, h.Write
		var found [][]byte
		written := 0
		h.Read = func(ctx context.Context, tx *sqldb.Tx, after string, n int) (keyring.Page, error) {
			p, err := read(ctx, tx, after, n)
			for i, row := range p.Renewals {
				if !strings.HasSuffix(row.Row, "7") { // nobody looks for these
					p.Renewals[i].Lookup = a.Index("k", row.Row)
				}
			}
			return p, err
		}
		h.Index = func(_ context.Context, _ *sqldb.Tx, rows []keyring.Renewal) error {
			if written > 0 {
				t.Error("rows were written before")
			}
			for _, row := range rows {
				found = append(found, row.Lookup)
			}
			return nil
		}
		h.Write = func(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (bool, error) {
			written++
			return write(ctx, tx, row)
		}
		if err := a.rotation(h).Begin(t.Context(), a.add()); err != nil {
			t.Fatal(err)
		}
		if odd, err := a.rotation(h).Renew(t.Context(), quiet); err != nil || len(odd) > 0 {
			t.Fatalf("Renew = %v, %v", odd, err)
		}
		if len(found) != rows*9/10 || !slices.IsSortedFunc(found, bytes.Compare) || written != rows || a.whole(rows) != 0 {
			t.Errorf("%d of %d were written before %d rows", len(found), rows, written)
		}
	})
}
