package seconddoor_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/seconddoor"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// letter is the last letter of a kind to an address.
func (p *photos) letter(kind message.Kind, to string) (found outbox.Claimed) {
	p.t.Helper()
	for _, l := range p.m.Letters(message.Email) {
		if l.Kind == kind && l.To == to {
			found = l
		}
	}
	if found.Kind == "" {
		p.t.Fatalf("no letter %s to %s", kind, to)
	}
	return found
}

func (p *photos) link(l outbox.Claimed, page string) secret.Token {
	p.t.Helper()
	_, token, ok := strings.Cut(l.Params["link"], page+"#")
	if !ok {
		p.t.Fatalf("the link is %q, want it to lead to %s", l.Params["link"], page)
	}
	return secret.Of(token)
}

// The person knows the application. Letters about an account of ours stay as they are.
func TestLettersNameTheApplication(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		ref, _ := p.begin("u-17")
		if _, err := p.m.Send(t.Context(), ref, p.client(), "email"); err != nil {
			t.Fatal(err)
		}
		code := p.letter(message.SigninCode, "ada@example.org")
		if code.Params["app"] != "Photos" || code.Params["app_site"] != site {
			t.Errorf("the code: %v", code)
		}
		if _, err := p.m.Code(t.Context(), ref, p.client(), signin.CodeProof{Code: secret.Of(code.Params["code"])}); err != nil {
			t.Fatal(err)
		}
		if l := p.letter(message.NewDevice, "ada@example.org"); l.Params["app"] != "Photos" {
			t.Errorf("the new device: %v", l)
		}
		p.m.Account("bob@example.org")
		bob, err := p.m.Begin(t.Context(), signin.Begin{Identifier: "bob@example.org", Client: p.m.Client})
		if err != nil {
			t.Fatal(err)
		}
		own := signin.Ref{Flow: bob.Flow}
		if _, err := p.m.Password(t.Context(), own, p.m.Client, signin.PasswordProof{Password: testkit.Password}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.m.Send(t.Context(), own, p.m.Client, "email"); err != nil {
			t.Fatal(err)
		}
		if l := p.letter(message.SigninCode, "bob@example.org"); l.Params["app"] != "" {
			t.Errorf("our own: %v", l)
		}
	})
}

// "This wasn't me" does what it can at the door: no device is remembered, and where codes go stays. Its link is for the page that says so, and for
// no other.
func TestThisWasntMeAtTheDoor(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		ref, next := p.pass("u-17", true)
		token := p.link(p.letter(message.NewDevice, "ada@example.org"), "/notme/app")
		if done, err := p.m.Protect.Disavow(t.Context(), token, p.m.Client); err != nil || done {
			t.Fatalf("on the page of our own accounts: %v, %v", done, err)
		}
		if done, err := p.m.Protect.DisavowApp(t.Context(), token, p.m.Client); err != nil || !done {
			t.Fatalf("the link: %v, %v", done, err)
		}
		if all, err := p.Devices(t.Context(), p.named("u-17")); err != nil || len(all) != 0 {
			t.Errorf("devices: %v, %v", all, err)
		}
		again, asked := p.begin("u-17", next.Device.Handle)
		got, err := p.m.Device(t.Context(), again, p.client(), device.Proof{Handles: []secret.Token{next.Device.Handle}, Signature: p.key.Sign("recognise", site, asked.Nonce)})
		if err != nil || got.Step != signin.StepSecond {
			t.Errorf("the device: %v, %+v", err, got)
		}
		if _, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "eve@example.net"}, ref.Flow); code(err) != "account_frozen" {
			t.Errorf("another address: %v", err)
		}
		if l := p.letter(message.Protected, "ada@example.org"); l.Params["app"] != "Photos" {
			t.Errorf("the letter: %v", l)
		}
	})
}

// An account that is erased and opened anew would have its codes go elsewhere without a proof: its addresses hear of it, and have 72 hours.
func TestErasingIsNoWayAroundTheProof(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		open := func(email string) error {
			_, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: email}, secret.Token{})
			return err
		}
		p.put("u-17", "ada@example.org")
		clock.Advance(time.Hour)
		if err := p.Remove(t.Context(), p.named("u-17")); err != nil {
			t.Fatal(err)
		}
		if l := p.letter(message.DoorClosed, "ada@example.org"); l.Params["app"] != "Photos" || l.Params["operator"] != message.ByApp || l.Params["link"] != "" {
			t.Errorf("told: %v", l.Params)
		}
		if err := open("eve@example.net"); code(err) != "reference_held" {
			t.Fatalf("opened under another address: %v", err)
		}
		if _, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "ada@example.org", Phone: "+4915112345678"}, secret.Token{}); code(err) != "reference_held" {
			t.Fatalf("opened under one more: %v", err)
		}
		if err := open("Ada@Example.org"); err != nil {
			t.Fatalf("opened under its own: %v", err)
		}
		if err := p.Remove(t.Context(), p.named("u-17")); err != nil {
			t.Fatal(err)
		}
		clock.Advance(account.Hold + time.Minute)
		if err := open("eve@example.net"); err != nil {
			t.Errorf("72 hours later: %v", err)
		}
		var gone int64
		err := p.Parts.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
			gone, err = p.Prune(t.Context(), tx)
			return err
		})
		if err != nil || gone != 1 {
			t.Errorf("pruned: %d, %v", gone, err)
		}
	})
}

// Whoever passed once and moved the codes does not make them theirs by erasing: only addresses that were there for long open it.
func TestAnAddressThatJustCameOpensNothing(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		clock.Advance(30 * 24 * time.Hour)
		ref, _ := p.pass("u-17", false)
		if _, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "eve@example.net"}, ref.Flow); err != nil {
			t.Fatal(err)
		}
		if err := p.Remove(t.Context(), p.named("u-17")); err != nil {
			t.Fatal(err)
		}
		p.letter(message.DoorClosed, "ada@example.org")
		if _, err := p.Put(t.Context(), p.named("u-17"), seconddoor.Contact{Email: "eve@example.net"}, secret.Token{}); code(err) != "reference_held" {
			t.Errorf("opened under the new address: %v", err)
		}
		p.put("u-17", "ada@example.org")
	})
}

// P9: an application that opens and erases accounts over and over fills nobody's mailbox.
func TestOneMailboxIsNotFloodedByFarewells(t *testing.T) {
	each(t, func(t *testing.T, p *photos, _ *dbtest.Clock) {
		for range 30 {
			p.put("u-17", "ada@example.org")
			if err := p.Remove(t.Context(), p.named("u-17")); err != nil {
				t.Fatal(err)
			}
		}
		sent := 0
		for _, l := range p.m.Letters(message.Email) {
			if l.Kind == message.DoorClosed && !l.Withhold {
				sent++
			}
		}
		if sent != 5 {
			t.Errorf("%d letters to one address", sent)
		}
	})
}
