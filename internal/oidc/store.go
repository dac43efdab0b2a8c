package oidc

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// sealedKeys is the column of private keys; keyPlace says where each stands.
func sealedKeys() keyring.Column {
	return keyring.Column{Table: "oidc_key", Keys: []string{"id"}, Name: "sealed"}
}

// digested are the columns of digests.
func digested() []keyring.Column {
	return []keyring.Column{
		{Table: "oidc_request", Name: "browser", Live: "expires_at > $1"},
		{Table: "oidc_pushed", Name: "digest", Live: "expires_at > $1"},
		{Table: "oidc_grant", Name: "code", Live: "code_until > $1"},
		{Table: "oidc_token", Name: "digest", Live: "expires_at > $1"},
		{Table: "oidc_device", Keys: []string{"id"}, Name: "device_code", Live: "expires_at > $1"},
		{Table: "oidc_device", Keys: []string{"id"}, Name: "user_code", Live: "expires_at > $1"},
		{Table: "oidc_own_token", Name: "digest", Live: "expires_at > $1"},
	}
}

func scanClient(scan func(...any) error) (r Registered, err error) {
	var metadata string
	var secret, former []byte
	var created int64
	if err = scan(&r.ID, &metadata, &secret, &former, &created, &r.Itself); err != nil {
		return Registered{}, err
	}
	if err = json.Unmarshal([]byte(metadata), &r.Client); err != nil {
		return Registered{}, err
	}
	for _, one := range [][]byte{secret, former} {
		if len(one) > 0 {
			r.secrets = append(r.secrets, one)
		}
	}
	r.CreatedAt = time.UnixMilli(created)
	return r, r.readKeys()
}

const clientColumns = `SELECT id, metadata, secret, CASE WHEN former_until > $1 THEN former_secret END, created_at, own_token IS NOT NULL FROM oidc_client`

func registeredByID(ctx context.Context, tx *sqldb.Tx, id string) (Registered, error) {
	return scanClient(tx.QueryRow(ctx, clientColumns+` WHERE id = $2`, tx.Now().UnixMilli(), id).Scan)
}

func clientByID(ctx context.Context, tx *sqldb.Tx, id string) (Client, bool, error) {
	r, err := registeredByID(ctx, tx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Client{}, false, nil
	}
	return r.Client, err == nil, err
}

func eachClient(ctx context.Context, tx *sqldb.Tx, visit func(Registered)) error {
	return tx.Each(ctx, clientColumns+` ORDER BY id`, func(scan func(...any) error) error {
		r, err := scanClient(scan)
		if err == nil {
			visit(r)
		}
		return err
	}, tx.Now().UnixMilli())
}

func putClient(ctx context.Context, tx *sqldb.Tx, c Client) error {
	metadata, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO oidc_client (id, metadata, created_at) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET metadata = $2`, c.ID, string(metadata), tx.Now().UnixMilli())
	return err
}

func setOwn(ctx context.Context, tx *sqldb.Tx, id string, digest []byte) error {
	_, err := tx.Exec(ctx, `UPDATE oidc_client SET own_token = $1 WHERE id = $2`, digest, id)
	return err
}

func ownedBy(ctx context.Context, tx *sqldb.Tx, id string, digest []byte) (yes bool, err error) {
	err = tx.QueryRow(ctx, `SELECT COUNT(*) > 0 FROM oidc_client WHERE id = $1 AND own_token = $2`, id, digest).Scan(&yes)
	return yes, err
}

func setSecret(ctx context.Context, tx *sqldb.Tx, id string, digest []byte) error {
	_, err := tx.Exec(ctx, `UPDATE oidc_client SET former_secret = secret, former_until = $1, secret = $2 WHERE id = $3`,
		tx.Now().Add(formerFor).UnixMilli(), digest, id)
	return err
}

// deleteClient takes a client away, and ends its grants.
func deleteClient(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM oidc_client WHERE id = $1`, id)
	if err != nil || n == 0 {
		return false, err
	}
	for _, table := range []string{"oidc_own_token", "oidc_device"} {
		if _, err = tx.Exec(ctx, `DELETE FROM `+table+` WHERE client_id = $1`, id); err != nil {
			return false, err
		}
	}
	_, err = tx.Exec(ctx, `UPDATE oidc_grant SET ended_at = $1, ended_why = $2 WHERE client_id = $3 AND ended_at IS NULL`,
		tx.Now().UnixMilli(), "client removed", id)
	return true, err
}

