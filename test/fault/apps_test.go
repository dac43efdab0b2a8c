package fault_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"countersign/internal/client"
	"countersign/internal/keyring"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// A rule that an operator makes beside one node is in force on the other within a second, and so is
// its end and the retirement of a whole version of the API. No node is restarted.
func TestRulesForAppsReachEveryNodeWithinASecond(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			o := servertest.Options{Database: dbtest.NewURL(t, engine), Keys: keyring.Generate(), Clock: dbtest.NewClock()}
			nodes := []*servertest.Node{servertest.Start(t, o), servertest.Start(t, o)}
			var took []time.Duration
			bothAnswer := func(what string, status int) {
				t.Helper()
				for _, n := range nodes {
					took = append(took, eventually(t, time.Second, what, func() bool { return asks(t, n, "ios/2.0.0") == status }))
				}
			}
			bound := func(text string) *client.Bound {
				b, err := client.ParseBound(text)
				if err != nil {
					t.Fatal(err)
				}
				return &b
			}
			for i := range 5 {
				operator := nodes[i%2].Core().Clients
				if _, err := operator.Set(t.Context(), "ios", client.Change{RefuseBelow: bound(fmt.Sprintf("3.%d", i))}); err != nil {
					t.Fatal(err)
				}
				bothAnswer("refused", http.StatusUpgradeRequired)
				if err := operator.Retire(t.Context(), "v1", o.Clock.Now()); err != nil {
					t.Fatal(err)
				}
				bothAnswer("retired", http.StatusGone)
				if _, err := operator.Unretire(t.Context(), "v1"); err != nil {
					t.Fatal(err)
				}
				bothAnswer("refused again", http.StatusUpgradeRequired)
				if ok, err := operator.Clear(t.Context(), "ios"); !ok || err != nil {
					t.Fatal(ok, err)
				}
				bothAnswer("served again", http.StatusUnauthorized)
			}
			slices.Sort(took)
			t.Logf("%d changes were in force after %v (median), %v (longest)", len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		})
	}
}

// asks calls the API as an application and returns the status.
func asks(t *testing.T, n *servertest.Node, app string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+"/api/v1/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Countersign-Client", app)
	res, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// Counts that were not written yet are written when the server stops; only a kill loses seconds of them.
func TestCountsOfAppsAreWrittenWhenTheServerStops(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			o := servertest.Options{Database: dbtest.NewURL(t, engine), Keys: keyring.Generate(), Clock: dbtest.NewClock()}
			t.Run("serve", func(t *testing.T) {
				n := servertest.Start(t, o)
				for range 7 {
					asks(t, n, "ios/2.0.0")
				}
			})
			n := servertest.Start(t, o)
			used, err := n.Core().Clients.Usage(t.Context(), client.Unknown)
			if err != nil || len(used) != 1 || used[0].Calls != 7 || used[0].Route != "GET /api/v1/session" {
				t.Errorf("%+v %v", used, err)
			}
		})
	}
}
