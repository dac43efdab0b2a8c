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
	early, err := p.helper.do(job{Kind: kindCounted}) // while the last node started
	if err != nil {
		return err
	}
	took, err := b.emptied(p, core, letters)
	if err != nil {
		return err
	}
	got, err := p.helper.do(job{Kind: kindCounted})
	if err != nil {
		return err
	}
	b.table.above(fmt.Sprintf("letters sent from the outbox, each taking %s, by %d node(s)", sendLatency, nodes), "/s", float64(letters-early.Done)/took.Seconds(), least)
	b.table.rows[len(b.table.rows)-1].rate = true
	b.table.below(fmt.Sprintf("… of %d, lost or doubled", letters), "letters", float64(letters-got.Done+got.Odd), 1)
	return nil
}

// emptied returns how long it took until the outbox said that it is empty. It is asked once the provider has them all: to count a
// long backlog four times a second took PostgreSQL a fifth of the machine.
func (b *bench) emptied(p *place, core *server.Core, letters int) (time.Duration, error) {
	began := b.now()
	for ; ; pause(b.ctx, 50*time.Millisecond) {
		if b.now().Sub(began) > 5*time.Minute {
			return 0, errors.New("letters are left after five minutes")
		}
		if got, err := p.helper.do(job{Kind: kindCounted}); err != nil {
			return 0, err
		} else if got.Done < letters {
			continue
		}
		all, err := core.Outbox.Status(b.ctx)
		if err != nil {
			return 0, err
		}
		left := 0
		for _, s := range all {
			left += s.Waiting
			if s.Dead > 0 {
				return 0, fmt.Errorf("%d letters are dead", s.Dead)
			}
		}
		if left == 0 {
			return b.now().Sub(began), nil
		}
	}
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