// keysOf returns the keys of an algorithm that are published, or of all, the newest first.
func keysOf(ctx context.Context, tx *sqldb.Tx, alg string) (all []signingKey, err error) {
	err = tx.Each(ctx, `SELECT id, alg, jwk, sealed, created_at, ends_at FROM oidc_key
		WHERE (ends_at IS NULL OR ends_at > $1) AND ($2 = '' OR alg = $2) ORDER BY created_at DESC, id`,
		func(scan func(...any) error) error {
			var k signingKey
			var created int64
			var ends sql.NullInt64
			err := scan(&k.ID, &k.Alg, &k.jwk, &k.sealed, &created, &ends)
			if k.CreatedAt = time.UnixMilli(created); ends.Valid {
				k.EndsAt = time.UnixMilli(ends.Int64)
			}
			all = append(all, k)
			return err
		}, tx.Now().UnixMilli(), alg)
	return all, err
}

// keyByID returns the public half of a key, published or not; empty if there is none.
func keyByID(ctx context.Context, tx *sqldb.Tx, id string) (jwk string, err error) {
	err = tx.QueryRow(ctx, `SELECT jwk FROM oidc_key WHERE id = $1`, id).Scan(&jwk)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return jwk, err
}

func putKey(ctx context.Context, tx *sqldb.Tx, k signingKey) error {
	_, err := tx.Exec(ctx, `INSERT INTO oidc_key (id, alg, jwk, sealed, created_at) VALUES ($1, $2, $3, $4, $5)`,
		k.ID, k.Alg, k.jwk, k.sealed, k.CreatedAt.UnixMilli())
	return err
}

func endKeys(ctx context.Context, tx *sqldb.Tx, alg string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE oidc_key SET ends_at = $1 WHERE alg = $2 AND (ends_at IS NULL OR ends_at > $1)`, at.UnixMilli(), alg)
	return err
}

func putRequest(ctx context.Context, tx *sqldb.Tx, q request, browser []byte) error {
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO oidc_request (id, client_id, browser, request, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		q.id, q.Client, browser, string(text), q.created.UnixMilli(), q.created.Add(requestFor).UnixMilli())
	return err
}

// requestOf returns a request that is under way in a browser.
func requestOf(ctx context.Context, tx *sqldb.Tx, id string, browsers [][]byte) (q request, ok bool, err error) {
	var text string
	var created int64
	err = tx.QueryRow(ctx, `SELECT request, created_at FROM oidc_request
		WHERE id = $1 AND done_at IS NULL AND expires_at > $2 AND browser IN (`+sqldb.Params(3, len(browsers))+`)`,
		append([]any{id, tx.Now().UnixMilli()}, sqldb.Args(browsers)...)...).Scan(&text, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return request{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &q)
	}
	q.id, q.created = id, time.UnixMilli(created)
	return q, err == nil, err
}

// finishRequest ends a request: of two answers to it one is the first.
func finishRequest(ctx context.Context, tx *sqldb.Tx, id string) (first bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE oidc_request SET done_at = $1 WHERE id = $2 AND done_at IS NULL AND expires_at > $1`, tx.Now().UnixMilli(), id)
	return n == 1, err
}

func putPushed(ctx context.Context, tx *sqldb.Tx, client string, says url.Values, digest []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO oidc_pushed (digest, client_id, parameters, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
		digest, client, says.Encode(), tx.Now().UnixMilli(), tx.Now().Add(pushedFor).UnixMilli())
	return err
}

