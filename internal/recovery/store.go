package recovery

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

// flow is a recovery under way.
type flow struct {
	ID       string
	Account  account.ID // a decoy's for whoever does not exist
	NameKey  []byte     // limits that show count by the name typed,
	OwnerKey []byte     // silent ones by the account,
	ToKey    []byte     // those of the first code by the destination typed, too
	Way      factor.Way // how the last code went; empty if none did since the last proof
	Address  string     // the address that was typed as destination, or nowhere
	Barred   bool       // can never succeed
	Proved   []proof
	Saved    []byte // digest of the saved code that was shown
	Asked    bool   // the contacts were asked
	ReadyAt  time.Time

	ExpiresAt time.Time

	Step Step          // where it stands; not stored: it follows from the rest
	From signin.Client // who sent the request at hand; not stored
}

// codeKey names the code for one address in a flow.
func (f flow) codeKey(to account.Address) string { return f.ID + "/" + string(f.Way) + "/" + to.ID }

// methods lists what was proved, for the record.
func (f flow) methods() string {
	var all []string
	for _, p := range f.Proved {
		all = append(all, string(p.method()))
	}
	if len(all) == 1 {
		all = append(all, "waited")
	}
	return strings.Join(all, ",")
}

func join(proved []proof) string {
	all := make([]string, len(proved))
	for i, p := range proved {
		all[i] = string(p)
	}
	return strings.Join(all, ",")
}

func split(text string) (proved []proof) {
	for one := range strings.SplitSeq(text, ",") {
		if one != "" {
			proved = append(proved, proof(one))
		}
	}
	return proved
}

func put(ctx context.Context, tx *sqldb.Tx, f flow, handle, browser []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO recovery_flow
			(id, handle, browser, account_id, name_key, owner_key, to_key, way, address_id, barred, proved, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11, $12)`,
		f.ID, handle, browser, f.Account, f.NameKey, f.OwnerKey, f.ToKey, f.Way, f.Address, f.Barred, tx.Now().UnixMilli(), f.ExpiresAt.UnixMilli())
	return err
}

// The columns of what keys made.
func flowDigests() keyring.Column {
	return keyring.Column{Table: "recovery_flow", Name: "handle", Live: "ended_at IS NULL AND expires_at > $1"}
}

func codeDigests() keyring.Column {
	return keyring.Column{Table: "recovery_contact_code", Name: "digest", Live: "used_at IS NULL AND expires_at > $1"}
}

func contactSealed() keyring.Column {
	return keyring.Column{Table: "recovery_contact", Keys: []string{"id"}, Name: "sealed"}
}

func byHandle(ctx context.Context, tx *sqldb.Tx, handles, browsers [][]byte) (f flow, ok bool, err error) {
	var proved string
	var asked, ready sql.NullInt64
	var expires int64
	err = tx.QueryRow(ctx, `
		SELECT id, account_id, name_key, owner_key, to_key, way, address_id, barred, proved, saved, asked_at, ready_at, expires_at
		FROM recovery_flow
		WHERE ended_at IS NULL AND expires_at > $1 AND created_at <= $2
		  AND handle IN (`+sqldb.Params(3, len(handles))+`) AND browser IN (`+sqldb.Params(3+len(handles), len(browsers))+`)`,
		append(append([]any{tx.Now().UnixMilli(), tx.Now().Add(sqldb.Skew).UnixMilli()}, sqldb.Args(handles)...), sqldb.Args(browsers)...)...).
		Scan(&f.ID, &f.Account, &f.NameKey, &f.OwnerKey, &f.ToKey, &f.Way, &f.Address, &f.Barred, &proved, &f.Saved, &asked, &ready, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return flow{}, false, nil
	}
	f.Proved, f.Asked, f.ExpiresAt = split(proved), asked.Valid, time.UnixMilli(expires)
	if ready.Valid {
		f.ReadyAt = time.UnixMilli(ready.Int64)
	}
	return f, err == nil, err
}

// beganAt is when a flow began.
func beganAt(ctx context.Context, tx *sqldb.Tx, f flow) (time.Time, error) {
	var ms int64
	err := tx.QueryRow(ctx, `SELECT created_at FROM recovery_flow WHERE id = $1`, f.ID).Scan(&ms)
	return time.UnixMilli(ms), err
}

func setWay(ctx context.Context, tx *sqldb.Tx, f flow) error {
	_, err := tx.Exec(ctx, `UPDATE recovery_flow SET way = $1 WHERE id = $2`, f.Way, f.ID)
	return err
}

// setProved writes the flow's proofs if it still has those it was read with.
func setProved(ctx context.Context, tx *sqldb.Tx, f flow, before []proof) (moved bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE recovery_flow SET proved = $1, saved = $2, way = $3, expires_at = $4
		WHERE id = $5 AND proved = $6 AND ended_at IS NULL AND expires_at > $7`,
		join(f.Proved), f.Saved, f.Way, f.ExpiresAt.UnixMilli(), f.ID, join(before), tx.Now().UnixMilli())
	return n == 1, err
}

