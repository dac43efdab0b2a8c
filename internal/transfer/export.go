package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
)

// What says what to export.
type What struct {
	ID     account.ID // empty: every account
	Hashes bool       // with what is stored of the passwords
}

// Export writes accounts, one a line, as Import reads them, and returns how many. That it was done is
// recorded first. Each account is as it was at one moment; those further down may have changed meanwhile.
//
// It writes contact data in clear. Sessions, devices and codes are not written: they are of no use elsewhere.
func (s *Service) Export(ctx context.Context, w io.Writer, what What) (n int64, err error) {
	if err := s.recordExport(ctx, what); err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	const page = 500
	after := account.ID("")
	for {
		some, err := s.page(ctx, what, after, page)
		if err != nil {
			return n, err
		}
		for _, r := range some {
			b, err := json.Marshal(r) //nolint:gosec // G117: records of an export have no password in clear
			if err != nil {
				return n, err
			}
			if _, err := out.Write(append(b, '\n')); err != nil {
				return n, err
			}
			n, after = n+1, account.ID(r.ID)
		}
		if len(some) < page || what.ID != "" {
			return n, out.Flush()
		}
	}
}

func (s *Service) recordExport(ctx context.Context, what What) error {
	e := audit.Event{Kind: audit.AccountRead, Account: string(what.ID), Actor: "operator", Detail: map[string]string{
		"exported": "all", "hashes": fmt.Sprint(what.Hashes),
	}}
	if what.ID != "" {
		e.Detail["exported"] = "one"
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error { return s.Audit.Append(ctx, tx, e) })
}

func (s *Service) page(ctx context.Context, what What, after account.ID, n int) (out []record, err error) {
	var all []account.Whole
	passwords := map[account.ID]password.Setting{}
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		if what.ID != "" {
			all = make([]account.Whole, 1)
			all[0], err = s.Accounts.Whole(ctx, tx, what.ID)
		} else {
			all, err = s.Accounts.After(ctx, tx, after, n)
		}
		if err != nil || len(all) == 0 || !what.Hashes {
			return err
		}
		some, err := s.Passwords.Between(ctx, tx, all[0].ID, all[len(all)-1].ID)
		for _, p := range some {
			passwords[p.Account] = p
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		r := recordOf(w)
		if p, ok := passwords[w.ID]; ok {
			written := p.Hash.Write()
			r.PasswordHash, r.PasswordPepper, r.PasswordInner = written.Hash, written.Pepper, written.Inner
			r.PasswordSetAt = moment{p.At}
		}
		out = append(out, r)
	}
	return out, nil
}

func recordOf(w account.Whole) record {
	r := record{
		ID: string(w.ID), Language: w.Language, State: string(w.State), CreatedAt: moment{w.CreatedAt},
		FrozenUntil: moment{w.Standing.FrozenUntil}, EraseAt: moment{w.Standing.EraseAt}, Claims: w.Claims,
	}
	for _, a := range w.Addresses {
		r.Identifiers = append(r.Identifiers, identifier{
			Kind: string(a.Kind), Value: a.Normal, Verified: a.Verified, SignsIn: a.SignsIn, Notices: a.Notices, Recovers: a.Recovers,
			AddedAt: moment{a.AddedAt},
		})
	}
	return r
}