// putObject notes that q comes of an object that the client has signed. Of any number of times that it is brought one is first.
func putObject(ctx context.Context, tx *sqldb.Tx, q request, digest []byte, until time.Time) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO oidc_pushed (digest, client_id, parameters, request_id, created_at, expires_at) VALUES ($1, $2, '', $3, $4, $5)
		ON CONFLICT (digest) DO NOTHING`, digest, q.Client, cmp.Or(q.id, "pushed"), tx.Now().UnixMilli(), until.UnixMilli())
	return n == 1, err
}

// spendPushed uses up what q's client has pushed: of any number of browsers that bring it, one is first.
func spendPushed(ctx context.Context, tx *sqldb.Tx, digests [][]byte, q request) (says string, first bool, err error) {
	args := append([]any{tx.Now().UnixMilli(), q.Client, q.id, q.created.Add(requestFor).UnixMilli()}, sqldb.Args(digests)...)
	err = tx.QueryRow(ctx, `UPDATE oidc_pushed SET request_id = $3, expires_at = $4
		WHERE digest IN (`+sqldb.Params(5, len(digests))+`) AND client_id = $2 AND request_id IS NULL AND expires_at > $1
		RETURNING parameters`, args...).Scan(&says)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return says, err == nil, err
}

// pushedBefore returns the request that came of what q's client has pushed; empty if none did.
func pushedBefore(ctx context.Context, tx *sqldb.Tx, digests [][]byte, q request) (id string, err error) {
	err = tx.QueryRow(ctx, `SELECT request_id FROM oidc_pushed WHERE digest IN (`+sqldb.Params(3, len(digests))+`) AND client_id = $2
		AND request_id IS NOT NULL AND expires_at > $1`, append([]any{tx.Now().UnixMilli(), q.Client}, sqldb.Args(digests)...)...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, err
}

const grantColumns = `id, client_id, account_id, session_id, scopes, challenge, nonce, jkt, methods, authenticated_at, expires_at`

func scanGrant(scan func(...any) error, more ...any) (g grant, err error) {
	var scopes, methods string
	var authenticated, expires int64
	err = scan(append([]any{&g.id, &g.client, &g.account, &g.session, &scopes, &g.challenge, &g.nonce, &g.key, &methods, &authenticated, &expires}, more...)...)
	g.scopes, g.methods = strings.Fields(scopes), strings.Split(methods, ",")
	g.authenticated, g.expires = time.UnixMilli(authenticated), time.UnixMilli(expires)
	return g, err
}

func putGrant(ctx context.Context, tx *sqldb.Tx, g grant, code []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO oidc_grant (`+grantColumns+`, code, code_until, redirect_uri, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		g.id, g.client, g.account, g.session, strings.Join(g.scopes, " "), g.challenge, g.nonce, g.key, strings.Join(g.methods, ","),
		g.authenticated.UnixMilli(), g.expires.UnixMilli(), code, tx.Now().Add(codeFor).UnixMilli(), g.redirect, tx.Now().UnixMilli())
	return err
}

// redemption is what comes with a code.
type redemption struct {
	codes     [][]byte // its digests
	client    string
	redirect  string // empty where it was left out, as OAuth 2.1 does
	challenge string // what the verifier makes; empty for none
	key       confirmation
}

// spendCode uses a code up. One UPDATE both checks and changes: of any number of calls with one code, on any nodes, one wins,
// and what does not fit spends nothing. A verifier for a code that has no challenge does not fit either (RFC 9700 section 4.8), and where a
// key was announced no other key does. What comes of the code is bound to the key that comes with it.
func spendCode(ctx context.Context, tx *sqldb.Tx, r redemption) (g grant, ok bool, err error) {
	args := append([]any{tx.Now().UnixMilli(), r.client, r.challenge, r.redirect, r.key}, sqldb.Args(r.codes)...)
	g, err = scanGrant(tx.QueryRow(ctx, `
		UPDATE oidc_grant SET code_used_at = $1, jkt = $5
		WHERE client_id = $2 AND challenge = $3 AND (redirect_uri = $4 OR $4 = '' AND challenge <> '')
		  AND (jkt = '' OR jkt = $5) AND code IN (`+sqldb.Params(6, len(r.codes))+`) AND code_used_at IS NULL AND code_until > $1 AND ended_at IS NULL
		RETURNING `+grantColumns, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return grant{}, false, nil
	}
	return g, err == nil, err
}

// codeUsed returns the grant of a client whose code was used before.
func codeUsed(ctx context.Context, tx *sqldb.Tx, client string, codes [][]byte) (g grant, ok bool, err error) {
	g, err = scanGrant(tx.QueryRow(ctx, `SELECT `+grantColumns+` FROM oidc_grant
		WHERE client_id = $1 AND code_used_at IS NOT NULL AND code IN (`+sqldb.Params(2, len(codes))+`)`,
		append([]any{client}, sqldb.Args(codes)...)...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return grant{}, false, nil
	}
	return g, err == nil, err
}

func endGrant(ctx context.Context, tx *sqldb.Tx, id, why string) (first bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE oidc_grant SET ended_at = $1, ended_why = $2 WHERE id = $3 AND ended_at IS NULL`, tx.Now().UnixMilli(), why, id)
	return n == 1, err
}

