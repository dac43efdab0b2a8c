package seconddoor_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/seconddoor"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const site = "https://photos.example.net"

// photos is an application with accounts of its own.
type photos struct {
	*seconddoor.Service

	t   *testing.T
	m   *testkit.Machine
	app string
	key testkit.Key
}

func each(t *testing.T, f func(t *testing.T, p *photos, clock *dbtest.Clock)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		s := &seconddoor.Service{Parts: m.Parts, SignIn: m.Service, Owner: m.Profile}
		f(t, &photos{s, t, m, "photos", testkit.NewKey(t)}, clock)
	})
}

func (p *photos) named(reference string) seconddoor.Named {
	return seconddoor.Named{App: p.app, Reference: reference}
}

func (p *photos) put(reference, email string) {
	p.t.Helper()
	if _, err := p.Put(p.t.Context(), p.named(reference), seconddoor.Contact{Email: email}, secret.Token{}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *photos) client() signin.Client {
	c := p.m.Client
	c.App = p.app
	return c
}

func (p *photos) begin(reference string, handles ...secret.Token) (signin.Ref, signin.Next) {
	p.t.Helper()
	started, next, err := p.Begin(p.t.Context(), p.named(reference), site, signin.Begin{Client: p.m.Client, Handles: handles})
	if err != nil {
		p.t.Fatal(err)
	}
	return signin.Ref{Flow: started.Flow}, next
}

// pass goes through the second door by a code, and has the device be remembered if remember is set.
func (p *photos) pass(reference string, remember bool) (signin.Ref, signin.Next) {
	p.t.Helper()
	ref, next := p.begin(reference)
	if next.Step != signin.StepSecond || !slices.Contains(next.Ways, factor.Email) {
		p.t.Fatalf("a device that nobody knows: %+v", next)
	}
	if _, err := p.m.Send(p.t.Context(), ref, p.client(), factor.Email); err != nil {
		p.t.Fatal(err)
	}
	proof := signin.CodeProof{Code: p.m.LastCode(message.Email)}
	if remember {
		proof.Remember = &device.Enrolment{PublicKey: p.key.Public(), Signature: p.key.Sign("remember", site, next.Nonce), Name: "Firefox"}
	}
	next, err := p.m.Code(p.t.Context(), ref, p.client(), proof)
	if err != nil {
		p.t.Fatal(err)
	}
	return ref, next
}

// account is the account of a reference.
func (p *photos) account(reference string) (id account.ID) {
	p.t.Helper()
	ident, err := account.NewReference(p.app, reference)
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.Parts.DB.Read(p.t.Context(), func(tx *sqldb.Tx) error {
		a, err := p.Parts.Accounts.ByIdentifier(p.t.Context(), tx, ident)
		id = a.ID
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func code(err error) string { return fault.Of(err).Code }

// A device that nobody knows meets a code; one that was remembered proves its key, made on the application's own page, and is spared it. Nobody
// gets a session here.
func TestADeviceIsAskedOnce(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		_, next := p.pass("u-17", true)
		if next.Step != signin.StepDone || next.Session != nil || next.Device == nil || !slices.Equal(next.Methods, []assurance.Method{assurance.Password, assurance.Email}) {
			t.Fatalf("after the code: %+v", next)
		}
		ref, asked := p.begin("u-17", next.Device.Handle)
		if asked.Step != signin.StepDevice {
			t.Fatalf("a handle: %+v", asked)
		}
		again, err := p.m.Device(t.Context(), ref, p.client(), device.Proof{
			Handles: []secret.Token{next.Device.Handle}, Signature: p.key.Sign("recognise", site, asked.Nonce),
		})
		if err != nil || again.Step != signin.StepDone || again.Session != nil || again.Device == nil || !slices.Equal(again.Methods, []assurance.Method{assurance.Password, assurance.Device}) {
			t.Fatalf("the device: %v, %+v", err, again)
		}
		all, err := p.Devices(t.Context(), p.named("u-17"))
		if err != nil || len(all) != 1 || all[0].Name != "Firefox" {
			t.Errorf("devices: %v, %+v", err, all)
		}
		if ok, err := p.Forget(t.Context(), p.named("u-17"), all[0].ID); err != nil || !ok {
			t.Errorf("forget: %v, %v", ok, err)
		}
		if _, asked := p.begin("u-17"); asked.Step != signin.StepSecond {
			t.Errorf("after it was forgotten: %+v", asked)
		}
	})
}

// P5: a copied handle, and a key that signed on another page, recognise nothing.
func TestWhatIsCopiedIsAStranger(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		_, next := p.pass("u-17", true)
		for what, sign := range map[string]func(nonce string) []byte{
			"no key":       func(string) []byte { return nil },
			"another key":  func(nonce string) []byte { return testkit.NewKey(t).Sign("recognise", site, nonce) },
			"another page": func(nonce string) []byte { return p.key.Sign("recognise", "https://evil.example", nonce) },
			"our page":     func(nonce string) []byte { return p.key.Sign("recognise", testkit.Origin, nonce) },
		} {
			ref, asked := p.begin("u-17", next.Device.Handle)
			got, err := p.m.Device(t.Context(), ref, p.client(), device.Proof{Handles: []secret.Token{next.Device.Handle}, Signature: sign(asked.Nonce)})
			if err != nil || got.Step != signin.StepSecond {
				t.Errorf("%s: %v, %+v", what, err, got)
			}
		}
	})
}

