package seconddoor_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
	"countersign/internal/seconddoor"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// A call that is repeated has no other effect, and gets the same answer, for a day. Another call needs another name, and another application has names
// of its own.
func TestACallIsDoneOnce(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		done := 0
		call := func(app, name, asked string) (string, error) {
			answer, err := p.Once(t.Context(), seconddoor.Call{App: app, Name: name, Asked: asked}, func() ([]byte, error) {
				done++
				return []byte("csf_secret " + asked), nil
			})
			return string(answer), err
		}
		for range 3 {
			if got, err := call("photos", "one", "send"); err != nil || got != "csf_secret send" || done != 1 {
				t.Fatalf("%v, %q, done %d times", err, got, done)
			}
		}
		if _, err := call("photos", "one", "send more"); code(err) != "call_differs" {
			t.Errorf("the same name for something else: %v", err)
		}
		if _, err := call("bank", "one", "send more"); err != nil || done != 2 {
			t.Errorf("another application: %v, done %d times", err, done)
		}
		err := p.Parts.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), `SELECT answer FROM door_call`, func(scan func(...any) error) error {
				var kept []byte
				err := scan(&kept)
				if strings.Contains(string(kept), "csf_") {
					t.Error("an answer lies open in the database")
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		clock.Advance(24*time.Hour + time.Second)
		if _, err := call("photos", "one", "send more"); err != nil || done != 3 {
			t.Errorf("a day later: %v, done %d times", err, done)
		}
		clock.Advance(24*time.Hour + time.Second)
		if err := p.Parts.DB.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := p.Prune(t.Context(), tx); return err }); err != nil {
			t.Fatal(err)
		}
	})
}

// What failed for want of something may be tried again, and what a node that died was at a minute later.
func TestACallThatWasNotDoneIsDoneLater(t *testing.T) {
	each(t, func(t *testing.T, p *photos, clock *dbtest.Clock) {
		c := seconddoor.Call{App: "photos", Name: "one", Asked: "send"}
		busy := errors.New("busy")
		if _, err := p.Once(t.Context(), c, func() ([]byte, error) { return nil, busy }); !errors.Is(err, busy) {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = p.Once(t.Context(), c, func() ([]byte, error) { panic("the node dies") })
		}()
		again := func() (string, error) {
			got, err := p.Once(t.Context(), c, func() ([]byte, error) { return []byte("done"), nil })
			return string(got), err
		}
		if _, err := again(); code(err) != "call_under_way" {
			t.Errorf("at once: %v", err)
		}
		clock.Advance(time.Minute + time.Second)
		if got, err := again(); err != nil || got != "done" {
			t.Errorf("a minute later: %v, %q", err, got)
		}
	})
}

// Many of one at once, on two nodes: one code leaves.
func TestManyAtOnceAreDoneOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			var nodes []*photos
			for range 2 {
				m := testkit.NewMachine(t, dbtest.Open(t, url, clock), ring)
				nodes = append(nodes, &photos{&seconddoor.Service{Parts: m.Parts, SignIn: m.Service, Owner: m.Profile}, t, m, "photos", testkit.NewKey(t)})
			}
			nodes[0].put("u-17", "ada@example.org")
			ref, _ := nodes[0].begin("u-17")
			var done atomic.Int64
			var wg sync.WaitGroup
			for i := range 20 {
				p := nodes[i%2]
				wg.Go(func() {
					got, err := p.Once(t.Context(), seconddoor.Call{App: "photos", Name: "one", Asked: "send"}, func() ([]byte, error) {
						done.Add(1)
						_, err := p.m.Send(t.Context(), ref, p.client(), "email")
						return []byte("sent"), err
					})
					if code(err) != "call_under_way" && (err != nil || string(got) != "sent") {
						t.Errorf("%v, %q", err, got)
					}
				})
			}
			wg.Wait()
			codes := 0
			for _, l := range nodes[0].m.Letters(message.Email) {
				if l.Kind == message.SigninCode {
					codes++
				}
			}
			if done.Load() != 1 || codes != 1 {
				t.Errorf("done %d times, %d codes left", done.Load(), codes)
			}
		})
	}
}
