package server

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/courier/simswap"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/throttle"
)

// swapTold is how often the holder is told that codes do not go to a number: once, for as long as a card usually is not trusted.
var swapTold = throttle.Rate{Name: "sim_swap/told", Burst: 1, Every: 72 * time.Hour} //nolint:gochecknoglobals // a constant

// suspects returns what says whether somebody else may read what goes to a number; nil if no operator is asked.
func (c *Core) suspects(log *slog.Logger, verdicts *prometheus.CounterVec) (func(context.Context, outbox.Claimed) (bool, error), error) {
	s := c.Config.SIMSwap
	if s.URL == "" {
		return nil, nil //nolint:nilnil // nobody is suspected
	}
	checker, err := simswap.New(simswap.Config{
		URL: s.URL, TokenURL: s.TokenURL, ClientID: s.ClientID, ClientSecret: s.ClientSecret.Token, Scope: s.Scope,
		Numbers: s.Numbers, Within: s.Within.D(), ByDate: s.ByDate, Now: c.DB.Now, Log: log,
	}, func(v simswap.Verdict) { verdicts.WithLabelValues(string(v)).Inc() })
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, l outbox.Claimed) (bool, error) {
		switch v := checker.Of(ctx, l.To); {
		case v == simswap.Swapped && l.Kind.Opens():
			return true, c.swapped(ctx, l)
		case v == simswap.Swapped: // its link ends sessions, stops the password and undoes changes
			return c.reachedElsewhere(ctx, l)
		case v == simswap.Unknown && s.Refuse && l.Kind.Opens():
			return true, c.undelivered(ctx, l)
		}
		return false, nil
	}, nil
}

// reachedElsewhere reports whether the holder is told at another address as well. Where there is none a notice goes to the number all the
// same: who has it can do no more than protect the account, and the holder may be who has it.
func (c *Core) reachedElsewhere(ctx context.Context, l outbox.Claimed) (yes bool, err error) {
	err = c.DB.Read(ctx, func(tx *sqldb.Tx) error {
		all, err := c.Accounts.Reaches(ctx, tx, account.ID(l.Account))
		yes = slices.ContainsFunc(all, func(r account.Reach) bool { return r.Normal != l.To })
		return err
	})
	return yes, err
}

// undelivered lets whoever waits for the letter see that it does not come.
func (c *Core) undelivered(ctx context.Context, l outbox.Claimed) error {
	_, _, err := c.Outbox.Report(ctx, outbox.Told{Letter: l.ID, State: outbox.NotDelivered})
	return err
}

// swapped records that a code did not go to a number with a new card, and tells the holder at every other address.
func (c *Core) swapped(ctx context.Context, l outbox.Claimed) error {
	if err := c.undelivered(ctx, l); err != nil {
		return err
	}
	return c.DB.Write(ctx, func(tx *sqldb.Tx) error {
		first, err := c.Throttle.Take(ctx, tx, swapTold, l.Account+" "+l.To)
		if err != nil || !first || l.Account == "" {
			return err
		}
		if err := c.Audit.Append(ctx, tx, audit.Event{Kind: audit.SIMSwapped, Account: l.Account, Actor: "system"}); err != nil {
			return err
		}
		return c.Notices.Tell(ctx, tx, notice.Event{Kind: message.SIMSwapped, Account: account.ID(l.Account), Operator: true, Except: l.To})
	})
}
