package session_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

func start(t *testing.T, m *testkit.Machine, who account.ID) session.Started {
	t.Helper()
	var st session.Started
	err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		st, err = m.Sessions.Start(t.Context(), tx, session.New{Account: who, Name: "Firefox on Linux", Methods: []assurance.Method{assurance.Password, assurance.SMS}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func check(t *testing.T, s *session.Service, token secret.Token) error {
	t.Helper()
	_, err := s.Check(t.Context(), token)
	return err
}

func ended(err error) bool {
	f := fault.Of(err)
	return f.Kind == fault.Unauthenticated && f.Code == "session_ended"
}

func each(t *testing.T, f func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, testkit.NewMachine(t, db, testkit.Ring(t)), clock)
	})
}

// N-5.2-01: idle and absolute lifetimes, held on the server.
func TestLifetimes(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account("ada@example.org")
		idle, used := start(t, m, who), start(t, m, who)
		for range 15 {
			if err := check(t, m.Sessions, used.Token); err != nil {
				t.Fatal(err)
			}
			clock.Advance(11 * time.Hour)
		}
		if !ended(check(t, m.Sessions, idle.Token)) {
			t.Error("an idle session lives on")
		}
		if err := check(t, m.Sessions, used.Token); err != nil {
			t.Errorf("a used session ended after %v: %v", 165*time.Hour, err)
		}
		clock.Advance(3 * time.Hour)
		if !ended(check(t, m.Sessions, used.Token)) {
			t.Error("a session outlives its absolute lifetime")
		}
	})
}

// N-2.3.3-01: what was proved with hardware is good for half a day, whatever the operator allows others.
func TestASessionAtTheHighestLevelLastsHalfADay(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account("ada@example.org")
		open := func(methods ...assurance.Method) (st session.Started) {
			t.Helper()
			err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				st, err = m.Sessions.Start(t.Context(), tx, session.New{Account: who, Methods: methods})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		m.Sessions.Idle = 24 * time.Hour
		hardware, beside, other := open(assurance.PasskeyAttested), open(assurance.Password, assurance.PasskeyAttested), open(assurance.PasskeyBound)
		clock.Advance(12*time.Hour - time.Second)
		for _, st := range []session.Started{hardware, beside, other} {
			if err := check(t, m.Sessions, st.Token); err != nil {
				t.Error(err)
			}
		}
		clock.Advance(time.Second)
		if !ended(check(t, m.Sessions, hardware.Token)) || !ended(check(t, m.Sessions, beside.Token)) || check(t, m.Sessions, other.Token) != nil {
			t.Error("after twelve hours")
		}
		m.Sessions.Absolute = time.Hour
		if short := open(assurance.PasskeyAttested); short.ExpiresAt.Sub(clock.Now()) != time.Hour {
			t.Errorf("until %s", short.ExpiresAt)
		}
	})
}

func TestTokensThatNeverWere(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		st := start(t, m, m.Account("ada@example.org"))
		v := st.Token.Reveal()
		for _, bad := range []string{"", "css_", v[:len(v)-1], v + "x", strings.ToUpper(v), "csf" + v[3:], v[:10] + "A" + v[11:], secret.NewToken(session.Prefix).Reveal()} {
			if bad != v && !ended(check(t, m.Sessions, secret.Of(bad))) {
				t.Errorf("a token of %d characters was not refused", len(bad))
			}
		}
	})
}