// A flow is for the application that began it, and for no other door.
func TestAFlowIsForTheApplicationThatBeganIt(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		ref, _ := p.begin("u-17")
		other := p.client()
		other.App = "bank"
		for what, from := range map[string]signin.Client{"another's": other, "our own door": p.m.Client} {
			if _, err := p.m.Send(t.Context(), ref, from, factor.Email); code(err) != "flow_ended" {
				t.Errorf("%s: send: %v", what, err)
			}
			if _, err := p.m.Code(t.Context(), ref, from, signin.CodeProof{Code: secret.Of("000000")}); code(err) != "flow_ended" {
				t.Errorf("%s: code: %v", what, err)
			}
		}
		if _, err := p.m.At(t.Context(), ref); code(err) != "flow_ended" {
			t.Errorf("our own pages: %v", err)
		}
		bank := *p
		bank.app = "bank"
		if _, _, err := bank.Begin(t.Context(), bank.named("u-17"), site, signin.Begin{Client: p.m.Client}); code(err) != "account_unknown" {
			t.Errorf("another's account of that name: %v", err)
		}
		bank.put("u-17", "eve@example.org")
		if all, err := bank.Devices(t.Context(), bank.named("u-17")); err != nil || len(all) != 0 {
			t.Errorf("another's devices: %v, %v", err, all)
		}
	})
}

// Nobody signs in to such an account at our own door, and nobody recovers it.
func TestAReferenceIsNoName(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		for _, name := range []string{"u-17", "photos/u-17", "photos\x00u-17", "ada@example.org"} {
			ident := p.m.Parser.Always(name)
			var found account.Account
			err := p.Parts.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
				found, err = p.Parts.Accounts.Find(t.Context(), tx, ident)
				return err
			})
			if err != nil || found.State != account.Decoy {
				t.Errorf("%q: %v, %s", name, err, found.State)
			}
		}
	})
}

// Where codes go changes after the second door alone, and every address hears of it (P7).
func TestWhereCodesGoChangesAfterTheSecondDoor(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		p.put("u-17", "ada@example.org") // nothing changes: nothing is asked for
		p.put("u-18", "bob@example.org")
		put := func(flow signin.Ref) error {
			_, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "eve@example.net"}, flow.Flow)
			return err
		}
		begun, _ := p.begin("u-17")
		others, _ := p.pass("u-18", false)
		for what, flow := range map[string]signin.Ref{"none": {}, "one that has only begun": begun, "another account's": others} {
			if err := put(flow); code(err) != "contact_proof_required" {
				t.Errorf("with %s: %v", what, err)
			}
		}
		clock.Advance(10 * time.Minute)
		ref, _ := p.pass("u-17", false)
		p.m.Letters(message.Email)
		if err := put(ref); err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, l := range p.m.Letters(message.Email) {
			told[l.To] = true
		}
		if !told["ada@example.org"] || !told["eve@example.net"] {
			t.Errorf("told: %v", told)
		}
		clock.Advance(time.Hour)
		if err := put(ref); err != nil {
			t.Errorf("again, when nothing changes: %v", err)
		}
		if _, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "mallory@example.net"}, ref.Flow); code(err) != "contact_proof_required" {
			t.Errorf("an hour later: %v", err)
		}
	})
}

