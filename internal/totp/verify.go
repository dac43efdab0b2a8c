package totp

import (
	"context"
	"fmt"

	"countersign/internal/account"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// Verdict is what a code was worth.
type Verdict uint8

// The verdicts.
const (
	Wrong Verdict = iota
	// Used is a code that was right and is used up. Whoever typed it may have been watched doing so before.
	Used
	Right
)

// hit is a code that was found.
type hit struct {
	id        ID
	at, drift int64
	verdict   Verdict
}

// Verify judges a code against all authenticators of the account, and uses it up if it is right. Of any
// number of calls with one code, on any nodes, one is Right.
//
// The work is the same whatever the account has, and for a decoy, which has none: as many rows are read,
// as many codes computed and as many statements run.
func (s *Service) Verify(ctx context.Context, tx *sqldb.Tx, who account.ID, code secret.Token) (ID, Verdict, error) {
	return s.judge(ctx, tx, who, func(k key) hit {
		typed, found := plain(code), hit{id: k.id}
		steps, n := k.window(tx.Now())
		for i, at := range steps {
			switch right := k.is(at, typed) && i < n; {
			case right && at >= k.next && found.verdict != Right:
				found.at, found.drift, found.verdict = at, k.driftAt(at, tx.Now()), Right
			case right && found.verdict == Wrong:
				found.verdict = Used
			}
		}
		return found
	})
}

// Resync finds an authenticator that has strayed by two codes it showed one after the other, and uses both up:
// a counter within a hundred of where it should be, a clock within ten minutes. Two codes prove no less than one that Verify
// takes. Its work is the same for everybody, and ten times that of Verify.
func (s *Service) Resync(ctx context.Context, tx *sqldb.Tx, who account.ID, first, second secret.Token) (ID, Verdict, error) {
	return s.judge(ctx, tx, who, func(k key) hit {
		one, two, found := plain(first), plain(second), hit{id: k.id}
		from := k.next
		in := int64(resyncAhead)
		if k.shape.Kind == TOTP {
			from, in = k.step(tx.Now())-maxDrift, 2*maxDrift+1
		}
		before := false
		for i := range int64(resyncAhead + 1) {
			at := from + i
			if k.is(at, two) && before && i < in && at > k.next {
				found.at, found.drift, found.verdict = at, k.driftAt(at, tx.Now()), Right
			}
			before = k.is(at, one)
		}
		return found
	})
}

func (s *Service) judge(ctx context.Context, tx *sqldb.Tx, who account.ID, look func(key) hit) (ID, Verdict, error) {
	rows, err := confirmedFrom(ctx, tx, who)
	if err != nil {
		return "", Wrong, err
	}
	var best hit
	for _, r := range rows {
		k, err := s.key(r)
		if err != nil && r.account == who {
			return "", Wrong, err
		}
		if h := look(k); r.account == who && h.verdict > best.verdict {
			best = h
		}
	}
	spending := best
	if best.verdict != Right {
		spending = hit{} // names no row, and takes as long
	}
	won, err := spend(ctx, tx, who, spending)
	switch {
	case err != nil:
		return "", Wrong, err
	case best.verdict == Right && !won: // somebody was a moment faster
		best.verdict = Used
	case best.verdict == Wrong:
		best.id = ""
	}
	return best.id, best.verdict, nil
}

// EnsureDummies writes the authenticators that are read, and looked at, for whoever has fewer than an
// account may have: those of account.Last, after all others. It must have run before the first Verify.
func (s *Service) EnsureDummies(ctx context.Context) error {
	there := 0
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		there, err = countConfirmed(ctx, tx, account.Last)
		return err
	})
	if err != nil || there >= MaxPerAccount {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for i := range MaxPerAccount {
			id := ID(fmt.Sprintf("ffffffff-ffff-ffff-ffff-%012x", i))
			raw := s.Ring.Stable("totp/dummy", string(id))[:SHA1.size()]
			err := putDummy(ctx, tx, row{id: id, account: account.Last, shape: Default(), secret: s.seal(id, "secret", raw), name: s.seal(id, "name", nil)})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
