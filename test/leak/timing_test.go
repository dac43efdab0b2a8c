//go:build !race

// The race detector's own work drowns any difference, so make test runs these without it.

package leak_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/go-jose/go-jose/v4"

	"countersign/internal/account"
	passwords "countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// mode is one door of one installation, and the steps that are timed there.
type mode struct {
	label    string
	engine   sqldb.Engine
	hidden   bool // signin.hide_password_result
	realCost bool
	steps    []timed
	held     bool   // who is known had the address until lately
	imported string // what the accounts' hashes are: "" ours, else see adopt
	links    string // not names are compared, but links of letters to this page
	equipped bool   // who is known has contacts and a saved code beside the address that both prove
	strays   bool   // not names are compared, but what another application calls its accounts
	devices  bool   // not names are compared, but codes of another application's devices
	phones   bool   // names are numbers
	foreign  bool   // not a name that nobody has is compared, but an account's with a destination that is not its own
	before   map[string]func(c *clocked, two [2]*person)
}

// node says which modes can share one: which is one that was made alike, whatever is asked there.
func (m mode) node() string {
	return fmt.Sprint(m.engine, m.hidden, m.realCost, m.held, m.imported, m.links, m.equipped, m.strays, m.devices, m.phones)
}

// timed is one step of a flow: what is asked, and the status that must come.
type timed struct {
	label string
	wait  time.Duration                             // first the node's clock moves on
	ask   func(p *person) (path, kind, body string) // without a kind it is a GET
	want  int
}

// person is one sign-in under way.
type person struct {
	name, to, flow string
	code, token    string // a code that came; a token of theirs
	bearer         string // of their session
	wish           string // of an application's, that they are to sign in for
	asked          struct {
		Options json.RawMessage
		State   string
	} // of a passkey
	passkey *testkit.Passkey // which no account has
	cookies []*http.Cookie
}

func modes(engine sqldb.Engine, realCost bool) []mode {
	return []mode{
		{label: "API", engine: engine, realCost: realCost, steps: apiSteps(false)},
		{label: "API, result hidden", engine: engine, hidden: true, realCost: realCost, steps: apiSteps(true)},
		{label: "pages", engine: engine, realCost: realCost, steps: pageSteps(false)},
		{label: "pages, result hidden", engine: engine, hidden: true, realCost: realCost, steps: pageSteps(true)},
		{label: "recovery, API", engine: engine, realCost: realCost, steps: recoverySteps()},
		{label: "recovery, API, destination", engine: engine, realCost: realCost, steps: recoverySteps()[:1], foreign: true},
		{label: "recovery, pages", engine: engine, realCost: realCost, steps: recoveryPageSteps()},
		{label: "recovery, API, by text message", engine: engine, realCost: realCost, steps: recoverySteps()[:1], phones: true},
	}
}

// calls makes one call of an app.
func calls(path string, pairs func(p *person) map[string]string) func(*person) (string, string, string) {
	return func(p *person) (string, string, string) {
		body, _ := json.Marshal(pairs(p)) // strings always can
		return "/api/v1" + path, "application/json", string(body)
	}
}

// apiSteps are an app's calls. Only where the password's result is hidden does a stranger come to the code.
func apiSteps(hidden bool) []timed {
	call := func(path string, pairs func(p *person) map[string]string) func(*person) (string, string, string) {
		return calls("/signin"+path, pairs)
	}
	send := call("/code/send", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "way": "email"} })
	flow := func(p *person) map[string]string { return map[string]string{"flow": p.flow} }
	steps := []timed{
		{"begin", 0, call("", func(p *person) map[string]string { return map[string]string{"identifier": p.name} }), 201},
		{"wrong password", 0, call("/password", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "password": wrong} }), 401},
		{"ask for a passkey", 0, call("/passkey/options", flow), 409},
		{"ask another device", 0, call("/approval", flow), 409},
	}
	if !hidden {
		return steps
	}
	steps[1].want, steps[2].want, steps[3].want = 200, 200, 422
	return append(
		steps,
		timed{"passkey that nobody has", 0, call("/passkey", func(p *person) map[string]string {
			return map[string]string{"flow": p.flow, "state": p.asked.State, "credential": string(p.passkey.Sign(p.asked.Options))}
		}), 401},
		timed{"send", 0, send, 202},
		timed{"wrong code", 0, call("/code", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "code": "000000"} }), 401},
		timed{"wrong code of an app", 0, call("/code", func(p *person) map[string]string {
			return map[string]string{"flow": p.flow, "way": "otp", "code": "000000"}
		}), 401},
		timed{"wrong backup code", 0, call("/code", func(p *person) map[string]string {
			return map[string]string{"flow": p.flow, "way": "backup", "code": "AAAA-BBBB-CCCC-DDDD-EEEE-FFFF"}
		}), 401},
		timed{"send again", 31 * time.Second, send, 202},
	)
}

