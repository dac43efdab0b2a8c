package seconddoor_test

import (
	"strings"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/totp"
)

// shows is the code that an app shows now.
func (p *photos) shows(e totp.Enrolment) secret.Token {
	p.t.Helper()
	text, err := otp.GenerateCode(strings.ReplaceAll(e.Key.Reveal(), " ", ""), p.Parts.DB.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	return secret.Of(text)
}

// A person at the application sets up an app and backup codes; from then on the second door asks for those, and sends nothing by e-mail. The key's
// label has no address, which the application may not know.
func TestAnApplicationEnrolsItsPeople(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		ref, _ := p.pass("u-17", false)
		e, err := p.BeginApp(t.Context(), p.named("u-17"), ref.Flow, "ada")
		if err != nil || !strings.Contains(e.URL.Reveal(), "Photos:ada") || strings.Contains(e.URL.Reveal(), "example.org") {
			t.Fatalf("%v, %s", err, e.URL.Reveal())
		}
		confirm := func(code secret.Token) (bool, error) {
			return p.ConfirmApp(t.Context(), p.named("u-17"), ref.Flow, totp.Confirmation{ID: e.ID, Code: code, Name: "My phone"})
		}
		if ok, err := confirm(secret.Of("000000")); err != nil || ok {
			t.Fatalf("a wrong code: %v, %v", ok, err)
		}
		if ok, err := confirm(p.shows(e)); err != nil || !ok {
			t.Fatalf("its code: %v, %v", ok, err)
		}
		if l := p.letter(message.FactorAdded, "ada@example.org"); l.Params["app"] != "Photos" || l.Params["operator"] != message.ByApp {
			t.Errorf("told: %v", l.Params)
		}
		codes, err := p.NewBackupCodes(t.Context(), p.named("u-17"), ref.Flow)
		if err != nil || len(codes) != 10 {
			t.Fatal(err, len(codes))
		}
		p.letter(message.BackupChanged, "ada@example.org")
		if f, err := p.Factors(t.Context(), p.named("u-17")); err != nil || len(f.Apps) != 1 || f.Apps[0].Name != "My phone" || f.Backup != 10 {
			t.Errorf("%v, %+v", err, f)
		}
		clock.Advance(time.Minute)
		next, asked := p.begin("u-17")
		if asked.Step != signin.StepSecond || asked.Ways[0] != factor.OTP || strings.Contains(strings.Join(words(asked.Ways), " "), "email") {
			t.Fatalf("asked for: %+v", asked)
		}
		done, err := p.m.Code(t.Context(), next, p.client(), signin.CodeProof{Way: factor.OTP, Code: p.shows(e)})
		if err != nil || done.Step != signin.StepDone {
			t.Fatalf("the app's code: %v, %+v", err, done)
		}
		if ok, err := p.RemoveApp(t.Context(), p.named("u-17"), next.Flow, e.ID); err != nil || !ok {
			t.Errorf("removed: %v, %v", ok, err)
		}
		if ok, err := p.RemoveApp(t.Context(), p.named("u-17"), next.Flow, e.ID); err != nil || ok {
			t.Errorf("removed again: %v, %v", ok, err)
		}
		last, _ := p.begin("u-17")
		done, err = p.m.Code(t.Context(), last, p.client(), signin.CodeProof{Way: factor.Backup, Code: codes[0]})
		if err != nil || done.Step != signin.StepDone {
			t.Errorf("a backup code: %v, %+v", err, done)
		}
	})
}

func words(ways []factor.Way) (out []string) {
	for _, w := range ways {
		out = append(out, string(w))
	}
	return out
}

// An application that was taken over, or whoever has a session there, sets up nothing without the person: it would be the key to every sign-in from
// then on. After "this wasn't me" nobody does (P7).
func TestEnrollingTakesTheSecondDoor(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		p.put("u-17", "ada@example.org")
		p.put("u-18", "bob@example.org")
		own, _ := p.pass("u-17", false)
		e, err := p.BeginApp(t.Context(), p.named("u-17"), own.Flow, "")
		if err != nil {
			t.Fatal(err)
		}
		calls := func(flow secret.Token) map[string]error {
			_, begin := p.BeginApp(t.Context(), p.named("u-17"), flow, "")
			_, confirm := p.ConfirmApp(t.Context(), p.named("u-17"), flow, totp.Confirmation{ID: e.ID, Code: p.shows(e)})
			_, remove := p.RemoveApp(t.Context(), p.named("u-17"), flow, e.ID)
			_, backup := p.NewBackupCodes(t.Context(), p.named("u-17"), flow)
			return map[string]error{"begin": begin, "confirm": confirm, "remove": remove, "backup": backup}
		}
		begun, _ := p.begin("u-17")
		others, _ := p.pass("u-18", false)
		for what, flow := range map[string]secret.Token{"none": {}, "one that has only begun": begun.Flow, "another account's": others.Flow} {
			for call, err := range calls(flow) {
				if code(err) != "second_door_required" {
					t.Errorf("%s with %s: %v", call, what, err)
				}
			}
		}
		bank := *p
		bank.app = "bank"
		bank.put("u-17", "eve@example.net")
		if _, err := bank.BeginApp(t.Context(), bank.named("u-17"), own.Flow, ""); code(err) != "second_door_required" {
			t.Errorf("another application's flow: %v", err)
		}
		err = p.Parts.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return p.Parts.Accounts.Freeze(t.Context(), tx, p.account("u-17"), tx.Now().Add(account.Hold))
		})
		if err != nil {
			t.Fatal(err)
		}
		for call, err := range calls(own.Flow) {
			if code(err) != "account_frozen" {
				t.Errorf("%s while frozen: %v", call, err)
			}
		}
		clock.Advance(time.Hour)
		for call, err := range calls(own.Flow) {
			if code(err) != "second_door_required" {
				t.Errorf("%s an hour later: %v", call, err)
			}
		}
	})
}
