package session_test

import (
	"testing"

	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// Sessions of before go on, from memory and from the database, on every node, and end when they are ended. With their
// key they are over.
func TestSessionsGoOnWhenKeysChange(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock := dbtest.NewURL(t, engine), dbtest.NewClock()
			db, second := dbtest.Open(t, url, clock), dbtest.Open(t, url, clock)
			keys := testkit.NewKeys(t, db, "")
			m := testkit.NewMachine(t, db, keys.Ring)
			other := testkit.NewMachine(t, second, testkit.NewKeys(t, second, keys.File()).Ring)
			poll := func() {
				t.Helper()
				for _, s := range []*session.Service{m.Sessions, other.Sessions} {
					if err := s.Poll(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			who := m.Account("ada@example.org")
			poll()
			known, quiet, doomed := start(t, m, who), start(t, m, who), start(t, m, who)
			for _, st := range []session.Started{known, doomed} {
				if err := check(t, m.Sessions, st.Token); err != nil {
					t.Fatal(err)
				}
			}
			old := keys.Change()
			fresh := start(t, m, who)
			for name, s := range map[string]*session.Service{"here": m.Sessions, "on another node": other.Sessions} {
				for what, token := range map[string]secret.Token{"checked before": known.Token, "not checked before": quiet.Token, "of the new key": fresh.Token} {
					for range 2 {
						if err := check(t, s, token); err != nil {
							t.Errorf("%s, a session %s: %v", name, what, err)
						}
					}
				}
				if err := check(t, s, secret.NewToken(session.Prefix)); !ended(err) {
					t.Errorf("%s, nobody's: %v", name, err)
				}
			}
			_, reads := m.Sessions.Cached()
			if err := check(t, m.Sessions, known.Token); err != nil {
				t.Error(err)
			}
			if _, again := m.Sessions.Cached(); again != reads {
				t.Error("a session of the old key is not answered from memory")
			}
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := m.Sessions.End(t.Context(), tx, who, doomed.ID)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			poll()
			if err := check(t, m.Sessions, doomed.Token); !ended(err) {
				t.Errorf("an ended session of the old key: %v", err)
			}
			keys.Drop(old)
			poll()
			for _, s := range []*session.Service{m.Sessions, other.Sessions} {
				if err := check(t, s, known.Token); !ended(err) {
					t.Errorf("a session whose key was dropped: %v", err)
				}
				if err := check(t, s, fresh.Token); err != nil {
					t.Errorf("one of the new key: %v", err)
				}
			}
		})
	}
}
