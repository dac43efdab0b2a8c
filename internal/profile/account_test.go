package profile_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/totp"
)

func TestTheLanguageOfLetters(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		mine := h.signIn(ada, "")
		h.must(h.Profile.SetLanguage(t.Context(), mine, h.Client, "fr"))
		told := 0
		for _, l := range append(h.Letters(message.Email), h.Letters(message.SMS)...) {
			if told++; l.Kind != message.LanguageChanged || l.Language != "en" { // which the owner reads, whoever chose the other
				t.Errorf("told of %s in %q", l.Kind, l.Language)
			}
		}
		h.must(h.Profile.SetLanguage(t.Context(), mine, h.Client, "fr")) // says so already
		if told != 2 || len(h.notices(message.LanguageChanged)) != 0 {
			t.Errorf("%d addresses told, want both, once", told)
		}
		if self, err := h.Profile.Self(t.Context(), mine); err != nil || self.Language != "fr" || !self.EraseAt.IsZero() || !self.Fresh {
			t.Errorf("%+v, %v", self, err)
		}
		if n := h.events("user_updated", "person"); n != 1 {
			t.Errorf("%d recorded, want one", n)
		}
		if got := said(h.activity(ada)); got != "language_changed" {
			t.Errorf("shown: %s", got)
		}
		for _, odd := range []string{"", "tlh", "FR", "en-GB", "../en", "fr\x00"} {
			if err := h.Profile.SetLanguage(t.Context(), mine, h.Client, odd); fault.Of(err).Code != "language_unknown" {
				t.Errorf("%q: %v", odd, err)
			}
		}
		h.guest("ada@example.org", "192.0.2.9").enter() // from a new device: told
		for _, l := range h.Letters(message.Email) {
			if l.Kind == message.NewDevice && l.Language != "fr" {
				t.Errorf("told in %q", l.Language)
			}
		}
	})
}

// whoever only found the browser open sends nobody letters that they cannot read, nor does a session that
// ended elsewhere a moment ago.
func TestTheLanguageTakesAFreshProof(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		mine := h.signIn(ada, "")
		ended := h.signIn(ada, "")
		if ok, err := h.Profile.EndSession(t.Context(), mine, h.Client, ended.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		for name, do := range map[string]func(me session.Session) error{
			"language": func(me session.Session) error { return h.Profile.SetLanguage(t.Context(), me, h.Client, "fr") },
			"erase":    func(me session.Session) error { _, err := h.Profile.AskErase(t.Context(), me, h.Client); return err },
			"data":     func(me session.Session) error { _, err := h.Profile.Data(t.Context(), me, h.Client); return err },
		} {
			if err := do(ended); fault.Of(err).Code != "session_ended" {
				t.Errorf("%s by a session that has ended: %v", name, err)
			}
		}
		h.clock.Advance(profile.FreshFor + time.Second)
		if err := h.Profile.SetLanguage(t.Context(), mine, h.Client, "fr"); fault.Of(err).Code != "reauthentication_required" {
			t.Errorf("by a stale session: %v", err)
		}
		self, err := h.Profile.Self(t.Context(), mine)
		if err != nil || self.Language != "en" || self.Fresh || !self.EraseAt.IsZero() || len(h.Letters(message.Email)) != 0 {
			t.Errorf("%+v, %v", self, err)
		}
	})
}

