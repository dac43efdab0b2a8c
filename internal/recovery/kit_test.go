package recovery_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const (
	ada      = "ada@example.org"
	adaPhone = "+4915112345678"
	newWord  = "velvet harbour cinnamon 77"
)

func each(t *testing.T, f func(t *testing.T, m *machine, clock *dbtest.Clock)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, &machine{Machine: testkit.NewMachine(t, db, testkit.Ring(t)), t: t}, clock)
	})
}

type machine struct {
	*testkit.Machine

	t      *testing.T
	unread []outbox.Claimed
}

// write runs f in a transaction of its own.
func (m *machine) write(f func(tx *sqldb.Tx) error) {
	m.t.Helper()
	if err := m.DB.Write(m.t.Context(), f); err != nil {
		m.t.Fatal(err)
	}
}

// letters takes every letter that would be sent and was not taken before, those to address or all.
func (m *machine) letters(address string) (out []outbox.Claimed) {
	m.t.Helper()
	var rest []outbox.Claimed
	for _, l := range append(m.unread, append(m.Letters(message.SMS), m.Letters(message.Email)...)...) {
		switch {
		case l.Withhold:
		case address == "" || l.To == address:
			out = append(out, l)
		default:
			rest = append(rest, l)
		}
	}
	m.unread = rest
	return out
}

// code takes the newest code that was sent to an address; empty if none was.
func (m *machine) code(address string) secret.Token {
	m.t.Helper()
	code := ""
	for _, l := range m.letters(address) {
		if c := l.Params["code"]; c != "" {
			code = c
		}
	}
	return secret.Of(code)
}

// kinds counts the letters to an address by kind.
func (m *machine) kinds(address string) map[message.Kind]int {
	m.t.Helper()
	out := map[message.Kind]int{}
	for _, l := range m.letters(address) {
		out[l.Kind]++
	}
	return out
}

// person is somebody at a browser.
type person struct {
	m   *machine
	ref signin.Ref
}

func (m *machine) begin(name, to string) (person, recovery.Next) {
	m.t.Helper()
	browser := secret.NewToken(recovery.BrowserPrefix)
	st, err := m.Recovery.Begin(m.t.Context(), recovery.Begin{Identifier: name, To: to, Browser: browser, Client: m.Client})
	if err != nil {
		m.t.Fatalf("begin %s to %q: %v", name, to, err)
	}
	return person{m, signin.Ref{Flow: st.Flow, Browser: browser}}, st.Next
}

// proved begins a flow and proves the address.
func (m *machine) proved(name, to string) person {
	m.t.Helper()
	p, _ := m.begin(name, to)
	if to == "" {
		to = name
	}
	p.want(recovery.StepMore)(p.code("", m.code(to)))
	return p
}

func (p person) code(w factor.Way, c secret.Token) (recovery.Next, error) {
	return p.m.Recovery.Code(p.m.t.Context(), p.ref, p.m.Client, w, c)
}

func (p person) send(w factor.Way) (recovery.Next, error) {
	return p.m.Recovery.Send(p.m.t.Context(), p.ref, p.m.Client, w)
}

func (p person) saved(c secret.Token) (recovery.Next, error) {
	return p.m.Recovery.SavedCode(p.m.t.Context(), p.ref, p.m.Client, c)
}

func (p person) own(w factor.Way, c string) (recovery.Next, error) {
	return p.m.Recovery.OwnCode(p.m.t.Context(), p.ref, p.m.Client, w, secret.Of(c))
}

func (p person) contact(c secret.Token) (recovery.Next, error) {
	return p.m.Recovery.ContactCode(p.m.t.Context(), p.ref, p.m.Client, c)
}

func (p person) ask() (recovery.Next, error) {
	return p.m.Recovery.AskContacts(p.m.t.Context(), p.ref, p.m.Client)
}

func (p person) password(old string) (recovery.Next, error) {
	return p.m.Recovery.OldPassword(p.m.t.Context(), p.ref, p.m.Client, old)
}

func (p person) wait() (recovery.Next, error) {
	return p.m.Recovery.StartWait(p.m.t.Context(), p.ref, p.m.Client)
}

func (p person) at() (recovery.Next, error) { return p.m.Recovery.At(p.m.t.Context(), p.ref) }

func (p person) finish(pw string) (secret.Token, error) {
	return p.m.Recovery.Finish(p.m.t.Context(), p.ref, p.m.Client, pw)
}

// want returns what checks that an answer leads to a step.
func (p person) want(s recovery.Step) func(recovery.Next, error) recovery.Next {
	return func(n recovery.Next, err error) recovery.Next {
		p.m.t.Helper()
		if err != nil || n.Step != s || n.Refused {
			p.m.t.Fatalf("%+v, %v; want %s", n, err, s)
		}
		return n
	}
}

// refused checks that a proof did not fit.
func (p person) refused(n recovery.Next, err error) {
	p.m.t.Helper()
	if err != nil || !n.Refused {
		p.m.t.Fatalf("%+v, %v; want a refusal", n, err)
	}
}

// fails checks for an error's code.
func fails(t *testing.T, want string) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err == nil || fault.Of(err).Code != want {
			t.Fatalf("%v; want %s", err, want)
		}
	}
}

// opens reports whether a password is the account's.
func (m *machine) opens(id account.ID, plain string) bool {
	m.t.Helper()
	ok := false
	m.write(func(tx *sqldb.Tx) error {
		stored, err := m.Passwords.Load(m.t.Context(), tx, id)
		if err != nil {
			return err
		}
		v, err := m.Passwords.Verify(m.t.Context(), stored, plain)
		ok = v.OK
		return err
	})
	return ok
}

// savedCode makes the account's saved code.
func (m *machine) savedCode(id account.ID) (code secret.Token) {
	m.t.Helper()
	m.write(func(tx *sqldb.Tx) (err error) {
		code, err = m.Recovery.NewSavedCode(m.t.Context(), tx, id)
		return err
	})
	return code
}

// contacts names contacts and lets them settle.
func (m *machine) contacts(clock *dbtest.Clock, id account.ID, addresses ...string) {
	m.t.Helper()
	m.write(func(tx *sqldb.Tx) error {
		for _, a := range addresses {
			ident, err := account.Parse(a)
			if err != nil {
				return err
			}
			c := recovery.Contact{Label: "Bob", Holder: "Ada Lovelace", Identifier: ident}
			if err := m.Recovery.AddContact(m.t.Context(), tx, id, c); err != nil {
				return err
			}
		}
		return nil
	})
	clock.Advance(account.Hold)
	m.letters("")
}

// signIn signs in with a password and a code, as far as that goes, and returns the step.
func (m *machine) signIn(name, pw string) (signin.Next, error) {
	m.t.Helper()
	browser := secret.NewToken(signin.BrowserPrefix)
	st, err := m.Begin(m.t.Context(), signin.Begin{Identifier: name, Browser: browser, Client: m.Client})
	if err != nil {
		m.t.Fatal(err)
	}
	return m.Password(m.t.Context(), signin.Ref{Flow: st.Flow, Browser: browser}, m.Client, signin.PasswordProof{Password: pw})
}

const day = 24 * time.Hour
