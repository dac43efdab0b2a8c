package session_test

import (
	"testing"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

func renew(t *testing.T, m *testkit.Machine, who account.ID, id session.ID) (st session.Started, err error) {
	t.Helper()
	err = m.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		st, err = m.Sessions.Renew(t.Context(), tx, who, id)
		return err
	})
	return st, err
}

// the old token is worthless at once, and on every node at its next poll, although it is in
// their memory; the new one is that of the same session.
func TestARenewedSessionHasOneTokenOnEveryNode(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			a, b, _, _ := twoNodes(t, engine)
			who := a.Account("ada@example.org")
			old := start(t, a, who)
			nodes := []*testkit.Machine{a, b}
			for _, n := range nodes {
				if err := n.Sessions.Poll(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := check(t, n.Sessions, old.Token); err != nil {
					t.Fatal(err)
				}
			}
			st, err := renew(t, a, who, old.ID)
			if err != nil || st.ID != old.ID || !st.ExpiresAt.Equal(old.ExpiresAt) {
				t.Fatalf("%+v, %v", st, err)
			}
			if !ended(check(t, a.Sessions, old.Token)) {
				t.Error("the node that renewed it takes the old token")
			}
			if err := check(t, b.Sessions, st.Token); err != nil { // before it has polled: one session is one entry in memory
				t.Error(err)
			}
			if !ended(check(t, b.Sessions, old.Token)) {
				t.Error("the other node takes both tokens")
			}
			if err := b.Sessions.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				if got, err := n.Sessions.Check(t.Context(), st.Token); err != nil || got.ID != old.ID {
					t.Errorf("%s, %v", got.ID, err)
				}
				if !ended(check(t, n.Sessions, old.Token)) {
					t.Error("the old token is taken")
				}
			}
		})
	}
}

func TestOnlyALiveSessionOfOnesOwnIsRenewed(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		ada, bob := m.Account("ada@example.org"), m.Account("bob@example.org")
		hers, over := start(t, m, ada), start(t, m, ada)
		if err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := m.Sessions.End(t.Context(), tx, ada, over.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := renew(t, m, bob, hers.ID); !ended(err) {
			t.Errorf("somebody else's: %v", err)
		}
		if _, err := renew(t, m, ada, over.ID); !ended(err) {
			t.Errorf("one that has ended: %v", err)
		}
		clock.Advance(m.Sessions.Absolute)
		if _, err := renew(t, m, ada, hers.ID); !ended(err) {
			t.Errorf("one whose time is over: %v", err)
		}
	})
}
