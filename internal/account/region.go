package account

import (
	"context"
	"maps"
	"slices"

	"countersign/internal/platform/sqldb"
)

// PhoneRegions lists the countries of the numbers that accounts have proved, for what is sent to them. It opens every one of them, a page at
// a time.
func (s *Service) PhoneRegions(ctx context.Context) ([]string, error) {
	const page = 1000
	found := map[string]bool{}
	for after, n := "", page; n == page; {
		var rows []named
		err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
			rows, err = provedPhones(ctx, tx, after, page)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			after = row.id
			if plain, err := s.Ring.Open(row.sealed, place(row.id)); err == nil { // one that does not open is another command's to report
				found[Address{Kind: Phone, Normal: string(plain)}.Identifier().Region()] = true
			}
		}
		n = len(rows)
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found)), nil
}