// pageSteps are a person's forms. The first begins, tries the password and, if that is hidden, sends.
func pageSteps(hidden bool) []timed {
	form := func(path string, pairs func(p *person) url.Values) func(*person) (string, string, string) {
		return func(p *person) (string, string, string) {
			to := "/signin"
			if path != "" {
				to += "/" + p.flow + path
			}
			return to, "application/x-www-form-urlencoded", pairs(p).Encode()
		}
	}
	steps := []timed{{"name, wrong password", 0, form("", func(p *person) url.Values {
		return url.Values{"username": {p.name}, "password": {wrong}}
	}), 422}}
	if !hidden {
		return steps
	}
	steps[0].want = 303
	return append(steps, timed{"send again", 31 * time.Second, form("/send", func(*person) url.Values { return url.Values{"way": {"email"}} }), 303})
}

// recoverySteps are an app's calls, up to where a stranger comes.
func recoverySteps() []timed {
	call := func(path string, pairs func(p *person) map[string]string) func(*person) (string, string, string) {
		return func(p *person) (string, string, string) {
			body, _ := json.Marshal(pairs(p)) // strings always can
			return "/api/v1/recovery" + path, "application/json", string(body)
		}
	}
	return []timed{
		{"begin", 0, call("", func(p *person) map[string]string { return map[string]string{"identifier": p.name, "to": p.to} }), 201},
		{"wrong code", 0, call("/code", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "code": "000000"} }), 401},
		{"wrong saved code", 0, call("/saved-code", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "code": "0000-0000"} }), 401},
		{"send again", 31 * time.Second, call("/send", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "way": p.way()} }), 200},
	}
}

// way is how a code goes where the person said.
func (p *person) way() string {
	if strings.Contains(p.to, "@") {
		return "email"
	}
	return "sms"
}

// recoveryPageSteps are a person's forms that send something; the others ask what an app's calls ask.
func recoveryPageSteps() []timed {
	form := func(path string, pairs func(p *person) url.Values) func(*person) (string, string, string) {
		return func(p *person) (string, string, string) {
			to := "/recover"
			if path != "" {
				to += "/" + p.flow + path
			}
			return to, "application/x-www-form-urlencoded", pairs(p).Encode()
		}
	}
	return []timed{
		{"begin", 0, form("", func(p *person) url.Values { return url.Values{"username": {p.name}, "to": {p.to}} }), 303},
		{"send again", 31 * time.Second, form("/send", func(*person) url.Values { return url.Values{"way": {"email"}} }), 303},
	}
}

// clocked is a node asked in-process: the handler's time and nothing of the network's, which
// only adds noise for a stranger to average away.
type clocked struct {
	t              *testing.T
	node           *servertest.Node
	handler        http.Handler
	known, unknown []string
	owner          []account.ID // of those who are known
	invitations    [2]string    // for anybody, and for somebody else
	adding         []account.ID // who add addresses
	client         string       // what proves the application that calls
	signer         jose.Signer  // its key for requests
}

