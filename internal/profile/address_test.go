package profile_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/totp"
)

// long is well past every hold.
const long = 30 * 24 * time.Hour

func (h home) begin(me session.Session, typed string) profile.AddressFlow {
	h.t.Helper()
	f, err := h.Profile.BeginAddress(h.t.Context(), me, h.Client, typed)
	h.must(err)
	return f
}

func (h home) prove(me session.Session, f profile.AddressFlow, code string) (profile.AddressFlow, error) {
	h.t.Helper()
	return h.Profile.ProveAddress(h.t.Context(), me, h.Client, f.Handle, secret.Of(code))
}

// sent takes the letters that wait by a channel and are sent, the code of the last one that has one with them.
func (h home) sent(ch message.Channel) (letters []outbox.Claimed, code string) {
	h.t.Helper()
	for _, l := range h.Letters(ch) {
		if l.Withhold {
			continue
		}
		letters = append(letters, l)
		if l.Kind == message.AddressCode {
			code = l.Params["code"]
		}
	}
	return letters, code
}

// add goes all the way.
func (h home) add(me session.Session, typed string) {
	h.t.Helper()
	f := h.begin(me, typed)
	_, code := h.sent(message.Channel(f.Way))
	if got, err := h.prove(me, f, code); err != nil || !got.Done {
		h.t.Fatalf("%+v, %v", got, err)
	}
}

// addresses are the account's, by what they are.
func (h home) addresses(who account.ID) map[string]account.Address {
	h.t.Helper()
	out := map[string]account.Address{}
	h.must(h.DB.Read(h.t.Context(), func(tx *sqldb.Tx) error {
		all, err := h.Accounts.Addresses(h.t.Context(), tx, who)
		for _, a := range all {
			out[a.Normal] = a
		}
		return err
	}))
	return out
}

func (h home) write(do func(*sqldb.Tx) error) {
	h.t.Helper()
	h.must(h.DB.Write(h.t.Context(), do))
}

func (h home) freeze(who account.ID) {
	h.t.Helper()
	h.write(func(tx *sqldb.Tx) error {
		return h.Accounts.Freeze(h.t.Context(), tx, who, tx.Now().Add(account.Hold))
	})
}

func code(err error) string { return fault.Of(err).Code }

// everything is every change of what an account is reached and recovered by, tried by a session.
func (h home) everything(me session.Session) map[string]func() error {
	own := h.addresses(me.Account)
	var first account.Address
	for _, a := range own {
		first = a
	}
	ctx := h.t.Context()
	return map[string]func() error{
		"add":    func() error { _, err := h.Profile.BeginAddress(ctx, me, h.Client, "new@example.org"); return err },
		"remove": func() error { return h.Profile.RemoveAddress(ctx, me, h.Client, first.ID) },
		"uses": func() error {
			return h.Profile.SetAddressUses(ctx, me, h.Client, first.ID, account.Uses{SignsIn: true})
		},
		"saved":     func() error { _, err := h.Profile.NewSavedCode(ctx, me, h.Client); return err },
		"drop":      func() error { return h.Profile.DropSavedCode(ctx, me, h.Client) },
		"contact":   func() error { return h.Profile.AddContact(ctx, me, h.Client, friend) },
		"uncontact": func() error { return h.Profile.RemoveContact(ctx, me, h.Client, first.ID) },
		"app":       func() error { _, err := h.Profile.BeginApp(ctx, me); return err },
		"confirm":   func() error { _, err := h.Profile.ConfirmApp(ctx, me, h.Client, totp.Confirmation{}); return err },
		"unapp":     func() error { return h.Profile.RemoveApp(ctx, me, h.Client, "none") },
		"list":      func() error { _, err := h.Profile.NewBackupCodes(ctx, me, h.Client); return err },
		"choose":    func() error { return h.Profile.Choose(ctx, me, h.Client, func(*factor.Choice) {}) },
	}
}

var friend = profile.NewContact{Label: "My sister", Holder: "Ada", Address: "grace@elsewhere.example"}

