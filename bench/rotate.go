package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// rotates measures how long it takes to change the keys of many accounts while people sign in as fast as the machine
// can, and how fast they do meanwhile: before, during, after.
func (b *bench) rotates() error {
	accounts, turn := b.Accounts, 10*time.Second
	if b.Quick {
		accounts, turn = 20_000, 2*time.Second
	}
	p, err := b.newPlace(accounts)
	if err != nil {
		return err
	}
	if err := b.copied(p); err != nil {
		return err
	}
	n, err := b.start(p)
	if err != nil {
		return err
	}
	defer func() { _ = n.stop() }()
	signIn := func() (float64, error) {
		o, err := p.helper.do(job{Kind: kindSignIn, For: turn, Addr: n.addr, Clients: signInClients})
		if err == nil {
			b.note("%34s %9.1f/s", "sign-ins", o.rate())
		}
		return o.rate(), err
	}
	around := func(rates []float64, err error) ([]float64, error) {
		for range 3 {
			if err != nil {
				return nil, err
			}
			var rate float64
			rate, err = signIn()
			rates = append(rates, rate)
		}
		return rates, err
	}
	if _, err := signIn(); err != nil { // warm, and not measured
		return err
	}
	without, err := around(nil, nil)
	if err != nil {
		return err
	}
	b.note("rotating")
	done := make(chan error, 1)
	var got operated
	go func() {
		var err error
		got, err = b.operate(p, "keys", "rotate")
		done <- err
	}()
	during, err := until(done, signIn)
	if err != nil {
		return err
	}
	if without, err = around(without, nil); err != nil {
		return err
	}
	b.rotated(accounts, got, compare(during, slices.Repeat([]float64{quantile(without, .5)}, len(during))))
	return nil
}

// until signs people in until the other is done. What is half in its time counts only if there is nothing else.
func until(done <-chan error, signIn func() (float64, error)) (rates []float64, err error) {
	for {
		rate, err := signIn()
		if err != nil {
			return nil, errors.Join(err, <-done)
		}
		select {
		case err := <-done:
			if len(rates) == 0 {
				rates = append(rates, rate)
			}
			return rates, err
		default:
			rates = append(rates, rate)
		}
	}
}

func (b *bench) rotated(accounts int, got operated, c compared) {
	b.table.below(fmt.Sprintf("keys changed under %d addresses while people sign in (%.0f/s)", accounts, float64(accounts)/got.wall.Seconds()),
		"s", got.wall.Seconds(), limit(accounts))
	b.table.rows[len(b.table.rows)-1].rate = true
	b.table.add(row{what: "… its processor time, user and system", ours: fmt.Sprintf("%.0f s and %.0f s", got.user.Seconds(), got.system.Seconds())})
	b.table.rate("… sign-ins meanwhile (ceiling: before and after)", "/s", c, .8)
}

// copied has the place be a copy, so that the file that is kept from run to run stays as it is.
func (b *bench) copied(p *place) error {
	if b.Database != "" { // made for this run
		return nil
	}
	to := filepath.Join(b.temp, "rotated")
	if err := copyFile(to+".db", filepath.Join(b.Dir, fmt.Sprintf("countersign-%d.db", p.accounts))); err != nil {
		return err
	}
	if err := copyFile(to+".key", p.config.Keys.File); err != nil {
		return err
	}
	return b.configure(p, "sqlite:"+to+".db", to+".key")
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