// newClocked makes a node with as many accounts as names that nobody has. All names are of one
// form and which have an account is drawn by lot, so that nothing but the account differs.
func newClocked(t *testing.T, m mode, people int) *clocked {
	t.Helper()
	c := unlimitedNode(t, m)
	hash, err := c.node.Core().Passwords.Hash(t.Context(), servertest.Password)
	if err != nil {
		t.Fatal(err)
	}
	if m.imported != "" {
		hash = c.adopt(m.imported)
	}
	c.populate(m, people, hash)
	if m.held {
		c.hold()
	}
	if m.hidden && m.imported == "" {
		for i := 0; i < len(c.owner); i += 2 { // half of them have an app and backup codes
			withApp(t, c.node, c.owner[i])
		}
		for i := 0; i < len(c.owner); i += 3 { // a third have a passkey, and a device that could let another in
			withPasskey(t, c.node, c.owner[i])
			atHome(t, c.node, c.owner[i])
		}
		for i := 0; i < len(c.owner); i += 4 { // a fourth have chosen what comes first
			chosen(t, c.node, c.owner[i])
		}
	}
	if m.links != "" {
		c.links(m.links)
	}
	if m.equipped {
		c.equip()
	}
	if m.strays {
		c.stray()
	}
	if m.devices {
		c.pair()
	}
	return c
}

// unlimitedNode is one whose limits nobody reaches.
func unlimitedNode(t *testing.T, m mode) *clocked {
	t.Helper()
	n := servertest.Start(t, servertest.Options{
		Database: dbtest.NewURL(t, m.engine), Idle: true, RealCost: m.realCost, Decoys: account.DefaultDecoys,
		Config: func(c *config.Config) {
			c.SignIn.HidePasswordResult = m.hidden
			c.Registration.Mode = "open"
			c.Log.Level = "error"
		},
	})
	l := &n.Core().SignIn.Limits
	for _, rate := range []*int{&l.Source.Burst, &l.All.Burst, &l.SendName.Burst, &l.SendAccount.Burst, &l.SendSource.Burst, &l.SendAll.Burst} {
		*rate = 1 << 30
	}
	for _, ladder := range []*int{&l.Password.Free, &l.PasswordAccount.Free, &l.Code.Free, &l.CodeAccount.Free} {
		*ladder = 1 << 30
	}
	l.Password.Stop, l.PasswordAccount.Stop, l.Code.Stop, l.CodeAccount.Stop = 1<<30, 1<<30, 1<<30, 1<<30
	unlimited(&n.Core().Registration.Limits)
	r := &n.Core().Recovery.Limits
	for _, rate := range []*int{&r.Source.Burst, &r.All.Burst, &r.SendName.Burst, &r.SendOwner.Burst, &r.SendSource.Burst, &r.SendAll.Burst} {
		*rate = 1 << 30
	}
	r.Try.Free, r.TryOwner.Free, r.Try.Stop, r.TryOwner.Stop = 1<<30, 1<<30, 1<<30, 1<<30
	c := &clocked{t: t, node: n, handler: n.Handler()}
	return c
}

// populate makes the accounts, and picks as many names that nobody has.
func (c *clocked) populate(m mode, people int, hash passwords.Hash) {
	c.t.Helper()
	ctx, core := c.t.Context(), c.node.Core()
	form := "person%06d@maildomain.example"
	if m.phones {
		form = "+4915112%06d"
	}
	err := core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		c.known, c.unknown, c.owner = nil, nil, nil // a lost race begins anew
		for i := 0; len(c.known) < people || len(c.unknown) < people; i++ {
			name := fmt.Sprintf(form, i)
			ident, err := account.Parse(name)
			if err != nil {
				return err
			}
			if !heads() {
				if alike, err := c.hasOneAddress(tx, ident); err != nil {
					return err
				} else if alike && len(c.unknown) < people {
					c.unknown = append(c.unknown, name)
				}
				continue
			}
			if len(c.known) == people {
				continue
			}
			id, err := core.Accounts.Create(ctx, tx, account.New{Language: "en", Identifiers: []account.NewIdentifier{{
				Identifier: ident, Verified: true, SignsIn: true, Notices: true, Recovers: true,
			}}})
			if err != nil {
				return err
			}
			if err := core.Passwords.SetHash(ctx, tx, id, hash); err != nil {
				return err
			}
			if heads() && !m.equipped { // as people do; who has none must not take another time
				if _, err := core.Recovery.NewSavedCode(ctx, tx, id); err != nil {
					return err
				}
			}
			c.known, c.owner = append(c.known, name), append(c.owner, id)
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// hasOneAddress leaves out names at whose second door more is offered than e-mail: like is
// compared with like, and what is offered everybody may see.
func (c *clocked) hasOneAddress(tx *sqldb.Tx, ident account.Identifier) (bool, error) {
	who, err := c.node.Core().Accounts.Find(c.t.Context(), tx, ident)
	if err != nil {
		return false, err
	}
	addresses, err := c.node.Core().Accounts.Addresses(c.t.Context(), tx, who.ID)
	return len(addresses) == 1, err
}

func lot(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand.Reader never fails
	}
	return int(v.Int64())
}

func heads() bool { return lot(2) == 0 }

// time makes one request and says how many microseconds the handler took.
func (c *clocked) time(s timed, p *person) float64 {
	to, kind, body := s.ask(p)
	method := http.MethodPost
	if kind == "" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, c.node.URL+to, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	if c.client != "" {
		r.Header.Set("Authorization", c.client)
	}
	if p.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+p.bearer)
	}
	for _, cookie := range p.cookies {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	began := time.Now()
	c.handler.ServeHTTP(w, r)
	took := float64(time.Since(began).Nanoseconds()) / 1000
	res := w.Result()
	if res.StatusCode != s.want {
		c.t.Fatalf("%s: %d %s", to, w.Code, w.Body)
	}
	p.keep(res, w.Body.Bytes())
	return took
}

