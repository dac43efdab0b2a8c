package profile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// flow is an address that is being added.
type flow struct {
	id        string
	account   account.ID
	session   session.ID // that began it
	address   account.Identifier
	owner     string // the language of another account that has the address, if there is one
	barred    bool   // can never succeed
	expiresAt time.Time

	sealed []byte
}

// content is what is sealed of a flow. The owner's language is in here because it tells that there is one.
type content struct {
	Kind    account.Kind `json:"kind"`
	Address string       `json:"address"`
	Owner   string       `json:"owner"`
}

// sealedSize holds the longest address: the length of a row tells nothing of it.
const sealedSize = 512

func (s *Service) seal(f flow) []byte {
	raw, _ := json.Marshal(content{f.address.Kind(), f.address.Normal(), f.owner}) //nolint:errchkjson // strings always can
	plain := make([]byte, sealedSize)
	binary.BigEndian.PutUint16(plain, uint16(len(raw))) //nolint:gosec // an address has at most 254 bytes
	copy(plain[2:], raw)
	return s.SignIn.Ring.Seal(plain, place(f.id))
}

// open fills in what is sealed.
func (s *Service) open(f *flow) error {
	plain, err := s.SignIn.Ring.Open(f.sealed, place(f.id))
	if err != nil {
		return err
	}
	if len(plain) != sealedSize || int(binary.BigEndian.Uint16(plain)) > sealedSize-2 {
		return errors.New("sealed address is malformed")
	}
	var c content
	if err := json.Unmarshal(plain[2:2+binary.BigEndian.Uint16(plain)], &c); err != nil {
		return errors.New("sealed address is malformed") // the cause would quote it
	}
	f.address, f.owner = account.Address{Kind: c.Kind, Normal: c.Address}.Identifier(), c.Owner
	return nil
}

func place(id string) keyring.Place {
	return keyring.Place{Table: "profile_address_flow", Row: id, Column: "sealed"}
}

func put(ctx context.Context, tx *sqldb.Tx, f flow, handle, sealed []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO profile_address_flow (id, handle, account_id, session_id, sealed, barred, done, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		f.id, handle, f.account, f.session, sealed, f.barred, false, tx.Now().UnixMilli(), f.expiresAt.UnixMilli())
	return err
}

// digested is the column of the digests.
func digested() keyring.Column {
	return keyring.Column{Table: "profile_address_flow", Name: "handle", Live: "expires_at > $1"}
}

// sealed is the column of the addresses; place says where each stands.
func sealed() keyring.Column {
	return keyring.Column{Table: "profile_address_flow", Keys: []string{"id"}, Name: "sealed"}
}

func byHandle(ctx context.Context, tx *sqldb.Tx, owner account.ID, handles [][]byte) (f flow, ok bool, err error) {
	var expires int64
	f.account = owner
	err = tx.QueryRow(ctx, `
		SELECT id, session_id, sealed, barred, expires_at FROM profile_address_flow
		WHERE account_id = $1 AND NOT done AND expires_at > $2 AND created_at <= $3 AND handle IN (`+sqldb.Params(4, len(handles))+`)`,
		append([]any{owner, tx.Now().UnixMilli(), tx.Now().Add(sqldb.Skew).UnixMilli()}, sqldb.Args(handles)...)...).Scan(&f.id, &f.session, &f.sealed, &f.barred, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return flow{}, false, nil
	}
	f.expiresAt = time.UnixMilli(expires)
	return f, err == nil, err
}

// end ends a flow that is under way: of two requests at once one does.
func end(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE profile_address_flow SET done = $1 WHERE id = $2 AND NOT done`, true, id)
	return n == 1, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM profile_address_flow WHERE id IN
		(SELECT id FROM profile_address_flow WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}

func reviewed(ctx context.Context, tx *sqldb.Tx, id account.ID) (time.Time, error) {
	var at int64
	err := tx.QueryRow(ctx, `SELECT reviewed_at FROM profile_review WHERE account_id = $1`, id).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return time.UnixMilli(at), err
}

func review(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO profile_review (account_id, reviewed_at) VALUES ($1, $2)
		ON CONFLICT (account_id) DO UPDATE SET reviewed_at = excluded.reviewed_at`, id, tx.Now().UnixMilli())
	return err
}

// erase deletes what this package itself keeps of an account.
func erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	for _, table := range []string{"profile_address_flow", "profile_review"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE account_id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}
