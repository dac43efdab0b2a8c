package main

import (
	"errors"
	"fmt"
	"time"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
)

// sendLatency is how long the provider takes for a letter, as those of the world do.
const sendLatency = 100 * time.Millisecond

// sends measures how fast a full outbox is emptied, by one node on SQLite and by two on PostgreSQL, and whether each letter arrived once.
func (b *bench) sends(p *place) (err error) {
	letters, nodes, least := 20_000, 1, 500.0
	if b.Quick {
		letters = 3000
	}
	if b.Database != "" {
		nodes, least = 2, 2000
		letters *= 3
	}
	core, err := open(b.ctx, p.config, b.now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	b.note("putting %d letters into the outbox", letters)
	if err := b.put(core, letters); err != nil {
		return err
	}
	if _, err := p.helper.do(job{Kind: kindCount, For: sendLatency}); err != nil { // from now on
		return err
	}
	began := b.now()
	for range nodes {
		n, err := b.start(p)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, n.stop()) }()
		if err := b.configure(p, p.config.Database.URL.Reveal(), p.config.Keys.File); err != nil { // other ports for the next
			return err
		}
	}
	for left := letters; left > 0; pause(b.ctx, 250*time.Millisecond) { // to count them takes the database a while
		all, err := core.Outbox.Status(b.ctx)
		if err != nil {
			return err
		}
		left = 0
		for _, s := range all {
			left += s.Waiting
			if s.Dead > 0 {
				return fmt.Errorf("%d letters are dead", s.Dead)
			}
		}
		if b.now().Sub(began) > 5*time.Minute {
			return fmt.Errorf("%d letters are left after five minutes", left)
		}
	}
	took := b.now().Sub(began)
	got, err := p.helper.do(job{Kind: kindCount})
	if err != nil {
		return err
	}
	b.table.above(fmt.Sprintf("letters sent from the outbox, each taking %s, by %d node(s)", sendLatency, nodes), "/s", float64(letters)/took.Seconds(), least)
	b.table.rows[len(b.table.rows)-1].rate = true
	b.table.below(fmt.Sprintf("… of %d, lost or doubled", letters), "letters", float64(letters-got.Done+got.Odd), 1)
	return nil
}

// put puts letters, some hundred a transaction.
func (b *bench) put(core *server.Core, n int) error {
	const each = 500
	for n > 0 {
		size := min(each, n)
		n -= size
		err := core.DB.Write(b.ctx, func(tx *sqldb.Tx) error {
			for range size {
				_, err := core.Outbox.Put(b.ctx, tx, outbox.Letter{
					Letter:    message.Letter{Channel: message.Email, Kind: message.SigninCode, To: nameOf(n), Language: "en", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Example"}},
					ExpiresAt: tx.Now().Add(time.Hour),
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
