package dpop_test

import (
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/dpop"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// app makes proofs as one does.
type app struct {
	t     *testing.T
	clock *dbtest.Clock
	testkit.DPoP
}

func (a app) proof(nonce string) dpop.Proof { return a.named(nonce, rand.Text()) }

func (a app) named(nonce, jti string) dpop.Proof {
	a.t.Helper()
	c := testkit.About(a.clock.Now(), "GET", url, "t", nonce)
	c["jti"] = jti
	p, err := dpop.Read(a.Proof(c), dpop.Request{Method: "GET", URL: url, Token: secret.Of("t")}, a.clock.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// spend says what became of a proof, and which nonce is next.
func (a app) spend(at *dpop.Service, p dpop.Proof) (what, next string) {
	a.t.Helper()
	next, err := at.Spend(a.t.Context(), p)
	if err == nil {
		return "taken", next
	}
	if fault.Of(err).Kind != fault.Unauthenticated {
		a.t.Fatal(err)
	}
	return fault.Of(err).Code, next
}

// two are two nodes on one database.
func two(t *testing.T, f func(a app, one, two *dpop.Service, db *sqldb.DB)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		ring := testkit.Ring(t)
		f(app{t, clock, testkit.NewDPoP(t, testkit.NewKey(t))}, node(db, ring), node(db, ring), db)
	})
}

func node(db *sqldb.DB, ring *keyring.Ring) *dpop.Service {
	return &dpop.Service{DB: db, Ring: ring, Node: rand.Text()}
}

func kept(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	if err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT count(*) FROM dpop_proof").Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAProofIsUsedOnce(t *testing.T) {
	two(t, func(a app, one, two *dpop.Service, db *sqldb.DB) {
		for name, bad := range map[string]string{"no nonce": "", "an invented one": "bm9uY2U", "no nonce at all": "%%%"} {
			if what, next := a.spend(one, a.proof(bad)); what != "dpop_nonce_needed" || next == "" {
				a.t.Errorf("%s: %s", name, what)
			}
		}
		nonce := one.Nonce()
		p := a.proof(nonce)
		if what, next := a.spend(one, p); what != "taken" || next != "" {
			a.t.Errorf("the first: %s, then %q", what, next)
		}
		if what, _ := a.spend(one, p); what != "dpop_proof_refused" {
			a.t.Errorf("the same at the same node: %s", what)
		}
		what, next := a.spend(two, p)
		if what != "dpop_nonce_needed" {
			a.t.Errorf("the same at another node: %s", what)
		}
		if what, _ := a.spend(one, a.named(nonce, "mine")); what != "taken" {
			a.t.Errorf("another with one nonce: %s", what)
		}
		if what, _ := a.spend(one, a.named(one.Nonce(), "mine")); what != "dpop_proof_refused" {
			a.t.Errorf("the same name with another nonce: %s", what)
		}
		other := app{a.t, a.clock, testkit.NewDPoP(a.t, testkit.NewEdKey(a.t))}
		if what, _ := a.spend(one, other.named(nonce, "mine")); what != "taken" {
			a.t.Errorf("the same name by another key: %s", what)
		}
		if n := kept(a.t, db); n != 0 {
			a.t.Errorf("%d rows, of an app that keeps to its node", n)
		}
		// From here on the app goes to both, as a balancer takes it.
		p = a.proof(next)
		if what, _ := a.spend(one, p); what != "taken" {
			a.t.Errorf("with the nonce of all nodes: %s", what)
		}
		for _, at := range []*dpop.Service{one, two} {
			if what, _ := a.spend(at, p); what != "dpop_proof_refused" {
				a.t.Errorf("once more: %s", what)
			}
		}
		if what, _ := a.spend(two, a.proof(next)); what != "taken" {
			a.t.Errorf("the next at the other node: %s", what)
		}
		if n := kept(a.t, db); n != 2 {
			a.t.Errorf("%d rows, want 2", n)
		}
	})
}

func TestNoncesAreForMinutes(t *testing.T) {
	two(t, func(a app, one, two *dpop.Service, db *sqldb.DB) {
		mine := one.Nonce()
		_, every := a.spend(two, a.proof(mine))
		a.clock.Advance(61 * time.Second)
		for at, nonce := range map[*dpop.Service]string{one: mine, two: every} {
			what, next := a.spend(at, a.proof(nonce))
			if what != "taken" || next == "" || next == nonce {
				a.t.Fatalf("%s, then %q", what, next)
			}
			if what, _ := a.spend(at, a.proof(next)); what != "taken" {
				a.t.Errorf("the next one: %s", what)
			}
		}
		if n := kept(a.t, db); n != 2 {
			a.t.Errorf("%d rows: the nonce of all nodes is not followed by such a one", n)
		}
		a.clock.Advance(time.Minute)
		for at, nonce := range map[*dpop.Service]string{one: mine, two: every} {
			if what, _ := a.spend(at, a.proof(nonce)); what != "dpop_nonce_needed" {
				a.t.Errorf("after two minutes: %s", what)
			}
		}
		// A node that was restarted remembers nothing, and so takes nothing of before.
		p := a.proof(one.Nonce())
		a.spend(one, p)
		if what, _ := a.spend(&dpop.Service{DB: one.DB, Ring: one.Ring, Node: rand.Text()}, p); what != "dpop_nonce_needed" {
			a.t.Errorf("after a restart: %s", what)
		}
	})
}

// A proof must not be forgotten before its nonce is: however the calls lie in time.
func TestNothingIsForgottenTooEarly(t *testing.T) {
	two(t, func(a app, one, _ *dpop.Service, _ *sqldb.DB) {
		for turn := range 24 {
			nonce := one.Nonce()
			a.clock.Advance(time.Duration(turn*11) * time.Second % (2 * time.Minute))
			p := a.named(nonce, strconv.Itoa(turn))
			if what, _ := a.spend(one, p); what != "taken" {
				a.t.Fatalf("%d: %s", turn, what)
			}
			for range 11 + turn%3 { // out of step with how a node forgets
				a.clock.Advance(11 * time.Second)
				a.spend(one, a.proof(one.Nonce())) // others go on
				if what, _ := a.spend(one, p); what == "taken" {
					a.t.Fatalf("%d: used twice", turn)
				}
			}
		}
	})
}

// A thousand calls with one proof, at two nodes: one gets in, whichever nonce it has.
func TestOneOfAThousandCalls(t *testing.T) {
	two(t, func(a app, one, two *dpop.Service, _ *sqldb.DB) {
		_, every := a.spend(two, a.proof(one.Nonce()))
		for name, nonce := range map[string]string{"a node's": one.Nonce(), "every node's": every} {
			p := a.proof(nonce)
			var taken atomic.Int64
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					if _, err := []*dpop.Service{one, two}[i%2].Spend(a.t.Context(), p); err == nil {
						taken.Add(1)
					}
				})
			}
			wg.Wait()
			if taken.Load() != 1 {
				a.t.Errorf("%s: %d got in", name, taken.Load())
			}
		}
	})
}

