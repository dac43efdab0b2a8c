package registration

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

type flow struct {
	ID         string
	Address    account.Identifier
	Language   string // of whoever registers
	Owner      string // the language of the account that has the address, if there is one
	NameKey    []byte // limits count by the address typed
	Invitation string
	Step       Step
	Barred     bool // can never succeed
	Nonce      string
	ExpiresAt  time.Time

	sealed []byte
	From   signin.Client // who sent the request at hand; not stored
}

// content is what is sealed of a flow. The owner's language is in here because it tells that there is one.
type content struct {
	Kind     account.Kind `json:"kind"`
	Address  string       `json:"address"`
	Language string       `json:"language"`
	Owner    string       `json:"owner"`
}

// sealedSize holds the longest address: the length of a row tells nothing of it.
const sealedSize = 512

// stored is what is derived of a flow to store it.
type stored struct{ handle, browser, sealed []byte }

func (s *Service) stored(f flow, handle, browser secret.Token) stored {
	raw, _ := json.Marshal(content{f.Address.Kind(), f.Address.Normal(), f.Language, f.Owner}) //nolint:errchkjson // strings always can
	plain := make([]byte, sealedSize)
	binary.BigEndian.PutUint16(plain, uint16(len(raw))) //nolint:gosec // an address has at most 254 bytes
	copy(plain[2:], raw)
	return stored{s.digest(handle), s.digest(browser), s.Ring.Seal(plain, place(f.ID))}
}

// open fills in what is sealed.
func (s *Service) open(f *flow) error {
	plain, err := s.Ring.Open(f.sealed, place(f.ID))
	if err != nil {
		return err
	}
	if len(plain) != sealedSize || int(binary.BigEndian.Uint16(plain)) > sealedSize-2 {
		return errors.New("sealed registration is malformed")
	}
	var c content
	if err := json.Unmarshal(plain[2:2+binary.BigEndian.Uint16(plain)], &c); err != nil {
		return errors.New("sealed registration is malformed") // the cause would quote it
	}
	f.Address = account.Address{Kind: c.Kind, Normal: c.Address}.Identifier()
	f.Language, f.Owner = c.Language, c.Owner
	return nil
}

func place(id string) keyring.Place {
	return keyring.Place{Table: "registration_flow", Row: id, Column: "sealed"}
}

func put(ctx context.Context, tx *sqldb.Tx, f flow, s stored) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO registration_flow (id, handle, browser, sealed, name_key, invitation_id, step, barred, nonce, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		f.ID, s.handle, s.browser, s.sealed, f.NameKey, f.Invitation, f.Step, f.Barred, f.Nonce, tx.Now().UnixMilli(), f.ExpiresAt.UnixMilli())
	return err
}

// The columns of what keys made; place says where what is sealed stands.
func flowDigests() keyring.Column {
	return keyring.Column{Table: "registration_flow", Name: "handle", Live: "expires_at > $1"}
}

func invitationDigests() keyring.Column {
	return keyring.Column{Table: "registration_invitation", Name: "digest", Live: "expires_at > $1 AND revoked_at IS NULL AND uses_left > 0"}
}

func sealedFlow() keyring.Column {
	return keyring.Column{Table: "registration_flow", Keys: []string{"id"}, Name: "sealed"}
}

func byHandle(ctx context.Context, tx *sqldb.Tx, handles, browsers [][]byte) (f flow, ok bool, err error) {
	var expires int64
	err = tx.QueryRow(ctx, `
		SELECT id, sealed, name_key, invitation_id, step, barred, nonce, expires_at FROM registration_flow
		WHERE expires_at > $1 AND created_at <= $2
		  AND handle IN (`+sqldb.Params(3, len(handles))+`) AND browser IN (`+sqldb.Params(3+len(handles), len(browsers))+`)`,
		append(append([]any{tx.Now().UnixMilli(), tx.Now().Add(sqldb.Skew).UnixMilli()}, sqldb.Args(handles)...), sqldb.Args(browsers)...)...).
		Scan(&f.ID, &f.sealed, &f.NameKey, &f.Invitation, &f.Step, &f.Barred, &f.Nonce, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return flow{}, false, nil
	}
	f.ExpiresAt = time.UnixMilli(expires)
	return f, err == nil, err
}

