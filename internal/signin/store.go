package signin

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

type flow struct {
	ID       string
	Account  account.ID // a decoy's for whoever does not exist
	NameKey  []byte     // limits that show count by the name typed,
	OwnerKey []byte     // and limits over all names of the account by this
	Step     Step
	Barred   bool             // can never succeed
	Proved   password.Version // of the right password
	Taken    int              // tries of the source's limit, which a success gives back
	Nonce    string
	span

	Device   device.ID  // that was recognised, and is asked for a second proof all the same
	Replaces session.ID // the session that ends when the flow is done, of a flow of the signed-in
	errand
	Renewal []byte // sealed: see password.Renewal

	From Client // who sent the request at hand; not stored
}

// span is when a flow began, and when it ends unless it goes on before.
type span struct{ Begun, ExpiresAt time.Time }

// errand is what a flow is for.
type errand struct {
	Back string // see Begin
	App  string // that looked at the first proof; empty at our own door
	Site string // the origin of its pages, whose browsers sign; empty: ours

	Request string // of the application's, that a flow on our own pages is for: see Vouched

	Least assurance.Level // see Begin
}

func put(ctx context.Context, tx *sqldb.Tx, f flow, handle, browser []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO signin_flow (id, handle, browser, account_id, name_key, owner_key, step, barred, taken, nonce, created_at, expires_at, replaces, back, app, site, least, request)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		f.ID, handle, browser, f.Account, f.NameKey, f.OwnerKey, f.Step, f.Barred, f.Taken, f.Nonce, tx.Now().UnixMilli(), f.ExpiresAt.UnixMilli(),
		f.Replaces, f.Back, f.App, f.Site, f.Least, f.Request)
	return err
}

// digested is the column of the digests.
func digested() keyring.Column {
	return keyring.Column{Table: "signin_flow", Name: "handle", Live: "expires_at > $1"}
}

// renewalSealed is the column of what may replace a hash; renewalPlace says where each stands.
func renewalSealed() keyring.Column {
	return keyring.Column{Table: "signin_flow", Keys: []string{"id"}, Name: "renewal"}
}

// failedSealed is the column of whence a wrong code came; failedPlace says where each stands.
func failedSealed() keyring.Column {
	return keyring.Column{Table: "signin_flow", Keys: []string{"id"}, Name: "failed_from"}
}

func byHandle(ctx context.Context, tx *sqldb.Tx, handles, browsers [][]byte) (f flow, ok bool, err error) {
	var expires, begun int64
	err = tx.QueryRow(ctx, `
		SELECT id, account_id, name_key, owner_key, step, barred, taken, nonce, proved, expires_at, created_at, replaces, back, renewal, device, app, site, least, request FROM signin_flow
		WHERE expires_at > $1 AND created_at <= $2
		  AND handle IN (`+sqldb.Params(3, len(handles))+`) AND browser IN (`+sqldb.Params(3+len(handles), len(browsers))+`)`,
		append(append([]any{tx.Now().UnixMilli(), tx.Now().Add(sqldb.Skew).UnixMilli()}, sqldb.Args(handles)...), sqldb.Args(browsers)...)...).
		Scan(&f.ID, &f.Account, &f.NameKey, &f.OwnerKey, &f.Step, &f.Barred, &f.Taken, &f.Nonce, &f.Proved, &expires, &begun, &f.Replaces, &f.Back, &f.Renewal, &f.Device, &f.App, &f.Site, &f.Least, &f.Request)
	if errors.Is(err, sql.ErrNoRows) {
		return flow{}, false, nil
	}
	f.ExpiresAt, f.Begun = time.UnixMilli(expires), time.UnixMilli(begun)
	return f, err == nil, err
}

// move writes the flow's new step if it still stands at from.
func move(ctx context.Context, tx *sqldb.Tx, f flow, from Step) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE signin_flow SET step = $1, barred = $2, taken = $3, nonce = $4, expires_at = $5, proved = $6, renewal = $7, device = $8
		WHERE id = $9 AND step = $10 AND expires_at > $11`,
		f.Step, f.Barred, f.Taken, f.Nonce, f.ExpiresAt.UnixMilli(), f.Proved, f.Renewal, f.Device, f.ID, from, tx.Now().UnixMilli())
	return n == 1, err
}

// countAsk counts one more ask of a flow that stands at the device's step, up to most.
func countAsk(ctx context.Context, tx *sqldb.Tx, id string, most int) (more bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE signin_flow SET asked = asked + 1 WHERE id = $1 AND step = $2 AND asked < $3`, id, StepDevice, most)
	return n == 1, err
}

func setFailed(ctx context.Context, tx *sqldb.Tx, id string, from []byte) error {
	_, err := tx.Exec(ctx, `UPDATE signin_flow SET failed_at = $1, failed_from = $2 WHERE id = $3`, tx.Now().UnixMilli(), from, id)
	return err
}

// end ends a flow of an account, at whatever step.
func end(ctx context.Context, tx *sqldb.Tx, who account.ID, id string) error {
	_, err := tx.Exec(ctx, `UPDATE signin_flow SET barred = TRUE, expires_at = $1 WHERE id = $2 AND account_id = $3`,
		tx.Now().UnixMilli(), id, who)
	return err
}

// setMethods writes down what a flow that is for an application's request has proved.
func setMethods(ctx context.Context, tx *sqldb.Tx, id string, methods string) error {
	_, err := tx.Exec(ctx, `UPDATE signin_flow SET methods = $1 WHERE id = $2`, methods, id)
	return err
}

// provedFor returns what a flow has proved that is done and was for a request, in the browser that began it.
func provedFor(ctx context.Context, tx *sqldb.Tx, v Vouched, browsers [][]byte) (methods string, ok bool, err error) {
	err = tx.QueryRow(ctx, `SELECT methods FROM signin_flow
		WHERE request = $1 AND request <> '' AND app = $2 AND account_id = $3 AND step = $4 AND expires_at > $5 AND browser IN (`+sqldb.Params(6, len(browsers))+`)
		ORDER BY id DESC LIMIT 1`,
		append([]any{v.Request, v.App, v.Account, StepDone, tx.Now().UnixMilli()}, sqldb.Args(browsers)...)...).Scan(&methods)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return methods, err == nil, err
}

type failedFlow struct {
	id      string
	account account.ID
	step    Step
	barred  bool
	from    []byte
}

// takeFailed takes flows whose last wrong code is older than before: each is taken once.
func takeFailed(ctx context.Context, tx *sqldb.Tx, before time.Time) (all []failedFlow, err error) {
	const batch = 50
	err = tx.Each(ctx, `
		UPDATE signin_flow SET failed_at = NULL
		WHERE failed_at <= $1 AND id IN (SELECT id FROM signin_flow WHERE failed_at <= $1 LIMIT $2)
		RETURNING id, account_id, step, barred, failed_from`,
		func(scan func(...any) error) error {
			var f failedFlow
			err := scan(&f.id, &f.account, &f.step, &f.barred, &f.from)
			all = append(all, f)
			return err
		}, before.UnixMilli(), batch)
	return all, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM signin_flow WHERE id IN
		(SELECT id FROM signin_flow WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}