// "This wasn't me" on a line of the activity: everything ends, and what was changed since is undone with a fresh
// proof. Lines of others, and what nobody but the server or an operator did, lead nowhere.
func TestDisavowingADeed(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		bob := h.Account("bob@example.org")
		thief := h.guest("ada@example.org", "203.0.113.9")
		thief.enter()
		h.record(audit.Event{Kind: audit.AccountRead, Account: string(ada), Actor: "operator"})
		h.record(audit.Event{Kind: audit.EraseAsked, Account: string(ada), Actor: "operator"}) // a holder may do so, too
		ids := map[profile.What]string{}
		for _, d := range h.activity(ada) {
			ids[d.What] = d.ID
		}
		signIn := ids[profile.SignedIn]
		mine, token := h.open(ada, "")
		his := h.signIn(bob, "")
		for _, id := range []string{ids[profile.LookedAt], ids[profile.EraseAsked], "", "none", "\x00", "0196f0c1-0000-7000-8000-000000000000"} {
			if ok, err := h.Profile.DisavowDeed(t.Context(), mine, h.Client, id); ok || err != nil {
				t.Errorf("%q: %v %v", id, ok, err)
			}
		}
		if ok, err := h.Profile.DisavowDeed(t.Context(), his, h.Client, signIn); ok || err != nil {
			t.Errorf("her deed by another: %v %v", ok, err)
		}
		h.live(bob, his)
		if !h.alive(token) {
			t.Fatal("something ended")
		}
		if ok, err := h.Profile.DisavowDeed(t.Context(), mine, h.Client, signIn); err != nil || !ok {
			t.Fatal(ok, err)
		}
		h.live(ada)
		h.remembered(ada)
		h.live(bob, his)
		if _, n := h.guest("ada@example.org", "192.0.2.9").password(testkit.Password); !n.Refused {
			t.Error("the old password still opens the account")
		}
		if st := h.standing(ada); st.FrozenUntil.IsZero() {
			t.Error("addresses can be changed")
		}
		if told := h.notices(message.Protected); len(told) != 2 {
			t.Errorf("told: %v", told)
		}
	})
}

// A line that is shown no longer has no power any more: not even over an account that was changed just now.
func TestAStaleDeedIsNotDisavowed(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.guest("ada@example.org", "203.0.113.9").enter()
		old := h.activity(ada)[0].ID
		h.clock.Advance(profile.ActivityFor + time.Second)
		mine, token := h.open(ada, "")
		if ok, err := h.Profile.DisavowDeed(t.Context(), mine, h.Client, old); ok || err != nil || !h.alive(token) {
			t.Errorf("%v %v", ok, err)
		}
	})
}

// What was added since is taken back with a fresh proof alone: a session that was found open must not take back
// what its owner did.
func TestWhatADisavowalTakesBack(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		for name, wait := range map[string]time.Duration{"fresh": 0, "stale": profile.FreshFor + time.Second} {
			ada := h.Account(name + "@example.org")
			mine := h.signIn(ada, "")
			theirs, err := account.Parse(name + ".thief@example.net")
			h.must(err)
			h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				return h.Accounts.Add(t.Context(), tx, ada, account.NewIdentifier{Identifier: theirs, Verified: true, SignsIn: true, Notices: true})
			}))
			h.record(audit.Event{Kind: audit.AddressAdded, Account: string(ada)})
			h.clock.Advance(wait)
			if ok, err := h.Profile.DisavowDeed(t.Context(), mine, h.Client, h.activity(ada)[0].ID); err != nil || !ok {
				t.Fatal(ok, err)
			}
			want := map[string]int{"fresh": 1, "stale": 2}[name]
			if n := h.count("SELECT count(*) FROM account_identifier WHERE account_id = $1", ada); n != want {
				t.Errorf("%s: %d addresses, want %d", name, n, want)
			}
		}
	})
}

// However old the line, what was changed more than a month ago stays: a letter's link reaches no further either.
func TestADisavowalReachesNoFurtherThanALetter(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.record(audit.Event{Kind: audit.DeviceRenamed, Account: string(ada)})
		old := h.activity(ada)[0].ID
		name := func(label string) {
			friend, err := account.Parse(label + "@example.net")
			h.must(err)
			h.must(h.Profile.AddContact(t.Context(), h.signIn(ada, ""), h.Client, profile.NewContact{Label: label, Holder: "Ada", Address: friend.Normal()}))
		}
		h.clock.Advance(time.Hour)
		name("long-ago")
		h.clock.Advance(40 * 24 * time.Hour)
		name("lately")
		mine := h.signIn(ada, "")
		if ok, err := h.Profile.DisavowDeed(t.Context(), mine, h.Client, old); err != nil || !ok {
			t.Fatal(ok, err)
		}
		var left []recovery.Contact
		h.must(h.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
			left, err = h.Recovery.Contacts(t.Context(), tx, ada)
			return err
		}))
		if len(left) != 1 || left[0].Label != "long-ago" {
			t.Errorf("%d contacts are left", len(left))
		}
	})
}

// data is the file that an owner gets, as a program reads it.
func (h home) data(me session.Session) (text string, f map[string]any) {
	h.t.Helper()
	raw, err := h.Profile.Data(h.t.Context(), me, h.Client)
	h.must(err)
	h.must(json.Unmarshal(raw, &f))
	return string(raw), f
}