// N-4.6-01, A-6.3.7: an address is the account's once its code was typed, and every address is told.
func TestAnAddressIsAddedByItsCode(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		me := h.signIn(ada, "")
		f := h.begin(me, " +49 151 12345678 ")
		if len(h.addresses(ada)) != 1 {
			t.Fatal("it was added before it was proved")
		}
		letters, sent := h.sent(message.SMS)
		if len(letters) != 1 || letters[0].To != "+4915112345678" || f.Way != "sms" {
			t.Fatalf("%v by %s", letters, f.Way)
		}
		h.told(message.Email)
		got, err := h.prove(me, f, sent)
		if err != nil || !got.Done {
			t.Fatalf("%+v, %v", got, err)
		}
		if a := h.addresses(ada)["+4915112345678"]; !a.Verified || !a.SignsIn || !a.Notices || !a.Recovers {
			t.Errorf("%+v", a)
		}
		h.told(message.Email, message.AddressAdded)
		h.told(message.SMS, message.AddressAdded)
		if n := h.events("user_address_added", "person"); n != 1 {
			t.Errorf("%d recorded", n)
		}
		if _, err := h.prove(me, f, sent); code(err) != "flow_ended" {
			t.Errorf("proved twice: %v", err)
		}
		if _, err := h.Profile.BeginAddress(t.Context(), me, h.Client, "+4915112345678"); code(err) != "address_known" {
			t.Errorf("added twice: %v", err)
		}
	})
}

// P2: an address that somebody else has looks the same, and never is added: its owner is told, once a day.
func TestATakenAddressIsNeverAddedAndDoesNotShow(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.Account("bob@example.org")
		me := h.signIn(ada, "")
		free, taken := h.begin(me, "free@example.org"), h.begin(me, "bob@example.org")
		if free.Way != taken.Way || !free.ResendAt.Equal(taken.ResendAt) || !free.ExpiresAt.Equal(taken.ExpiresAt) {
			t.Errorf("%+v\n%+v", free, taken)
		}
		var kinds []message.Kind
		letters, _ := h.sent(message.Email)
		for _, l := range letters {
			if l.Params["code"] != "" && l.To == "bob@example.org" {
				t.Error("a code went to somebody else's address")
			}
			kinds = append(kinds, l.Kind)
		}
		slices.Sort(kinds)
		if !slices.Equal(kinds, []message.Kind{message.AddressCode, message.RegistrationAttempt}) {
			t.Errorf("letters: %v", kinds)
		}
		// Even the code that was made and not sent does not fit.
		h.write(func(tx *sqldb.Tx) error {
			var id string
			if err := tx.QueryRow(t.Context(), "SELECT id FROM profile_address_flow WHERE barred").Scan(&id); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), "UPDATE onetime_code SET digest = $1 WHERE flow_id = $2", h.Ring.Digest("onetime/"+id, secret.Of("123456")), id)
			return err
		})
		if got, err := h.prove(me, taken, "123456"); err != nil || !got.Refused || len(h.addresses(ada)) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		h.clock.Advance(time.Minute)
		if _, err := h.Profile.SendAddress(t.Context(), me, h.Client, taken.Handle); err != nil {
			t.Error(err)
		}
		h.told(message.Email) // once a day
		h.clock.Advance(25 * time.Hour)
		again := h.signIn(ada, "")
		h.begin(again, "bob@example.org")
		h.told(message.Email, message.RegistrationAttempt)
	})
}

// whoever has stolen a session, or found a browser open, changes nothing of this without a new proof.
func TestAStaleSessionChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org", "+4915112345678"), "")
		h.clock.Advance(profile.FreshFor + time.Second)
		for name, do := range h.everything(me) {
			if err := do(); fault.Of(err).Kind != fault.Forbidden || code(err) != "reauthentication_required" {
				t.Errorf("%s: %v", name, err)
			}
		}
		h.told(message.Email)
		h.told(message.SMS)
	})
}

