package account

import (
	"context"

	"countersign/internal/platform/sqldb"
)

// RowsRead is how many rows Find reads for an identifier.
func (s *Service) RowsRead(ctx context.Context, tx *sqldb.Tx, ident Identifier) (n int, err error) {
	standIn, err := decoyEmail(s.decoyMAC(s.choose(ident)))
	if err != nil {
		return 0, err
	}
	query, args := lookupQuery(s.lookups(ident), s.lookups(standIn))
	err = tx.Each(ctx, query, func(func(...any) error) error { n++; return nil }, args...)
	return n, err
}