// move writes the flow's new step if it still stands at from.
func move(ctx context.Context, tx *sqldb.Tx, f flow, from Step) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE registration_flow SET step = $1, nonce = $2, expires_at = $3 WHERE id = $4 AND step = $5 AND expires_at > $6`,
		f.Step, f.Nonce, f.ExpiresAt.UnixMilli(), f.ID, from, tx.Now().UnixMilli())
	return n == 1, err
}

func consents(ctx context.Context, tx *sqldb.Tx, id account.ID) (all []Consent, err error) {
	err = tx.Each(ctx, `SELECT version, accepted_at FROM registration_consent WHERE account_id = $1 ORDER BY accepted_at, version`,
		func(scan func(...any) error) error {
			var c Consent
			var at int64
			err := scan(&c.Version, &at)
			c.At = time.UnixMilli(at)
			all = append(all, c)
			return err
		}, id)
	return all, err
}

func eraseConsents(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM registration_consent WHERE account_id = $1`, id)
	return err
}

func putConsent(ctx context.Context, tx *sqldb.Tx, id account.ID, version string) error {
	_, err := tx.Exec(ctx, `INSERT INTO registration_consent (account_id, version, accepted_at) VALUES ($1, $2, $3)`,
		id, version, tx.Now().UnixMilli())
	return err
}

func putInvitation(ctx context.Context, tx *sqldb.Tx, i Invitation, digest, bound []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO registration_invitation (id, digest, bound_to, uses, uses_left, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $4, $5, $6)`,
		i.ID, digest, bound, i.Uses, i.CreatedAt.UnixMilli(), i.ExpiresAt.UnixMilli())
	return err
}

func goodInvitation(ctx context.Context, tx *sqldb.Tx, digests, bound [][]byte) (id string, ok bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT id FROM registration_invitation
		WHERE uses_left > 0 AND expires_at > $1 AND revoked_at IS NULL AND digest IN (`+sqldb.Params(2, len(digests))+`)
		  AND (bound_to IS NULL OR bound_to IN (`+sqldb.Params(2+len(digests), len(bound))+`))`,
		append(append([]any{tx.Now().UnixMilli()}, sqldb.Args(digests)...), sqldb.Args(bound)...)...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return id, err == nil, err
}

// spendInvitation takes one use, if there is one left: of any number of newcomers at once no more get
// through than it is good for.
func spendInvitation(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE registration_invitation SET uses_left = uses_left - 1
		WHERE id = $1 AND uses_left > 0 AND expires_at > $2 AND revoked_at IS NULL`, id, tx.Now().UnixMilli())
	return n == 1, err
}

func revoke(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE registration_invitation SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL AND expires_at > $1`,
		tx.Now().UnixMilli(), id)
	return n == 1, err
}

func invitations(ctx context.Context, tx *sqldb.Tx, n int) (all []Invitation, err error) {
	err = tx.Each(ctx, `
		SELECT id, bound_to IS NOT NULL, uses, uses_left, created_at, expires_at, revoked_at FROM registration_invitation
		ORDER BY created_at DESC, id DESC LIMIT $1`,
		func(scan func(...any) error) error {
			var i Invitation
			var created, expires int64
			var revoked sql.NullInt64
			err := scan(&i.ID, &i.Bound, &i.Uses, &i.Left, &created, &expires, &revoked)
			i.CreatedAt, i.ExpiresAt = time.UnixMilli(created), time.UnixMilli(expires)
			if revoked.Valid {
				i.RevokedAt = time.UnixMilli(revoked.Int64)
			}
			all = append(all, i)
			return err
		}, n)
	return all, err
}

// keepInvitations is how long one that is over stays in the list.
const keepInvitations = 30 * 24 * time.Hour

func prune(ctx context.Context, tx *sqldb.Tx) (deleted int64, err error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	deleted, err = tx.Exec(ctx, `DELETE FROM registration_flow WHERE id IN
		(SELECT id FROM registration_flow WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
	if err != nil {
		return 0, err
	}
	n, err := tx.Exec(ctx, `DELETE FROM registration_invitation WHERE id IN
		(SELECT id FROM registration_invitation WHERE expires_at < $1 LIMIT $2)`, tx.Now().Add(-keepInvitations).UnixMilli(), batch)
	return deleted + n, err
}
