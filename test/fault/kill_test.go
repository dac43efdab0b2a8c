package fault_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// rounds is how often the server is killed: a few times, or FAULT_ROUNDS ("make fault": 100).
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("FAULT_ROUNDS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("FAULT_ROUNDS=%q is no number", text)
	}
	return n
}

// P11: whatever a client was told stands, however often the process is killed under load.
func TestNothingAcknowledgedIsLostToKills(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		kills(t, newSite(t, "", quick...), rounds(t), 50*time.Millisecond)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		kills(t, newSite(t, dbtest.EmptyURL(t, sqldb.Postgres), quick...), rounds(t), 400*time.Millisecond)
	})
}

// kills kills a site's server n times, each time after at least so long under load.
func kills(t *testing.T, s *site, n int, least time.Duration) {
	s.mail.delay.Store(int64(30 * time.Millisecond))
	l := &ledger{t: t, site: s, people: s.seed(n*40 + 50)}
	began := time.Now()
	for round := range n {
		if below(10) == 0 { // some die while they start
			p := s.launch()
			time.Sleep(time.Duration(below(150)) * time.Millisecond)
			p.kill()
		}
		p := s.start()
		l.check(false)
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		l.over.Store(false)
		for range 6 {
			clients.Go(func() { l.load(ctx) })
		}
		l.awaitSignIns(below(6))
		time.Sleep(least + time.Duration(below(400))*time.Millisecond)
		l.over.Store(true)
		p.kill()
		cancel()
		clients.Wait()
		if t.Failed() {
			t.Fatalf("after %d kills; the last server's log:\n%s", round+1, p.log)
		}
	}
	p := s.start()
	l.check(true)
	l.awaitNotices()
	p.stop()
	l.nothingHalfDone()
	t.Logf("%d kills in %v: %d sign-ins acknowledged, %d codes sent, %d sessions ended, %d devices remembered, %d recognised, %d forgotten; %d letters came twice; %d answers busy",
		n, time.Since(began).Round(time.Millisecond), l.count.signIns, l.count.sends, l.count.ended, l.count.remembered, l.count.recognised, l.count.forgotten, s.mail.twice, l.count.busy)
}

// ledger is what the clients were told, and what they had not been told yet when the server died.
type ledger struct {
	t    *testing.T
	site *site
	over atomic.Bool // the kill has begun: connections may break

	mu     sync.Mutex
	people []person // not used yet; each signs in once by code
	live   []string // session tokens
	ended  []string
	spent  []attempt
	known  []remembered // devices to recognise
	gone   []remembered // devices forgotten
	open   []*attempt   // a code's sending was acknowledged, its use was not
	told   []person     // who must get the letter about a new device
	count  struct{ signIns, sends, ended, remembered, recognised, forgotten, busy int }
}

// attempt is a sign-in at the second door.
type attempt struct {
	flow
	person
	way, code string
	tried     bool // the code was sent to the server, and no answer came
}

// remembered is a device, and a session from which it can be seen.
type remembered struct {
	key
	person
	id, handle, token string
	uncertain         bool // it showed its handle, and no answer came
}

// load signs people in until the server dies.
func (l *ledger) load(ctx context.Context) {
	for ctx.Err() == nil && !l.over.Load() {
		p, ok := l.next()
		if !ok {
			return
		}
		l.session(ctx, l.site.app(), p)
	}
}

// awaitSignIns waits until n more were acknowledged: a slow machine has to be under load as well.
func (l *ledger) awaitSignIns(n int) {
	l.t.Helper()
	sofar := func() (c int) {
		l.note(func() { c = l.count.signIns })
		return c
	}
	was := sofar()
	eventually(l.t, time.Minute, "the clients get on", func() bool { return sofar() >= was+n || l.t.Failed() })
}

func (l *ledger) next() (p person, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.people) == 0 {
		return p, false
	}
	p, l.people = l.people[0], l.people[1:]
	return p, true
}

