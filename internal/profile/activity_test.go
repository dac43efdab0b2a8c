package profile_test

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// activity is all that an owner is shown, page by page.
func (h home) activity(who account.ID) (all []profile.Deed) {
	h.t.Helper()
	var from audit.Mark
	for range 100 {
		a, err := h.Profile.Activity(h.t.Context(), session.Session{Account: who}, from)
		h.must(err)
		all = append(all, a.Deeds...)
		if !a.Further {
			return all
		}
		from = a.Older
	}
	h.t.Fatal("the pages have no end")
	return nil
}

// said is what was done, in short, the newest first.
func said(all []profile.Deed) string {
	var out []string
	for _, d := range all {
		s := string(d.What)
		if d.Times > 1 {
			s += fmt.Sprint("*", d.Times)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (h home) record(e audit.Event) {
	h.t.Helper()
	h.must(h.DB.Write(h.t.Context(), func(tx *sqldb.Tx) error { return h.Audit.Append(h.t.Context(), tx, e) }))
}

// A sign-in is one line, however many events it took; a try that came to nothing shows how far it came.
func TestWhatAnOwnerIsShown(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		g := h.guest("ada@example.org", "198.51.100.77")
		tick := func() { h.clock.Advance(time.Minute) }
		first := g.enter()
		tick()
		second := g.comeBack()
		tick()
		if ok, err := h.Profile.RenameDevice(t.Context(), second, g.from, first.Device, "Desk at home"); err != nil || !ok {
			t.Fatal(ok, err)
		}
		tick()
		if ok, err := h.Profile.EndSession(t.Context(), second, g.from, first.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		tick()
		stranger := h.guest("ada@example.org", "203.0.113.9")
		stranger.from.UserAgent = ""
		for range 3 {
			if _, n := stranger.password("not it at all, sorry"); !n.Refused {
				t.Fatal("let in")
			}
		}
		tick()
		ref, _ := stranger.password(testkit.Password)
		if _, err := h.Send(t.Context(), ref, stranger.from, "email"); err != nil {
			t.Fatal(err)
		}
		h.LastCode(message.Email)
		tick()
		h.record(audit.Event{Kind: audit.AccountRead, Account: string(ada), Actor: "operator", Detail: map[string]string{"revealed": "true"}})
		tick()
		if ok, err := h.Profile.EndSession(t.Context(), second, g.from, second.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		all := h.activity(ada)
		const want = "signed_out looked_at_all code_asked wrong_password*3 sign_in_ended device_renamed signed_in signed_in device_remembered"
		if got := said(all); got != want && got != strings.Replace(want, "signed_in device_remembered", "device_remembered signed_in", 1) { // of one moment
			t.Fatalf("shown: %s\nwant:  %s", got, want)
		}
		by := map[profile.What]profile.Deed{}
		for _, d := range all {
			if _, seen := by[d.What]; !seen {
				by[d.What] = d
			}
		}
		if d := by[profile.SignedIn]; d.Name != "Firefox on Linux" || d.Source != g.from.Source || !slices.Equal(d.Methods, []string{"password", "device"}) {
			t.Errorf("signed in: %+v", d)
		}
		if d := by[profile.Renamed]; d.Subject != "Desk at home" || d.Name != "Firefox on Linux" {
			t.Errorf("renamed: %+v", d)
		}
		if d := by[profile.SignInEnded]; d.Subject != "Firefox on Linux" {
			t.Errorf("ended: %+v", d)
		}
		if d := by[profile.CodeAsked]; d.Way != "email" || d.Source != stranger.from.Source || d.Name != "" {
			t.Errorf("a code: %+v", d)
		}
		if d := by[profile.LookedAtAll]; d.Actor != "operator" || d.Source.IsValid() {
			t.Errorf("looked at: %+v", d)
		}
	})
}

// A wrong code comes after a password: its owner sees whence, and can say that it was not them. Of a wrong password
// there is nothing to say: anybody can type one.
func TestAWrongCodeCanBeDisavowed(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		stranger := h.guest("ada@example.org", "203.0.113.9")
		stranger.password("not it at all, sorry")
		h.clock.Advance(time.Minute)
		ref, _ := stranger.password(testkit.Password)
		if _, err := h.Send(t.Context(), ref, stranger.from, "email"); err != nil {
			t.Fatal(err)
		}
		wrong := "000000"
		if h.LastCode(message.Email).Reveal() == wrong {
			wrong = "111111"
		}
		h.clock.Advance(time.Minute)
		if n, err := h.Code(t.Context(), ref, stranger.from, signin.CodeProof{Code: secret.Of(wrong)}); err != nil || !n.Refused {
			t.Fatal(n, err)
		}
		seen := 0
		for _, d := range h.activity(ada) {
			if d.What != profile.WrongCode && d.What != profile.WrongPassword {
				continue
			}
			seen++
			if d.Foreign() != (d.What == profile.WrongCode) || d.Source != stranger.from.Source {
				t.Errorf("%+v: can be disavowed %t", d, d.Foreign())
			}
		}
		if seen != 2 {
			t.Errorf("%d lines", seen)
		}
	})
}

// What is older than 90 days is not shown, nor what this release knows nothing of; names that are kept no
// longer are not said.
func TestActivityHasAnEnd(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.guest("ada@example.org", "198.51.100.77").enter()
		h.clock.Advance(60 * 24 * time.Hour)
		h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			if _, err := h.Sessions.Prune(t.Context(), tx); err != nil {
				return err
			}
			_, err := h.Devices.Prune(t.Context(), tx)
			return err
		}))
		h.record(audit.Event{Kind: "of_a_later_release", Account: string(ada)})
		h.record(audit.Event{Kind: audit.AccountChanged, Account: string(ada), Detail: map[string]string{"later": "too"}})
		all := h.activity(ada)
		if len(all) != 2 {
			t.Fatalf("shown: %s", said(all))
		}
		for _, d := range all {
			if d.What == profile.SignedIn && (d.Name != "" || !slices.Equal(d.Methods, []string{"password", "email"})) {
				t.Errorf("of a session that is gone: %+v", d)
			}
		}
		h.clock.Advance(30*24*time.Hour + time.Minute)
		if all := h.activity(ada); len(all) != 0 {
			t.Errorf("after 90 days: %s", said(all))
		}
	})
}

