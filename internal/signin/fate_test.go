package signin_test

import (
	"slices"
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

func claimed(t *testing.T, m *testkit.Machine) []outbox.Claimed {
	t.Helper()
	all, err := m.Outbox.Claim(t.Context(), message.SMS, 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sent takes the waiting text messages away as the courier does.
func sent(t *testing.T, m *testkit.Machine) (ids []string) {
	t.Helper()
	for _, l := range claimed(t, m) {
		if err := m.Outbox.Finish(t.Context(), l, outbox.Receipt{Provider: "twilio", ID: "SM1"}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	return ids
}

func reported(t *testing.T, m *testkit.Machine, ids []string, fate outbox.Fate) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := m.Outbox.Report(t.Context(), outbox.Told{Letter: id, Provider: "twilio", State: fate}); err != nil {
			t.Fatal(err)
		}
	}
}

func fateAt(t *testing.T, m *testkit.Machine, ref signin.Ref) outbox.Fate {
	t.Helper()
	n, err := m.At(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return n.Fate
}

func TestWhoHasProvedThePasswordSeesWhatBecameOfTheMessage(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org", "+4915112345678")
		ref, _ := newBrowser(t, m).password("ada@example.org", testkit.Password)
		if got := fateAt(t, m, ref); got != "" {
			t.Errorf("before any: %q", got)
		}
		send := func(way factor.Way) {
			t.Helper()
			if s, err := m.Send(t.Context(), ref, m.Client, way); err != nil || s.TooSoon {
				t.Fatalf("%+v %v", s, err)
			}
		}
		send(factor.SMS)
		first := sent(t, m)
		for _, step := range []struct{ said, shown outbox.Fate }{{"", outbox.Underway}, {outbox.Unclear, outbox.Underway}, {outbox.NotDelivered, outbox.NotDelivered}} {
			if step.said != "" {
				reported(t, m, first, step.said)
			}
			if got := fateAt(t, m, ref); got != step.shown {
				t.Errorf("told %q: %q", step.said, got)
			}
		}
		clock.Advance(31 * time.Second)
		send(factor.SMS) // a new message is on its way, whatever became of the last
		if got := fateAt(t, m, ref); got != outbox.Underway {
			t.Errorf("sent again: %q", got)
		}
		reported(t, m, sent(t, m), outbox.Delivered)
		if got := fateAt(t, m, ref); got != outbox.Delivered {
			t.Errorf("delivered: %q", got)
		}
		clock.Advance(61 * time.Second)
		send(factor.SMS)
		for _, l := range claimed(t, m) { // nobody takes it
			if err := m.Outbox.Bury(t.Context(), l, "twilio_http_400_21211"); err != nil {
				t.Fatal(err)
			}
		}
		if got := fateAt(t, m, ref); got != outbox.NotDelivered {
			t.Errorf("given up: %q", got)
		}
		clock.Advance(121 * time.Second)
		send(factor.Email)
		if got := fateAt(t, m, ref); got != "" {
			t.Errorf("by e-mail: %q", got)
		}
	})
}

// P2: where strangers come as far as the code, nothing of it is said to anybody: a message to nobody never arrives.
func TestStrangersAreNotToldWhatBecameOfAMessage(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.HidePasswordResult = true
		m.Account("ada@example.org", "+4915112345678")
		for what, try := range map[string][2]string{
			"the owner": {"ada@example.org", testkit.Password}, "a stranger": {"ada@example.org", "not the password at all"}, "nobody": {"ghost@example.org", testkit.Password},
		} {
			ref, n := newBrowser(t, m).password(try[0], try[1])
			way := factor.SMS
			if !slices.Contains(n.Ways, way) { // whoever stands in for nobody need not have a number
				way = factor.Email
			}
			if _, err := m.Send(t.Context(), ref, m.Client, way); err != nil {
				t.Fatal(err)
			}
			reported(t, m, sent(t, m), outbox.Delivered)
			if got := fateAt(t, m, ref); got != "" {
				t.Errorf("%s is told %q", what, got)
			}
		}
	})
}

// A code that is asked for since the one before has not arrived says so, that it goes another way: for nobody as for somebody, and whether or not the password was right.
func TestANewCodeFollowsTheOneBefore(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.HidePasswordResult = true
		m.Account("ada@example.org", "+4915112345678")
		for what, try := range map[string][2]string{
			"the owner": {"ada@example.org", testkit.Password}, "a stranger": {"ada@example.org", "not the password at all"}, "nobody": {"ghost@example.org", testkit.Password},
		} {
			ref, n := newBrowser(t, m).password(try[0], try[1])
			last := ""
			for range 2 {
				if s, err := m.Send(t.Context(), ref, m.Client, n.Ways[0]); err != nil || s.TooSoon {
					t.Fatalf("%s: %+v %v", what, s, err)
				}
				all, err := m.Outbox.Claim(t.Context(), message.Channel(n.Ways[0]), 10, time.Minute)
				if err != nil || len(all) != 1 || all[0].Follows != last || all[0].Withhold == (what == "the owner") {
					t.Fatalf("%s: %+v %v, want one that follows %q", what, all, err, last)
				}
				last = all[0].ID
				if err := m.Outbox.Finish(t.Context(), all[0], outbox.Receipt{Provider: "twilio"}); err != nil {
					t.Fatal(err)
				}
				clock.Advance(time.Minute)
			}
		}
	})
}

// A code that was typed says so of the letter it was in, and of none before; a wrong one says nothing.
func TestATypedCodeIsNotedOfItsLetter(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org", "+4915112345678")
		ref, _ := newBrowser(t, m).password("ada@example.org", testkit.Password)
		var letters []outbox.Claimed
		for range 2 {
			if s, err := m.Send(t.Context(), ref, m.Client, factor.SMS); err != nil || s.TooSoon {
				t.Fatalf("%+v %v", s, err)
			}
			l := claimed(t, m)[0]
			letters = append(letters, l)
			if err := m.Outbox.Finish(t.Context(), l, outbox.Receipt{Provider: "twilio"}); err != nil {
				t.Fatal(err)
			}
			clock.Advance(20 * time.Second)
		}
		typed := func() map[string]bool {
			got, err := m.Outbox.WereTyped(t.Context(), []string{letters[0].ID, letters[1].ID})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		try := func(l outbox.Claimed) {
			if _, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of(l.Params["code"])}); err != nil {
				t.Fatal(err)
			}
		}
		if try(letters[0]); len(typed()) != 0 {
			t.Error("an old code counts")
		}
		if try(letters[1]); len(typed()) != 1 || !typed()[letters[1].ID] {
			t.Errorf("%v", typed())
		}
	})
}