// note changes the ledger.
func (l *ledger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// call calls the API. It reports false if the client cannot know what happened, or must come back later.
func (l *ledger) call(ctx context.Context, a *app, want int, method, path, body string) (answer, bool) {
	got, err := a.try(ctx, method, path, body)
	switch {
	case err != nil:
		if !l.over.Load() {
			l.t.Errorf("%s %s, and nobody had been killed: %v", method, path, err)
		}
		return got, false
	case got.is(http.StatusServiceUnavailable, "busy"):
		l.note(func() { l.count.busy++ })
		return got, false
	case got.status != want:
		l.t.Errorf("%s %s: got %d %s, want %d", method, path, got.status, got.text, want)
		return got, false
	}
	return got, true
}

// session is one person's: in by a code, and then one of several things.
func (l *ledger) session(ctx context.Context, a *app, p person) {
	defer a.http.CloseIdleConnections()
	begun, ok := l.call(ctx, a, 201, "POST", "/signin", jsonOf("identifier", p.email))
	if !ok {
		return
	}
	second, ok := l.call(ctx, a, 200, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
	if !ok {
		return
	}
	at := &attempt{flow: flow{begun.Flow, second.Nonce}, person: p, way: []string{"sms", "email"}[below(2)]}
	if _, ok := l.call(ctx, a, 202, "POST", "/signin/code/send", jsonOf("flow", at.handle, "way", at.way)); !ok {
		return
	}
	l.note(func() { l.count.sends++; l.open = append(l.open, at) })
	wait, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	code, err := l.site.mail.awaitCode(wait, p.reach(at.way), 0)
	if err != nil {
		return // it stays open: the letter must come all the same
	}
	l.finish(ctx, a, at, code)
}

// finish uses the code, and goes on with the session it wins.
func (l *ledger) finish(ctx context.Context, a *app, at *attempt, code string) {
	k, what := l.site.newKey(), below(5)
	body := fmt.Sprintf(`{"flow":%q,"code":%q}`, at.handle, code)
	if what >= 2 {
		body = fmt.Sprintf(`{"flow":%q,"code":%q,%s}`, at.handle, code, k.remember(at.nonce, "a device"))
	}
	l.note(func() { at.tried, at.code = true, code })
	done, ok := l.call(ctx, a, 200, "POST", "/signin/code", body)
	if !ok {
		return
	}
	a.token = done.Session.Token
	d := remembered{key: k, person: at.person, id: done.Device.ID, handle: done.Device.Handle, token: a.token}
	l.note(func() {
		l.count.signIns++
		l.open = slices.DeleteFunc(l.open, func(o *attempt) bool { return o == at })
		l.spent = append(l.spent, *at)
		l.told = append(l.told, at.person)
		l.live = append(l.live, a.token)
		if d.id != "" {
			l.count.remembered++
			l.known = append(l.known, d)
		}
	})
	switch what {
	case 1:
		l.end(ctx, a)
	case 3:
		l.recognise(ctx, d)
	case 4:
		l.forget(ctx, a, d)
	}
}

// end signs out.
func (l *ledger) end(ctx context.Context, a *app) {
	l.note(func() { l.live = drop(l.live, a.token) }) // from now on nobody can say
	if _, ok := l.call(ctx, a, 204, "DELETE", "/session", ""); ok {
		l.note(func() { l.count.ended++; l.ended = append(l.ended, a.token) })
	}
}

// recognise signs in from a remembered device, and reports whether the server said it knows it.
func (l *ledger) recognise(ctx context.Context, d remembered) {
	a := l.site.app()
	defer a.http.CloseIdleConnections()
	begun, ok := l.call(ctx, a, 201, "POST", "/signin", jsonOf("identifier", d.email))
	if !ok {
		return
	}
	l.note(func() { l.known = dropDevice(l.known, d.id) })
	done, ok := l.call(ctx, a, 200, "POST", "/signin/password", d.proof(begun.Flow, begun.Nonce, d.handle))
	if !ok {
		d.uncertain = true // a new handle may have been lost on its way; the old one still has its minute
		l.note(func() { l.known = append(l.known, d) })
		return
	}
	if done.Step != "done" {
		l.t.Errorf("a remembered device was not recognised: step %s", done.Step)
		return
	}
	l.note(func() {
		l.count.recognised++
		l.live = append(l.live, done.Session.Token)
		if done.Device.Handle != "" {
			d.handle, d.uncertain = done.Device.Handle, false
			l.known = append(l.known, d)
		}
	})
}

func (l *ledger) forget(ctx context.Context, a *app, d remembered) {
	l.note(func() { l.known = dropDevice(l.known, d.id) })
	if _, ok := l.call(ctx, a, 204, "DELETE", "/devices/"+d.id, ""); ok {
		l.note(func() { l.count.forgotten++; l.gone = append(l.gone, d) })
	}
}

func drop(all []string, one string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == one })
}

