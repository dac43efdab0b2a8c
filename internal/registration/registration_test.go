package registration_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/registration"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const good = "walrus kettle umbrella 9"

// newcomer is somebody at a browser who opens an account.
type newcomer struct {
	t      *testing.T
	m      *testkit.Machine
	secret secret.Token
	key    testkit.Key
	ref    signin.Ref
	typed  string
}

func newNewcomer(t *testing.T, m *testkit.Machine) *newcomer {
	return &newcomer{t: t, m: m, secret: secret.NewToken(signin.BrowserPrefix), key: testkit.NewKey(t)}
}

func (n *newcomer) try(address string, invitation secret.Token) (registration.Begun, error) {
	n.t.Helper()
	n.typed = strings.ToLower(strings.TrimSpace(address))
	b, err := n.m.Registration.Begin(n.t.Context(), registration.Begin{
		Address: address, Browser: n.secret, Client: n.m.Client, Language: "de-AT,de;q=0.9", Invitation: invitation,
	})
	if err == nil {
		n.ref = signin.Ref{Flow: b.Flow, Browser: n.secret}
	}
	return b, err
}

func (n *newcomer) begin(address string) registration.Begun {
	n.t.Helper()
	b, err := n.try(address, secret.Token{})
	if err != nil {
		n.t.Fatalf("begin: %v", err)
	}
	return b
}

func (n *newcomer) code(code secret.Token) registration.Next {
	n.t.Helper()
	next, err := n.m.Registration.Code(n.t.Context(), n.ref, n.m.Client, code)
	if err != nil {
		n.t.Fatalf("code: %v", err)
	}
	return next
}

// prove begins and types the code that came.
func (n *newcomer) prove(address string) registration.Next {
	n.t.Helper()
	n.begin(address)
	next := n.code(n.received())
	if next.Step != registration.StepAbout {
		n.t.Fatalf("the address was not proved: %+v", next)
	}
	return next
}

func (n *newcomer) finish(a registration.About) (registration.Opened, error) {
	n.t.Helper()
	return n.m.Registration.Finish(n.t.Context(), n.ref, n.m.Client, a)
}

// letters takes what waits, by either way.
func letters(m *testkit.Machine) (all []outbox.Claimed) {
	return append(m.Letters(message.Email), m.Letters(message.SMS)...)
}

// received takes the code that they would really get.
func (n *newcomer) received() (code secret.Token) {
	n.t.Helper()
	for _, l := range letters(n.m) {
		if l.Kind == message.AddressCode && !l.Withhold && l.To == n.typed {
			code = secret.Of(l.Params["code"])
		}
	}
	return code
}

