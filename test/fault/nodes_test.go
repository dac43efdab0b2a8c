package fault_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// Two processes on one PostgreSQL are one server to whoever uses them.
func TestTwoNodesAreOneServer(t *testing.T) {
	one := newSite(t, dbtest.EmptyURL(t, sqldb.Postgres), quick...)
	two := one.twin()
	people := one.seed(30)
	one.start()
	two.start()

	t.Run("a session ended on one is refused by the other within a second", func(t *testing.T) {
		var took []time.Duration
		for i := range 20 {
			here, there := one.app(), two.app()
			if i%2 == 1 {
				here, there = there, here
			}
			here.signIn(one, people[i])
			there.token = here.token
			there.want(200, "GET", "/session", "")
			here.want(204, "DELETE", "/session", "")
			took = append(took, eventually(t, time.Second, "the other node refuses the session", func() bool {
				got, err := there.try(t.Context(), "GET", "/session", "")
				return err == nil && got.is(401, "session_ended")
			}))
		}
		slices.Sort(took)
		t.Logf("20 sessions ended on one node: the other refused them after %v (median), %v (longest)", took[10].Round(time.Millisecond), took[19].Round(time.Millisecond))
	})

	t.Run("a sign-in begun on one goes on anywhere, and so does the device", func(t *testing.T) {
		a, b, p, k := one.app(), two.app(), people[20], one.newKey()
		begun := a.want(201, "POST", "/signin", jsonOf("identifier", p.email))
		second := b.want(200, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
		a.want(202, "POST", "/signin/code/send", jsonOf("flow", begun.Flow, "way", "sms"))
		code := one.mail.waitCode(t, p.phone, 0)
		done := b.want(200, "POST", "/signin/code", fmt.Sprintf(`{"flow":%q,"code":%q,%s}`, begun.Flow, code, k.remember(second.Nonce, "phone")))
		if got := a.want(410, "POST", "/signin/code", jsonOf("flow", begun.Flow, "code", code)); got.Code != "flow_ended" {
			t.Errorf("the spent code on the other node: %s", got.text)
		}
		again := a.want(201, "POST", "/signin", jsonOf("identifier", p.phone))
		if got := b.want(200, "POST", "/signin/password", k.proof(again.Flow, again.Nonce, done.Device.Handle)); got.Step != "done" {
			t.Errorf("the device is not recognised: %s", got.text)
		}
		a.token = done.Session.Token
		a.want(200, "GET", "/session", "")
	})

	t.Run("limits are shared", func(t *testing.T) {
		nodes := []*app{one.app(), two.app()}
		for i := range 10 {
			a := nodes[i%2]
			begun := a.want(201, "POST", "/signin", jsonOf("identifier", people[21].email))
			a.want(401, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", "not it, and long enough"))
		}
		for _, a := range nodes { // the right one is not evaluated any more, either
			begun := a.want(201, "POST", "/signin", jsonOf("identifier", people[21].email))
			a.want(429, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
		}
	})

	t.Run("of one code sent to both at once, one is taken", func(t *testing.T) {
		p := people[22]
		f := one.app().toSecond(p.email)
		one.app().want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "email"))
		code := one.mail.waitCode(t, p.email, 0)
		got := make([]answer, 10)
		var wg sync.WaitGroup
		for i, s := range slices.Repeat([]*site{one, two}, 5) {
			wg.Go(func() {
				got[i], _ = s.app().try(t.Context(), "POST", "/signin/code", jsonOf("flow", f.handle, "code", code))
			})
		}
		wg.Wait()
		won := 0
		for _, g := range got {
			switch {
			case g.status == 200:
				won++
			case !g.is(410, "flow_ended") && !g.is(409, "step_out_of_order") && !g.is(401, "code_refused") && g.status != 429:
				t.Errorf("got %d %s", g.status, g.text)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	})
}

// Two processes started at the same moment on a database that nobody has ever used both come up, and are one server.
func TestTwoNodesStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	one := newSite(t, dbtest.EmptyURL(t, sqldb.Postgres), quick...)
	two := one.twin()
	first, second := one.launch(), two.launch()
	first.await()
	second.await()
	p := one.seed(1)[0]
	begun := one.app().want(201, "POST", "/signin", jsonOf("identifier", p.email))
	two.app().want(200, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
	first.stop()
	second.stop()
}

// P6: a thousand guesses at once, through two nodes, from a source that has no limits: five are evaluated.
func TestOfAThousandGuessesFiveAreEvaluated(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			o := servertest.Options{
				Database: dbtest.NewURL(t, engine), Keys: keyring.Generate(), Clock: dbtest.NewClock(),
				Config: func(c *config.Config) { c.Throttle.ExemptSources = []string{"127.0.0.0/8"} },
			}
			one := servertest.Start(t, o)
			o.Idle = true
			two := servertest.Start(t, o)
			one.Account("ada@example.org")
			nodes := []*app{nodeApp(t, one), nodeApp(t, two)}
			f := nodes[0].toSecond("ada@example.org")
			nodes[0].want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "email"))
			code := one.Code("ada@example.org")

			const guesses = 1000
			var mu sync.Mutex
			seen := map[string]int{}
			var wg sync.WaitGroup
			for i := range guesses {
				guess := fmt.Sprintf("%06d", i)
				if guess == code {
					guess = "999999"
				}
				wg.Go(func() {
					got, err := nodes[i%2].try(t.Context(), "POST", "/signin/code", jsonOf("flow", f.handle, "code", guess))
					mu.Lock()
					defer mu.Unlock()
					seen[fmt.Sprint(got.status, " ", got.Code, err)]++
				})
			}
			wg.Wait()
			// On a slow machine some wait ten seconds for the database and are told to come back: they were not evaluated.
			if seen["401 code_refused<nil>"] != 5 || seen["429 too_many_attempts<nil>"]+seen["503 database_unavailable<nil>"] != guesses-5 {
				t.Errorf("want 5 evaluated and %d not: %v", guesses-5, seen)
			}
			var events int
			if err := one.Core().DB.Read(t.Context(), func(tx *sqldb.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT count(*) FROM audit_event WHERE kind = 'authn_code_fail'`).Scan(&events)
			}); err != nil || events != 5 {
				t.Errorf("%d recorded, %v", events, err)
			}
			// Not even the right one is.
			nodes[1].want(429, "POST", "/signin/code", jsonOf("flow", f.handle, "code", code))
		})
	}
}

// nodeApp speaks to a node within this program.
func nodeApp(t testing.TB, n *servertest.Node) *app {
	return &app{t: t, base: n.URL, host: strings.TrimPrefix(n.URL, "http://"), http: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: 100, MaxIdleConnsPerHost: 100},
	}}
}
