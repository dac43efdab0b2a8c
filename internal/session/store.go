package session

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

const columns = `id, account_id, device_id, key_thumbprint, name, methods, created_at, authenticated_at, last_seen_at, expires_at, enrol, bound_at, origin_id`

// kept is a session as its row has it.
type kept struct {
	Session // without Source, which is sealed

	digest, source []byte
}

func scanSession(scan func(...any) error, more ...any) (s Session, err error) {
	var dev, key sql.NullString
	var bound sql.NullInt64
	var methods string
	var created, authenticated, seen, expires int64
	err = scan(append([]any{&s.ID, &s.Account, &dev, &key, &s.Name, &methods, &created, &authenticated, &seen, &expires, &s.Enrol, &bound, &s.Origin}, more...)...)
	s.Device, s.Key, s.Methods = device.ID(dev.String), dpop.Thumbprint(key.String), strings.Split(methods, ",")
	s.CreatedAt, s.AuthenticatedAt = time.UnixMilli(created), time.UnixMilli(authenticated)
	s.LastSeenAt, s.ExpiresAt = time.UnixMilli(seen), time.UnixMilli(expires)
	s.Origin = cmp.Or(s.Origin, s.ID)
	if bound.Valid {
		s.BoundAt = time.UnixMilli(bound.Int64)
	}
	return s, err
}

func put(ctx context.Context, tx *sqldb.Tx, s kept) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO session (id, digest, account_id, device_id, name, methods, created_at, authenticated_at, last_seen_at, expires_at, source, enrol, bound_at, key_thumbprint, origin_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7, $8, $9, $10, $11, $12, $13)`,
		s.ID, s.digest, s.Account, sql.NullString{String: string(s.Device), Valid: s.Device != ""}, s.Name, join(s.Methods),
		s.CreatedAt.UnixMilli(), s.ExpiresAt.UnixMilli(), s.source, s.Enrol, sql.NullInt64{Int64: s.BoundAt.UnixMilli(), Valid: !s.BoundAt.IsZero()},
		sql.NullString{String: string(s.Key), Valid: s.Key != ""}, s.Origin)
	return err
}

// byDigest returns the live session with one of the digests, and which; it is nil if there is none.
func byDigest(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (s Session, digest []byte, err error) {
	row := tx.QueryRow(ctx, `SELECT `+columns+`, digest FROM session
		WHERE digest IN (`+sqldb.Params(1, len(digests))+`) AND ended_at IS NULL`, sqldb.Args(digests)...)
	s, err = scanSession(func(into ...any) error { return row.Scan(append(into, &digest)...) })
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, nil, nil
	}
	return s, digest, err
}

// byID returns a live session and its digest; that is nil if there is none.
func byID(ctx context.Context, tx *sqldb.Tx, id ID) (s Session, digest []byte, err error) {
	row := tx.QueryRow(ctx, `SELECT `+columns+`, digest FROM session WHERE id = $1 AND ended_at IS NULL`, id)
	s, err = scanSession(func(into ...any) error { return row.Scan(append(into, &digest)...) })
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, nil, nil
	}
	return s, digest, err
}

func free(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE session SET enrol = FALSE WHERE id = $1 AND account_id = $2 AND ended_at IS NULL AND enrol`, id, who)
	return n == 1, err
}

// digested is the column of the digests. A session that has ended needs no key.
func digested() keyring.Column {
	return keyring.Column{Table: "session", Name: "digest", Live: "ended_at IS NULL AND expires_at > $1"}
}

// sealed is the column of the network addresses; place says where each stands.
func sealed() keyring.Column {
	return keyring.Column{Table: "session", Keys: []string{"id"}, Name: "source"}
}

func list(ctx context.Context, tx *sqldb.Tx, who account.ID, idle time.Duration) (all []kept, err error) {
	err = tx.Each(ctx, `SELECT `+columns+`, source FROM session
		WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2 AND last_seen_at > $3
		ORDER BY last_seen_at DESC, id DESC`,
		func(scan func(...any) error) error {
			var s kept
			var err error
			s.Session, err = scanSession(scan, &s.source)
			all = append(all, s)
			return err
		}, who, tx.Now().UnixMilli(), tx.Now().Add(-idle).UnixMilli())
	return all, err
}

// listAll asks twice, for the two indexes.
func listAll(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []kept, err error) {
	const every = `SELECT ` + columns + `, source, ended_at FROM session WHERE account_id = $1 AND ended_at IS `
	err = tx.Each(ctx, every+`NULL UNION ALL `+every+`NOT NULL ORDER BY created_at DESC, id DESC`,
		func(scan func(...any) error) error {
			var s kept
			var ended sql.NullInt64
			var err error
			if s.Session, err = scanSession(scan, &s.source, &ended); ended.Valid {
				s.EndedAt = time.UnixMilli(ended.Int64)
			}
			all = append(all, s)
			return err
		}, who)
	return all, err
}

// erase deletes an account's sessions: by both indexes.
func erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	for _, which := range []string{"NULL", "NOT NULL"} {
		if _, err := tx.Exec(ctx, `DELETE FROM session WHERE account_id = $1 AND ended_at IS `+which, who); err != nil {
			return err
		}
	}
	return nil
}

// ended names the sessions of one account to end: only one, all but one, those opened from a
// device but one, those that must enrol something, or those beyond the newest so many.
type ended struct {
	account    account.ID
	only, keep ID
	from       device.ID
	enrol      bool
	beyond     int
	replaced   bool // by another one of its line
	why        string
}