// Ending takes one session, the others, or all, and only the owner's.
func TestEnding(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		ada, bob := m.Account("ada@example.org"), m.Account("bob@example.org")
		a, b, c, his := start(t, m, ada), start(t, m, ada), start(t, m, ada), start(t, m, bob)
		me, err := m.Sessions.Check(t.Context(), a.Token)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := m.Profile.EndSession(t.Context(), me, m.Client, his.ID); ok || err != nil {
			t.Fatalf("ended bob's: %v %v (A-8.2.2)", ok, err)
		}
		if ok, err := m.Profile.EndSession(t.Context(), me, m.Client, b.ID); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if !ended(check(t, m.Sessions, b.Token)) {
			t.Error("b lives")
		}
		if err := m.Profile.EndOtherSessions(t.Context(), me, m.Client); err != nil {
			t.Fatal(err)
		}
		if !ended(check(t, m.Sessions, c.Token)) || check(t, m.Sessions, a.Token) != nil || check(t, m.Sessions, his.Token) != nil {
			t.Error("others: want c ended, a and bob's alive")
		}
		if err := m.Profile.EndAllSessions(t.Context(), me, m.Client); err != nil {
			t.Fatal(err)
		}
		if !ended(check(t, m.Sessions, a.Token)) || check(t, m.Sessions, his.Token) != nil {
			t.Error("all: want a ended, bob's alive")
		}
	})
}

// What must not be done by a session that is over asks the database: it holds for its own account, until its time is over or
// it was ended.
func TestOnlyALiveSessionOfOnesOwnHolds(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		ada, eve := m.Account("ada@example.org"), m.Account("eve@example.org")
		st := start(t, m, ada)
		holds := func(what string, who account.ID, want bool) {
			t.Helper()
			err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
				ok, err := m.Sessions.Holds(t.Context(), tx, who, st.ID)
				if ok != want {
					t.Errorf("%s: holds %t", what, ok)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		holds("its owner", ada, true)
		holds("another account", eve, false)
		clock.Advance(m.Sessions.Absolute)
		holds("after its time", ada, false)
	})
}

func TestOldestSessionEndsBeyondTheMost(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account("ada@example.org")
		first := start(t, m, who)
		var second session.Started
		for i := range session.MaxPerAccount {
			clock.Advance(time.Second)
			st := start(t, m, who)
			if i == 0 {
				second = st
			}
		}
		if !ended(check(t, m.Sessions, first.Token)) || check(t, m.Sessions, second.Token) != nil {
			t.Fatalf("after %d sessions the oldest must have ended, and it alone", session.MaxPerAccount+1)
		}
	})
}

func twoNodes(t *testing.T, engine sqldb.Engine) (a, b *testkit.Machine, clock *dbtest.Clock, dbs [2]*sqldb.DB) {
	url, ring := dbtest.NewURL(t, engine), testkit.Ring(t)
	clock = dbtest.NewClock()
	dbs = [2]*sqldb.DB{dbtest.Open(t, url, clock), dbtest.Open(t, url, clock)}
	return testkit.NewMachine(t, dbs[0], ring), testkit.NewMachine(t, dbs[1], ring), clock, dbs
}

// A session ended on one node is refused by the other at its next poll, four times a second,
// although the other has it in memory.
func TestOtherNodeSeesTheEnd(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			a, b, _, _ := twoNodes(t, engine)
			who := a.Account("ada@example.org")
			st := start(t, a, who)
			if err := b.Sessions.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			me, err := b.Sessions.Check(t.Context(), st.Token)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Profile.EndAllSessions(t.Context(), me, a.Client); err != nil {
				t.Fatal(err)
			}
			if err := b.Sessions.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !ended(check(t, b.Sessions, st.Token)) {
				t.Fatal("the other node still accepts it")
			}
		})
	}
}

// A node that stopped hearing of ends asks the database at each check.
func TestNodeThatDoesNotPollAsksEachTime(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		st := start(t, m, m.Account("ada@example.org"))
		if err := m.Sessions.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if err := check(t, m.Sessions, st.Token); err != nil {
				t.Fatal(err)
			}
		}
		if _, reads := m.Sessions.Cached(); reads != 1 {
			t.Fatalf("%d reads for 100 checks, want 1", reads)
		}
		clock.Advance(2 * time.Second)
		for range 10 {
			if err := check(t, m.Sessions, st.Token); err != nil {
				t.Fatal(err)
			}
		}
		if _, reads := m.Sessions.Cached(); reads != 11 {
			t.Fatalf("%d reads, want one more for each of 10 checks", reads)
		}
	})
}