// A code that was asked for in one session is no use in another that proved nothing lately, nor in another account.
func TestAnAddressIsProvedByWhoeverBeganIt(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		stale := h.signIn(ada, "")
		h.clock.Advance(profile.FreshFor + time.Second)
		me, his := h.signIn(ada, ""), h.signIn(h.Account("bob@example.org"), "")
		h.clock.Advance(profile.FreshFor - time.Second)
		f := h.begin(me, "new@example.org")
		_, sent := h.sent(message.Email)
		if _, err := h.prove(his, f, sent); code(err) != "flow_ended" {
			t.Errorf("by another account: %v", err)
		}
		if _, err := h.prove(stale, f, sent); code(err) != "reauthentication_required" {
			t.Errorf("by a session that proved nothing: %v", err)
		}
		h.clock.Advance(time.Minute) // one's own flow lives longer than the proof
		if got, err := h.prove(me, f, sent); err != nil || !got.Done {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// What is ended or frozen meanwhile ends what was begun.
func TestAnAddressBegunBeforeAFreezeIsNotAdded(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		thief, me := h.signIn(ada, ""), h.signIn(ada, "")
		f := h.begin(thief, "thief@example.org")
		_, sent := h.sent(message.Email)
		h.freeze(ada)
		if _, err := h.prove(thief, f, sent); code(err) != "account_frozen" {
			t.Errorf("frozen: %v", err)
		}
		h.clock.Advance(time.Second)
		h.must(h.Profile.EndOtherSessions(t.Context(), me, h.Client))
		if _, err := h.prove(thief, f, sent); code(err) != "session_ended" {
			t.Errorf("ended: %v", err)
		}
		if n := len(h.addresses(ada)); n != 1 {
			t.Errorf("%d addresses", n)
		}
	})
}

// P8: while contact changes are frozen nothing changes, but from a device that was the holder's own long
// before; one that somebody remembered shortly before is nobody's yet, and one forgotten meanwhile is known by its key.
func TestWhileFrozenOnlyAKnownDeviceChangesAnything(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		key := testkit.NewKey(t)
		h.rememberKey(ada, key)
		h.clock.Advance(long)
		thiefs := h.remember(ada)
		h.clock.Advance(time.Hour)
		h.write(func(tx *sqldb.Tx) error { return h.Devices.ForgetAll(t.Context(), tx, ada) })
		h.freeze(ada)
		h.clock.Advance(time.Hour)
		h.freeze(ada) // prolonged: what came before the first still does
		again, stranger := h.rememberKey(ada, key), h.remember(ada)
		for name, from := range map[string]device.ID{"none": "", "thief's": thiefs, "new": stranger} {
			me := h.signIn(ada, from)
			for what, do := range h.everything(me) {
				if err := do(); fault.Of(err).Kind != fault.Conflict || code(err) != "account_frozen" {
					t.Errorf("%s from %s: %v", what, name, err)
				}
			}
			if o, err := h.Profile.Overview(t.Context(), me); err != nil || !o.Frozen {
				t.Errorf("%s: %+v, %v", name, o.Standing, err)
			}
		}
		h.told(message.Email)
		me := h.signIn(ada, again)
		if o, err := h.Profile.Overview(t.Context(), me); err != nil || o.Frozen || o.Standing.FrozenUntil.IsZero() {
			t.Errorf("%+v, %v", o.Standing, err)
		}
		h.add(me, "new@example.org")
		h.clock.Advance(account.Hold)
		h.add(h.signIn(ada, ""), "newer@example.org")
	})
}