// endRows returns the sessions that it ends, and the lines that they are of.
func endRows(ctx context.Context, tx *sqldb.Tx, e ended) (ids, lines []ID, err error) {
	which, args := `account_id = $3 AND id <> $4`, []any{tx.Now().UnixMilli(), e.why, e.account, e.keep}
	switch {
	case e.only != "":
		which, args[3] = `account_id = $3 AND id = $4`, e.only
	case e.from != "":
		which += ` AND device_id = $5`
		args = append(args, e.from)
	case e.enrol:
		which += ` AND enrol`
	case e.beyond > 0:
		which = `id IN (SELECT id FROM session WHERE account_id = $3 AND ended_at IS NULL
			ORDER BY created_at DESC, id DESC LIMIT 1000 OFFSET $4)`
		args[3] = e.beyond
	}
	err = tx.Each(ctx, `UPDATE session SET ended_at = $1, ended_why = $2 WHERE ended_at IS NULL AND `+which+` RETURNING id, origin_id`,
		func(scan func(...any) error) error {
			var id, origin ID
			err := scan(&id, &origin)
			ids, lines = append(ids, id), append(lines, cmp.Or(origin, id))
			return err
		}, args...)
	return ids, lines, err
}

// bind marks a live session as bound, once.
func bind(ctx context.Context, tx *sqldb.Tx, one Session) (first bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE session SET bound_at = $1 WHERE id = $2 AND account_id = $3 AND device_id = $4 AND bound_at IS NULL AND ended_at IS NULL`,
		tx.Now().UnixMilli(), one.ID, one.Account, one.Device)
	return n == 1, err
}

func holds(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (live bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM session WHERE id = $1 AND account_id = $2 AND ended_at IS NULL AND expires_at > $3)`,
		id, who, tx.Now().UnixMilli()).Scan(&live)
	return live, err
}

func lineOf(ctx context.Context, tx *sqldb.Tx, who account.ID, origin ID, idle time.Duration) (l Line, err error) {
	err = tx.QueryRow(ctx, `
		SELECT COALESCE(MAX(CASE WHEN expires_at > $3 AND last_seen_at > $4 THEN 1 ELSE 0 END), 0) = 1, COUNT(*) > 0 FROM session
		WHERE account_id = $1 AND ended_at IS NULL AND (id = $2 OR origin_id = $2)`,
		who, origin, tx.Now().UnixMilli(), tx.Now().Add(-idle).UnixMilli()).Scan(&l.Live, &l.Unended)
	return l, err
}

func originOf(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (origin ID, err error) {
	err = tx.QueryRow(ctx, `SELECT origin_id FROM session WHERE id = $1 AND account_id = $2`, id, who).Scan(&origin)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return cmp.Or(origin, id), err
}

// keyOfSession returns the key of a session of the account, which may have ended.
func keyOfSession(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (dpop.Thumbprint, error) {
	var key sql.NullString
	err := tx.QueryRow(ctx, `SELECT key_thumbprint FROM session WHERE id = $1 AND account_id = $2`, id, who).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return dpop.Thumbprint(key.String), err
}

// renew changes the digest of a session that is live, and fills in what else st says of it.
func renew(ctx context.Context, tx *sqldb.Tx, digest []byte, who account.ID, st *Started) (ok bool, err error) {
	var at int64
	var key sql.NullString
	err = tx.QueryRow(ctx, `
		UPDATE session SET digest = $1 WHERE id = $2 AND account_id = $3 AND ended_at IS NULL AND expires_at > $4
		RETURNING expires_at, key_thumbprint`, digest, st.ID, who, tx.Now().UnixMilli()).Scan(&at, &key)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	st.ExpiresAt, st.Key = time.UnixMilli(at), dpop.Thumbprint(key.String)
	return err == nil, err
}

func announce(ctx context.Context, tx *sqldb.Tx, id ID) error {
	_, err := tx.Exec(ctx, `INSERT INTO session_change (id, at, session_id) VALUES ($1, $2, $3)`,
		uuid.Must(uuid.NewV7()).String(), tx.Now().UnixMilli(), id)
	return err
}

func announced(ctx context.Context, tx *sqldb.Tx, since time.Time) (ids []ID, err error) {
	err = tx.Each(ctx, `SELECT session_id FROM session_change WHERE at > $1`, func(scan func(...any) error) error {
		var id ID
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, since.UnixMilli())
	return ids, err
}

func touch(ctx context.Context, tx *sqldb.Tx, id ID, seen int64) error {
	_, err := tx.Exec(ctx, `UPDATE session SET last_seen_at = $1 WHERE id = $2 AND last_seen_at < $1`, seen, id)
	return err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	sessions, err := tx.Exec(ctx, `DELETE FROM session WHERE id IN
		(SELECT id FROM session WHERE expires_at < $1 LIMIT $2)`, tx.Now().Add(-30*24*time.Hour).UnixMilli(), batch)
	if err != nil {
		return 0, err
	}
	changes, err := tx.Exec(ctx, `DELETE FROM session_change WHERE id IN
		(SELECT id FROM session_change WHERE at < $1 LIMIT $2)`, tx.Now().Add(-time.Hour).UnixMilli(), batch)
	return sessions + changes, err
}