// P7: what somebody had passed before the holder said "this wasn't me" moves no code: where they go stays as it is for now.
func TestWhereCodesGoIsFrozenWithTheAccount(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		ref, _ := p.pass("u-17", false)
		err := p.Parts.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return p.Parts.Accounts.Freeze(t.Context(), tx, p.account("u-17"), tx.Now().Add(time.Hour))
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "eve@example.net"}, ref.Flow); code(err) != "account_frozen" {
			t.Errorf("changed: %v", err)
		}
		p.put("u-17", "ada@example.org") // nothing changes
	})
}

// P9: an application makes up as many references as it likes, and floods nobody's mailbox by them.
func TestOneMailboxIsNotFloodedByManyAccounts(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		sent := 0
		for i := range 30 {
			reference := fmt.Sprintf("u-%d", i)
			p.put(reference, "ada@example.org")
			ref, _ := p.begin(reference)
			_, err := p.m.Send(t.Context(), ref, p.client(), factor.Email)
			switch {
			case err == nil:
				sent++
			case code(err) != "too_many_attempts":
				t.Fatal(err)
			}
			clock.Advance(time.Minute) // as from many sources
		}
		if sent < 20 || sent > 23 {
			t.Errorf("%d codes were sent to one address", sent)
		}
	})
}

// Guesses are counted as at our own door, whatever flow they are made in.
func TestGuessesAreCounted(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		refused := 0
		for range 8 {
			ref, _ := p.begin("u-17")
			next, err := p.m.Code(t.Context(), ref, p.client(), signin.CodeProof{Code: secret.Of("000000")})
			switch {
			case err == nil && next.Refused:
				refused++
			case code(err) != "too_many_attempts":
				t.Fatalf("%v, %+v", err, next)
			}
		}
		if refused != 5 {
			t.Errorf("%d guesses were evaluated, not 5", refused)
		}
	})
}

// A locked account, one that is not there, and names and addresses that cannot be, are told as such: the application is trusted.
func TestWhatAnApplicationIsTold(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		who := p.account("u-17")
		ref, _ := p.begin("u-17")
		if err := p.Parts.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return p.Parts.Accounts.Lock(t.Context(), tx, who) }); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Begin(t.Context(), p.named("u-17"), site, signin.Begin{Client: p.m.Client}); code(err) != "account_locked" {
			t.Errorf("locked: %v", err)
		}
		if _, err := p.m.Send(t.Context(), ref, p.client(), factor.Email); code(err) != "flow_ended" {
			t.Errorf("locked since it began: %v", err)
		}
		for reference, want := range map[string]string{"": "reference_malformed", "a b": "reference_malformed", "a\nb": "reference_malformed", "nobody": "contact_missing"} {
			if _, err := p.Put(t.Context(), p.named(reference), seconddoor.Contact{}, secret.Token{}); code(err) != want {
				t.Errorf("%q: %v, want %s", reference, err, want)
			}
		}
		if _, err := p.Put(t.Context(), p.named("u-19"), seconddoor.Contact{Email: "+4915112345678"}, secret.Token{}); code(err) != "identifier_malformed" {
			t.Errorf("a number for an e-mail address: %v", err)
		}
		if err := p.Parts.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return p.Parts.Accounts.Unlock(t.Context(), tx, who) }); err != nil {
			t.Fatal(err)
		}
		if err := p.Remove(t.Context(), p.named("u-17")); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Devices(t.Context(), p.named("u-17")); code(err) != "account_unknown" {
			t.Errorf("after it was erased: %v", err)
		}
	})
}