// P-1.1: nobody is shown what was done in somebody else's account, whatever they ask with.
func TestActivityIsTheOwnersAlone(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		bob := h.Account("bob@example.org")
		h.guest("ada@example.org", "198.51.100.77").enter()
		if all := h.activity(bob); len(all) != 0 {
			t.Errorf("shown: %s", said(all))
		}
		hers := h.activity(ada)[0]
		if _, ok, err := h.Profile.Deed(t.Context(), session.Session{Account: ada}, hers.ID); err != nil || !ok {
			t.Errorf("her own: %v %v", ok, err)
		}
		for _, id := range []string{hers.ID, "", "none", "' OR 1=1 --", "\x00", "0196f0c1-0000-7000-8000-000000000000"} {
			if d, ok, err := h.Profile.Deed(t.Context(), session.Session{Account: bob}, id); ok || err != nil {
				t.Errorf("%q: %+v, %v", id, d, err)
			}
		}
		from := audit.Mark{At: hers.At.Add(time.Second), ID: hers.ID}
		if a, err := h.Profile.Activity(t.Context(), session.Session{Account: bob}, from); err != nil || len(a.Deeds) != 0 {
			t.Errorf("from her event: %+v %v", a, err)
		}
	})
}

// Pages lose nothing and show nothing twice, also where many events have one time, and a flood of what is
// not shown is read to its end in bounded steps.
func TestActivityByThePage(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		for i := range 130 {
			if i%40 == 0 {
				h.clock.Advance(time.Second)
			}
			h.record(audit.Event{Kind: []audit.Kind{audit.AccountRead, audit.DeviceRenamed}[i%2], Account: string(ada), Source: netip.MustParseAddr("192.0.2.1")})
		}
		first, err := h.Profile.Activity(t.Context(), session.Session{Account: ada}, audit.Mark{})
		if err != nil || len(first.Deeds) != 50 || !first.Further {
			t.Fatalf("%d deeds, further %v, %v", len(first.Deeds), first.Further, err)
		}
		seen := map[string]bool{}
		for _, d := range h.activity(ada) {
			if seen[d.ID] {
				t.Errorf("%s twice", d.ID)
			}
			seen[d.ID] = true
		}
		if len(seen) != 130 {
			t.Errorf("%d shown, want 130", len(seen))
		}
		if m, ok := audit.ParseMark(first.Older.String()); !ok || m.ID != first.Older.ID || !m.At.Equal(first.Older.At) {
			t.Errorf("%v became %v", first.Older, m)
		}
		for _, odd := range []string{"", "1", "x-y", "-1-" + first.Older.ID, first.Older.ID, "1-" + first.Older.ID + "'", "99999999999999999999-" + first.Older.ID} {
			if m, ok := audit.ParseMark(odd); ok {
				t.Errorf("%q is %v", odd, m)
			}
		}
	})
}

func TestAFloodIsOneLine(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.record(audit.Event{Kind: audit.AccountCreated, Account: string(ada), Actor: "operator"})
		h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			for range 450 {
				if err := h.Audit.Append(t.Context(), tx, audit.Event{Kind: audit.PasswordFailed, Account: string(ada), Source: netip.MustParseAddr("203.0.113.9")}); err != nil {
					return err
				}
			}
			return h.Audit.Append(t.Context(), tx, audit.Event{Kind: audit.PasswordFailed, Account: string(ada), Source: netip.MustParseAddr("203.0.113.10")})
		}))
		if got := said(h.activity(ada)); got != "wrong_password wrong_password*450 account_opened" {
			t.Errorf("shown: %s", got)
		}
	})
}

// Two tries at once are told apart by their flows: the one that came to nothing stays to be seen.
func TestAnotherTryBesideASignInIsSeen(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		thief := h.guest("ada@example.org", "198.51.100.77")
		ref, _ := thief.password(testkit.Password)
		if _, err := h.Send(t.Context(), ref, thief.from, "sms"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Code(t.Context(), ref, thief.from, signin.CodeProof{}); err != nil {
			t.Fatal(err)
		}
		h.guest("ada@example.org", "198.51.100.77").enter()
		got := strings.Fields(said(h.activity(ada)))
		slices.Sort(got)
		if want := []string{"code_asked", "device_remembered", "signed_in", "wrong_code"}; !slices.Equal(got, want) {
			t.Errorf("shown: %v, want %v", got, want)
		}
	})
}

// Whoever adds a kind of event decides whether an account's owner is shown it.
func TestEveryKindOfEventIsDecidedOn(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	kinds := regexp.MustCompile(`(?m)^\t(\w+) +Kind = "`).FindAllStringSubmatch(read("../audit/audit.go"), -1)
	if len(kinds) < 25 {
		t.Fatalf("%d kinds found", len(kinds))
	}
	for _, kind := range kinds {
		if !regexp.MustCompile(`\baudit\.` + kind[1] + `\b`).MatchString(read("what.go")) {
			t.Errorf("audit.%s: is it shown, and how? See whatOf", kind[1])
		}
	}
}