func endGrantsOf(ctx context.Context, tx *sqldb.Tx, who account.ID, client, why string) (int64, error) {
	return tx.Exec(ctx, `UPDATE oidc_grant SET ended_at = $1, ended_why = $2 WHERE account_id = $3 AND client_id = $4 AND ended_at IS NULL`,
		tx.Now().UnixMilli(), why, who, client)
}

// allowed lists the clients that an account has agreed to or that hold something of it now.
func allowed(ctx context.Context, tx *sqldb.Tx, who account.ID, visit func(Allowed)) error {
	return tx.Each(ctx, `
		SELECT client_id, MAX(scopes), MIN(created_at), MAX(created_at), MAX(CASE WHEN ended_at IS NULL AND expires_at > $2 THEN 1 ELSE 0 END)
		FROM (SELECT client_id, scopes, created_at, ended_at, expires_at FROM oidc_grant WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2
		      UNION ALL SELECT client_id, scopes, given_at, given_at, given_at FROM oidc_consent WHERE account_id = $1) AS held
		GROUP BY client_id ORDER BY client_id`,
		func(scan func(...any) error) error {
			var a Allowed
			var scopes string
			var since, last int64
			var live int
			err := scan(&a.Client, &scopes, &since, &last, &live)
			if err == nil {
				a.Scopes, a.Since, a.Last, a.Live = strings.Fields(scopes), time.UnixMilli(since), time.UnixMilli(last), live == 1
				visit(a)
			}
			return err
		}, who, tx.Now().UnixMilli())
}

func putToken(ctx context.Context, tx *sqldb.Tx, t token, digest []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO oidc_token (digest, grant_id, kind, scopes, jkt, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		digest, t.grant, t.kind, strings.Join(t.scopes, " "), t.key, tx.Now().UnixMilli(), t.expires.UnixMilli())
	return err
}