func setAsked(ctx context.Context, tx *sqldb.Tx, f flow) (first bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE recovery_flow SET asked_at = $1, expires_at = $2 WHERE id = $3 AND asked_at IS NULL AND ended_at IS NULL`,
		tx.Now().UnixMilli(), f.ExpiresAt.UnixMilli(), f.ID)
	return n == 1, err
}

func setReady(ctx context.Context, tx *sqldb.Tx, f flow) (first bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE recovery_flow SET ready_at = $1, expires_at = $2
		WHERE id = $3 AND ready_at IS NULL AND proved = $4 AND ended_at IS NULL`,
		f.ReadyAt.UnixMilli(), f.ExpiresAt.UnixMilli(), f.ID, join(f.Proved))
	return n == 1, err
}

// endFlow ends a flow that still stands where it was read: of two requests at once one ends it.
func endFlow(ctx context.Context, tx *sqldb.Tx, f flow) (ended bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE recovery_flow SET ended_at = $1 WHERE id = $2 AND proved = $3 AND ended_at IS NULL AND expires_at > $1`,
		tx.Now().UnixMilli(), f.ID, join(f.Proved))
	return n == 1, err
}

// endAll ends an account's flows and returns how many of them had proved something.
func endAll(ctx context.Context, tx *sqldb.Tx, id account.ID) (proved int, err error) {
	err = tx.Each(ctx, `
		UPDATE recovery_flow SET ended_at = $1 WHERE account_id = $2 AND ended_at IS NULL RETURNING proved, expires_at`,
		func(scan func(...any) error) error {
			var what string
			var expires int64
			err := scan(&what, &expires)
			if what != "" && expires > tx.Now().UnixMilli() {
				proved++
			}
			return err
		}, tx.Now().UnixMilli(), id)
	return proved, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM recovery_flow WHERE id IN
		(SELECT id FROM recovery_flow WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch) // contacts' codes go with it
}

// savedCode returns nil for an account without one. It reads a row for everybody, the next one if there
// is none: a row less takes less time, which told who had one.
func savedCode(ctx context.Context, tx *sqldb.Tx, lookup []byte) (digest []byte, err error) {
	var found []byte
	err = tx.QueryRow(ctx, `
		SELECT lookup, digest FROM recovery_saved_code WHERE lookup >= $1 ORDER BY lookup LIMIT 1`, lookup).Scan(&found, &digest)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !bytes.Equal(found, lookup) {
		return nil, nil
	}
	return digest, err
}

// savedRow is the saved code of an account.
type savedRow struct {
	account        account.ID
	lookup, digest []byte
}

func putSavedCode(ctx context.Context, tx *sqldb.Tx, r savedRow) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO recovery_saved_code (lookup, account_id, digest, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (lookup) DO UPDATE SET digest = excluded.digest, created_at = excluded.created_at`,
		r.lookup, r.account, r.digest, tx.Now().UnixMilli())
	return err
}

