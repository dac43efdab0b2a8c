package oidc

import (
	"context"
	"database/sql"
	"errors"

	"countersign/internal/platform/sqldb"
)

// ByID returns a client, for who calls it by its name.
func (s *Service) ByID(ctx context.Context, tx *sqldb.Tx, id string) (c Client, known bool, err error) {
	return s.find(ctx, tx, id)
}

// Name is what the application is called whose request is under way in a browser. It is empty of one that registered itself: that has chosen its name, and the
// page that asks for a password shows no host beside it, as the one that asks for consent does.
func (s *Service) Name(ctx context.Context, ref Ref) (name string, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		_, c, err := s.pending(ctx, tx, ref)
		if err != nil {
			return err
		}
		r, err := registeredByID(ctx, tx, c.ID)
		if errors.Is(err, sql.ErrNoRows) { // it stands in the file
			err = nil
		}
		if name = c.Name; r.Itself {
			name = ""
		}
		return err
	})
	return name, err
}