// spendRefresh uses a refresh token up, as spendCode does a code.
func spendRefresh(ctx context.Context, tx *sqldb.Tx, client string, digests [][]byte) (ok bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE oidc_token SET used_at = $1
		WHERE digest IN (`+sqldb.Params(4, len(digests))+`) AND kind = $2 AND used_at IS NULL AND expires_at > $1
		  AND grant_id IN (SELECT id FROM oidc_grant WHERE client_id = $3 AND ended_at IS NULL AND expires_at > $1)`, append([]any{tx.Now().UnixMilli(), kindRefresh, client}, sqldb.Args(digests)...)...)
	return n == 1, err
}

// prolongRefresh uses a refresh token that stays: from now on it has all its time without use again.
func prolongRefresh(ctx context.Context, tx *sqldb.Tx, g grant, digests [][]byte) (ok bool, err error) {
	until := earlier(tx.Now().Add(refreshFor), g.expires)
	n, err := tx.Exec(ctx, `
		UPDATE oidc_token SET expires_at = $4
		WHERE digest IN (`+sqldb.Params(5, len(digests))+`) AND kind = $2 AND used_at IS NULL AND expires_at > $1
		  AND grant_id IN (SELECT id FROM oidc_grant WHERE id = $3 AND ended_at IS NULL AND expires_at > $1)`,
		append([]any{tx.Now().UnixMilli(), kindRefresh, g.id, until.UnixMilli()}, sqldb.Args(digests)...)...)
	return n == 1, err
}

func grantByID(ctx context.Context, tx *sqldb.Tx, id string) (grant, error) {
	return scanGrant(tx.QueryRow(ctx, `SELECT `+grantColumns+` FROM oidc_grant WHERE id = $1`, id).Scan)
}

// bindGrant binds what was not bound yet.
func bindGrant(ctx context.Context, tx *sqldb.Tx, id string, key confirmation) error {
	_, err := tx.Exec(ctx, `UPDATE oidc_grant SET jkt = $1 WHERE id = $2 AND jkt = ''`, key, id)
	return err
}

// tokenOf returns a token with its grant, whatever became of either; ended says that the grant was.
func tokenOf(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (t token, g grant, ok bool, err error) {
	const of = `g.id, g.client_id, g.account_id, g.session_id, g.scopes, g.challenge, g.nonce, g.jkt, g.methods, g.authenticated_at, g.expires_at`
	var scopes string
	var created, expires int64
	var used sql.NullInt64
	var ended bool
	g, err = scanGrant(tx.QueryRow(ctx, `SELECT `+of+`, g.ended_at IS NOT NULL, t.kind, t.scopes, t.jkt, t.created_at, t.expires_at, t.used_at
		FROM oidc_token t JOIN oidc_grant g ON g.id = t.grant_id WHERE t.digest IN (`+sqldb.Params(1, len(digests))+`)`,
		sqldb.Args(digests)...).Scan, &ended, &t.kind, &scopes, &t.key, &created, &expires, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return token{}, grant{}, false, nil
	}
	g.ended = ended
	t.grant, t.scopes, t.created, t.expires, t.used = g.id, strings.Fields(scopes), time.UnixMilli(created), time.UnixMilli(expires), used.Valid
	return t, g, err == nil, err
}

func dropToken(ctx context.Context, tx *sqldb.Tx, digests [][]byte) error {
	_, err := tx.Exec(ctx, `DELETE FROM oidc_token WHERE digest IN (`+sqldb.Params(1, len(digests))+`)`, sqldb.Args(digests)...)
	return err
}

func putOwnToken(ctx context.Context, tx *sqldb.Tx, t ownToken, digest []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO oidc_own_token (digest, client_id, scopes, key, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		digest, t.client, strings.Join(t.scopes, " "), string(t.key), tx.Now().UnixMilli(), t.expires.UnixMilli())
	return err
}

// ownTokenOf returns a token that can be used.
func ownTokenOf(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (t ownToken, ok bool, err error) {
	var scopes string
	var created, expires int64
	err = tx.QueryRow(ctx, `SELECT client_id, scopes, key, created_at, expires_at FROM oidc_own_token WHERE expires_at > $1 AND digest IN (`+sqldb.Params(2, len(digests))+`)`,
		append([]any{tx.Now().UnixMilli()}, sqldb.Args(digests)...)...).Scan(&t.client, &scopes, &t.key, &created, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return ownToken{}, false, nil
	}
	t.scopes, t.created, t.expires = strings.Fields(scopes), time.UnixMilli(created), time.UnixMilli(expires)
	return t, err == nil, err
}

func dropOwnToken(ctx context.Context, tx *sqldb.Tx, client string, digests [][]byte) error {
	_, err := tx.Exec(ctx, `DELETE FROM oidc_own_token WHERE client_id = $1 AND digest IN (`+sqldb.Params(2, len(digests))+`)`, append([]any{client}, sqldb.Args(digests)...)...)
	return err
}

func putAssertion(ctx context.Context, tx *sqldb.Tx, digest []byte, until time.Time) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO oidc_assertion (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, digest, until.UnixMilli())
	return n == 1, err
}

// givenWhere returns which clients got tokens in which lines of sessions, whatever became of those: a client may have a session of its own.
func givenWhere(ctx context.Context, tx *sqldb.Tx, where string, args ...any) (all []given, err error) {
	err = tx.Each(ctx, `SELECT DISTINCT client_id, session_id FROM oidc_grant WHERE code_used_at IS NOT NULL AND `+where, func(scan func(...any) error) error {
		var g given
		err := scan(&g.client, &g.line)
		all = append(all, g)
		return err
	}, args...)
	return all, err
}

func givenIn(ctx context.Context, tx *sqldb.Tx, who account.ID, lines []session.ID) ([]given, error) {
	return givenWhere(ctx, tx, `account_id = $1 AND session_id IN (`+sqldb.Params(2, len(lines))+`)`, append([]any{who}, sqldb.Args(lines)...)...)
}

// linesOf returns the lines in which a client got something of an account that nobody has taken back.
func linesOf(ctx context.Context, tx *sqldb.Tx, who account.ID, client string) ([]given, error) {
	return givenWhere(ctx, tx, `account_id = $1 AND client_id = $2 AND ended_at IS NULL`, who, client)
}

func putLogout(ctx context.Context, tx *sqldb.Tx, l pendingLogout) error {
	now := tx.Now()
	_, err := tx.Exec(ctx, `INSERT INTO oidc_logout (id, client_id, subject, sid, attempts, next_at, give_up_at) VALUES ($1, $2, $3, $4, 0, $5, $6)`,
		l.id, l.client, l.subject, l.sid, now.UnixMilli(), now.Add(logoutPatience).UnixMilli())
	return err
}

// waitedFor returns the clients that something is due for.
func waitedFor(ctx context.Context, tx *sqldb.Tx) (clients []string, err error) {
	err = tx.Each(ctx, `SELECT DISTINCT client_id FROM oidc_logout WHERE next_at <= $1`, func(scan func(...any) error) error {
		var one string
		err := scan(&one)
		clients = append(clients, one)
		return err
	}, tx.Now().UnixMilli())
	return clients, err
}

// claimLogouts moves next_at to the end of the lease, and only of rows that are still due: of nodes racing for one, one gets it.
func claimLogouts(ctx context.Context, tx *sqldb.Tx, client, holder string) (all []pendingLogout, err error) {
	now := tx.Now()
	err = tx.Each(ctx, `
		UPDATE oidc_logout SET lease = $3, next_at = $4, attempts = attempts + 1
		WHERE next_at <= $2 AND id IN (SELECT id FROM oidc_logout WHERE client_id = $1 AND next_at <= $2 ORDER BY next_at, id LIMIT $5)
		RETURNING id, subject, sid, attempts, give_up_at`, func(scan func(...any) error) error {
		l := pendingLogout{client: client, lease: holder}
		var giveUp int64
		err := scan(&l.id, &l.subject, &l.sid, &l.attempts, &giveUp)
		l.last = now.UnixMilli() >= giveUp
		all = append(all, l)
		return err
	}, client, now.UnixMilli(), holder, now.Add(logoutLease).UnixMilli(), logoutTogether)
	return all, err
}

// settleLogout ends what was told, or given up, and has the rest wait.
func settleLogout(ctx context.Context, tx *sqldb.Tx, l pendingLogout, over bool) error {
	if over {
		_, err := tx.Exec(ctx, `DELETE FROM oidc_logout WHERE id = $1`, l.id)
		return err
	}
	wait := min(logoutFirst<<min(l.attempts-1, 20), logoutLongest)
	_, err := tx.Exec(ctx, `UPDATE oidc_logout SET lease = NULL, next_at = $3 WHERE id = $1 AND lease = $2`, l.id, l.lease, tx.Now().Add(wait).UnixMilli())
	return err
}

func putDevice(ctx context.Context, tx *sqldb.Tx, d waitingDevice, device, user []byte) error {
	now := tx.Now()
	_, err := tx.Exec(ctx, `INSERT INTO oidc_device (id, client_id, scopes, least, device_code, user_code, state, pause, next_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		d.id, d.client, strings.Join(d.scopes, " "), string(d.least), device, user, string(deviceWaiting), devicePause.Milliseconds(), now.UnixMilli(), now.Add(deviceFor).UnixMilli())
	return err
}

