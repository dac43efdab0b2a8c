package audit

import (
	"context"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// Holdings is what the table has of the ring's keys. A row is sealed and authenticated anew only if it is as it
// was written: no rotation makes a changed row look right.
func (l *Log) Holdings() []keyring.Holding {
	return []keyring.Holding{{
		Table: "audit_event", Columns: []string{"source", "mac"},
		Count: l.Ring.CountBoth(sources(), macs()), Read: l.renewals, Write: rewrite,
	}}
}

func (l *Log) renewals(ctx context.Context, tx *sqldb.Tx, after string, n int) (p keyring.Page, err error) {
	err = each(ctx, tx, after, n, func(r row) {
		p.Last = r.ID
		if l.Ring.Fresh(r.Source, r.MAC) {
			return
		}
		was := [][]byte{r.Source, r.MAC}
		if !l.authentic(r) {
			p.Odd = append(p.Odd, r.ID)
			return
		}
		if r.Source != nil {
			plain, err := l.Ring.Open(r.Source, place(r.ID))
			if err != nil {
				p.Odd = append(p.Odd, r.ID)
				return
			}
			r.Source = l.Ring.Seal(plain, place(r.ID))
		}
		p.Renewals = append(p.Renewals, keyring.Renewal{Row: r.ID, Was: was, Now: [][]byte{r.Source, l.mac(r)}})
	})
	return p, err
}
