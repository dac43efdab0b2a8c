package factor

import (
	"context"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// choice reads a row for everybody, that of the account after it where it has none: most have chosen nothing.
func choice(ctx context.Context, tx *sqldb.Tx, id account.ID) (c Choice, err error) {
	var of account.ID
	var order, off string
	err = tx.QueryRow(ctx, `SELECT account_id, operator, holder, ways, off, asked FROM factor_choice
		WHERE account_id >= $1 ORDER BY account_id LIMIT 1`, id).Scan(&of, &c.Operator, &c.Holder, &order, &off, &c.asked)
	if c.Order, c.Off = split(order), split(off); of == id {
		return c, err
	}
	return Choice{}, err
}

func hasChoice(ctx context.Context, tx *sqldb.Tx, id account.ID) (yes bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM factor_choice WHERE account_id = $1)`, id).Scan(&yes)
	return yes, err
}

func putDummies(ctx context.Context, tx *sqldb.Tx, ids []account.ID) error {
	_, err := tx.Many(ctx, `INSERT INTO factor_choice (account_id, operator, holder, ways, off, asked)`, `ON CONFLICT (account_id) DO NOTHING`,
		len(ids), func(i int) []any { return []any{ids[i], "", "", "", "", 0} })
	return err
}

func split(list string) (ways []Way) {
	for w := range strings.SplitSeq(list, ",") {
		if w != "" {
			ways = append(ways, Way(w))
		}
	}
	return ways
}

func join(ways []Way) string {
	words := make([]string, len(ways))
	for i, w := range ways {
		words[i] = string(w)
	}
	return strings.Join(words, ",")
}

func putChoice(ctx context.Context, tx *sqldb.Tx, id account.ID, c Choice) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO factor_choice (account_id, operator, holder, ways, off, asked) VALUES ($1, '', $2, $3, $4, 0)
		ON CONFLICT (account_id) DO UPDATE SET holder = excluded.holder, ways = excluded.ways, off = excluded.off,
			eased_at = CASE WHEN factor_choice.holder = $5 AND excluded.holder <> $5 THEN $6 ELSE factor_choice.eased_at END`,
		id, c.Holder, join(c.Order), join(c.Off), Always, tx.Now().UnixMilli())
	return err
}

func undo(ctx context.Context, tx *sqldb.Tx, id account.ID, since time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE factor_choice SET ways = '', off = '', holder = CASE WHEN eased_at >= $2 THEN $3 ELSE holder END WHERE account_id = $1`,
		id, since.UnixMilli(), Always)
	return err
}

func putPolicy(ctx context.Context, tx *sqldb.Tx, id account.ID, p Policy) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO factor_choice (account_id, operator, holder, ways, off, asked) VALUES ($1, $2, '', '', '', 0)
		ON CONFLICT (account_id) DO UPDATE SET operator = excluded.operator`, id, p)
	return err
}

func countAsked(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO factor_choice (account_id, operator, holder, ways, off, asked) VALUES ($1, '', '', '', '', 1)
		ON CONFLICT (account_id) DO UPDATE SET asked = factor_choice.asked + 1`, id)
	return err
}

func stop(ctx context.Context, tx *sqldb.Tx, id account.ID, w Way) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO factor_stopped (account_id, way, at) VALUES ($1, $2, $3) ON CONFLICT (account_id, way) DO NOTHING`,
		id, w, tx.Now().UnixMilli())
	return n == 1, err
}

func start(ctx context.Context, tx *sqldb.Tx, id account.ID, w Way) error {
	_, err := tx.Exec(ctx, `DELETE FROM factor_stopped WHERE account_id = $1 AND way = $2`, id, w)
	return err
}

func stopped(ctx context.Context, tx *sqldb.Tx, id account.ID) (ways []Way, err error) {
	err = tx.Each(ctx, `SELECT way FROM factor_stopped WHERE account_id = $1 ORDER BY way`, func(scan func(...any) error) error {
		var w Way
		err := scan(&w)
		ways = append(ways, w)
		return err
	}, id)
	return ways, err
}

func erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	for _, table := range []string{"factor_choice", "factor_stopped"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE account_id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}