// deviceTyped returns the device that waits with a code.
func deviceTyped(ctx context.Context, tx *sqldb.Tx, users [][]byte) (d waitingDevice, ok bool, err error) {
	var scopes string
	err = tx.QueryRow(ctx, `SELECT id, client_id, scopes, least FROM oidc_device
		WHERE user_code IN (`+sqldb.Params(3, len(users))+`) AND state = $1 AND expires_at > $2 ORDER BY id LIMIT 1`,
		append([]any{string(deviceWaiting), tx.Now().UnixMilli()}, sqldb.Args(users)...)...).Scan(&d.id, &d.client, &scopes, &d.least)
	if errors.Is(err, sql.ErrNoRows) {
		return waitingDevice{}, false, nil
	}
	d.scopes = strings.Fields(scopes)
	return d, err == nil, err
}

// askDevice counts a question of a device. patient is false if it came too early: then it has to wait for longer, from now on. One UPDATE each, so that
// questions that come at once are not all taken for the first.
func askDevice(ctx context.Context, tx *sqldb.Tx, client string, codes [][]byte) (d waitingDevice, patient, ok bool, err error) {
	now := tx.Now().UnixMilli()
	ask := func(statement string, args ...any) error {
		var grantID sql.NullString
		var expires int64
		err := tx.QueryRow(ctx, statement+` RETURNING id, state, grant_id, expires_at`, args...).Scan(&d.id, &d.state, &grantID, &expires)
		d.client, d.grant, d.over = client, grantID.String, expires <= now
		return err
	}
	which := func(from int) string {
		return ` WHERE client_id = $2 AND device_code IN (` + sqldb.Params(from, len(codes)) + `)`
	}
	err = ask(`UPDATE oidc_device SET next_at = $1 + pause - $3`+which(4)+` AND next_at <= $1`,
		append([]any{now, client, deviceEarly.Milliseconds()}, sqldb.Args(codes)...)...)
	if err == nil {
		return d, true, true, nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ask(`UPDATE oidc_device SET next_at = $1 + pause + $4 - $3, pause = pause + $4`+which(5),
			append([]any{now, client, deviceEarly.Milliseconds(), deviceSlower.Milliseconds()}, sqldb.Args(codes)...)...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return waitingDevice{}, false, false, nil
	}
	return d, false, err == nil, err
}

// moveDevice changes what became of a device: of two who do so at once one is the first.
func moveDevice(ctx context.Context, tx *sqldb.Tx, d waitingDevice, to deviceState) (first bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE oidc_device SET state = $1, grant_id = $2 WHERE id = $3 AND state = $4 AND expires_at > $5`,
		string(to), sql.NullString{String: d.grant, Valid: d.grant != ""}, d.id, string(d.state), tx.Now().UnixMilli())
	return n == 1, err
}

// markRedeemed notes that a client has what was granted to a device: the grant has a code that nobody was told.
func markRedeemed(ctx context.Context, tx *sqldb.Tx, grantID string) error {
	_, err := tx.Exec(ctx, `UPDATE oidc_grant SET code_used_at = $1 WHERE id = $2`, tx.Now().UnixMilli(), grantID)
	return err
}

func erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	for _, statement := range []string{
		`DELETE FROM oidc_token WHERE grant_id IN (SELECT id FROM oidc_grant WHERE account_id = $1)`,
		`DELETE FROM oidc_grant WHERE account_id = $1`,
		`DELETE FROM oidc_consent WHERE account_id = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, who); err != nil {
			return err
		}
	}
	return nil
}

