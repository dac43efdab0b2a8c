package keyring

import (
	"context"
	"strings"

	"countersign/internal/platform/sqldb"
)

// Holding is what one table has of the keys: which rows need which, and how they are made anew with the
// current one. The package that owns the table declares it, and the wiring lists it.
type Holding struct {
	Table   string
	Columns []string // those whose values keys made; a test demands every one of the schema's
	// Count counts the rows that still matter, by the key that each needs.
	Count func(ctx context.Context, tx *sqldb.Tx) (map[string]int64, error)
	// Read looks at n rows at most, those after the one named, and makes anew what another key has made.
	// It is nil where nobody can but whoever has the token or the password: such rows are waited for.
	Read func(ctx context.Context, tx *sqldb.Tx, after string, n int) (Page, error)
	// Index, if there is one, writes what rows are found by in a table of its own, if they are still as they were read.
	// Very many rows come in the order of what they are found by, some in each transaction, and before any of them is
	// written itself: a row that is written is found under the current key.
	Index func(ctx context.Context, tx *sqldb.Tx, rows []Renewal) error
	// Write writes a row made anew, if it is still as it was read.
	Write func(ctx context.Context, tx *sqldb.Tx, row Renewal) (bool, error)
}

// Page is a stretch of a table.
type Page struct {
	Renewals []Renewal
	Odd      []string // rows that do not open, or are not as they were written: they are left alone
	Last     string   // the last row looked at; empty when there was none
}

// Renewal is a row with the values that it had and those that it is to have.
type Renewal struct {
	Row      string
	Was, Now [][]byte
	// For Index: what the row is found by (nil: nobody looks for it), whose it is, and the version of whatever must be
	// as it was when the row was read.
	Lookup  []byte
	Owner   string
	Version int64
}

// Column is a column whose values a key made. The names are put into SQL: they are the owner's constants.
type Column struct {
	Table, Name string
	// Keys are the columns of text that name a row, the table's primary key. Where they are several, the place
	// of a sealed value has them with slashes in between, and only the last may have one in it.
	Keys []string
	// Live says, for digests, which rows matter, as a condition on $1, the time in milliseconds. Empty: all.
	Live string
}

// Sealed is the holding of a column of sealed values, each of which stands at the place that the column says.
func (r *Ring) Sealed(c Column) Holding {
	return Holding{
		Table: c.Table, Columns: []string{c.Name},
		Count: func(ctx context.Context, tx *sqldb.Tx) (map[string]int64, error) {
			return r.count(ctx, tx, c.Table, "", c.sealedBy)
		},
		Read: func(ctx context.Context, tx *sqldb.Tx, after string, n int) (p Page, err error) {
			rows, err := sealedAfter(ctx, tx, c, after, n)
			for _, row := range rows {
				p.Last = row.Row
				if r.Fresh(row.Was[0]) {
					continue
				}
				at := Place{c.Table, row.Row, c.Name}
				plain, err := r.Open(row.Was[0], at)
				if err != nil {
					p.Odd = append(p.Odd, row.Row)
					continue
				}
				row.Now = [][]byte{r.Seal(plain, at)}
				p.Renewals = append(p.Renewals, row)
			}
			return p, err
		},
		Write: func(ctx context.Context, tx *sqldb.Tx, row Renewal) (bool, error) { return putSealed(ctx, tx, c, row) },
	}
}

// CountBoth is a holding's Count where rows have a sealed value and a digest that are made together. A row
// needs a key that it has either from.
func (r *Ring) CountBoth(sealed, digest Column) func(context.Context, *sqldb.Tx) (map[string]int64, error) {
	return func(ctx context.Context, tx *sqldb.Tx) (map[string]int64, error) {
		return r.count(ctx, tx, sealed.Table, "", sealed.sealedBy, digest.digestedBy)
	}
}

// Digested is the holding of a column of digests of tokens. They are looked for under every key, and
// over when their time is.
func (r *Ring) Digested(c Column) Holding {
	return Holding{
		Table: c.Table, Columns: []string{c.Name},
		Count: func(ctx context.Context, tx *sqldb.Tx) (map[string]int64, error) {
			return r.count(ctx, tx, c.Table, c.Live, c.digestedBy)
		},
	}
}

func (c Column) parts(row string) []string {
	parts := strings.SplitN(row, "/", len(c.Keys))
	for len(parts) < len(c.Keys) {
		parts = append(parts, "")
	}
	return parts
}
