package signin_test

import (
	"context"
	"encoding/base32"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/onetime"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
	"countersign/internal/totp"
)

// twice is two nodes with one database, and somebody's browser at the first.
type twice struct {
	t     *testing.T
	nodes [2]*testkit.Machine
	clock *dbtest.Clock

	*browser
	name string
	id   account.ID
}

// use does one and the same thing at a node, and reports whether it was successful.
type use func(m *testkit.Machine) bool

// P6: whatever proves something once is used a thousand times at once, through two nodes, and one is
// successful. An approval is in profile.TestApprovalsAtOnce, an invitation in registration.TestOneInvitationOpensOneAccount.
func TestOfAThousandUsesAtOnceOneIsSuccessful(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, ring, clock := dbtest.NewURL(t, engine), testkit.Ring(t), dbtest.NewClock()
			two := twice{clock: clock}
			for i := range two.nodes {
				m := testkit.NewMachine(t, dbtest.Open(t, url, clock), ring)
				m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // the limits are other tests'
				m.Limits.All.Burst, m.Recovery.Limits.All.Burst = 1<<30, 1<<30
				for _, limit := range []*throttle.Ladder{&m.Recovery.Limits.Try, &m.Recovery.Limits.TryOwner} {
					limit.Free, limit.Stop = 1<<30, 1<<30
				}
				two.nodes[i] = m
			}
			for name, prepare := range kinds() {
				t.Run(name, func(t *testing.T) {
					one := two
					one.t, one.browser, one.name = t, newBrowser(t, two.nodes[0]), strings.ReplaceAll(name, " ", ".")+"@example.org"
					one.id = two.nodes[0].Account(one.name)
					again := prepare(one)
					const many = 1000
					var won atomic.Int32
					var all sync.WaitGroup
					for i := range many {
						all.Go(func() {
							if again(two.nodes[i%2]) {
								won.Add(1)
							}
						})
					}
					all.Wait()
					if won.Load() != 1 {
						t.Errorf("%d of %d were successful, want 1", won.Load(), many)
					}
				})
			}
		})
	}
}

func kinds() map[string]func(twice) use {
	return map[string]func(twice) use{
		"code by e-mail":         func(o twice) use { return o.sent("email") },
		"code by text message":   func(o twice) use { return o.sent("sms") },
		"app":                    twice.app,
		"counting token":         twice.counter,
		"resynchronisation":      twice.resync,
		"backup code":            twice.backup,
		"passkey":                func(o twice) use { return o.passkey(o.first()) },
		"passkey second":         twice.passkeySecond,
		"passkey again":          twice.passkeyAgain,
		"device key":             twice.device,
		"bound key registration": twice.registers,
		"bound key refresh":      twice.refreshes,
		"saved recovery code":    twice.saved,
		"contact's code":         twice.contact,
		"recovery":               twice.recovery,
		"link of a letter":       twice.link,
	}
}

// writes is a use in a transaction of its own.
func (o twice) writes(do func(context.Context, *testkit.Machine, *sqldb.Tx) (bool, error)) use {
	return func(m *testkit.Machine) (right bool) {
		err := m.DB.Write(o.t.Context(), func(tx *sqldb.Tx) (err error) {
			right, err = do(o.t.Context(), m, tx)
			return err
		})
		if err != nil {
			o.t.Error(err)
		}
		return right
	}
}

func (o twice) prepared(do func(context.Context, *testkit.Machine, *sqldb.Tx) error) {
	o.t.Helper()
	o.writes(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (bool, error) { return true, do(ctx, m, tx) })(o.m)
}

// sent judges the code alone: in its flow, five tries and the flow's own end would hide that it may be used twice.
func (o twice) sent(way string) use {
	var issued onetime.Issued
	flow := "flow " + way
	o.prepared(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (err error) {
		issued, err = m.Codes.Issue(ctx, tx, onetime.Request{Flow: flow, Account: string(o.id), Way: way, FlowEnds: tx.Now().Add(time.Hour)})
		return err
	})
	return o.writes(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (bool, error) {
		_, right, err := m.Codes.Spend(ctx, tx, flow, issued.Code)
		return right, err
	})
}

