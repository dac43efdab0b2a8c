package guard

import (
	"context"

	"countersign/internal/platform/sqldb"
)

func putCountry(ctx context.Context, tx *sqldb.Tx, country string) error {
	_, err := tx.Exec(ctx, `INSERT INTO guard_country (country, learned_at) VALUES ($1, $2) ON CONFLICT (country) DO NOTHING`, country, tx.Now().UnixMilli())
	return err
}

func countries(ctx context.Context, tx *sqldb.Tx) (all []string, err error) {
	err = tx.Each(ctx, `SELECT country FROM guard_country ORDER BY country`, func(scan func(...any) error) error {
		var c string
		err := scan(&c)
		all = append(all, c)
		return err
	})
	return all, err
}

func addSpent(ctx context.Context, tx *sqldb.Tx, hour int64, country string, micros int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO guard_spend (hour, country, micros) VALUES ($1, $2, $3)
		ON CONFLICT (hour, country) DO UPDATE SET micros = guard_spend.micros + $3`, hour, country, micros)
	return err
}

type sums struct{ hour, day, country int64 }

func spent(ctx context.Context, tx *sqldb.Tx, hour int64, country string) (s sums, err error) {
	err = tx.QueryRow(ctx, `SELECT COALESCE(SUM(CASE WHEN hour = $1 THEN micros ELSE 0 END), 0), COALESCE(SUM(micros), 0),
			COALESCE(SUM(CASE WHEN country = $2 THEN micros ELSE 0 END), 0)
		FROM guard_spend WHERE hour > $1 - 24 AND hour <= $1`, hour, country).Scan(&s.hour, &s.day, &s.country)
	return s, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const keepHours = 31 * 24
	return tx.Exec(ctx, `DELETE FROM guard_spend WHERE hour < $1`, hourOf(tx.Now())-keepHours)
}
