package profile_test

import (
	"slices"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/profile"
)

// N-4.6-01: what the holder chooses is kept, every address is told, and what changes nothing is no news. What cannot be
// chosen changes nothing.
func TestTheHolderChoosesTheSecondProof(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		me := h.signIn(ada, "")
		h.equip(me)
		choose := func(c factor.Choice) error {
			return h.Profile.Choose(t.Context(), me, h.Client, func(was *factor.Choice) { *was = c })
		}
		want := factor.Choice{Holder: factor.Always, Order: []factor.Way{factor.OTP}, Off: []factor.Way{factor.SMS}}
		h.must(choose(want))
		h.told(message.Email, message.FactorChosen)
		h.must(h.Profile.Choose(t.Context(), me, h.Client, func(*factor.Choice) {}))
		if err := choose(factor.Choice{Order: []factor.Way{"pigeon"}}); code(err) != "factor_choice_invalid" {
			t.Errorf("a way that there is not: %v", err)
		}
		h.told(message.Email)
		second := h.factors(me).Second
		var ways, opens []factor.Way
		for _, w := range second.Ways {
			ways = append(ways, w.Way)
			if w.Opens {
				opens = append(opens, w.Way)
			}
		}
		if second.Policy != factor.Always || second.Least != factor.Unrecognised ||
			!slices.Equal(opens, []factor.Way{factor.OTP, factor.Passkey, factor.Backup}) ||
			!slices.Equal(ways, []factor.Way{factor.OTP, factor.Passkey, factor.Backup, factor.SMS, factor.Email}) {
			t.Errorf("%+v", second)
		}
		if n := h.events("authn_factor_changed", "person"); n != 2 { // the app, and this
			t.Errorf("%d recorded", n)
		}
	})
}

// Another order is told once in half an hour, by no text message, and is on record each time. Whatever else is chosen is told at once, and
// everywhere: a thief does not hide it behind an order.
func TestAnotherOrderIsToldOnce(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org", "+4915112345678"), "")
		choose := func(c factor.Choice) {
			t.Helper()
			h.must(h.Profile.Choose(t.Context(), me, h.Client, func(was *factor.Choice) { *was = c }))
		}
		sms, mail := []factor.Way{factor.SMS}, []factor.Way{factor.Email}
		choose(factor.Choice{Order: sms})
		h.told(message.Email, message.FactorChosen)
		h.told(message.SMS)
		choose(factor.Choice{Order: mail})
		h.told(message.Email)
		choose(factor.Choice{Order: sms, Off: mail})
		h.told(message.Email, message.FactorChosen)
		h.told(message.SMS, message.FactorChosen)
		choose(factor.Choice{Order: sms, Off: mail, Holder: factor.Always})
		h.told(message.Email, message.FactorChosen)
		h.told(message.SMS, message.FactorChosen)
		if n := h.events("authn_factor_changed", "person"); n != 4 {
			t.Errorf("%d recorded", n)
		}
		h.clock.Advance(30 * time.Minute)
		me = h.signIn(me.Account, "")
		h.told(message.Email)
		choose(factor.Choice{Order: mail, Off: mail, Holder: factor.Always})
		h.told(message.Email, message.FactorChosen)
		h.told(message.SMS)
	})
}

// An operator's policy and groups are recorded, and the holder sees that their sign-in asks for more. Where it takes nothing but a
// passkey the last one stays.
func TestAnOperatorAsksForMore(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		me := h.signIn(ada, "")
		h.equip(me)
		for range 2 {
			_, err := h.Profile.Join(t.Context(), ada, "admins", true)
			h.must(err)
		}
		if _, err := h.Profile.Join(t.Context(), ada, "Ad mins", true); code(err) != "group_malformed" {
			t.Errorf("a name that is none: %v", err)
		}
		if err := h.Profile.SetPolicy(t.Context(), ada, "sometimes"); code(err) != "factor_choice_invalid" {
			t.Errorf("a policy that is none: %v", err)
		}
		if _, err := h.Profile.Join(t.Context(), "0196f0c1-0000-7000-8000-000000000000", "admins", true); code(err) != "account_unknown" {
			t.Errorf("nobody joins: %v", err)
		}
		h.must(h.Profile.SetPolicy(t.Context(), ada, factor.PhishingResistant))
		key := h.factors(me).Passkeys[0].ID
		if err := h.Profile.RemovePasskey(t.Context(), me, h.Client, key); code(err) != "last_passkey" {
			t.Errorf("the last passkey goes: %v", err)
		}
		h.must(h.Profile.SetPolicy(t.Context(), ada, ""))
		h.must(h.Profile.RemovePasskey(t.Context(), me, h.Client, key))
		if n := h.events("user_updated", "operator"); n != 3 {
			t.Errorf("%d recorded", n)
		}
		past, err := h.Profile.Activity(t.Context(), me, audit.Mark{})
		h.must(err)
		set := 0
		for _, d := range past.Deeds {
			if d.What == profile.PolicySet {
				set += d.Times
			}
		}
		if set != 2 {
			t.Errorf("shown %d times", set)
		}
	})
}

// After a recovery nothing can be changed for a while; an account that must have a passkey and has none could not be used at all.
func TestAFrozenAccountEnrolsWhatItMust(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.must(h.Profile.SetPolicy(t.Context(), ada, factor.PhishingResistant))
		me := h.signIn(ada, "")
		h.freeze(ada)
		if _, err := h.Profile.BeginPasskey(t.Context(), me); code(err) != "account_frozen" {
			t.Errorf("a session that may do everything: %v", err)
		}
		me.Enrol = true
		if _, err := h.Profile.BeginPasskey(t.Context(), me); err != nil {
			t.Errorf("one that must enrol a passkey: %v", err)
		}
	})
}
