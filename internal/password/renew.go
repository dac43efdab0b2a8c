package password

import (
	"context"

	"countersign/internal/keyring"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
)

// Holdings is what the table has of the ring's keys: what other systems made, sealed, and the peppers, of which
// each changes when its owner signs in.
func (s *Service) Holdings() []keyring.Holding {
	sealed := s.ring.Sealed(sealedColumn())
	sealed.Read, sealed.Write = s.renewals, renew
	return []keyring.Holding{sealed, {Table: "password", Count: peppers}}
}

// renewals seals anew what other systems made. Where that alone decides, the pepper beside it is of no
// password, and goes with it.
func (s *Service) renewals(ctx context.Context, tx *sqldb.Tx, after string, n int) (p keyring.Page, err error) {
	rows, err := sealedAfter(ctx, tx, after, n)
	for _, r := range rows {
		p.Last = string(r.id)
		if s.ring.Fresh(r.sealed) {
			continue
		}
		text, err := s.ring.Open(r.sealed, place(r.id))
		if err != nil {
			p.Odd = append(p.Odd, string(r.id))
			continue
		}
		key := r.hash.KeyID
		if inner, err := foreign.Parse(string(text)); err == nil && inner.Slow() {
			key = s.ring.ID()
		}
		p.Renewals = append(p.Renewals, keyring.Renewal{
			Row: string(r.id), Was: [][]byte{r.sealed}, Now: [][]byte{s.ring.Seal(text, place(r.id)), []byte(key)},
		})
	}
	return p, err
}
