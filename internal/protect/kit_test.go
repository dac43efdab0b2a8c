package protect_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const (
	ada      = "ada@example.org"
	phone    = "+4915112345678"
	thief    = "thief@example.net"
	thiefsPW = "a word of the thief's own"
)

// kit is an account on a machine, whose letters are kept.
type kit struct {
	*testkit.Machine

	t     *testing.T
	clock *dbtest.Clock
	id    account.ID
	mail  []outbox.Claimed
}

// each makes an account with some addresses, an hour ago.
func each(t *testing.T, names []string, f func(t *testing.T, k *kit)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		k := newKit(t, db, clock, testkit.Ring(t))
		k.id = k.Account(names...)
		clock.Advance(time.Hour)
		f(t, k)
	})
}

// newKit is a node.
func newKit(t *testing.T, db *sqldb.DB, clock *dbtest.Clock, ring *keyring.Ring) *kit {
	return &kit{Machine: testkit.NewMachine(t, db, ring), t: t, clock: clock}
}

func (k *kit) write(f func(tx *sqldb.Tx) error) {
	k.t.Helper()
	if err := k.DB.Write(k.t.Context(), f); err != nil {
		k.t.Fatal(err)
	}
}

// happens does something to the account and tells its holder.
func (k *kit) happens(kind message.Kind, do func(tx *sqldb.Tx) error) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) error {
		if do != nil {
			if err := do(tx); err != nil {
				return err
			}
		}
		return k.Notices.Tell(k.t.Context(), tx, notice.Event{Kind: kind, Account: k.id, Source: k.Client.Source, Device: "Firefox"})
	})
}

func (k *kit) add(name string) {
	k.t.Helper()
	ident, err := account.Parse(name)
	if err != nil {
		k.t.Fatal(err)
	}
	n := account.NewIdentifier{Identifier: ident, Verified: true, SignsIn: true, Notices: true, Recovers: true}
	k.happens(message.AddressAdded, func(tx *sqldb.Tx) error { return k.Accounts.Add(k.t.Context(), tx, k.id, n) })
}

func (k *kit) remove(name string) {
	k.t.Helper()
	k.happens(message.AddressRemoved, func(tx *sqldb.Tx) error {
		all, err := k.Accounts.Addresses(k.t.Context(), tx, k.id)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(a account.Address) bool { return a.Normal == name })
		return k.Accounts.Remove(k.t.Context(), tx, k.id, all[i].ID)
	})
}

func (k *kit) setPassword(plain string) {
	k.t.Helper()
	if err := k.Passwords.Set(k.t.Context(), k.id, plain, nil); err != nil {
		k.t.Fatal(err)
	}
	k.happens(message.PasswordChanged, nil)
}

// has lists the account's addresses.
func (k *kit) has() string {
	k.t.Helper()
	var names []string
	k.write(func(tx *sqldb.Tx) error {
		all, err := k.Accounts.Addresses(k.t.Context(), tx, k.id)
		names = nil
		for _, a := range all {
			names = append(names, a.Normal)
		}
		return err
	})
	slices.Sort(names)
	return strings.Join(names, " ")
}

// signedIn opens a session, and remembers a device.
func (k *kit) signedIn() session.Session {
	k.t.Helper()
	var token secret.Token
	k.write(func(tx *sqldb.Tx) error {
		d, err := k.Devices.Remember(k.t.Context(), tx, k.id, device.Enrolment{PublicKey: testkit.NewKey(k.t).Public(), Name: "Firefox"}, nil)
		if err != nil {
			return err
		}
		st, err := k.Sessions.Start(k.t.Context(), tx, session.New{Account: k.id, Device: d.ID, Name: "Firefox", Methods: []assurance.Method{assurance.Password, assurance.Email}})
		token = st.Token
		return err
	})
	me, err := k.Sessions.Check(k.t.Context(), token)
	if err != nil {
		k.t.Fatal(err)
	}
	return me
}

