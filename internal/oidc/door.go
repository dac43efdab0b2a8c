package oidc

import (
	"context"

	"countersign/internal/platform/sqldb"
)

// ByID returns a client, for who calls it by its name.
func (s *Service) ByID(ctx context.Context, tx *sqldb.Tx, id string) (c Client, known bool, err error) {
	return s.find(ctx, tx, id)
}