// With the database away, memory is trusted for MaxStale and not longer; what is not in memory is refused at once.
func TestDatabaseAway(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			a, b, clock, dbs := twoNodes(t, engine)
			who := a.Account("ada@example.org")
			held, unheld := start(t, a, who), start(t, a, who)
			if err := errors.Join(b.Sessions.Poll(t.Context()), check(t, b.Sessions, held.Token)); err != nil {
				t.Fatal(err)
			}
			if err := dbs[1].Close(); err != nil {
				t.Fatal(err)
			}
			clock.Advance(50 * time.Second)
			if err := check(t, b.Sessions, held.Token); err != nil {
				t.Fatalf("within MaxStale: %v", err)
			}
			if err := check(t, b.Sessions, unheld.Token); fault.Of(err).Kind != fault.Unavailable {
				t.Fatalf("not in memory: %v, want unavailable", err)
			}
			clock.Advance(11 * time.Second)
			if err := check(t, b.Sessions, held.Token); fault.Of(err).Kind != fault.Unavailable {
				t.Fatalf("after MaxStale: %v, want unavailable", err)
			}
		})
	}
}

// A query that fails says nothing of a session: whoever holds it must not be told that it has ended.
func TestAQueryThatFailsEndsNoSession(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			a, b, _, dbs := twoNodes(t, engine)
			st := start(t, a, a.Account("ada@example.org"))
			rename := func(from, to string) {
				t.Helper()
				err := dbs[0].Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := tx.Exec(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			rename("session", "session_away")
			if err := check(t, b.Sessions, st.Token); fault.Of(err).Kind != fault.Internal {
				t.Fatalf("while the query fails: %v, want what is broken", err)
			}
			rename("session_away", "session")
			if err := check(t, b.Sessions, st.Token); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
		})
	}
}

// Being seen on one node keeps the session alive on the other.
func TestLastSeenReachesOtherNodes(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			a, b, clock, _ := twoNodes(t, engine)
			st := start(t, a, a.Account("ada@example.org"))
			if err := check(t, b.Sessions, st.Token); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				clock.Advance(9 * time.Hour)
				if err := errors.Join(check(t, a.Sessions, st.Token), a.Sessions.Flush(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(b.Sessions.Poll(t.Context()), check(t, b.Sessions, st.Token)); err != nil {
				t.Fatalf("the other node holds it for idle: %v", err)
			}
		})
	}
}

// checks, ends and polls at once.
func TestChecksAndEndsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		who := m.Account("ada@example.org")
		st := start(t, m, who)
		me, err := m.Sessions.Check(t.Context(), st.Token)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					if err := check(t, m.Sessions, st.Token); err != nil && !ended(err) {
						t.Error(err)
					}
					_ = m.Sessions.Poll(t.Context())
				}
			})
		}
		wg.Go(func() {
			if err := m.Profile.EndAllSessions(t.Context(), me, m.Client); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if !ended(check(t, m.Sessions, st.Token)) {
			t.Fatal("it lives on")
		}
	})
}

// What has been over for a month goes, and announcements that every node has long read.
func TestPruneDeletesWhatIsLongOver(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		ada := m.Account("ada@example.org")
		pruned := func(what string, want int64) {
			t.Helper()
			var n int64
			err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				n, err = m.Sessions.Prune(t.Context(), tx)
				return err
			})
			if err != nil || n != want {
				t.Errorf("%s: %d rows deleted, %v; want %d", what, n, err, want)
			}
		}
		start(t, m, ada)
		err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return m.Sessions.EndAll(t.Context(), tx, ada, "test") })
		if err != nil {
			t.Fatal(err)
		}
		clock.Advance(59 * time.Minute)
		pruned("an announcement that a slow node may still need", 0)
		clock.Advance(2 * time.Minute)
		pruned("an old announcement", 1)
		live := start(t, m, ada)
		clock.Advance(time.Hour)
		if err := check(t, m.Sessions, live.Token); err != nil {
			t.Fatal(err)
		}
		clock.Advance(36 * 24 * time.Hour)
		pruned("not a month after its time", 0)
		clock.Advance(24 * time.Hour)
		pruned("both, a month after their time", 2)
	})
}
