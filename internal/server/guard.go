package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"countersign/internal/account"
	"countersign/internal/guard"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
)

func guardRules(c config.Config) (r guard.Rules, err error) {
	r = guard.Rules{Off: !c.Guard.Enabled, Countries: c.Guard.Countries, AnyKind: c.Guard.AnyKind}
	for into, text := range map[*int64]string{&r.Caps.Hour: c.Guard.HourCap, &r.Caps.Day: c.Guard.DayCap, &r.Caps.CountryDay: c.Guard.CountryCap} {
		if *into, err = guard.ReadMoney(text); err != nil {
			return r, fmt.Errorf("guard: %q: %w", text, err)
		}
	}
	if c.Guard.Prices == "" {
		return r, nil
	}
	file, err := os.Open(c.Guard.Prices)
	if err != nil {
		return r, fmt.Errorf("guard.prices: %w", err)
	}
	defer func() { _ = file.Close() }()
	if r.Prices, err = guard.ReadPrices(file, c.SMS.Providers()...); err != nil {
		return r, fmt.Errorf("guard.prices: %s: %w", c.Guard.Prices, err)
	}
	return r, nil
}

// LearnCountries has the guard know the countries of the numbers that accounts have.
func (c *Core) LearnCountries(ctx context.Context) error {
	all, err := c.Accounts.PhoneRegions(ctx)
	if err != nil {
		return err
	}
	return c.DB.Write(ctx, func(tx *sqldb.Tx) error { return c.Guard.LearnAll(ctx, tx, all) })
}

// countries has it learn them once, of a database that was there before the guard was.
func (s *Server) countries(ctx context.Context) error {
	var ready bool
	err := s.core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		ready, err = s.core.Guard.Ready(ctx, tx)
		return err
	})
	if err == nil && !ready {
		err = s.core.LearnCountries(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.deps.Log.LogAttrs(ctx, slog.LevelWarn, "the guard of text messages does not know the countries of accounts", slog.Any("error", err))
	}
	return nil
}

// learn has the guard know the countries of numbers that an operator vouches for.
func (c *Core) learn(ctx context.Context, tx *sqldb.Tx, all []account.NewIdentifier) error {
	for _, i := range all {
		if err := c.Guard.Learn(ctx, tx, i.Region()); err != nil {
			return err
		}
	}
	return nil
}
