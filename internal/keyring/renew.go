package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/internal/platform/sqldb"
)

const (
	// pageSize is how many rows are looked at at once, outside any transaction that writes.
	pageSize = 1000
	// writeSize is how many rows one transaction changes: it has SQLite's one writer meanwhile, some 12 ms. With fewer, a server forgets
	// its pages of the database more often: SQLite has it do so whenever another process has written.
	writeSize = 1000
	// indexSize is how many rows are read before what they are found by is written in its order. They take 25 MB of
	// memory, and a page of what a million are found by then takes four of them on average.
	indexSize = 50_000
)

// Progress is how far Renew has come.
type Progress struct {
	Table       string
	Done, Total int64 // rows
}

// Odd are rows that cannot be made anew: they do not open, or are not as they were written. They are left
// as they are, and need their key.
type Odd struct {
	Table string
	Rows  []string
}

// Renew makes everything anew that another key than the current one has made, and returns what it
// could not. It is on disk when Renew returns, and not before. It can be stopped at any time and begun again, and two at once do no harm. tell is called
// after every transaction.
func (ro *Rotation) Renew(ctx context.Context, tell func(Progress)) (odd []Odd, err error) {
	p := Progress{}
	for vain := 0; ; {
		left, err := ro.left(ctx)
		if err != nil {
			return nil, err
		}
		p.Total = max(p.Total, p.Done+sum(left))
		before, tried := p.Done, int64(0)
		odd = nil
		for i, h := range ro.Holdings {
			if left[i] == 0 {
				continue
			}
			p.Table = h.Table
			n, rows, err := ro.pass(ctx, h, &p, tell)
			if err != nil {
				return nil, fmt.Errorf("renew %s: %w", h.Table, err)
			}
			tried += n
			if len(rows) > 0 {
				odd = append(odd, Odd{h.Table, rows})
			}
		}
		switch done := p.Done - before; {
		case done == tried: // all, but what is odd: since Begin nobody makes anything with another key
			return odd, ro.DB.Sync()
		case done > 0: // the others were changed meanwhile
			vain = 0
		default:
			if vain++; vain == 5 {
				return nil, errors.New("rows change faster than they are made anew: try again when less is going on")
			}
		}
	}
}

func sum(of []int64) (n int64) {
	for _, rows := range of {
		n += rows
	}
	return n
}

// left counts, for each holding, the rows that can be made anew and that another key of the ring than the
// current one has made.
func (ro *Rotation) left(ctx context.Context) ([]int64, error) {
	left := make([]int64, len(ro.Holdings))
	for i, h := range ro.Holdings {
		if h.Read == nil {
			continue
		}
		rows, err := ro.count(ctx, h)
		if err != nil {
			return nil, err
		}
		s := ro.Ring.state.Load()
		for _, id := range s.listed {
			if id != s.current {
				left[i] += rows[id]
			}
		}
	}
	return left, nil
}

// Unfinished is how many rows Renew would make anew or find odd.
func (ro *Rotation) Unfinished(ctx context.Context) (int64, error) {
	left, err := ro.left(ctx)
	return sum(left), err
}

// pass goes through a table once. tried counts what was made anew, whether or not it was written:
// somebody else may have changed the row meanwhile.
func (ro *Rotation) pass(ctx context.Context, h Holding, p *Progress, tell func(Progress)) (tried int64, odd []string, err error) {
	for after := ""; ; {
		page, err := ro.stretch(ctx, h, after)
		if err != nil || page.Last == "" {
			return tried, odd, err
		}
		after, odd = page.Last, append(odd, page.Odd...)
		tried += int64(len(page.Renewals))
		if err := ro.index(ctx, h, page.Renewals, func() { tell(*p) }); err != nil {
			return tried, odd, err
		}
		for some := range slices.Chunk(page.Renewals, writeSize) {
			var done int64
			err := ro.inTurn(ctx, func(tx *sqldb.Tx) (err error) {
				done, err = writeAll(ctx, tx, h, some)
				return err
			}, func() { p.Done += done; tell(*p) })
			if err != nil {
				return tried, odd, err
			}
		}
	}
}

// stretch reads a page, or as many as it takes for what the rows are found by to be written in its order.
func (ro *Rotation) stretch(ctx context.Context, h Holding, after string) (all Page, err error) {
	for {
		page, err := ro.read(ctx, h, after)
		if err != nil || page.Last == "" {
			return all, err
		}
		after = page.Last
		all = Page{append(all.Renewals, page.Renewals...), append(all.Odd, page.Odd...), page.Last}
		if h.Index == nil || len(all.Renewals) >= indexSize {
			return all, nil
		}
	}
}

// index writes what the rows of a stretch are found by.
func (ro *Rotation) index(ctx context.Context, h Holding, rows []Renewal, wrote func()) error {
	if h.Index == nil {
		return nil
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Renewal) bool { return r.Lookup == nil })
	slices.SortFunc(rows, func(a, b Renewal) int { return bytes.Compare(a.Lookup, b.Lookup) })
	for some := range slices.Chunk(rows, writeSize) {
		if err := ro.inTurn(ctx, func(tx *sqldb.Tx) error { return h.Index(ctx, tx, some) }, wrote); err != nil {
			return err
		}
	}
	return nil
}

func (ro *Rotation) read(ctx context.Context, h Holding, after string) (page Page, err error) {
	err = ro.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		page, err = h.Read(ctx, tx, after, pageSize)
		return err
	})
	return page, err
}

func writeAll(ctx context.Context, tx *sqldb.Tx, h Holding, rows []Renewal) (done int64, err error) {
	for _, row := range rows {
		ok, err := h.Write(ctx, tx, row)
		if err != nil {
			return 0, err
		}
		if ok {
			done++
		}
	}
	return done, nil
}

// inTurn runs a transaction, says when it is done, and rests.
func (ro *Rotation) inTurn(ctx context.Context, do func(*sqldb.Tx) error, done func()) error {
	var began time.Time
	err := ro.DB.WriteSoon(ctx, func(tx *sqldb.Tx) error {
		began = ro.DB.Now() // once it has its turn
		return do(tx)
	})
	if err != nil {
		return err
	}
	took := ro.DB.Now().Sub(began)
	done()
	return pause(ctx, time.Duration(float64(took)*ro.Rest))
}