// prune deletes tokens before the grants that they are of.
func prune(ctx context.Context, tx *sqldb.Tx) (deleted int64, err error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	for _, statement := range []string{
		`DELETE FROM oidc_token WHERE digest IN (SELECT digest FROM oidc_token WHERE expires_at < $1 LIMIT $2)`,
		`DELETE FROM oidc_grant WHERE id IN (SELECT id FROM oidc_grant g WHERE g.expires_at < $1 AND NOT EXISTS (SELECT 1 FROM oidc_token t WHERE t.grant_id = g.id) LIMIT $2)`,
		`DELETE FROM oidc_device WHERE id IN (SELECT id FROM oidc_device WHERE expires_at < $1 LIMIT $2)`,
		`DELETE FROM oidc_own_token WHERE digest IN (SELECT digest FROM oidc_own_token WHERE expires_at < $1 LIMIT $2)`,
		`DELETE FROM oidc_request WHERE id IN (SELECT id FROM oidc_request WHERE expires_at < $1 LIMIT $2)`,
		`DELETE FROM oidc_pushed WHERE digest IN (SELECT digest FROM oidc_pushed WHERE expires_at < $1 LIMIT $2)`,
		`DELETE FROM oidc_invitation WHERE digest IN (SELECT digest FROM oidc_invitation WHERE expires_at < $1 LIMIT $2)`,
		`DELETE FROM oidc_assertion WHERE digest IN (SELECT digest FROM oidc_assertion WHERE expires_at < $1 LIMIT $2)`,
	} {
		n, err := tx.Exec(ctx, statement, tx.Now().UnixMilli(), batch)
		if err != nil {
			return 0, err
		}
		deleted += n
	}
	return deleted, nil
}