// Everything that is kept of the owner is in the file, and nothing that opens anything or is somebody else's.
func TestTheOwnersData(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ctx := t.Context()
		ada := h.Account("ada@example.org", "+4915112345678", "ada")
		h.Account("bob@example.org")
		g := h.guest("ada@example.org", "198.51.100.77")
		device := g.enter().Device
		gone, token := h.open(ada, device)
		if ok, err := h.Profile.EndSession(ctx, gone, h.Client, gone.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		second, err := account.Parse("second@example.org")
		h.must(err)
		friend, err := account.Parse("friend@example.net")
		h.must(err)
		_, err = h.Authenticators.Import(ctx, strings.NewReader("serial,secret,kind\nSN-4815,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,hotp\n"), totp.Import{Format: totp.CSV})
		h.must(err)
		h.must(h.DB.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := h.Recovery.NewSavedCode(ctx, tx, ada)
			_, err2 := h.BackupCodes.Reissue(ctx, tx, ada)
			return errors.Join(
				err, err2, h.Authenticators.Assign(ctx, tx, "SN-4815", ada), h.Accounts.SetClaims(ctx, tx, ada, map[string]string{"name": "Ada Ünal"}),
				h.Accounts.Add(ctx, tx, ada, account.NewIdentifier{Identifier: second, Verified: true, Notices: true}),
				h.Recovery.AddContact(ctx, tx, ada, recovery.Contact{Label: "Grace", Holder: "Addie", Identifier: friend}),
			)
		}))
		text, f := h.data(h.signIn(ada, ""))
		if told := h.notices(message.DataDownloaded); len(told) != 3 {
			t.Errorf("told: %v", told)
		}
		for _, want := range []string{
			"ada@example.org", "+4915112345678", `"value": "ada"`, "second@example.org", "Ada Ünal", "friend@example.net", "Grace", "Addie", "198.51.100.77",
			"software_key", `"saved_code": true`, `"what": "added"`, "authn_login_success", "data_downloaded", "Firefox on Linux", `"activity_is_complete": true`,
			string(ada), string(device), `"ended_at"`, "SN-4815", `"kind": "hotp"`, `"left": 10`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("lacks %s", want)
			}
		}
		for _, secret := range []string{"bob@example.org", "[address]", "[contact]", "$argon2id$", token.Reveal(), g.handles[0].Reveal(), "css_", "csd_", "public_key", "GEZDGNBV", "1234567890123456"} {
			if strings.Contains(text, secret) {
				t.Errorf("has %s", secret)
			}
		}
		for _, part := range []string{"addresses", "address_changes", "consents", "devices", "sessions", "activity", "not_in_this_file"} {
			if _, list := f[part].([]any); !list {
				t.Errorf("%s is %T, want a list", part, f[part])
			}
		}
		if n := h.events("data_downloaded", "person"); n != 1 {
			t.Errorf("%d recorded", n)
		}
	})
}

// whoever only found the browser open does not have the data, nor does anybody have it without end.
func TestTheOwnersDataTakeAFreshProof(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		mine := h.signIn(ada, "")
		h.clock.Advance(profile.FreshFor + time.Second)
		if raw, err := h.Profile.Data(t.Context(), mine, h.Client); len(raw) != 0 || fault.Of(err).Code != "reauthentication_required" {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
		mine = h.signIn(ada, "")
		for range 5 {
			h.data(mine)
		}
		if raw, err := h.Profile.Data(t.Context(), mine, h.Client); len(raw) != 0 || fault.Of(err).Code != "too_many_attempts" {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
		if n := h.events("data_downloaded", "person"); n != 5 {
			t.Errorf("%d recorded, want those that were given", n)
		}
	})
}

// However much an account was attacked, its file has an end, and says so.
func TestTheOwnersDataHaveAnEnd(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			for range 10_000 {
				if err := h.Audit.Append(t.Context(), tx, audit.Event{Kind: audit.PasswordFailed, Account: string(ada)}); err != nil {
					return err
				}
			}
			return nil
		}))
		_, f := h.data(h.signIn(ada, ""))
		if all, _ := f["activity"].([]any); len(all) != 10_000 || f["activity_is_complete"] != false {
			t.Errorf("%d events, complete %v", len(all), f["activity_is_complete"])
		}
	})
}