// keep keeps what the next step needs.
func (p *person) keep(res *http.Response, body []byte) {
	if bytes.Contains(body, []byte(`"options"`)) {
		_ = json.Unmarshal(body, &p.asked) // if it cannot be read, the next step says so
	}
	if p.flow == "" {
		var began struct{ Flow string }
		if json.Unmarshal(body, &began) == nil {
			p.flow = began.Flow
		}
		if to, err := res.Location(); err == nil {
			p.flow, p.wish = path.Base(to.Path), to.Query().Get("for")
		}
	}
	if all := res.Cookies(); len(all) > 0 {
		p.cookies = all
	}
}

// measure takes pairs of names through the steps. Within each pair and step, who goes first is
// drawn by lot, so drift of any kind meets both alike. The first twentieth warms up and is not kept.
func (c *clocked) measure(pairs int, m mode) []samples {
	out := make([]samples, len(m.steps))
	runtime.GC()
	warm := pairs / 20
	nobodys := testkit.NewPasskey(c.t, c.node.Core().Passkeys.RPID, c.node.Core().Passkeys.Origins[0], virtualwebauthn.KeyTypeEC2)
	for i := range pairs + warm {
		// By lot, too: who was made one after the other shares a page of the database, and those with
		// an account would find theirs in the cache.
		known, unknown := c.known[lot(len(c.known))], c.unknown[lot(len(c.unknown))]
		two := [2]*person{{name: known, to: known, passkey: nobodys}, {name: unknown, to: unknown, passkey: nobodys}}
		if m.foreign {
			two[1].name = c.known[lot(len(c.known))]
		}
		for j, s := range m.steps {
			c.node.Clock.Advance(s.wait)
			if before := m.before[s.label]; before != nil {
				before(c, two)
			}
			var took [2]float64
			first := lot(2)
			for _, who := range [2]int{first, 1 - first} {
				took[who] = c.time(s, two[who])
			}
			if i >= warm {
				out[j].known, out[j].unknown = append(out[j].known, took[0]), append(out[j].unknown, took[1])
			}
		}
	}
	return out
}

// few is how many pairs a plain "go test" takes, and attempts how often it looks.
//
// Equal distributions cross the threshold once in a hundred thousand, whatever else the machine
// does, because lots decide who goes first. Here a crossing counts only if it comes in every one
// of three runs, each on a fresh node with fresh names, and towards the same side: a busy machine cannot do that.
// A difference of half a standard deviation (some 80 µs) is expected at t = 6.1 and is
// found nearly always; smaller ones are for make leak, which looks once, at 10,000 pairs.
const (
	few      = 300
	attempts = 3
)

// pairs is how many times each step is measured, once known and once unknown.
func pairs(t *testing.T) (n, tries int) {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("LEAK_PAIRS")); err == nil && n > 0 {
		return n, 1
	}
	return few, attempts
}

// nodes are those that the modes of a test share.
type nodes struct {
	t    *testing.T
	made map[string]*clocked
}

