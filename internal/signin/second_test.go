package signin_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// P6, A-6.6.2, C-MF-06: a code works once, in its flow, in its browser, until the next is sent, for ten minutes.
func TestCodeWorksOnceWhereItWasAskedFor(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		ref, _ := b.password("ada@example.org", testkit.Password)
		first := b.code(ref, factor.Email)

		elsewhere := signin.Ref{Flow: ref.Flow, Browser: secret.NewToken(signin.BrowserPrefix)}
		if _, err := m.Code(t.Context(), elsewhere, m.Client, signin.CodeProof{Code: first}); code(err) != "flow_ended" {
			t.Fatalf("from another browser: %v", err)
		}
		other, _ := b.password("ada@example.org", testkit.Password)
		b.code(other, factor.Email)
		if n, err := m.Code(t.Context(), other, m.Client, signin.CodeProof{Code: first}); err != nil || !n.Refused {
			t.Fatalf("in another flow: %+v, %v", n, err)
		}
		if sent, err := m.Send(t.Context(), ref, m.Client, factor.Email); err != nil || !sent.TooSoon {
			t.Fatalf("re-send at once: %+v, %v", sent, err)
		}
		clock.Advance(31 * time.Second)
		second := b.code(ref, factor.Email)
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: first}); err != nil || !n.Refused {
			t.Fatalf("old code after re-send: %+v, %v", n, err)
		}
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: second}); err != nil || n.Step != signin.StepDone {
			t.Fatalf("new code: %+v, %v", n, err)
		}
		if _, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: second}); code(err) != "flow_ended" {
			t.Fatalf("replayed: %v", err)
		}

		late, _ := b.password("ada@example.org", testkit.Password)
		c := b.code(late, factor.Email)
		clock.Advance(10*time.Minute + time.Second)
		if n, err := m.Code(t.Context(), late, m.Client, signin.CodeProof{Code: c}); err != nil || !n.Refused {
			t.Fatalf("after ten minutes: %+v, %v", n, err)
		}
	})
}

// N-3.1.3.2-06: neither a new code nor a new flow resets the five tries.
func TestFiveTriesAcrossSendsAndFlows(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		tries := 0
		for flow := range 3 {
			ref, _ := newBrowser(t, m).password("ada@example.org", testkit.Password)
			for try := range 2 {
				newBrowser(t, m).code(ref, factor.Email)
				n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of("not it")})
				if tries++; tries <= 5 && (err != nil || !n.Refused) {
					t.Fatalf("try %d: %+v, %v", tries, n, err)
				}
				if tries > 5 && code(err) != "too_many_attempts" {
					t.Fatalf("try %d: %+v, %v; want too_many_attempts", tries, n, err)
				}
				clock.Advance(time.Minute)
				if flow == 1 && try == 1 {
					clock.Advance(8 * time.Minute)
				}
			}
		}
	})
}

// P6: of 1,000 guesses at once through two nodes, five are evaluated.
func TestParallelGuessesAreCounted(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			nodes := []*testkit.Machine{
				testkit.NewMachine(t, dbtest.Open(t, url, clock), ring),
				testkit.NewMachine(t, dbtest.Open(t, url, clock), ring),
			}
			for _, m := range nodes { // the limit per source would stop them sooner: it is another test's
				m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			}
			nodes[0].Account("ada@example.org")
			b := newBrowser(t, nodes[0])
			ref, _ := b.password("ada@example.org", testkit.Password)
			right := b.code(ref, factor.Email)
			var evaluated, limited atomic.Int64
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					n, err := nodes[i%2].Code(t.Context(), ref, nodes[i%2].Client, signin.CodeProof{Code: secret.Of("000000x")})
					switch {
					case err == nil && n.Refused:
						evaluated.Add(1)
					case code(err) == "too_many_attempts":
						limited.Add(1)
					default:
						t.Errorf("guess %d: %+v, %v", i, n, err)
					}
				})
			}
			wg.Wait()
			if evaluated.Load() != 5 || limited.Load() != 995 {
				t.Fatalf("%d evaluated, %d refused by the limit; want 5 and 995", evaluated.Load(), limited.Load())
			}
			if _, err := nodes[1].Code(t.Context(), ref, nodes[1].Client, signin.CodeProof{Code: right}); code(err) != "too_many_attempts" {
				t.Fatalf("the right code afterwards: %v", err)
			}
		})
	}
}

// of any number of right answers at once, one signs in.
func TestRightCodeAtOnceSignsInOnce(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		ref, _ := b.password("ada@example.org", testkit.Password)
		right := b.code(ref, factor.Email)
		var done atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: right}); err == nil && n.Step == signin.StepDone {
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if done.Load() != 1 {
			t.Fatalf("%d sessions from one code", done.Load())
		}
	})
}

// P6: codes count together over all names of an account.
func TestCodesCountOverAllNames(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		names := []string{"ada@example.org", "ada@example.com", "+4915112345678"}
		m.Account(names...)
		evaluated := 0
		for _, name := range names {
			b := newBrowser(t, m)
			ref, _ := b.password(name, testkit.Password)
			b.code(ref, factor.Email)
			for range 3 {
				if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of("000000x")}); err == nil && n.Refused {
					evaluated++
				}
			}
		}
		if evaluated != 5 {
			t.Fatalf("%d evaluated, want 5", evaluated)
		}
	})
}

// A way that has no provider is offered to nobody, and an account that nothing reaches is not told apart.
func TestOnlyWaysWithAProviderAreOffered(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org", "+4915112345678")
		m.Account("+4915112345679")
		m.Ways = []factor.Way{factor.Email}
		for name, reached := range map[string]bool{"ada@example.org": true, "+4915112345679": false} {
			b := newBrowser(t, m)
			ref, n := b.password(name, testkit.Password)
			if len(n.Ways) != 1 || n.Ways[0] != factor.Email {
				t.Errorf("%s is offered %v, want e-mail alone", name, n.Ways)
			}
			if got := !b.code(ref, factor.Email).Empty(); got != reached {
				t.Errorf("%s: a code was sent: %v, want %v", name, got, reached)
			}
			if _, err := m.Send(t.Context(), ref, m.Client, factor.SMS); code(err) != "way_unknown" {
				t.Errorf("%s: text message: %v, want way_unknown", name, err)
			}
		}
	})
}