func TestUsedProofsArePruned(t *testing.T) {
	two(t, func(a app, one, two *dpop.Service, db *sqldb.DB) {
		_, every := a.spend(two, a.proof(one.Nonce()))
		a.spend(one, a.proof(every))
		for _, want := range []int{1, 0} {
			if err := db.Write(a.t.Context(), func(tx *sqldb.Tx) error { _, err := one.Prune(a.t.Context(), tx); return err }); err != nil {
				a.t.Fatal(err)
			}
			if n := kept(a.t, db); n != want {
				a.t.Errorf("%d rows, want %d", n, want)
			}
			a.clock.Advance(3 * time.Minute)
		}
	})
}

// BenchmarkSpend is what a call costs beside its session: the proof's signature, and that it is used once.
func BenchmarkSpend(b *testing.B) {
	now := time.Now()
	db := dbtest.SQLite(b)
	s := node(db, testkit.Ring(b))
	d := testkit.NewDPoP(b, testkit.NewKey(b))
	texts := make([]string, b.N)
	nonce := s.Nonce()
	for i := range texts {
		texts[i] = d.Proof(testkit.About(now, "GET", url, "t", nonce))
	}
	b.ResetTimer()
	for _, text := range texts {
		p, err := dpop.Read(text, dpop.Request{Method: "GET", URL: url, Token: secret.Of("t")}, now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Spend(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}