func each(t *testing.T, f func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, testkit.NewMachine(t, db, testkit.Ring(t)), clock)
	})
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func find(t *testing.T, m *testkit.Machine, name string) (who account.Account, all []account.Address) {
	t.Helper()
	ident, err := account.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	err = m.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
		if who, err = m.Accounts.ByIdentifier(t.Context(), tx, ident); err != nil {
			return err
		}
		all, err = m.Accounts.Addresses(t.Context(), tx, who.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return who, all
}

// The whole way, by e-mail and by phone: proved address, password, claims, terms, a device that is remembered,
// and a session; afterwards the password alone signs in from that device.
func TestAnAccountIsOpened(t *testing.T) {
	for _, address := range []string{"ada@example.org", "+4915112345678"} {
		each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
			m.Registration.Rules.Terms = registration.Terms{URL: "https://example.org/terms", Version: "2026-11"}
			m.Registration.Rules.Claims = []registration.Claim{{Name: "name", Required: true}, {Name: "birthdate"}}
			n := newNewcomer(t, m)
			next := n.prove(" " + strings.ToUpper(address))
			clock.Advance(50 * time.Minute) // people take their time, and the address is proved
			opened, err := n.finish(registration.About{
				Password: good, Claims: map[string]string{"name": " Ada Lovelace ", "birthdate": ""}, Terms: "2026-11",
				Remember: &device.Enrolment{PublicKey: n.key.Public(), Signature: n.key.Sign("remember", testkit.Origin, next.Nonce)},
			})
			if err != nil || len(opened.Problems) > 0 {
				t.Fatalf("%+v, %v", opened, err)
			}
			who, all := find(t, m, address)
			if who.ID != opened.Account || who.Language != "de" || len(all) != 1 {
				t.Fatalf("%+v with %d addresses", who, len(all))
			}
			if a := all[0]; !a.Verified || !a.SignsIn || !a.Notices || !a.Recovers {
				t.Errorf("the address is for %+v", []bool{a.Verified, a.SignsIn, a.Notices, a.Recovers})
			}
			s, err := m.Sessions.Check(t.Context(), opened.Session.Token)
			way := map[bool]string{true: "email", false: "sms"}[strings.Contains(address, "@")]
			if err != nil || s.Account != who.ID || s.Device != opened.Device.ID || !cmp.Equal(s.Methods, []string{"password", way}) {
				t.Errorf("session: %+v, %v", s, err)
			}
			var claims map[string]string
			if err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
				claims, err = m.Accounts.Claims(t.Context(), tx, who.ID)
				return err
			}); err != nil || !cmp.Equal(claims, map[string]string{"name": "Ada Lovelace"}) {
				t.Errorf("claims %v, %v", claims, err)
			}
			if version, at := consent(t, m, who.ID); version != "2026-11" || !at.Equal(clock.Now()) {
				t.Errorf("terms %q at %v", version, at)
			}
			recognised(t, m, n, address, opened)
			if _, err := n.finish(registration.About{Password: good}); code(err) != "flow_ended" {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

// recognised signs in again from the device that was remembered.
func recognised(t *testing.T, m *testkit.Machine, n *newcomer, name string, opened registration.Opened) {
	t.Helper()
	held := []secret.Token{opened.Device.Handle}
	st, err := m.Begin(t.Context(), signin.Begin{Identifier: name, Browser: n.secret, Client: m.Client, Handles: held})
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.Password(t.Context(), signin.Ref{Flow: st.Flow, Browser: n.secret}, m.Client, signin.PasswordProof{
		Password: good, Handles: held, Signature: n.key.Sign("recognise", testkit.Origin, st.Nonce),
	})
	if err != nil || in.Step != signin.StepDone {
		t.Errorf("sign in: %+v, %v", in, err)
	}
}

func consent(t *testing.T, m *testkit.Machine, id account.ID) (version string, at time.Time) {
	t.Helper()
	err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
		var ms int64
		err := tx.QueryRow(t.Context(), `SELECT version, accepted_at FROM registration_consent WHERE account_id = $1`, id).Scan(&version, &ms)
		at = time.UnixMilli(ms)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return version, at
}

// C-AU-13, A-6.3.8: whoever has an account is told that somebody tried, in their language; whoever tried is told
// nothing, whatever state the account is in, and no code ever fits.
func TestATakenAddressLooksLikeAnyOther(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Registration.Limits.Code.Free, m.Registration.Limits.Code.Stop, m.Registration.Limits.Source.Burst = 1000, 1000, 1000
		ada, carol, dave := m.Account("ada@example.org"), m.Account("carol@example.org"), m.Account("dave@example.org", "held@example.org")
		prepare(t, m, func(tx *sqldb.Tx) error {
			if err := m.Accounts.SetLanguage(t.Context(), tx, ada, "fr"); err != nil {
				return err
			}
			return m.Accounts.Lock(t.Context(), tx, carol)
		})
		_, all := find(t, m, "dave@example.org")
		prepare(t, m, func(tx *sqldb.Tx) error {
			for _, a := range all {
				if a.Normal == "held@example.org" {
					return m.Accounts.Remove(t.Context(), tx, dave, a.ID)
				}
			}
			return nil
		})
		letters(m)
		free := newNewcomer(t, m).begin("grace@example.org")
		freeLetters := letters(m)
		for address, lang := range map[string]string{"ada@example.org": "fr", "carol@example.org": "en", "held@example.org": "de"} {
			n := newNewcomer(t, m)
			got := n.begin(address)
			got.Flow, free.Flow = secret.Token{}, secret.Token{}
			if diff := cmp.Diff(free, got, cmp.Comparer(func(a, b secret.Token) bool { return a.Equal(b) })); diff != "" {
				t.Errorf("%s: %s", address, diff)
			}
			came := letters(m)
			if len(came) != 1 || len(freeLetters) != 1 || came[0].Shows != freeLetters[0].Shows || !came[0].ExpiresAt.Equal(freeLetters[0].ExpiresAt) {
				t.Fatalf("%s: %d letters", address, len(came))
			}
			l := came[0]
			if l.Kind != message.RegistrationAttempt || l.Withhold || l.To != address || l.Language != lang || l.Params["device"] != "Firefox on Linux" || l.Account != "" {
				t.Errorf("%s: %s in %s, withheld %t, %v", address, l.Kind, l.Language, l.Withhold, l.Params)
			}
			for i := range 50 { // the code is known to nobody; should one fit by chance, it opens nothing
				if next := n.code(secret.Of(fmt.Sprintf("%06d", i))); next.Step != registration.StepCode || !next.Refused {
					t.Fatalf("%s: %+v", address, next)
				}
			}
			if _, err := n.finish(registration.About{Password: good}); code(err) != "step_out_of_order" {
				t.Errorf("%s: %v", address, err)
			}
		}
		clock.Advance(account.Hold + time.Minute)
		newNewcomer(t, m).prove("held@example.org")
	})
}