func dropDevice(all []remembered, id string) []remembered {
	return slices.DeleteFunc(all, func(d remembered) bool { return d.id == id })
}

// last returns up to n at the end, where what was acknowledged just before the kill stands.
func last[T any](all []T, n int) []T { return slices.Clone(all[max(0, len(all)-n):]) }

// check asks the server that came back for what the one before it promised. At the end it asks
// for everything, and waits for every letter; in between for the newest of each kind.
func (l *ledger) check(all bool) {
	l.t.Helper()
	most := func(n int) int {
		if all {
			return 1 << 30
		}
		return n
	}
	ctx := l.t.Context()
	l.over.Store(false)
	a := l.site.app()
	defer a.http.CloseIdleConnections()
	for _, a.token = range last(l.live, most(40)) {
		if got, err := a.try(ctx, "GET", "/session", ""); err != nil || got.status != 200 {
			l.t.Errorf("an acknowledged session: %d %s %v", got.status, got.text, err)
		}
	}
	for _, a.token = range last(l.ended, most(20)) {
		if got, err := a.try(ctx, "GET", "/session", ""); err != nil || got.status != 401 {
			l.t.Errorf("an ended session: %d %s %v", got.status, got.text, err)
		}
	}
	a.token = ""
	for _, at := range last(l.spent, most(5)) {
		if got, err := a.try(ctx, "POST", "/signin/code", jsonOf("flow", at.handle, "code", at.code)); err != nil || !got.is(410, "flow_ended") {
			l.t.Errorf("a code that was spent: %d %s %v", got.status, got.text, err)
		}
	}
	l.devices(ctx)
	l.resume(ctx, all)
}

