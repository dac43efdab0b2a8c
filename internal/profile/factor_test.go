package profile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"

	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/totp"
)

// shows is what an app shows that has the key.
func (h home) shows(e totp.Enrolment) secret.Token { return h.showsAt(e, h.clock.Now()) }

func (h home) showsAt(e totp.Enrolment, at time.Time) secret.Token {
	h.t.Helper()
	code, err := otp.GenerateCode(strings.ReplaceAll(e.Key.Reveal(), " ", ""), at)
	h.must(err)
	return secret.Of(code)
}

// lacks is a code that it shows at no time within the hour: one that is made up fits one of forty by chance.
func (h home) lacks(e totp.Enrolment) secret.Token {
	h.t.Helper()
	shown := map[string]bool{}
	for i := range 120 {
		shown[h.showsAt(e, h.clock.Now().Add(time.Duration(i-60)*30*time.Second)).Reveal()] = true
	}
	code := "000000"
	for i := 1; shown[code]; i++ {
		code = fmt.Sprintf("%06d", i)
	}
	return secret.Of(code)
}

func (h home) factors(me session.Session) profile.Factors {
	h.t.Helper()
	f, err := h.Profile.Factors(h.t.Context(), me)
	h.must(err)
	return f
}

// N-4.6-01: an app is the account's once its first code was typed, by its owner and nobody else; every address is told of
// that and of its removal, and a name is nobody's business.
func TestAnAppIsAddedByItsFirstCode(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me, his := h.signIn(h.Account("ada@example.org"), ""), h.signIn(h.Account("bob@example.org"), "")
		e, err := h.Profile.BeginApp(t.Context(), me)
		h.must(err)
		confirm := func(by session.Session, code secret.Token) bool {
			t.Helper()
			ok, err := h.Profile.ConfirmApp(t.Context(), by, h.Client, totp.Confirmation{ID: e.ID, Code: code, Name: "My phone"})
			h.must(err)
			return ok
		}
		for of, want := range map[*session.Session]bool{&me: true, &his: false} {
			again, ok, err := h.Profile.BegunApp(t.Context(), *of, e.ID)
			h.must(err)
			if ok != want || ok != again.Key.Equal(e.Key) || ok != again.URL.Equal(e.URL) || ok != again.ExpiresAt.Equal(e.ExpiresAt) {
				t.Errorf("shown again to its owner %t: %t", want, ok)
			}
		}
		if !strings.Contains(e.URL.Reveal(), ":ada@example.org?") {
			t.Error("the app does not say whose account it is")
		}
		if confirm(me, h.lacks(e)) || confirm(his, h.shows(e)) || len(h.factors(me).Apps)+len(h.factors(his).Apps) != 0 {
			t.Fatal("added without its code, or by somebody else")
		}
		h.told(message.Email)
		if !confirm(me, h.shows(e)) || confirm(me, h.shows(e)) {
			t.Fatal("it is not added once")
		}
		h.told(message.Email, message.FactorAdded)
		apps := h.factors(me).Apps
		if len(apps) != 1 || apps[0].Name != "My phone" {
			t.Fatalf("%+v", apps)
		}
		if err := h.Profile.RenameApp(t.Context(), his, h.Client, e.ID, "Mine"); code(err) != "not_found" {
			t.Errorf("renamed by somebody else: %v", err)
		}
		if err := h.Profile.RemoveApp(t.Context(), his, h.Client, e.ID); code(err) != "not_found" {
			t.Errorf("removed by somebody else: %v", err)
		}
		h.must(h.Profile.RenameApp(t.Context(), me, h.Client, e.ID, "Work phone"))
		h.told(message.Email)
		h.must(h.Profile.RemoveApp(t.Context(), me, h.Client, e.ID))
		h.told(message.Email, message.FactorRemoved)
		if n := h.events("authn_factor_changed", "person"); n != 3 || len(h.factors(me).Apps) != 0 {
			t.Errorf("%d recorded", n)
		}
	})
}

// Backup codes are shown when they are made and never again; a new list takes the place of the old.
func TestBackupCodes(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org"), "")
		if h.factors(me).Backup != 0 {
			t.Fatal("there is a list")
		}
		first, err := h.Profile.NewBackupCodes(t.Context(), me, h.Client)
		h.must(err)
		h.clock.Advance(time.Second)
		second, err := h.Profile.NewBackupCodes(t.Context(), me, h.Client)
		h.must(err)
		if len(second) != 10 || first[0].Equal(second[0]) || h.factors(me).Backup != 10 {
			t.Errorf("%d codes, %d left", len(second), h.factors(me).Backup)
		}
		h.told(message.Email, message.BackupChanged, message.BackupChanged)
		if n := h.events("authn_backup_changed", "person"); n != 2 {
			t.Errorf("%d recorded", n)
		}
	})
}