// P6: five tries for an account, whatever flows and codes they are for, in parallel too.
func TestCodesOfAddressesCannotBeGuessed(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org"), "")
		flows := []profile.AddressFlow{h.begin(me, "one@example.org"), h.begin(me, "two@example.org")}
		_, sent := h.sent(message.Email)
		var all sync.WaitGroup
		var mu sync.Mutex
		evaluated := 0
		for i := range 20 {
			all.Go(func() {
				got, err := h.prove(me, flows[i%2], "000000")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && got.Refused:
					evaluated++
				case code(err) != "too_many_attempts":
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		all.Wait()
		if evaluated != 5 {
			t.Errorf("%d tries were evaluated", evaluated)
		}
		if _, err := h.prove(me, flows[1], sent); code(err) != "too_many_attempts" {
			t.Errorf("the right one after that: %v", err)
		}
	})
}

// Nor for an address, whatever accounts somebody has to try with.
func TestCodesOfOneAddressCannotBeGuessedByMany(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		evaluated := 0
		for _, name := range []string{"eve@example.org", "mallory@example.org", "trudy@example.org", "oscar@example.org"} {
			me := h.signIn(h.Account(name), "")
			f := h.begin(me, "new@example.org")
			for range 2 {
				got, err := h.prove(me, f, "000000")
				if err == nil && got.Refused {
					evaluated++
				} else if code(err) != "too_many_attempts" {
					t.Errorf("%+v, %v", got, err)
				}
			}
		}
		if evaluated != 5 {
			t.Errorf("%d tries were evaluated", evaluated)
		}
	})
}

// Of two right codes at once one adds the address, and of two accounts one gets it.
func TestAnAddressIsAddedOnce(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada, bob := h.Account("ada@example.org"), h.Account("bob@example.org")
		hers, his := h.signIn(ada, ""), h.signIn(bob, "")
		a := h.begin(hers, "new@example.org")
		_, adas := h.sent(message.Email)
		b := h.begin(his, "new@example.org")
		_, bobs := h.sent(message.Email)
		var all sync.WaitGroup
		var mu sync.Mutex
		added := 0
		for i := range 4 {
			all.Go(func() {
				me, f, sent := hers, a, adas
				if i%2 == 1 {
					me, f, sent = his, b, bobs
				}
				got, err := h.prove(me, f, sent)
				mu.Lock()
				defer mu.Unlock()
				if got.Done && err == nil {
					added++
				} else if !got.Refused && !slices.Contains([]string{"flow_ended", "identifier_taken"}, code(err)) {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		all.Wait()
		if _, hers := h.addresses(ada)["new@example.org"]; added != 1 || hers == (len(h.addresses(bob)) == 2) {
			t.Errorf("added %d times: ada %v, bob %v", added, h.addresses(ada), h.addresses(bob))
		}
	})
}

// N-4.6-01: two removals at once leave one address that can be told of things.
func TestTwoRemovalsAtOnceLeaveOneAddress(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678", "lovelace")
		me := h.signIn(ada, "")
		own := h.addresses(ada)
		var all sync.WaitGroup
		errs := make([]error, 2)
		for i, a := range []account.Address{own["ada@example.org"], own["+4915112345678"]} {
			all.Go(func() { errs[i] = h.Profile.RemoveAddress(t.Context(), me, h.Client, a.ID) })
		}
		all.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || code(errs[0]) != "last_notice_address" && code(errs[1]) != "last_notice_address" {
			t.Errorf("%v and %v", errs[0], errs[1])
		}
		if n := len(h.addresses(ada)); n != 2 {
			t.Errorf("%d are left, want the user name and one more", n)
		}
	})
}