// devices looks at some of the devices: each costs a password hash.
func (l *ledger) devices(ctx context.Context) {
	newest := last(l.known, 3)
	slices.SortStableFunc(newest, func(x, y remembered) int { return cmp.Compare(btoi(y.uncertain), btoi(x.uncertain)) })
	for _, d := range newest[:min(2, len(newest))] {
		l.recognise(ctx, d)
	}
	for _, d := range last(l.gone, 1) {
		a := l.site.app()
		begun := a.want(201, "POST", "/signin", jsonOf("identifier", d.email))
		if got := a.want(200, "POST", "/signin/password", d.proof(begun.Flow, begun.Nonce, d.handle)); got.Step != "second" {
			l.t.Errorf("a forgotten device was recognised")
		}
	}
	l.gone = nil
	// Whoever showed a handle before the kill and is not asked for now has missed its minute.
	l.known = slices.DeleteFunc(l.known, func(d remembered) bool { return d.uncertain })
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// resume goes on with sign-ins whose code was acknowledged as sent: the letter must come, and the code must fit.
func (l *ledger) resume(ctx context.Context, all bool) {
	patience := time.Millisecond
	if all {
		patience = 50 * time.Second // a killed courier's claim runs out after half a minute
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, at := range slices.Clone(l.open) {
		code, err := l.site.mail.awaitCode(ctx, at.reach(at.way), 0)
		if err != nil {
			if all {
				l.t.Errorf("a letter that was acknowledged never came")
			}
			continue
		}
		a := l.site.app()
		if !at.tried {
			l.finish(l.t.Context(), a, at, code)
			continue
		}
		// The code was on its way at the kill: it was used as a whole, or not at all.
		got, err := a.try(l.t.Context(), "POST", "/signin/code", jsonOf("flow", at.handle, "code", code))
		if err != nil || !got.is(410, "flow_ended") && got.status != 200 {
			l.t.Errorf("a code under way at the kill: %d %s %v", got.status, got.text, err)
		}
		l.note(func() {
			l.told = append(l.told, at.person)
			l.open = slices.DeleteFunc(l.open, func(o *attempt) bool { return o == at })
			if got.status == 200 {
				l.live = append(l.live, got.Session.Token)
			}
		})
	}
}

// awaitNotices waits until everybody who signed in from a new device has been told.
func (l *ledger) awaitNotices() {
	l.t.Helper()
	end := time.Now().Add(50 * time.Second)
	for _, p := range l.told {
		for l.site.mail.notices(p.email) == 0 {
			if time.Now().After(end) {
				l.t.Fatal("somebody was never told of a sign-in")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// nothingHalfDone looks into the database, where what belongs together must be together.
func (l *ledger) nothingHalfDone() {
	l.t.Helper()
	core := l.site.open()
	defer func() { _ = core.Close() }()
	if err := core.DB.Read(l.t.Context(), func(tx *sqldb.Tx) error {
		v, err := core.Audit.Verify(l.t.Context(), tx, "", 1<<30)
		if len(v.Changed) > 0 || v.Rows == 0 {
			l.t.Errorf("of %d audit rows, these do not fit their seal: %v", v.Rows, v.Changed)
		}
		return err
	}); err != nil {
		l.t.Error(err)
	}
	count := func(query string) (n int) {
		if err := core.DB.Read(l.t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(l.t.Context(), query).Scan(&n)
		}); err != nil {
			l.t.Errorf("%s: %v", query, err)
		}
		return n
	}
	for what, pair := range map[string][2]string{
		"finished flows and sessions": {`SELECT count(*) FROM signin_flow WHERE step = 'done'`, `SELECT count(*) FROM session`},
		"sessions and their events":   {`SELECT count(*) FROM session`, `SELECT count(*) FROM audit_event WHERE kind = 'authn_login_success'`},
		"spent codes and their flows": {
			`SELECT count(*) FROM onetime_code WHERE spent_at IS NOT NULL`,
			`SELECT count(*) FROM onetime_code c JOIN signin_flow f ON f.id = c.flow_id WHERE f.step = 'done' AND c.spent_at IS NOT NULL`,
		},
		"sign-ins by code and letters about them": {
			`SELECT 2 * count(*) FROM onetime_code WHERE spent_at IS NOT NULL`, `SELECT count(*) FROM outbox_letter WHERE kind = 'new_device'`, // at both addresses,
		},
		"codes sent and their letters":         {`SELECT sum(sends) FROM onetime_code`, `SELECT count(*) FROM outbox_letter WHERE kind = 'signin_code'`},
		"codes sent and their events":          {`SELECT sum(sends) FROM onetime_code`, `SELECT count(*) FROM audit_event WHERE kind = 'authn_code_sent'`},
		"devices and their events":             {`SELECT count(*) FROM device`, `SELECT count(*) FROM audit_event WHERE kind = 'device_remembered'`},
		"devices that live and their handles":  {`SELECT count(*) FROM device WHERE ended_at IS NULL`, `SELECT count(*) FROM device d WHERE d.ended_at IS NULL AND 1 = (SELECT count(*) FROM device_handle h WHERE h.device_id = d.id AND h.spent_at IS NULL)`},
		"ended sessions and what nodes heard":  {`SELECT count(*) FROM session WHERE ended_at IS NOT NULL`, `SELECT count(*) FROM session_change`},
		"letters that are neither in nor out":  {`SELECT count(*) FROM outbox_letter WHERE state NOT IN ('waiting', 'sent')`, `SELECT 0`},
		"letters sent that still have words":   {`SELECT count(*) FROM outbox_letter WHERE state = 'sent' AND sealed IS NOT NULL`, `SELECT 0`},
		"passwords without an account of ours": {`SELECT count(*) FROM password WHERE account_id NOT IN (SELECT id FROM account WHERE state IN ('active', 'decoy'))`, `SELECT 0`},
	} {
		if left, right := count(pair[0]), count(pair[1]); left != right {
			l.t.Errorf("%s: %d and %d", what, left, right)
		}
	}
	if core.DB.Engine() == sqldb.SQLite {
		if n := count(`SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'`); n != 0 {
			l.t.Errorf("the file is damaged in %d places", n)
		}
	}
}