func newNodes(t *testing.T) *nodes { return &nodes{t, map[string]*clocked{}} }

// of returns the node for a mode, or makes it; it lives as long as the test whose nodes these are.
func (n *nodes) of(t *testing.T, m mode, people int) *clocked {
	t.Helper()
	if n.made[m.node()] == nil {
		n.made[m.node()] = newClocked(n.t, m, people)
	}
	c := n.made[m.node()]
	c.t = t
	return c
}

// alike measures one mode and fails for every step that tells. What told is measured again on a node of its own.
func alike(t *testing.T, shared *nodes, m mode, pairs, tries int) {
	t.Helper()
	people := 2000
	if pairs <= few {
		people = 500
	}
	suspects := map[string]float64{} // steps that have told so far, and towards which side
	for try := 1; try <= tries; try++ {
		c := shared.of(t, m, people)
		if try > 1 {
			c = newClocked(t, m, people)
		}
		got := c.measure(pairs, m)
		var b strings.Builder
		told := map[string]float64{}
		for i, s := range m.steps {
			fmt.Fprintln(&b, got[i].line(m.label+": "+s.label))
			w := got[i].worst()
			before, suspect := suspects[s.label]
			if math.Abs(w) >= threshold && (try == 1 || suspect && before*w > 0) {
				told[s.label] = w
			}
		}
		t.Logf("\n%s\n%s", heading, b.String())
		if suspects = told; len(told) == 0 {
			return
		}
	}
	for step, w := range suspects {
		t.Errorf("%s: %s tells who has an account: t = %.2f", m.label, step, w)
	}
}

// P2, A-6.3.8, C-FP-02, I-02.
func TestTimesAreAlike(t *testing.T) {
	n, tries := pairs(t)
	all := modes(sqldb.SQLite, false)
	if n == few {
		all = all[:len(all)-1]
	}
	shared := newNodes(t)
	for _, m := range all {
		t.Run(m.label, func(t *testing.T) { alike(t, shared, m, n, tries) })
	}
}

// P2: finding an account on the other engine.
func TestTimesAreAlikeOnPostgres(t *testing.T) {
	n, tries := pairs(t)
	all := modes(sqldb.Postgres, false)
	all = []mode{all[0], all[4]} // an app's sign-in and recovery
	all[1].steps = all[1].steps[:1]
	if n == few {
		all = all[:1]
	}
	shared := newNodes(t)
	for _, m := range all {
		m.label += ", PostgreSQL"
		t.Run(m.label, func(t *testing.T) { alike(t, shared, m, n, tries) })
	}
}

// P2 at what a password really costs: fewer pairs, since each takes a hundred times as long.
func TestTimesAreAlikeAtTheRealCost(t *testing.T) {
	n, tries := pairs(t)
	all := modes(sqldb.SQLite, true)
	if n == few {
		all = all[:1]
	}
	for _, m := range all[:min(2, len(all))] {
		m.label = "real cost, " + m.label
		t.Run(m.label, func(t *testing.T) { alike(t, newNodes(t), m, max(60, n*3/100), tries) })
	}
}

// A test of the test: a little more time for those who have an account is seen, 30 µs by make leak
// and, on a machine that others use too, 200 µs by this.
func TestALeakInTimeShows(t *testing.T) {
	n, tries := pairs(t)
	extra := 200 * time.Microsecond
	if tries == 1 {
		extra = 30 * time.Microsecond
	}
	m := modes(sqldb.SQLite, false)[0]
	c := newClocked(t, m, 500)
	leaks := map[string]bool{}
	for _, name := range c.known {
		leaks[name] = true
	}
	handler := c.handler
	c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var in struct{ Identifier string }
		if json.Unmarshal(body, &in) == nil && leaks[in.Identifier] {
			spin(extra)
		}
		handler.ServeHTTP(w, r)
	})
	for range attempts {
		m.steps = m.steps[:1]
		got := c.measure(min(n, 2000), m)[0]
		t.Logf("\n%s\n%s", heading, got.line(fmt.Sprintf("begin, %v more for the known", extra)))
		if math.Abs(got.worst()) >= threshold {
			return
		}
	}
	t.Error("a leak that was planted is not seen")
}
