package server_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/passkey"
	"countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/recovery"
	"countersign/internal/registration"
	"countersign/internal/server"
	"countersign/internal/server/schema"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// keyless are the columns of bytes that no key of the ring makes, or that no change of keys changes.
func keyless() map[string]string {
	return map[string]string{
		"keyring_check.sealed":          "the ring's own: made anew with each change",
		"device.bound_key":              "a public key",
		"device.public_key":             "a public key",
		"device_challenge.digest":       "of what was random, and public; no key makes it",
		"dpop_proof.digest":             "of what an app chose and a public key; no key makes it",
		"signin_flow.name_key":          "made by Ring.Stable",
		"signin_flow.owner_key":         "made by Ring.Stable",
		"registration_flow.name_key":    "made by Ring.Stable",
		"recovery_flow.name_key":        "made by Ring.Stable",
		"recovery_flow.owner_key":       "made by Ring.Stable",
		"recovery_flow.to_key":          "made by Ring.Stable",
		"recovery_flow.saved":           "made by Ring.Stable",
		"recovery_saved_code.digest":    "made by Ring.Stable",
		"recovery_saved_code.lookup":    "made by Ring.Stable",
		"notice_link.digest":            "made by Ring.Stable",
		"transfer_line.digest":          "made by Ring.Stable",
		"totp_authenticator.serial_key": "made by Ring.Stable",
		"backup_code.digest":            "made by Ring.Stable",
		"passkey.lookup":                "made by Ring.Stable",
		"passkey_spent.challenge":       "random, and public",
		"oidc_client.secret":            "made by Ring.Stable",
		"oidc_client.former_secret":     "made by Ring.Stable",
		"oidc_client.own_token":         "made by Ring.Stable",
		"oidc_invitation.digest":        "made by Ring.Stable",
		"door_former.name":              "made by Ring.Stable",
		"door_former.contact":           "made by Ring.Stable",
		"door_call.name":                "made by Ring.Stable",
		"door_call.print":               "made by Ring.Stable",
		"oidc_assertion.digest":         "of what an application chose; no key makes it",
	}
}

// byteColumns returns the schema's columns of bytes, as table.column.
func byteColumns(t *testing.T) (all []string) {
	t.Helper()
	files := schema.Migrations().Files
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	created := regexp.MustCompile(`(?is)CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\)[^;\n]*;`)
	column := regexp.MustCompile(`(?im)^\s*(\w+)\s+BYTEA\b`)
	mentioned := 0
	added := regexp.MustCompile(`(?i)ALTER TABLE (\w+)\s+ADD COLUMN (\w+)\s+BYTEA\b`)
	dropped := regexp.MustCompile(`(?i)ALTER TABLE (\w+)\s+DROP COLUMN (\w+)`)
	gone := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range created.FindAllStringSubmatch(string(text), -1) {
			for _, c := range column.FindAllStringSubmatch(table[2], -1) {
				all = append(all, table[1]+"."+c[1])
			}
		}
		for _, c := range added.FindAllStringSubmatch(string(text), -1) {
			all = append(all, c[1]+"."+c[2])
		}
		for _, c := range dropped.FindAllStringSubmatch(string(text), -1) {
			gone[c[1]+"."+c[2]] = true
		}
		mentioned += len(regexp.MustCompile(`(?im)^[^-\n]*\bBYTEA\b`).FindAllString(string(text), -1))
	}
	if len(all) != mentioned || mentioned < 15 {
		t.Fatalf("the schema has BYTEA %d times, and these are %d columns: %v", mentioned, len(all), all)
	}
	return slices.DeleteFunc(all, func(c string) bool { return gone[c] })
}

// P4: a column of sealed values or digests that no rotation knows of would be unreadable once the old key is
// dropped, without anybody having been told. Whoever adds one declares it in the owner's Holdings, lists
// those in Core.holdings, and looks its values up under all keys (Ring.Indexes, Ring.Digests).
func TestEveryColumnThatAKeyMadeIsInTheListOfHoldings(t *testing.T) {
	core, err := server.Open(t.Context(), settings(t, dbtest.NewURL(t, sqldb.SQLite)), deps())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = core.Close() }()
	listed := map[string]bool{}
	for _, h := range core.Rotation().Holdings {
		for _, c := range h.Columns {
			listed[h.Table+"."+c] = true
		}
	}
	columns := byteColumns(t)
	for _, c := range columns {
		if _, exempt := keyless()[c]; exempt == listed[c] {
			t.Errorf("%s: in the list of holdings: %t, in the list of what no key makes: %t; want one of them", c, listed[c], exempt)
		}
	}
	for c := range listed {
		if !slices.Contains(columns, c) {
			t.Errorf("%s is declared, and the schema has no such column of bytes", c)
		}
	}
}