func (o twice) app() use {
	app := o.m.App(o.id)
	o.clock.Advance(30 * time.Second)
	code := secret.Of(app.Code())
	return o.writes(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (bool, error) {
		return m.Spend(ctx, tx, o.id, factor.OTP, code)
	})
}

// token gives the account a token that counts, and returns what it shows at a count.
func (o twice) token(serial string) func(count uint64) secret.Token {
	o.t.Helper()
	key := base32.StdEncoding.EncodeToString([]byte(serial + strings.Repeat("k", 20))[:20])
	sum, err := o.m.Authenticators.Import(o.t.Context(), strings.NewReader("serial,secret,kind,digits\n"+serial+","+key+",hotp,6\n"), totp.Import{Format: totp.CSV})
	if err != nil || sum.Imported != 1 {
		o.t.Fatalf("%+v, %v", sum, err)
	}
	o.prepared(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) error {
		return m.Authenticators.Assign(ctx, tx, serial, o.id)
	})
	return func(count uint64) secret.Token {
		code, err := hotp.GenerateCode(key, count)
		if err != nil {
			o.t.Fatal(err)
		}
		return secret.Of(code)
	}
}

func (o twice) counter() use {
	code := o.token("H1")(3)
	return o.writes(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (bool, error) {
		return m.Spend(ctx, tx, o.id, factor.OTP, code)
	})
}

func (o twice) resync() use {
	shows := o.token("H2")
	first, second := shows(40), shows(41)
	return o.writes(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (bool, error) {
		_, v, err := m.Authenticators.Resync(ctx, tx, o.id, first, second)
		return v == totp.Right, err
	})
}

func (o twice) backup() use {
	code := o.m.BackupCodesOf(o.id)[0]
	return o.writes(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (bool, error) {
		return m.Spend(ctx, tx, o.id, factor.Backup, code)
	})
}

func done(n signin.Next, err error) bool {
	return err == nil && n.Step == signin.StepDone && n.Session != nil
}

func (o twice) passkey(at signin.Asked) use {
	return o.asserts(o.m.PasskeyOf(o.id), at)
}

func (o twice) asserts(p *testkit.Passkey, at signin.Asked) use {
	begun := o.asked(at)
	proof := signin.PasskeyProof{State: begun.State, Response: p.Sign(begun.Options)}
	return func(m *testkit.Machine) bool { return done(m.Passkey(o.t.Context(), at, m.Client, proof)) }
}

func (o twice) passkeySecond() use {
	p := o.m.PasskeyOf(o.id)
	ref, _ := o.password(o.name, testkit.Password)
	return o.asserts(p, at(ref))
}

func (o twice) passkeyAgain() use {
	me := o.session(o.signIn(o.name, factor.Email, false))
	return o.passkey(signin.Asked{Session: me, Browser: o.secret, Back: "home"})
}

func (o twice) device() use {
	o.signIn(o.name, factor.Email, true)
	ref, n := o.password(o.name, testkit.Password)
	proof := device.Proof{Handles: o.handles, Signature: o.key.Sign("recognise", testkit.Origin, n.Nonce)}
	return func(m *testkit.Machine) bool { return done(m.Device(o.t.Context(), ref, m.Client, proof)) }
}

func (o twice) registers() use {
	n := o.signIn(o.name, factor.Email, true)
	me, proof := o.session(n), testkit.NewBoundKey(o.t).Enrol(n.Offer)
	return func(m *testkit.Machine) bool {
		_, ok, err := m.Bind(o.t.Context(), me, m.Client, proof)
		if err != nil {
			o.t.Error(err)
		}
		return ok
	}
}

func (o twice) refreshes() use {
	b := bindingBrowser(o.t, o.m, o.name)
	proof := b.chip.Sign(o.m.Devices.AskAnew(b.id).Challenge)
	return func(m *testkit.Machine) bool {
		minted, err := m.Devices.Refresh(o.t.Context(), b.id, proof, unlimited)
		if err != nil {
			o.t.Error(err)
		}
		return !minted.Cookie.Empty()
	}
}

