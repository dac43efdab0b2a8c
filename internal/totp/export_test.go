package totp

import (
	"context"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// Code is the code of a step or counter.
func Code(s Shape, raw []byte, at int64) string { return newKey(raw, row{shape: s}).code(at) }

// Looked is how many rows a check looks at.
func Looked(ctx context.Context, tx *sqldb.Tx, who account.ID) (int, error) {
	rows, err := confirmedFrom(ctx, tx, who)
	return len(rows), err
}