// comparison finds a statement that compares a table's column with a parameter. An assignment comes before WHERE, a
// comparison after it.
func comparison(table, column string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)\b` + table + `\b[^` + "`" + `]*\bWHERE\b[^` + "`" + `]*\b` + column + `\s*=\s*\$`)
}

func TestComparisonsAreSeen(t *testing.T) {
	for text, want := range map[string]bool{
		"`SELECT id FROM session WHERE digest = $1 AND ended_at IS NULL`":                true,
		"`UPDATE session SET digest = $1 WHERE id = $2`":                                 false,
		"`UPDATE session s SET seen = $1\n\tWHERE id = $2 AND s.digest=$3 RETURNING id`": true,
		"`SELECT id FROM session WHERE digest IN ($1)` + `digest = $1`":                  false,
	} {
		if comparison("session", "digest").MatchString(text) != want {
			t.Errorf("%s: want %t", text, want)
		}
	}
}

// A digest made by an older key is found only if it is looked for under all keys.
func TestNoDigestIsComparedWithOneValue(t *testing.T) {
	core, err := server.Open(t.Context(), settings(t, dbtest.NewURL(t, sqldb.SQLite)), deps())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = core.Close() }()
	stores, err := fs.Glob(os.DirFS(".."), "*/store.go")
	if err != nil || len(stores) < 8 {
		t.Fatalf("%d stores, %v", len(stores), err)
	}
	for _, h := range core.Rotation().Holdings {
		if h.Read != nil { // what is made anew is compared with what was read
			continue
		}
		for _, c := range h.Columns {
			compared := comparison(h.Table, c)
			for _, name := range stores {
				text, err := os.ReadFile("../" + name)
				if err != nil {
					t.Fatal(err)
				}
				if found := compared.FindString(string(text)); found != "" {
					t.Errorf("%s compares %s.%s with a single value: %s", name, h.Table, c, found)
				}
			}
		}
	}
}

// life is a database with something in every table that keys have to do with.
type life struct {
	t     *testing.T
	c     config.Config
	core  *server.Core
	ada   account.ID
	grace account.ID // who came with a hash from elsewhere

	invitation, opening secret.Token // to open an account, and one being opened
	session             session.Started
	handle              secret.Token
	key                 testkit.Key
	passkey             *testkit.Passkey
	flow                signin.Started
	adding              profile.AddressFlow
	code                secret.Token // of the flow
}

var (
	here    = signin.Client{Source: netip.MustParseAddr("192.0.2.7"), UserAgent: "Firefox"}
	browser = secret.NewToken(signin.BrowserPrefix)
)

func newLife(t *testing.T, engine sqldb.Engine) *life {
	t.Helper()
	l := &life{t: t, c: settings(t, dbtest.NewURL(t, engine)), key: testkit.NewKey(t)}
	l.c.Email.Provider, l.c.SMS.Provider, l.c.Registration.Mode = "inbox", "inbox", "invitation"
	l.core = l.open()
	ctx := t.Context()
	id, err := l.core.CreateAccount(ctx, server.NewAccount{Password: testkit.Password, Language: "en", Identifiers: []account.NewIdentifier{
		l.name("ada@example.org"), l.name("+4915123456789"), l.name("old@example.org"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	l.ada = id
	err = l.core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		addresses, err := l.core.Accounts.Addresses(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if a.Normal == "old@example.org" {
				err = errors.Join(err, l.core.Accounts.Remove(ctx, tx, id, a.ID))
			}
		}
		err = errors.Join(err, l.core.Recovery.AddContact(ctx, tx, id, recovery.Contact{Label: "Bob", Holder: "Ada", Identifier: l.name("bob@example.org").Identifier}))
		return errors.Join(err, l.core.Accounts.SetClaims(ctx, tx, id, map[string]string{"a/b": "1815-12-10", "name": "Ada"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	l.imported()
	l.enrolled()
	l.equipped()
	l.signIn()
	l.invited()
	me, err := l.core.Sessions.Check(ctx, l.session.Token)
	if err != nil {
		t.Fatal(err)
	}
	if l.adding, err = l.core.Owner.BeginAddress(ctx, me, here, "new@example.org"); err != nil {
		t.Fatal(err)
	}
	if l.flow, err = l.core.SignIn.Begin(ctx, signin.Begin{Identifier: "ada@example.org", Browser: browser, Client: here}); err != nil {
		t.Fatal(err)
	}
	ref := signin.Ref{Flow: l.flow.Flow, Browser: browser}
	for _, word := range []string{"wrong", testkit.Password} {
		if _, err := l.core.SignIn.Password(ctx, ref, here, signin.PasswordProof{Password: word}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.core.SignIn.Send(ctx, ref, here, factor.SMS); err != nil {
		t.Fatal(err)
	}
	l.code = l.newestCode()
	if _, err := l.core.SignIn.Code(ctx, ref, here, signin.CodeProof{Code: secret.Of("wrong")}); err != nil {
		t.Fatal(err)
	}
	return l
}

// invited begins a registration, with an invitation that is still good for somebody else.
func (l *life) invited() {
	l.t.Helper()
	token, _, err := l.core.Registration.Invite(l.t.Context(), registration.NewInvitation{For: time.Hour, Uses: 2})
	if err != nil {
		l.t.Fatal(err)
	}
	l.invitation = token
	l.opening = l.register("margaret@example.org")
}

func (l *life) register(name string) secret.Token {
	l.t.Helper()
	begun, err := l.core.Registration.Begin(l.t.Context(), registration.Begin{Address: name, Browser: browser, Client: here, Language: "en", Invitation: l.invitation})
	if err != nil {
		l.t.Fatal(err)
	}
	return begun.Flow
}

func (l *life) name(typed string) account.NewIdentifier {
	ident, err := account.Parse(typed)
	if err != nil {
		l.t.Fatal(err)
	}
	return account.NewIdentifier{Identifier: ident, Verified: true, SignsIn: true, Notices: true, Recovers: true}
}

// open opens another node on the database.
func (l *life) open() *server.Core {
	l.t.Helper()
	core, err := server.Open(l.t.Context(), l.c, deps())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = core.Close() })
	return core
}

// signIn signs Ada in with a code, and has the device remembered.
func (l *life) signIn() {
	l.t.Helper()
	ctx := l.t.Context()
	started, err := l.core.SignIn.Begin(ctx, signin.Begin{Identifier: "ada@example.org", Browser: browser, Client: here})
	if err != nil {
		l.t.Fatal(err)
	}
	ref := signin.Ref{Flow: started.Flow, Browser: browser}
	next, err := l.core.SignIn.Password(ctx, ref, here, signin.PasswordProof{Password: testkit.Password})
	if err != nil || next.Step != signin.StepSecond {
		l.t.Fatalf("%+v, %v", next, err)
	}
	if _, err := l.core.SignIn.Send(ctx, ref, here, factor.SMS); err != nil {
		l.t.Fatal(err)
	}
	next, err = l.core.SignIn.Code(ctx, ref, here, signin.CodeProof{Code: l.newestCode(), Remember: &device.Enrolment{
		PublicKey: l.key.Public(), Signature: l.key.Sign("remember", l.c.Public().String(), next.Nonce), Name: "x",
	}})
	if err != nil || next.Step != signin.StepDone {
		l.t.Fatalf("%+v, %v", next, err)
	}
	l.session, l.handle = *next.Session, next.Device.Handle
}

func (l *life) newestCode() secret.Token {
	l.t.Helper()
	letters, err := l.core.Outbox.Claim(l.t.Context(), "sms", 20, 1)
	if err != nil {
		l.t.Fatal(err)
	}
	letters = slices.DeleteFunc(letters, func(c outbox.Claimed) bool { return c.Kind != message.SigninCode })
	return secret.Of(slices.MaxFunc(letters, func(a, b outbox.Claimed) int { return strings.Compare(a.ID, b.ID) }).Params["code"])
}

// finishes has the sign-in that was begun with the old key end in a session, on a node of the new one.
func (l *life) finishes(core *server.Core) {
	l.t.Helper()
	next, err := core.SignIn.Code(l.t.Context(), signin.Ref{Flow: l.flow.Flow, Browser: browser}, here, signin.CodeProof{Code: l.code})
	if err != nil || next.Step != signin.StepDone {
		l.t.Errorf("a sign-in that was under way: %+v, %v", next, err)
	}
}

// serves fails unless everything goes on: Ada is found by each name, her session stands, her device is
// recognised, her letters and claims open, the record is as it was written.
func (l *life) serves(core *server.Core) {
	t, ctx := l.t, l.t.Context()
	t.Helper()
	for _, name := range []string{"ada@example.org", "+4915123456789"} {
		err := core.DB.Read(ctx, func(tx *sqldb.Tx) error {
			who, err := core.Accounts.ByIdentifier(ctx, tx, l.name(name).Identifier)
			if err == nil && who.ID != l.ada {
				err = fmt.Errorf("found %s", who.ID)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	me, err := core.Sessions.Check(ctx, l.session.Token)
	if err != nil {
		t.Errorf("session: %v", err)
	}
	if _, err := core.Registration.At(ctx, signin.Ref{Flow: l.opening, Browser: browser}); err != nil {
		t.Errorf("registration: %v", err)
	}
	if at, err := core.Owner.AddressAt(ctx, me, l.adding.Handle); !l.adding.Handle.Empty() && (err != nil || at.Way != factor.Email) {
		t.Errorf("an address that is being added: %+v, %v", at, err)
	}
	var stored password.Stored
	err = core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		stored, err = core.Passwords.Load(ctx, tx, l.grace)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := core.Passwords.Verify(ctx, stored, "hopper"); err != nil || !v.OK {
		t.Errorf("a password from elsewhere: %+v, %v", v, err)
	}
	started, err := core.SignIn.Begin(ctx, signin.Begin{Identifier: "ada@example.org", Browser: browser, Client: here, Handles: []secret.Token{l.handle}})
	if err != nil {
		t.Fatal(err)
	}
	next, err := core.SignIn.Password(ctx, signin.Ref{Flow: started.Flow, Browser: browser}, here, signin.PasswordProof{
		Password: testkit.Password, Handles: []secret.Token{l.handle}, Signature: l.key.Sign("recognise", l.c.Public().String(), started.Nonce),
	})
	if err != nil || next.Step != signin.StepDone || next.Device == nil {
		t.Fatalf("device: %+v, %v", next, err)
	}
	l.handle = next.Device.Handle
	err = core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		addresses, err := core.Accounts.Addresses(ctx, tx, l.ada)
		if err != nil || len(addresses) != 2 {
			t.Errorf("%d addresses, %v", len(addresses), err)
		}
		if claims, err := core.Accounts.Claims(ctx, tx, l.ada); err != nil || claims["a/b"] != "1815-12-10" || claims["name"] != "Ada" {
			t.Errorf("claims %v, %v", claims, err)
		}
		if contacts, err := core.Recovery.Contacts(ctx, tx, l.ada); err != nil || len(contacts) != 1 || contacts[0].Label != "Bob" {
			t.Errorf("contacts %v, %v", contacts, err)
		}
		if _, err := core.Accounts.Create(ctx, tx, account.New{Identifiers: []account.NewIdentifier{l.name("old@example.org")}}); fault.Of(err).Code != "identifier_taken" {
			t.Errorf("an address that is held for its owner was given away: %v", err)
		}
		begun, err := core.Passkeys.BeginSignin(ctx, tx, passkey.Signin{Bound: "a flow"})
		if err != nil {
			return err
		}
		proved, refused, err := core.Passkeys.Verify(ctx, tx, passkey.Answer{Bound: "a flow", State: begun.State, Response: l.passkey.Sign(begun.Options)})
		if err != nil || refused != "" || proved.Account != l.ada {
			t.Errorf("a passkey: %+v, %s, %v", proved, refused, err)
		}
		v, err := core.Audit.Verify(ctx, tx, "", 1000)
		if err != nil || len(v.Changed) > 0 || v.Rows < 5 {
			t.Errorf("record: %+v, %v", v, err)
		}
		return errors.New("looked")
	})
	if err == nil {
		t.Error("kept what was only tried")
	}
	letters, err := core.Outbox.Claim(ctx, "email", 10, 1)
	for _, c := range letters {
		if c.Damaged() != nil || c.To == "" {
			t.Errorf("letter: %v", c.Damaged())
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// rotation is the core's, without the waits.
func rotation(core *server.Core) *keyring.Rotation {
	ro := core.Rotation()
	ro.Settle, ro.Hear, ro.Rest = 0, 0, 0
	return ro
}

// needs is how many rows of each table need a key.
func needs(t *testing.T, core *server.Core, id string) map[string]int64 {
	t.Helper()
	all, err := core.Rotation().Needs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, n := range all {
		if n.Rows[id] > 0 {
			out[n.Table] = n.Rows[id]
		}
	}
	return out
}

// From one key to the next, with a second node that serves all the while: everything works at every step, and in
// the end no row has anything of the old key but what is waited for.
func TestAKeyTakesOverFromAnotherWhileNodesServe(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			l := newLife(t, engine)
			ctx, old := t.Context(), l.core.Ring.ID()
			before := slices.Sorted(maps.Keys(needs(t, l.core, old)))
			for _, table := range []string{"account_address_change", "account_claim", "account_identifier", "account_lookup", "audit_event", "device_handle", "outbox_letter", "passkey", "password", "session", "signin_flow", "throttle_bucket", "throttle_failure"} {
				if !slices.Contains(before, table) {
					t.Errorf("nothing in %s: this test would not see what becomes of it", table)
				}
			}
			next, err := server.AddKey(l.c)
			if err != nil {
				t.Fatal(err)
			}
			other := l.open()
			l.serves(l.core)
			l.finishes(other)
			if other.Ring.ID() != old {
				t.Fatal("a key that was only added is used")
			}
			ro := rotation(l.core)
			if err := ro.Begin(ctx, next); err != nil {
				t.Fatal(err)
			}
			l.serves(other)
			l.serves(l.core)
			if other.Ring.ID() != next || l.core.Ring.ID() != next {
				t.Fatal("not every node uses the new key")
			}
			if _, err := l.core.Rotate(ctx, false, func(keyring.Progress) {}); err != nil {
				t.Fatal(err)
			}
			l.serves(other)
			l.onlyWaitedFor(old)
			l.dropped(old, other)
		})
	}
}

// onlyWaitedFor looks at every column of bytes there is, and not only at those that the program counts.
func (l *life) onlyWaitedFor(old string) {
	t, ctx := l.t, l.t.Context()
	t.Helper()
	waited := map[string]bool{}
	for _, h := range l.core.Rotation().Holdings {
		for _, c := range h.Columns {
			waited[h.Table+"."+c] = h.Read == nil
		}
	}
	for _, c := range byteColumns(t) {
		table, column, _ := strings.Cut(c, ".")
		if _, none := keyless()[c]; none || waited[c] {
			continue
		}
		rows := 0
		err := l.core.DB.Read(ctx, func(tx *sqldb.Tx) error {
			return tx.Each(ctx, "SELECT "+column+" FROM "+table+" WHERE "+column+" IS NOT NULL", func(scan func(...any) error) error {
				var b []byte
				err := scan(&b)
				rows++
				if len(b) == 32 || strings.Contains(string(b[:9]), old) {
					t.Errorf("%s is still made with the old key", c)
				}
				return err
			})
		})
		if err != nil || rows == 0 {
			t.Errorf("%s: %d rows, %v", c, rows, err)
		}
	}
	all, err := l.core.Rotation().Needs(ctx)
	for _, n := range all {
		if n.Renewable && n.Rows[old] > 0 {
			t.Errorf("%s needs the old key", n.Table)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// dropped drops the old key: not while people need it, then with what may be lost.
func (l *life) dropped(old string, other *server.Core) {
	t, ctx := l.t, l.t.Context()
	t.Helper()
	l.signIn() // the session of before ends with its key
	l.opening = l.register("katherine@example.org")
	l.adding = profile.AddressFlow{}
	ro := rotation(l.core)
	needed, err := ro.Drop(ctx, old, []string{"password", "throttle_failure", "throttle_bucket", "signin_flow"})
	if err != nil || len(needed) == 0 {
		t.Fatalf("dropped a key that a session needs: %v, %v", needed, err)
	}
	l.serves(other)
	lose := slices.Collect(maps.Keys(needs(t, l.core, old)))
	if needed, err = ro.Drop(ctx, old, lose); err != nil || len(needed) > 0 {
		t.Fatalf("%v, %v", needed, err)
	}
	// Killed here, the key is still in the file, and dropped once more.
	if needed, err := l.core.DropKey(ctx, old, nil); err != nil || len(needed) > 0 {
		t.Fatalf("%v, %v", needed, err)
	}
	if text, err := os.ReadFile(l.c.Keys.File); err != nil || strings.Contains(string(text), old) {
		t.Errorf("the key is still in the file: %v", err)
	}
	l.serves(other)
	if _, ok := other.Ring.PepperWith(old, nil); ok || other.Ring.Several() {
		t.Error("a node still looks under the key that was dropped")
	}
	l.serves(l.open())
}