// saved sets a new password by a code and the saved code, which goes with it.
func (o twice) saved() use {
	var saved secret.Token
	o.prepared(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) (err error) {
		saved, err = m.Recovery.NewSavedCode(ctx, tx, o.id)
		return err
	})
	back := func() signin.Ref {
		ref := o.recovers()
		if n, err := o.m.Recovery.SavedCode(o.t.Context(), ref, o.m.Client, saved); err != nil || n.Step != recovery.StepPassword {
			o.t.Fatalf("%+v, %v", n, err)
		}
		return ref
	}
	refs := [2]signin.Ref{back(), back()} // two flows that have proved the one code
	var turn atomic.Int32
	return func(m *testkit.Machine) bool { return o.finishes(m, refs[turn.Add(1)%2]) }
}

// recovery sets a new password in a flow with nothing in it that is used up.
func (o twice) recovery() use {
	app := o.m.App(o.id)
	ref := o.recovers()
	o.clock.Advance(30 * time.Second)
	if n, err := o.m.Recovery.OwnCode(o.t.Context(), ref, o.m.Client, factor.OTP, secret.Of(app.Code())); err != nil || n.Step != recovery.StepPassword {
		o.t.Fatalf("%+v, %v", n, err)
	}
	return func(m *testkit.Machine) bool { return o.finishes(m, ref) }
}

func (o twice) finishes(m *testkit.Machine, ref signin.Ref) bool {
	_, err := m.Recovery.Finish(o.t.Context(), ref, m.Client, "velvet harbour cinnamon 77")
	return err == nil
}

// contact gives one of the two codes that contacts are asked for.
func (o twice) contact() use {
	o.prepared(func(ctx context.Context, m *testkit.Machine, tx *sqldb.Tx) error {
		for _, name := range []string{"bob@example.org", "grace@example.org"} {
			ident, err := account.Parse(name)
			if err == nil {
				err = m.Recovery.AddContact(ctx, tx, o.id, recovery.Contact{Label: name, Holder: "Ada", Identifier: ident})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	o.clock.Advance(account.Hold) // contacts of lately are not asked
	ref := o.recovers()
	if n, err := o.m.Recovery.AskContacts(o.t.Context(), ref, o.m.Client); err != nil || !n.Asked {
		o.t.Fatalf("%+v, %v", n, err)
	}
	code := o.mailed(message.ContactCode)
	return func(m *testkit.Machine) bool {
		n, err := m.Recovery.ContactCode(o.t.Context(), ref, m.Client, code)
		if err != nil {
			o.t.Error(err)
		}
		return n.OneMore
	}
}

// recovers begins a recovery and proves the address.
func (o twice) recovers() signin.Ref {
	o.t.Helper()
	browser := secret.NewToken(recovery.BrowserPrefix)
	st, err := o.m.Recovery.Begin(o.t.Context(), recovery.Begin{Identifier: o.name, Browser: browser, Client: o.m.Client})
	if err != nil {
		o.t.Fatal(err)
	}
	ref := signin.Ref{Flow: st.Flow, Browser: browser}
	if n, err := o.m.Recovery.Code(o.t.Context(), ref, o.m.Client, "", o.mailed(message.RecoveryCode)); err != nil || n.Refused {
		o.t.Fatalf("%+v, %v", n, err)
	}
	return ref
}

// mailed is the code of the last letter of a kind.
func (o twice) mailed(kind message.Kind) (code secret.Token) {
	for _, l := range o.m.Letters(message.Email) {
		if !l.Withhold && l.Kind == kind {
			code = secret.Of(l.Params["code"])
		}
	}
	return code
}

func (o twice) link() use {
	o.m.Letters(message.Email)
	o.signIn(o.name, factor.Email, false)
	var token secret.Token
	for _, l := range o.m.Letters(message.Email) {
		if _, found, ok := strings.Cut(l.Params["link"], "#"); ok && strings.HasPrefix(found, notice.LinkPrefix) {
			token = secret.Of(found)
		}
	}
	if token.Empty() {
		o.t.Fatal("no letter has a link")
	}
	return func(m *testkit.Machine) bool {
		ok, err := m.Protect.Disavow(o.t.Context(), token, m.Client)
		return ok && err == nil
	}
}
