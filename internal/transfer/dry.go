package transfer

import (
	"context"
	"os"
	"path/filepath"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// scratch opens a database for what a dry run has seen: no memory would hold the names of a large
// file. They are keyed digests there as well.
func (im *importer) scratch(ctx context.Context) (forget func(), err error) {
	dir, err := os.MkdirTemp(im.o.Scratch, "countersign-dry-run-*")
	if err != nil {
		return nil, err
	}
	im.seen, err = sqldb.Open(ctx, sqldb.Options{URL: "sqlite:" + filepath.Join(dir, "seen.db"), MaxConns: 1, Now: im.s.DB.Now})
	if err == nil {
		err = im.seen.Write(ctx, func(tx *sqldb.Tx) error { return makeSeen(ctx, tx) })
	}
	forget = func() {
		if im.seen != nil {
			_ = im.seen.Close()
		}
		_ = os.RemoveAll(dir)
	}
	if err != nil {
		forget()
	}
	return forget, err
}

// pretend decides what put would decide.
func (im *importer) pretend(ctx context.Context, b *batch) error {
	seen := map[string]bool{}
	err := im.seen.Read(ctx, func(tx *sqldb.Tx) (err error) {
		var keys [][]byte
		for _, c := range b.all {
			if c.why == "" {
				keys = append(keys, c.marks()...)
			}
		}
		seen, err = seenAmong(ctx, tx, keys)
		return err
	})
	if err != nil {
		return err
	}
	var open []*candidate
	var taken []bool
	err = im.s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		undecided, _, err := im.undecided(ctx, tx, b.all)
		if err != nil {
			return err
		}
		var ready []account.Prepared
		open = nil
		for _, c := range undecided {
			c.already = seen[string(c.digest)]
			for _, mark := range c.marks()[1:] {
				c.taken = c.taken || seen[string(mark)]
			}
			if !c.already && !c.taken {
				open, ready = append(open, c), append(ready, c.ready)
			}
		}
		taken, err = im.s.Accounts.TakenAmong(ctx, tx, ready)
		return err
	})
	if err != nil {
		return err
	}
	var keys [][]byte
	for i, c := range open {
		if c.taken = taken[i]; !c.taken {
			keys = append(keys, c.marks()...)
		}
	}
	return im.seen.Write(ctx, func(tx *sqldb.Tx) error { return putSeen(ctx, tx, keys) })
}

// marks are what no other line may have: first what it says, then what it signs in with and its id.
func (c *candidate) marks() [][]byte {
	return append(append([][]byte{c.digest}, c.ready.Names()...), []byte(c.ready.ID))
}