// Even a code that was read from the database's memory does not fit a barred flow.
func TestNoCodeFitsABarredFlow(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		n := newNewcomer(t, m)
		n.begin("ada@example.org")
		prepare(t, m, func(tx *sqldb.Tx) error { // as if the code were known
			_, err := tx.Exec(t.Context(), `UPDATE onetime_code SET digest = $1`, m.Ring.Digest("onetime/"+flowID(t, tx), secret.Of("123456")))
			return err
		})
		if next := n.code(secret.Of("123456")); !next.Refused {
			t.Error("the address of another account was proved")
		}
	})
}

func flowID(t *testing.T, tx *sqldb.Tx) (id string) {
	t.Helper()
	if err := tx.QueryRow(t.Context(), `SELECT id FROM registration_flow`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func prepare(t *testing.T, m *testkit.Machine, f func(tx *sqldb.Tx) error) {
	t.Helper()
	if err := m.DB.Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// What no code can reach is refused by its form alone, whoever may have it.
func TestWhatCannotBeProvedIsRefusedByItsForm(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada")
		m.Registration.Ways = []factor.Way{factor.Email}
		for address, want := range map[string]string{
			"": "identifier_malformed", "ada": "identifier_malformed", "nobody": "identifier_malformed", "ada@": "identifier_malformed",
			"ada@example.org\nBcc: x@example.org": "identifier_malformed", "+4915112345678": "way_unknown",
		} {
			if _, err := newNewcomer(t, m).try(address, secret.Token{}); code(err) != want {
				t.Errorf("%q: %v, want %s", address, err, want)
			}
		}
	})
}

// P3, P6: a flow is of its browser and for its time, its code is for it alone and works once, and the newest one only.
func TestACodeProvesItsOwnFlowOnce(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		n, other := newNewcomer(t, m), newNewcomer(t, m)
		n.begin("ada@example.org")
		old := n.received()
		other.begin("grace@example.org")
		foreign := other.received()
		ctx := t.Context()
		if _, err := m.Registration.Code(ctx, signin.Ref{Flow: n.ref.Flow, Browser: other.secret}, m.Client, old); code(err) != "flow_ended" {
			t.Errorf("from another browser: %v", err)
		}
		if !old.Equal(foreign) && !n.code(foreign).Refused {
			t.Error("another flow's code fits")
		}
		if sent, err := m.Registration.Send(ctx, n.ref, m.Client); err != nil || !sent.TooSoon {
			t.Errorf("at once: %+v, %v", sent, err)
		}
		clock.Advance(30 * time.Second)
		sent, err := m.Registration.Send(ctx, n.ref, m.Client)
		if err != nil || sent.TooSoon {
			t.Fatalf("half a minute later: %+v, %v", sent, err)
		}
		fresh := n.received()
		if !old.Equal(fresh) && !n.code(old).Refused {
			t.Error("an old code fits")
		}
		if _, err := n.finish(registration.About{Password: good}); code(err) != "step_out_of_order" {
			t.Errorf("before the address is proved: %v", err)
		}
		if next := n.code(fresh); next.Step != registration.StepAbout || next.Nonce == "" {
			t.Fatalf("%+v", next)
		}
		if _, err := m.Registration.Code(ctx, n.ref, m.Client, fresh); code(err) != "step_out_of_order" {
			t.Errorf("the same code again: %v", err)
		}
		if _, err := m.Registration.Send(ctx, n.ref, m.Client); code(err) != "step_out_of_order" {
			t.Errorf("another code: %v", err)
		}
		clock.Advance(10*time.Minute + time.Second)
		if !other.code(foreign).Refused {
			t.Error("a code of eleven minutes fits")
		}
		clock.Advance(5 * time.Minute)
		if _, err := m.Registration.At(ctx, other.ref); code(err) != "flow_ended" {
			t.Errorf("after a quarter of an hour: %v", err)
		}
		clock.Advance(time.Hour)
		if _, err := n.finish(registration.About{Password: good}); code(err) != "flow_ended" {
			t.Errorf("after more than an hour: %v", err)
		}
	})
}

