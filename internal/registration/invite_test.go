package registration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/platform/secret"
	"countersign/internal/registration"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// inviter makes invitations on a machine that admits nobody without.
func inviter(t *testing.T, m *testkit.Machine) func(address string, uses int) secret.Token {
	t.Helper()
	m.Registration.Rules.Mode = registration.Invited
	return func(address string, uses int) secret.Token {
		t.Helper()
		token, _, err := m.Registration.Invite(t.Context(), registration.NewInvitation{Address: address, For: time.Hour, Uses: uses})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

// Wrong, missing, used, revoked and expired invitations, and those for another address, get one answer.
func TestOnlyTheInvitedBegin(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("known@example.org")
		m.Registration.Limits.SendSource.Burst, m.Registration.Limits.SendName.Burst, m.Registration.Limits.Source.Burst = 1000, 1000, 1000
		invite := inviter(t, m)
		bound, revoked, used, open := invite("Ada@Example.org", 1), invite("", 1), invite("", 1), invite("", 2)
		all, err := m.Registration.Invitations(t.Context(), 10)
		if err != nil || len(all) != 4 {
			t.Fatalf("%d, %v", len(all), err)
		}
		for _, i := range all { // the newest first
			if i.ID == all[2].ID {
				if ok, err := m.Registration.Revoke(t.Context(), i.ID); !ok || err != nil {
					t.Fatalf("%t, %v", ok, err)
				}
			}
		}
		n := newNewcomer(t, m)
		if _, err := n.try("first@example.org", used); err != nil {
			t.Fatal(err)
		}
		n.code(n.received())
		if got, err := n.finish(registration.About{Password: good}); err != nil || got.Account == "" {
			t.Fatalf("%+v, %v", got, err)
		}
		for label, c := range map[string]struct {
			address string
			token   secret.Token
		}{
			"none": {"x@example.org", secret.Token{}}, "invented": {"x@example.org", secret.NewToken(registration.InvitationPrefix)},
			"a flow's handle": {"x@example.org", secret.NewToken(registration.FlowPrefix)}, "cut off": {"x@example.org", secret.Of(open.Reveal()[:40])},
			"for another address": {"x@example.org", bound}, "for another, which is known": {"known@example.org", bound},
			"revoked": {"x@example.org", revoked}, "used": {"x@example.org", used},
		} {
			if _, err := newNewcomer(t, m).try(c.address, c.token); code(err) != "invitation_refused" {
				t.Errorf("%s: %v", label, err)
			}
		}
		for address, token := range map[string]secret.Token{"ada@example.org": bound, "x@example.org": open, "known@example.org": open} {
			if _, err := newNewcomer(t, m).try(address, token); err != nil {
				t.Errorf("%s: %v", address, err)
			}
		}
		clock.Advance(time.Hour)
		if _, err := newNewcomer(t, m).try("ada@example.org", bound); code(err) != "invitation_refused" {
			t.Errorf("expired: %v", err)
		}
	})
}

// Whoever is not invited uses up none of the letters of those who are.
func TestTheUninvitedUseUpNothing(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		token := inviter(t, m)("ada@example.org", 1)
		for range 20 {
			if _, err := newNewcomer(t, m).try("ada@example.org", secret.NewToken(registration.InvitationPrefix)); code(err) != "invitation_refused" {
				t.Fatal(err)
			}
		}
		if _, err := newNewcomer(t, m).try("ada@example.org", token); err != nil {
			t.Error(err)
		}
	})
}

// An invitation is spent when the account is opened, by one statement: of twenty at once, as many get through as it is good for.
func TestOneInvitationOpensOneAccount(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Registration.Limits.SendSource.Burst, m.Registration.Limits.SendName.Burst, m.Registration.Limits.Source.Burst = 1000, 1000, 1000
		invite := inviter(t, m)
		for _, uses := range []int{1, 3} {
			token := invite("", uses)
			var all []*newcomer
			for i := range 20 {
				n := newNewcomer(t, m)
				if _, err := n.try(strings.Repeat("x", i+1)+string(rune('0'+uses))+"@example.org", token); err != nil {
					t.Fatal(err)
				}
				n.code(n.received())
				all = append(all, n)
			}
			if won, _ := race(t, all...); won != uses {
				t.Errorf("%d uses opened %d accounts", uses, won)
			}
		}
	})
}

// Revoked while somebody fills in the form: it opens nothing any more, and nothing is left of the try.
func TestARevokedInvitationOpensNothing(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		open, n := newNewcomer(t, m), newNewcomer(t, m)
		open.prove("early@example.org")
		invite := inviter(t, m)
		if _, err := n.try("ada@example.org", invite("", 1)); err != nil {
			t.Fatal(err)
		}
		n.code(n.received())
		all, err := m.Registration.Invitations(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		want := []registration.Invitation{{ID: all[0].ID, Uses: 1, Left: 1, CreatedAt: all[0].CreatedAt, ExpiresAt: all[0].CreatedAt.Add(time.Hour)}}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Error(diff)
		}
		for _, id := range []string{"", "x", "\x00", "0196f0c1-0000-7000-8000-000000000000"} {
			if ok, err := m.Registration.Revoke(t.Context(), id); ok || err != nil {
				t.Errorf("%q: %t, %v", id, ok, err)
			}
		}
		if ok, err := m.Registration.Revoke(t.Context(), all[0].ID); !ok || err != nil {
			t.Fatalf("%t, %v", ok, err)
		}
		if _, err := n.finish(registration.About{Password: good}); code(err) != "invitation_refused" {
			t.Errorf("revoked: %v", err)
		}
		// Begun when nobody needed one.
		if _, err := open.finish(registration.About{Password: good}); code(err) != "invitation_refused" {
			t.Errorf("without one: %v", err)
		}
		if got := count(t, m, `SELECT COUNT(*) FROM account WHERE state = 'active'`); got != 0 {
			t.Errorf("%d accounts", got)
		}
	})
}

func TestInvitationsHaveBounds(t *testing.T) {
	m := testkit.NewMachine(t, dbtest.SQLite(t), testkit.Ring(t))
	for label, c := range map[string]struct {
		n    registration.NewInvitation
		want string
	}{
		"no use":                {registration.NewInvitation{For: time.Hour}, "invitation_invalid"},
		"for ever":              {registration.NewInvitation{For: 10_000 * time.Hour, Uses: 1}, "invitation_invalid"},
		"over already":          {registration.NewInvitation{For: -time.Hour, Uses: 1}, "invitation_invalid"},
		"one address, two uses": {registration.NewInvitation{Address: "ada@example.org", For: time.Hour, Uses: 2}, "invitation_invalid"},
		"no address":            {registration.NewInvitation{Address: "ada@", For: time.Hour, Uses: 1}, "identifier_malformed"},
	} {
		if _, _, err := m.Registration.Invite(t.Context(), c.n); code(err) != c.want {
			t.Errorf("%s: %v", label, err)
		}
	}
}
