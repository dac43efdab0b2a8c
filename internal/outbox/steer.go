package outbox

import (
	"context"
	"database/sql"
	"time"

	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
)

// Pause keeps a channel's letters waiting, on every node from its next look at the box, which a courier takes twice a second.
// Those under way are not called back. first is false if they were kept waiting already; the reason is then the new one.
func (b *Box) Pause(ctx context.Context, tx *sqldb.Tx, ch message.Channel, why string) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO outbox_pause (channel, since, why) VALUES ($1, $2, $3) ON CONFLICT (channel) DO NOTHING`,
		string(ch), tx.Now().UnixMilli(), why)
	if err != nil || n == 1 {
		return n == 1, err
	}
	_, err = tx.Exec(ctx, `UPDATE outbox_pause SET why = $1 WHERE channel = $2`, why, string(ch))
	return false, err
}

// Resume lets a channel's letters leave again. paused is false if they were not kept waiting.
func (b *Box) Resume(ctx context.Context, tx *sqldb.Tx, ch message.Channel) (paused bool, err error) {
	n, err := tx.Exec(ctx, `DELETE FROM outbox_pause WHERE channel = $1`, string(ch))
	return n == 1, err
}

// Status is how a channel does. Withheld letters count like the others.
type Status struct {
	Channel     message.Channel `json:"channel"`
	Waiting     int             `json:"waiting"`   // those under way and those tried before included
	UnderWay    int             `json:"under_way"` // with a courier at this moment
	Tried       int             `json:"tried"`     // once or more, and not under way
	Dead        int             `json:"dead"`
	SentLately  int             `json:"sent_last_hour"`
	Oldest      time.Time       `json:"oldest,omitzero"` // when the oldest waiting letter was put
	PausedSince time.Time       `json:"paused_since,omitzero"`
	PausedWhy   string          `json:"paused_why,omitempty"`
}

// Status tells how each channel does that has letters or is paused.
func (b *Box) Status(ctx context.Context) (all []Status, err error) {
	err = b.DB.Read(ctx, func(tx *sqldb.Tx) error {
		all = nil
		return status(ctx, tx, func(s Status) { all = append(all, s) })
	})
	return all, err
}

// lately is what SentLately looks back on.
const lately = time.Hour

func status(ctx context.Context, tx *sqldb.Tx, add func(Status)) error {
	now := tx.Now()
	return tx.Each(ctx, `
		SELECT channel, SUM(waiting), SUM(under_way), SUM(tried), SUM(dead), SUM(sent), MIN(oldest), MAX(since), MAX(why)
		FROM (
			SELECT channel, 1 AS waiting, CASE WHEN lease IS NOT NULL AND next_at > $1 THEN 1 ELSE 0 END AS under_way,
			       CASE WHEN attempts > 0 AND lease IS NULL THEN 1 ELSE 0 END AS tried, 0 AS dead, 0 AS sent, created_at AS oldest,
			       CAST(NULL AS BIGINT) AS since, CAST(NULL AS TEXT) AS why
			FROM outbox_letter WHERE state = 'waiting'
			UNION ALL
			SELECT channel, 0, 0, 0, 1, 0, NULL, NULL, NULL FROM outbox_letter WHERE state = 'dead'
			UNION ALL
			SELECT channel, 0, 0, 0, 0, 1, NULL, NULL, NULL FROM outbox_letter WHERE state IN ('sent', 'withheld') AND next_at > $2
			UNION ALL
			SELECT channel, 0, 0, 0, 0, 0, NULL, since, why FROM outbox_pause
		) AS letters
		GROUP BY channel ORDER BY channel`,
		func(scan func(...any) error) error {
			var s Status
			var oldest, since sql.NullInt64
			var why sql.NullString
			err := scan(&s.Channel, &s.Waiting, &s.UnderWay, &s.Tried, &s.Dead, &s.SentLately, &oldest, &since, &why)
			if oldest.Valid {
				s.Oldest = time.UnixMilli(oldest.Int64)
			}
			if since.Valid {
				s.PausedSince, s.PausedWhy = time.UnixMilli(since.Int64), why.String
			}
			if err == nil {
				add(s)
			}
			return err
		}, now.UnixMilli(), now.Add(-lately).UnixMilli())
}

// Drop deletes dead letters for good: the one of an id, or all of them if it is empty.
func (b *Box) Drop(ctx context.Context, id string) (n int64, err error) {
	err = b.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		n, err = tx.Exec(ctx, `DELETE FROM outbox_letter WHERE state = 'dead' AND (id = $1 OR $1 = '')`, id)
		return err
	})
	return n, err
}