// .*: everything that has to be put right is said at once, and nothing is opened meanwhile.
func TestWhatHasToBePutRight(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Registration.Rules.Terms = registration.Terms{URL: "https://example.org/terms", Version: "2"}
		m.Registration.Rules.Claims = []registration.Claim{{Name: "name", Required: true}, {Name: "birthdate"}}
		n := newNewcomer(t, m)
		n.prove("adalovelace@maildomain.example")
		problem := func(field, code string) registration.Problem {
			return registration.Problem{Field: field, Code: code}
		}
		for label, c := range map[string]struct {
			about registration.About
			want  []registration.Problem
		}{
			"nothing": {registration.About{}, []registration.Problem{problem("name", "claim_missing"), problem("password", "password_too_short"), problem("terms", "terms_not_accepted")}},
			"older terms, their address as a password": {
				registration.About{Password: "adalovelace@maildomain.example", Claims: map[string]string{"name": "Ada"}, Terms: "1"},
				[]registration.Problem{problem("password", "password_context"), problem("terms", "terms_not_accepted")},
			},
			"their name as a password": {
				registration.About{Password: "augustaadaking-augustaadaking", Claims: map[string]string{"name": "Augusta Ada King"}, Terms: "2"},
				[]registration.Problem{problem("password", "password_context")},
			},
			"a common password, a birthday to come": {
				registration.About{Password: "passwordpassword", Claims: map[string]string{"name": "Ada", "birthdate": "2199-01-01"}, Terms: "2"},
				[]registration.Problem{problem("birthdate", "claim_malformed"), problem("password", "password_common")},
			},
			"what nobody asked for": {
				registration.About{Password: good, Claims: map[string]string{"name": "Ada", "is_admin": "true"}, Terms: "2"},
				[]registration.Problem{problem("is_admin", "claim_malformed")},
			},
		} {
			got, err := n.finish(c.about)
			if diff := cmp.Diff(c.want, got.Problems); diff != "" || err != nil || !got.Session.Token.Empty() {
				t.Errorf("%s: %v %s", label, err, diff)
			}
		}
		bad := &device.Enrolment{PublicKey: n.key.Public(), Signature: n.key.Sign("remember", testkit.Origin, "another nonce")}
		if _, err := n.finish(registration.About{Password: good, Remember: bad}); code(err) != "device_key_malformed" {
			t.Errorf("a key for another flow: %v", err)
		}
		if got, err := n.finish(registration.About{Password: good, Claims: map[string]string{"name": "Ada"}, Terms: "2", Language: "ar"}); err != nil || got.Account == "" {
			t.Fatalf("%+v, %v", got, err)
		}
		if who, _ := find(t, m, "adalovelace@maildomain.example"); who.Language != "ar" {
			t.Errorf("in %s", who.Language)
		}
	})
}

