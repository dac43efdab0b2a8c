// Package throttle decides how often anything may be tried. It owns the tables
// throttle_bucket and throttle_failure.
//
// There are two kinds of limit. A Rate lets through a burst and then a steady trickle
// (GCRA, the generic cell rate algorithm); it protects the server and its budget. A Ladder
// counts consecutive failures of one secret and makes each further try wait longer; it
// protects accounts. Both are counted before the try is evaluated and in one statement, so
// that of any number of parallel tries no more pass than allowed, on all nodes together.
//
// Keys are stored as keyed digests: the tables name no account and no network.
package throttle

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// Service counts tries. All fields are required but Exempt.
type Service struct {
	Ring *keyring.Ring
	// Exempt are networks without limits per source: an application server that signs in for many.
	Exempt []netip.Prefix
}

// Rate lets Burst tries through at once, then one each Every.
type Rate struct {
	Name  string
	Burst int
	Every time.Duration
}

// Take takes one try of the rate for key. ok is false when there is none left, and then
// nothing is written.
func (s *Service) Take(ctx context.Context, tx *sqldb.Tx, r Rate, key string) (ok bool, err error) {
	current, err := s.carried(ctx, tx, bucket, r.Name, key)
	if err != nil {
		return false, err
	}
	return take(ctx, tx, current, r)
}

// Give returns a try that turned out to be harmless, such as a sign-in that succeeded, so
// that many honest people behind one address do not use up its limit.
func (s *Service) Give(ctx context.Context, tx *sqldb.Tx, r Rate, key string) error {
	return give(ctx, tx, s.keys(r.Name, key), r)
}

// TakeSource takes one try for the client's network and one for the wider network around it
// (IPv4: the address and its /24; IPv6: its /64 and its /48), where the wider one has eight
// times the rate: an attacker with a whole block gets eight addresses' worth, not 256.
func (s *Service) TakeSource(ctx context.Context, tx *sqldb.Tx, r Rate, source netip.Addr) (ok bool, err error) {
	if s.exempt(source) {
		return true, nil
	}
	for _, n := range networks(source, r) {
		if ok, err := s.Take(ctx, tx, n.rate, n.key); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// GiveSource returns what TakeSource took.
func (s *Service) GiveSource(ctx context.Context, tx *sqldb.Tx, r Rate, source netip.Addr) error {
	if s.exempt(source) {
		return nil
	}
	for _, n := range networks(source, r) {
		if err := s.Give(ctx, tx, n.rate, n.key); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) exempt(a netip.Addr) bool {
	for _, p := range s.Exempt {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

type network struct {
	rate Rate
	key  string
}

func networks(a netip.Addr, r Rate) []network {
	a = a.Unmap().WithZone("")
	near, wide := 64, 48
	if a.Is4() {
		near, wide = 32, 24
	}
	n, _ := a.Prefix(near) // an invalid address gives the zero prefix: all of them share one limit
	w, _ := a.Prefix(wide)
	wider := Rate{Name: r.Name + "/wide", Burst: 8 * r.Burst, Every: r.Every / 8}
	return []network{{r, n.String()}, {wider, w.String()}}
}

// Ladder lets Free consecutive failures pass at once; failure number Free+k then makes the
// next try wait Delays[k] (the last delay repeats), and after Stop failures nothing is
// evaluated any more until Clear (NIST SP 800-63B-4 section 3.2.2: at most 100).
type Ladder struct {
	Name   string
	Free   int
	Delays []time.Duration
	Stop   int
}

// Attempt counts a failure in advance and says whether the try may be evaluated at all.
// The caller calls Clear after a success.
func (s *Service) Attempt(ctx context.Context, tx *sqldb.Tx, l Ladder, key string) (ok bool, err error) {
	current, err := s.carried(ctx, tx, failure, l.Name, key)
	if err != nil {
		return false, err
	}
	return attempt(ctx, tx, current, l)
}

// Forgive takes back one count of a try that was never evaluated, because the server was busy.
// A wait already imposed stays.
func (s *Service) Forgive(ctx context.Context, tx *sqldb.Tx, l Ladder, key string) error {
	return forgive(ctx, tx, s.keys(l.Name, key))
}

// Clear forgets the failures of key.
func (s *Service) Clear(ctx context.Context, tx *sqldb.Tx, l Ladder, key string) error {
	return clearFailures(ctx, tx, s.keys(l.Name, key))
}

// Prune deletes a bounded number of rows whose limits have run out and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

func (s *Service) keys(name, key string) [][]byte {
	_, all := s.Ring.Indexes("throttle/"+name, key)
	return all
}

// carried returns the key to count under, after it has brought there what was counted under another
// key of the ring: nobody has new tries because the server has a new key.
func (s *Service) carried(ctx context.Context, tx *sqldb.Tx, t counts, name, key string) ([]byte, error) {
	current, all := s.Ring.Indexes("throttle/"+name, key)
	if len(all) == 1 {
		return current, nil
	}
	return current, carry(ctx, tx, t, current, all)
}

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() (all []keyring.Holding) {
	for _, c := range digested() {
		all = append(all, s.Ring.Digested(c))
	}
	return all
}

// delaySQL writes the ladder as a CASE over the failures counted so far.
func (l Ladder) delaySQL() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CASE WHEN throttle_failure.failures + 1 < %d THEN 0", l.Free)
	for i, d := range l.Delays {
		fmt.Fprintf(&b, " WHEN throttle_failure.failures + 1 = %d THEN %d", l.Free+i, d.Milliseconds())
	}
	fmt.Fprintf(&b, " ELSE %d END", l.Delays[len(l.Delays)-1].Milliseconds())
	return b.String()
}
