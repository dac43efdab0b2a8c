package fault_test

import (
	"testing"
	"time"

	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const ada = "ada@example.org"

// The clock jumps ahead, as after a machine slept: what should be over by then is over, and
// whoever comes next is served.
func TestTheClockJumpsAhead(t *testing.T) {
	clocks(t, func(t *testing.T, n *servertest.Node, a *app) {
		f, code := atCode(t, n, a)
		n.Clock.Advance(10*time.Minute + time.Second)
		if got := a.want(401, "POST", "/signin/code", jsonOf("flow", f.handle, "code", code)); got.Code != "code_refused" {
			t.Errorf("after ten minutes: %s", got.text)
		}
		n.Clock.Advance(5 * time.Minute)
		a.want(410, "POST", "/signin/code", jsonOf("flow", f.handle, "code", code))

		enter(t, n, a)
		n.Clock.Advance(11 * time.Hour)
		a.want(200, "GET", "/session", "")
		n.Clock.Advance(12*time.Hour + time.Second)
		a.want(401, "GET", "/session", "")
		n.Clock.Advance(365 * 24 * time.Hour)
		enter(t, n, a)
	})
}

// The clock was ahead and is set right. What was spent or ended stays so; a sign-in under way
// is over, and nothing lasts longer than the wrong clock said; nobody is kept out.
func TestTheClockIsSetBack(t *testing.T) {
	const ahead = 72 * time.Hour
	clocks(t, func(t *testing.T, n *servertest.Node, a *app) {
		enter(t, n, a)
		ended := nodeApp(t, n)
		enter(t, n, ended)
		ended.want(204, "DELETE", "/session", "")
		guesser := nodeApp(t, n)
		guessed := guesser.toSecond("grace@example.org")
		for range 5 {
			guesser.want(401, "POST", "/signin/code", jsonOf("flow", guessed.handle, "code", "000000"))
		}
		guesser.want(429, "POST", "/signin/code", jsonOf("flow", guessed.handle, "code", "000000"))
		under, code := atCode(t, n, nodeApp(t, n))

		n.Clock.Advance(-ahead)
		ended.want(401, "GET", "/session", "")
		a.want(200, "GET", "/session", "")
		if got := nodeApp(t, n).want(410, "POST", "/signin/code", jsonOf("flow", under.handle, "code", code)); got.Code != "flow_ended" {
			t.Error(got.text)
		}
		enter(t, n, nodeApp(t, n))
		n.Clock.Advance(15 * time.Minute) // the wait that was due
		again := guesser.toSecond("grace@example.org")
		guesser.want(401, "POST", "/signin/code", jsonOf("flow", again.handle, "code", "000000"))

		n.Clock.Advance(ahead + 12*time.Hour)
		a.want(401, "GET", "/session", "")
	})
}

// clocks runs f with a node on each engine.
func clocks(t *testing.T, f func(t *testing.T, n *servertest.Node, a *app)) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			n.Account(ada)
			n.Account("grace@example.org")
			f(t, n, nodeApp(t, n))
		})
	}
}

// atCode goes as far as a code that has come.
func atCode(t *testing.T, n *servertest.Node, a *app) (f flow, code string) {
	t.Helper()
	f = a.toSecond(ada)
	a.want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "email"))
	for code == "" { // letters about new devices have none
		code = n.Code(ada)
	}
	return f, code
}

// enter signs in.
func enter(t *testing.T, n *servertest.Node, a *app) {
	t.Helper()
	f, code := atCode(t, n, a)
	a.token = a.want(200, "POST", "/signin/code", jsonOf("flow", f.handle, "code", code)).Session.Token
	a.want(200, "GET", "/session", "")
}