func TestValuesOfClaims(t *testing.T) {
	m := testkit.NewMachine(t, dbtest.SQLite(t), testkit.Ring(t))
	m.Registration.Limits.Source.Burst = 1000
	for _, name := range []string{"name", "birthdate", "zoneinfo", "team"} {
		m.Registration.Rules.Claims = append(m.Registration.Rules.Claims, registration.Claim{Name: name})
	}
	n := newNewcomer(t, m)
	n.prove("ada@example.org")
	for _, c := range []struct {
		name, value string
		fits        bool
	}{
		{"name", strings.Repeat("é", 200), true},
		{"name", strings.Repeat("e\u0301", 200), true}, // the same, in two code points each
		{"name", strings.Repeat("é", 201), false},
		{"name", "Ada\nBcc: x", false},
		{"name", "Ada\u202egro.elpmaxe", false},
		{"name", "Ada\u200bLovelace", false},
		{"name", "می\u200cخواهم", true},
		{"name", "<script>", true}, // text: escaped where it is shown
		{"name", "\xff", false},
		{"birthdate", "1815-12-10", false},
		{"birthdate", "1985-02-30", false},
		{"birthdate", "10.12.1985", false},
		{"birthdate", "1985-12-10", true},
		{"zoneinfo", "Europe/Berlin", true},
		{"zoneinfo", "America/Argentina/Buenos_Aires", true},
		{"zoneinfo", "Etc/GMT+5", true},
		{"zoneinfo", "../../etc/passwd", false},
		{"team", "R&D", true},
	} {
		got, err := n.finish(registration.About{Password: "short", Claims: map[string]string{c.name: c.value}}) // the password stops it in any case
		if err != nil {
			t.Fatal(err)
		}
		if fits := got.Problems[0].Field == registration.FieldPassword; fits != c.fits {
			t.Errorf("%s %q: %v", c.name, c.value, got.Problems)
		}
	}
}

// Somebody else was faster with the same address: one account, and whoever has proved the address may know.
func TestOfTwoWhoRegisterAnAddressOneWins(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		one, two := newNewcomer(t, m), newNewcomer(t, m)
		one.prove("ada@example.org")
		two.prove("ada@example.org")
		won, taken := race(t, one, two)
		if won != 1 || taken != 1 {
			t.Errorf("%d won, %d were told that it is taken", won, taken)
		}
	})
}

// Closed is closed at every step, to flows that began before it was, too.
func TestClosedIsClosed(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		n, early := newNewcomer(t, m), newNewcomer(t, m)
		n.prove("ada@example.org")
		early.begin("grace@example.org")
		letters(m)
		for _, mode := range []registration.Mode{registration.Closed, ""} {
			m.Registration.Rules.Mode = mode
			_, begin := newNewcomer(t, m).try("carol@example.org", secret.Token{})
			_, at := m.Registration.At(t.Context(), n.ref)
			_, send := m.Registration.Send(t.Context(), early.ref, m.Client)
			_, tried := m.Registration.Code(t.Context(), early.ref, m.Client, secret.Of("123456"))
			_, finish := n.finish(registration.About{Password: good})
			for i, err := range []error{begin, at, send, tried, finish} {
				if code(err) != "registration_closed" {
					t.Errorf("%q, %d: %v", mode, i, err)
				}
			}
		}
		if came := letters(m); len(came) != 0 {
			t.Errorf("%d letters", len(came))
		}
	})
}

func from(source string) signin.Client { return signin.Client{Source: netip.MustParseAddr(source)} }

func TestWhatPeopleAreAskedFor(t *testing.T) {
	got, err := registration.ReadClaims([]string{"name!", "birthdate", "team!"}, []string{"team=Team", "team:de=Mannschaft = Gruppe", "birthdate=Day of birth"})
	want := []registration.Claim{
		{Name: "name", Required: true, Labels: map[string]string{}},
		{Name: "birthdate", Labels: map[string]string{"": "Day of birth"}},
		{Name: "team", Required: true, Labels: map[string]string{"": "Team", "de": "Mannschaft = Gruppe"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	var many, names []string
	for i := range 13 {
		many, names = append(many, "c"+string(rune('a'+i))), append(names, "c"+string(rune('a'+i))+"=x")
	}
	for label, c := range map[string]struct {
		claims, labels []string
		want           string
	}{
		"a claim that is ours": {[]string{"email"}, nil, `"email" is not for people to say`},
		"a claim of no name":   {[]string{"Team 1"}, nil, "want letters a to z"},
		"twice":                {[]string{"name", "name!"}, nil, "is there twice"},
		"no words for it":      {[]string{"team"}, nil, `say what people read, as "team=…"`},
		"words in German only": {[]string{"team"}, []string{"team:de=Mannschaft"}, `say what people read, as "team=…"`},
		"words for nothing":    {nil, []string{"team=Team"}, "is for no claim that is asked for"},
		"no language":          {[]string{"name"}, []string{"name:german=Name"}, "want a language such as de"},
		"an empty label":       {[]string{"name"}, []string{"name="}, "want 1 to 80 characters"},
		"too many":             {many, names, "more than people fill in"},
	} {
		if _, err := registration.ReadClaims(c.claims, c.labels); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", label, err, c.want)
		}
	}
}