// letters takes what is sent and keeps it.
func (k *kit) letters() []outbox.Claimed {
	k.t.Helper()
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		k.mail = append(k.mail, k.Letters(ch)...)
	}
	return k.mail
}

// link is that of the newest letter of a kind to an address.
func (k *kit) link(kind message.Kind, to string) secret.Token {
	k.t.Helper()
	all := k.letters()
	for _, l := range slices.Backward(all) {
		if l.Kind == kind && l.To == to && !l.Withhold {
			_, fragment, _ := strings.Cut(l.Params["link"], "#")
			return secret.Of(fragment)
		}
	}
	k.t.Fatalf("no letter %s to %s", kind, to)
	return secret.Token{}
}

// told counts the letters of a kind that were sent since the mail was last dropped, by address.
func (k *kit) told(kind message.Kind) map[string]int {
	k.t.Helper()
	out := map[string]int{}
	for _, l := range k.letters() {
		if l.Kind == kind && !l.Withhold {
			out[l.To]++
		}
	}
	return out
}

func (k *kit) disavow(token secret.Token) bool {
	k.t.Helper()
	done, err := k.Protect.Disavow(k.t.Context(), token, k.Client)
	if err != nil {
		k.t.Fatal(err)
	}
	return done
}

func (k *kit) stop(token secret.Token) bool {
	k.t.Helper()
	done, err := k.Protect.Stop(k.t.Context(), token, k.Client)
	if err != nil {
		k.t.Fatal(err)
	}
	return done
}

// state is what of an account is open to somebody.
type state struct {
	Sessions, Devices int
	Password          bool // the one that was given opens
	Frozen            bool
	Addresses         string
}

func (k *kit) state(password string) (st state) {
	k.t.Helper()
	ctx := k.t.Context()
	sessions, err := k.Sessions.List(ctx, k.id)
	if err != nil {
		k.t.Fatal(err)
	}
	devices, err := k.Devices.List(ctx, k.id)
	if err != nil {
		k.t.Fatal(err)
	}
	k.write(func(tx *sqldb.Tx) error {
		stored, err := k.Passwords.Load(ctx, tx, k.id)
		if err != nil {
			return err
		}
		v, err := k.Passwords.Verify(ctx, stored, password)
		if err != nil {
			return err
		}
		standing, err := k.Accounts.Standing(ctx, tx, k.id)
		st = state{Password: v.OK, Frozen: !standing.FrozenUntil.IsZero()}
		return err
	})
	st.Sessions, st.Devices, st.Addresses = len(sessions), len(devices), k.has()
	return st
}

// recover begins a recovery and, if a code comes to the address, proves it.
func (k *kit) recover(to string) (ref signin.Ref, next recovery.Next, came bool) {
	k.t.Helper()
	browser := secret.NewToken(recovery.BrowserPrefix)
	began := len(k.letters())
	st, err := k.Recovery.Begin(k.t.Context(), recovery.Begin{Identifier: to, Browser: browser, Client: k.Client})
	if err != nil {
		k.t.Fatal(err)
	}
	ref = signin.Ref{Flow: st.Flow, Browser: browser}
	for _, l := range k.letters()[began:] {
		if l.Kind != message.RecoveryCode || l.To != to || l.Withhold {
			continue
		}
		next, err := k.Recovery.Code(k.t.Context(), ref, k.Client, "email", secret.Of(l.Params["code"]))
		if err != nil {
			k.t.Fatal(err)
		}
		return ref, next, true
	}
	return ref, st.Next, false
}

func from(address string) signin.Client {
	return signin.Client{Source: netip.MustParseAddr(address), UserAgent: "curl/8.0"}
}

func code(err error) string { return fault.Of(err).Code }

func sum(counts map[string]int) (n int) {
	for c := range maps.Values(counts) {
		n += c
	}
	return n
}