// An address that was removed, or serves for less, is told like the others, by a link that can take it back.
func TestARemovedAddressIsToldAndCanUndoIt(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		me := h.signIn(ada, "")
		own := h.addresses(ada)
		phone := own["+4915112345678"]
		h.must(h.Profile.SetAddressUses(t.Context(), me, h.Client, phone.ID, account.Uses{SignsIn: true}))
		h.told(message.SMS, message.AddressRemoved)
		h.told(message.Email, message.AddressRemoved)
		h.must(h.Profile.SetAddressUses(t.Context(), me, h.Client, phone.ID, account.Uses{SignsIn: true})) // nothing changes
		h.told(message.SMS)
		h.must(h.Profile.SetAddressUses(t.Context(), me, h.Client, phone.ID, account.Uses{SignsIn: true, Notices: true}))
		h.told(message.SMS, message.AddressAdded)
		h.must(h.Profile.RemoveAddress(t.Context(), me, h.Client, phone.ID))
		h.told(message.SMS, message.AddressRemoved)
		if _, there := h.addresses(ada)["+4915112345678"]; there {
			t.Error("it is still there")
		}
		h.add(me, "new@example.org") // and of what happens next
		h.told(message.SMS, message.AddressAdded)
		if n := h.events("user_address_changed", "person"); n != 2 {
			t.Errorf("%d changes of uses recorded", n)
		}
		for name, id := range map[string]string{"somebody else's": h.addresses(h.Account("bob@example.org"))["bob@example.org"].ID, "none": "x", "gone": phone.ID} {
			if err := h.Profile.RemoveAddress(t.Context(), me, h.Client, id); code(err) != "not_found" {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// What one has removed oneself one may add again at once, and others may not yet.
func TestARemovedAddressIsHeldForItsAccount(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "old@example.org")
		me, his := h.signIn(ada, ""), h.signIn(h.Account("bob@example.org"), "")
		h.must(h.Profile.RemoveAddress(t.Context(), me, h.Client, h.addresses(ada)["old@example.org"].ID))
		h.sent(message.Email)
		h.begin(his, "old@example.org")
		if _, sent := h.sent(message.Email); sent != "" {
			t.Error("somebody else got a code for it")
		}
		h.add(me, "old@example.org")
	})
}

// An address that came without a proof (an import) is proved like a new one, and counts as one.
func TestAnUnprovedAddressIsProved(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.write(func(tx *sqldb.Tx) error {
			ident, err := account.Parse("+4915112345678")
			if err != nil {
				return err
			}
			return h.Accounts.Add(t.Context(), tx, ada, account.NewIdentifier{Identifier: ident, SignsIn: true})
		})
		h.clock.Advance(long)
		h.add(h.signIn(ada, ""), "+4915112345678")
		o, err := h.Profile.Overview(t.Context(), h.signIn(ada, ""))
		h.must(err)
		for _, a := range o.Addresses {
			if a.Kind == account.Phone && (!a.Verified || !a.SignsIn || !a.SettledAt(o.Account).Equal(h.clock.Now().Add(account.Hold))) {
				t.Errorf("%+v, settled at %s", a.Verified, a.SettledAt(o.Account))
			}
		}
	})
}

func TestWhatCannotBeAdded(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org"), "")
		for typed, want := range map[string]string{
			"": "identifier_malformed", "no address": "identifier_malformed", "lovelace": "identifier_malformed", "ada@example.org": "address_known", "ADA@example.org": "address_known",
		} {
			if _, err := h.Profile.BeginAddress(t.Context(), me, h.Client, typed); code(err) != want {
				t.Errorf("%q: %v, want %s", typed, err, want)
			}
		}
		for i := range 2 * account.MaxAddresses {
			typed := string(rune('a'+i)) + "@example.org"
			f, err := h.Profile.BeginAddress(t.Context(), me, h.Client, typed)
			if code(err) == "too_many_addresses" && len(h.addresses(me.Account)) == account.MaxAddresses {
				return
			}
			h.must(err)
			_, sent := h.sent(message.Email)
			if got, err := h.prove(me, f, sent); err != nil || !got.Done {
				t.Fatal(got, err)
			}
			h.clock.Advance(10 * time.Minute) // letters are limited, too
			me = h.signIn(me.Account, "")
		}
		t.Error("there is no end to addresses")
	})
}

func TestUnfinishedAddressesArePruned(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org"), "")
		f := h.begin(me, "new@example.org")
		h.clock.Advance(16 * time.Minute)
		if _, err := h.Profile.AddressAt(t.Context(), me, f.Handle); code(err) != "flow_ended" {
			t.Error(err)
		}
		h.write(func(tx *sqldb.Tx) error {
			n, err := h.Profile.Prune(t.Context(), tx)
			if n != 1 {
				t.Errorf("%d pruned", n)
			}
			return err
		})
	})
}