// swapSavedCode replaces the code that was shown and no other.
func swapSavedCode(ctx context.Context, tx *sqldb.Tx, shown []byte, r savedRow) (same bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE recovery_saved_code SET digest = $1, created_at = $2 WHERE lookup = $3 AND digest = $4`,
		r.digest, tx.Now().UnixMilli(), r.lookup, shown)
	return n == 1, err
}

func deleteSavedCode(ctx context.Context, tx *sqldb.Tx, lookup []byte) error {
	_, err := tx.Exec(ctx, `DELETE FROM recovery_saved_code WHERE lookup = $1`, lookup)
	return err
}

type contactRow struct {
	id      string
	account account.ID
	sealed  []byte
	addedAt time.Time
}

// contacts returns an account's, oldest first.
func contacts(ctx context.Context, tx *sqldb.Tx, id account.ID, most int) (all []contactRow, err error) {
	err = tx.Each(ctx, `SELECT id, sealed, created_at FROM recovery_contact WHERE account_id = $1 ORDER BY created_at, id LIMIT $2`,
		func(scan func(...any) error) error {
			r := contactRow{account: id}
			var added int64
			err := scan(&r.id, &r.sealed, &added)
			r.addedAt = time.UnixMilli(added)
			all = append(all, r)
			return err
		}, id, most)
	return all, err
}

// putContact leaves one that is there as it is: several nodes may write those of nobody at once.
func putContact(ctx context.Context, tx *sqldb.Tx, r contactRow) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO recovery_contact (id, account_id, sealed, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
		r.id, r.account, r.sealed, tx.Now().UnixMilli())
	return err
}

func deleteContact(ctx context.Context, tx *sqldb.Tx, id account.ID, contact string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM recovery_contact WHERE id = $1 AND account_id = $2`, contact, id) // its codes go with it
	return n == 1, err
}

// erase deletes recoveries by both indexes: of those under way, and of those that ended.
func erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	for _, what := range []string{
		"recovery_flow WHERE ended_at IS NULL AND", "recovery_flow WHERE ended_at IS NOT NULL AND", "recovery_contact WHERE", "recovery_saved_code WHERE",
	} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+what+` account_id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}

func deleteSince(ctx context.Context, tx *sqldb.Tx, id account.ID, since time.Time) error {
	for _, table := range []string{"recovery_contact", "recovery_saved_code"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE account_id = $1 AND created_at >= $2`, id, since.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

type contactCode struct {
	flow, contact string
	digest        []byte
	expires       time.Time
}

func putContactCode(ctx context.Context, tx *sqldb.Tx, c contactCode) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO recovery_contact_code (flow_id, contact_id, digest, expires_at) VALUES ($1, $2, $3, $4)`,
		c.flow, c.contact, c.digest, c.expires.UnixMilli())
	return err
}

func spendContactCode(ctx context.Context, tx *sqldb.Tx, flowID string, digests [][]byte) (right bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE recovery_contact_code SET used_at = $1
		WHERE flow_id = $2 AND used_at IS NULL AND expires_at > $1 AND digest IN (`+sqldb.Params(3, len(digests))+`)`,
		append([]any{tx.Now().UnixMilli(), flowID}, sqldb.Args(digests)...)...)
	return n == 1, err
}

// contactCodes counts the codes of the account's own contacts: how many are out, and how many were read back.
func contactCodes(ctx context.Context, tx *sqldb.Tx, flowID string, id account.ID) (asked, used int, err error) {
	err = tx.QueryRow(ctx, `
		SELECT count(*), count(used_at) FROM recovery_contact_code
		WHERE flow_id = $1 AND contact_id IN (SELECT id FROM recovery_contact WHERE account_id = $2)`, flowID, id).Scan(&asked, &used)
	return asked, used, err
}
