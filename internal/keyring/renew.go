package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/internal/platform/sqldb"
)

const (
	// pageSize is how many rows are looked at at once, outside any transaction that writes.
	pageSize = 1000
	// writeSize is how many rows one transaction changes: it has SQLite's one writer meanwhile, some 10 ms.
	// Five times as many cost no less: nearly every row changes pages of its own.
	writeSize = 100
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
		page, err := ro.read(ctx, h, after)
		if err != nil || page.Last == "" {
			return tried, odd, err
		}
		after, odd = page.Last, append(odd, page.Odd...)
		tried += int64(len(page.Renewals))
		for rows := page.Renewals; len(rows) > 0; {
			n := min(writeSize, len(rows))
			took, err := ro.write(ctx, h, rows[:n], p)
			if err != nil {
				return tried, odd, err
			}
			rows = rows[n:]
			tell(*p)
			if err := pause(ctx, time.Duration(float64(took)*ro.Rest)); err != nil {
				return tried, odd, err
			}
		}
	}
}

func (ro *Rotation) read(ctx context.Context, h Holding, after string) (page Page, err error) {
	err = ro.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		page, err = h.Read(ctx, tx, after, pageSize)
		return err
	})
	return page, err
}

func (ro *Rotation) write(ctx context.Context, h Holding, rows []Renewal, p *Progress) (took time.Duration, err error) {
	var done int64
	began := ro.DB.Now()
	err = ro.DB.WriteSoon(ctx, func(tx *sqldb.Tx) error {
		done = 0
		began = ro.DB.Now() // once it has its turn
		for _, row := range rows {
			ok, err := h.Write(ctx, tx, row)
			if err != nil {
				return err
			}
			if ok {
				done++
			}
		}
		return nil
	})
	p.Done += done
	return ro.DB.Now().Sub(began), err
}
