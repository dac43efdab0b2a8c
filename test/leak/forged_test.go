package leak_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const (
	mallory      = "mallorythemeddler@thirddomain.example"
	malloryPhone = "+4915112345679"
	elsewhere    = "evilhost.example"
)

// extras are what somebody with a proxy adds to a request, so that it is about another account, or
// goes to another place.
func extras() map[string]string {
	out := map[string]string{}
	for _, name := range []string{
		"identifier", "username", "user", "user_id", "userid", "login", "login_hint", "name", "account", "account_id", "id",
		"email", "mail", "address", "phone", "number", "to", "destination", "recipient", "channel",
	} {
		out[name] = ada
	}
	for _, name := range []string{"host", "link", "url", "redirect", "redirect_uri", "return_to", "next", "callback"} {
		out[name] = "https://" + elsewhere + "/"
	}
	return out
}

// attack is a node with Ada, who is attacked, and Mallory, who has an account too.
type attack struct {
	*story

	letters int // how many have been looked at
}

func newAttack(t *testing.T) *attack {
	t.Helper()
	n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, sqldb.SQLite), Idle: true, Config: func(c *config.Config) {
		c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
	}})
	n.Account(ada, adaPhone, adaName)
	n.Account(mallory, malloryPhone)
	l := &n.Core().SignIn.Limits
	l.Source.Every, l.SendSource.Every, l.SendName.Every, l.SendAccount.Every = 0, 0, 0, 0 // an attacker with a network
	return &attack{story: &story{t: t, node: n, loot: newLoot()}}
}

// onlyMallory fails if a letter went to anybody else, or names a host that is not ours.
func (a *attack) onlyMallory(what string) (codes []string) {
	a.t.Helper()
	courierWorks(a.t, a.node)
	all := a.node.Inbox().Messages()
	for _, m := range all[a.letters:] {
		if m.To != mallory && m.To != malloryPhone {
			a.t.Errorf("%s: a letter went to somebody else", what)
		}
		if whole := fmt.Sprintf("%+v", m); strings.Contains(whole, elsewhere) {
			a.t.Errorf("%s: a letter names the forged host: %s", what, whole)
		}
		if code := sixDigits.FindString(m.Text); code != "" {
			codes = append(codes, code)
		}
	}
	a.letters = len(all)
	return codes
}

// P3, I-04: at the API, a field more in any later step is refused by its name, whatever it says.
// In the first step, which is where the identifier belongs, a second one is refused too.
func TestAppsCannotRedirectAStep(t *testing.T) {
	a := newAttack(t)
	v := a.visitor()
	steps := []struct {
		path string
		body func() map[string]any
		want int
	}{
		{"", func() map[string]any { return map[string]any{"identifier": mallory} }, 201},
		{"/password", func() map[string]any { return map[string]any{"flow": v.flow, "password": servertest.Password} }, 200},
		{"/code/send", func() map[string]any { return map[string]any{"flow": v.flow, "way": "email"} }, 202},
		{"/code", func() map[string]any {
			return map[string]any{"flow": v.flow, "code": a.onlyMallory("the flow itself")[0]}
		}, 200},
	}
	for _, s := range steps {
		body := s.body()
		for _, name := range slices.Sorted(maps.Keys(extras())) {
			if _, proper := body[name]; !proper {
				more := maps.Clone(body)
				more[name] = extras()[name]
				got := v.callMap(s.path, "", more)
				if got.status != 422 || got.code() != "input_invalid" {
					t.Errorf("%s with %s: %d %s", s.path, name, got.status, got.body)
				}
			}
			if got := v.callMap(s.path, "?"+name+"="+extras()[name], body); got.status != 422 || got.code() != "input_invalid" {
				t.Errorf("%s with ?%s: %d %s", s.path, name, got.status, got.body)
			}
		}
		if s.path != "" { // two of a name: two readers could take different ones
			twice := fmt.Sprintf(`{"flow":%q,"flow":%q}`, v.flow, secret.NewToken("csf").Reveal())
			if got := v.exchange(v.request(http.MethodPost, "/api/v1/signin"+s.path, "application/json", twice)); got.status != 400 {
				t.Errorf("%s with two flows: %d", s.path, got.status)
			}
		}
		if codes := a.onlyMallory(s.path + " with fields more"); len(codes) > 0 {
			t.Errorf("%s: a refused request sent %d codes", s.path, len(codes))
		}
		done := a.want(s.want, v.callMap(s.path, "", body))
		if s.path == "/code" {
			a.ownedByMallory(field(done, "session", "token"))
		}
	}
}

// callMap posts to a step of the sign-in.
func (v *visitor) callMap(path, query string, body map[string]any) answer {
	v.t.Helper()
	var pairs []any
	for name, value := range body {
		pairs = append(pairs, name, value)
	}
	return v.call("/signin"+path+query, pairs...)
}

// ownedByMallory fails unless the session is Mallory's.
func (a *attack) ownedByMallory(session string) {
	a.t.Helper()
	v := a.visitor()
	v.header.Set("Authorization", "Bearer "+session)
	got := a.want(200, v.get("/api/v1/session"))
	var id string
	err := a.node.Core().DB.Read(a.t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(a.t.Context(), `SELECT account_id FROM account_lookup WHERE lookup = $1`,
			a.node.Core().Ring.Index("email", mallory)).Scan(&id)
	})
	if err != nil || got.fields["account"] != id {
		a.t.Errorf("the session is of %v, not of %s: %v", got.fields["account"], id, err)
	}
}

// P3: on the pages, fields more in a form or in the address change nothing.
func TestPeopleCannotRedirectAStep(t *testing.T) {
	a := newAttack(t)
	var more []string
	query := "?"
	for name, value := range extras() {
		if name != "username" {
			more = append(more, name, value)
		}
		query += name + "=" + value + "&"
	}
	v := a.visitor()
	step := func(path string, pairs ...string) answer { return v.form(path+query, append(pairs, more...)...) }
	a.want(303, step("/signin", "username", mallory, "password", servertest.Password))
	if len(a.onlyMallory("the form")) != 1 {
		t.Fatal("no code came")
	}
	code := ""
	for _, way := range []string{"sms", "email", "sms"} {
		a.node.Clock.Advance(2 * time.Minute)
		a.want(303, step("/signin/"+v.flow+"/send", "way", way, "username", ada))
		codes := a.onlyMallory("sending again")
		if len(codes) != 1 {
			t.Fatalf("%d codes came", len(codes))
		}
		code = codes[0]
	}
	page := a.want(200, v.get("/signin/"+v.flow+query))
	if strings.Contains(page.wire, elsewhere) {
		t.Error("the page repeats what was in its address")
	}
	if done := a.want(303, step("/signin/"+v.flow+"/code", "code", code, "username", ada)); done.head.Get("Location") != "/" {
		t.Errorf("the sign-in ends at %s", done.head.Get("Location"))
	}
	a.ownedByMallory(v.cookies["__Host-cs_session"])
}

// P3: what a client says about where we are is in no letter, no redirect and no answer.
func TestForgedHostsAreBelievedNowhere(t *testing.T) {
	a := newAttack(t)
	for name, value := range map[string]string{
		"X-Forwarded-Host": elsewhere, "X-Forwarded-Server": elsewhere, "X-Host": elsewhere, "X-Original-Host": elsewhere, "X-HTTP-Host-Override": elsewhere,
		"Forwarded": "for=192.0.2.1;host=" + elsewhere + ";proto=https", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443",
		"X-Forwarded-Prefix": "/" + elsewhere, "X-Original-URL": "https://" + elsewhere + "/signin", "X-Rewrite-URL": "https://" + elsewhere + "/", "Referer": "https://" + elsewhere + "/",
	} {
		v := a.visitor()
		v.header.Set(name, value)
		plain := a.visitor()
		for _, ask := range []func(v *visitor) answer{
			func(v *visitor) answer { return v.get("/signin") },
			func(v *visitor) answer {
				return v.form("/signin", "username", mallory, "password", servertest.Password)
			},
			func(v *visitor) answer { return v.get(v.path) },
			func(v *visitor) answer { return v.form("/signin/"+v.flow+"/send", "way", "sms") },
			func(v *visitor) answer { return v.get("/nowhere") },
			func(v *visitor) answer { return v.get("/") },
			func(v *visitor) answer { return v.get("/api/v1/openapi.json") },
			func(v *visitor) answer { return v.call("/signin", "identifier", mallory) },
		} {
			if forged, honest := ask(v), ask(plain); forged.masked() != honest.masked() {
				t.Errorf("%s changes an answer:\n%s\n%s", name, forged.masked(), honest.masked())
			} else if strings.Contains(forged.wire, elsewhere) {
				t.Errorf("%s is repeated:\n%s", name, forged.wire)
			}
		}
		a.onlyMallory(name)
		a.node.Clock.Advance(time.Hour)
	}
	for _, path := range []string{"/signin", "/api/v1/signin", "/", "/nowhere"} {
		for _, host := range []string{elsewhere, elsewhere + ":80", "user@" + elsewhere, "127.0.0.1." + elsewhere} {
			v := a.visitor()
			v.header.Set("Host", host)
			if got := v.exchange(v.request(http.MethodPost, path, "application/json", `{"identifier":"`+mallory+`"}`)); got.status != 421 || strings.Contains(got.wire, elsewhere) {
				t.Errorf("Host %s at %s: %s", host, path, got.wire)
			}
		}
	}
}

// P3: a flow's handle works for the browser that began it and nobody else; whoever else has
// it learns what an invented handle says.
func TestAFlowIsOfItsBrowser(t *testing.T) {
	a := newAttack(t)
	victim := a.visitor()
	a.want(303, victim.form("/signin", "username", ada, "password", servertest.Password))
	code := a.read(adaPhone)
	app := a.visitor()
	a.toSecond(app, ada, "email")
	mine := a.visitor() // with a browser secret of its own
	a.want(303, mine.form("/signin", "username", mallory, "password", servertest.Password))
	bare := a.visitor()

	for who, v := range map[string]*visitor{"another browser": mine, "no browser": bare} {
		for _, flow := range []string{victim.flow, app.flow} {
			for what, ask := range map[string]func(flow string) answer{
				"look":   func(flow string) answer { return v.get("/signin/" + flow) },
				"code":   func(flow string) answer { return v.form("/signin/"+flow+"/code", "code", code) },
				"send":   func(flow string) answer { return v.form("/signin/"+flow+"/send", "way", "sms") },
				"device": func(flow string) answer { return v.form("/signin/"+flow+"/device", "signature", "AAAA") },
			} {
				got, invented := ask(flow), ask(secret.NewToken("csf").Reveal())
				if got.status != http.StatusGone || got.masked() != invented.masked() {
					t.Errorf("%s, %s: %d, for an invented flow %d", who, what, got.status, invented.status)
				}
			}
		}
	}
	for what, pairs := range map[string][]any{
		"/signin/password": {"password", servertest.Password}, "/signin/code": {"code", code}, "/signin/code/send": {"way", "sms"},
	} {
		got := bare.call(what, append([]any{"flow", victim.flow}, pairs...)...)
		invented := bare.call(what, append([]any{"flow", secret.NewToken("csf").Reveal()}, pairs...)...)
		if got.status != http.StatusGone || got.masked() != invented.masked() {
			t.Errorf("a browser's flow at the API, %s: %d, for an invented one %d", what, got.status, invented.status)
		}
	}
	// Nothing of it cost the owner anything.
	if done := a.want(303, victim.form("/signin/"+victim.flow+"/code", "code", code)); done.head.Get("Location") != "/" {
		t.Errorf("the owner was led to %s", done.head.Get("Location"))
	}
}

// P3, P-1.1: what is somebody else's is what never was.
func TestSomebodyElsesThingsAreNothing(t *testing.T) {
	a := newAttack(t)
	in := func(name string) (v *visitor, session string) {
		v = a.visitor()
		a.toSecond(v, name, "email")
		done := a.want(200, v.call("/signin/code", "flow", v.flow, "code", a.read(name)))
		v.header.Set("Authorization", "Bearer "+field(done, "session", "token"))
		return v, fmt.Sprint(a.want(200, v.get("/api/v1/session")).fields["id"])
	}
	owner, theirs := in(ada)
	v, _ := in(mallory)
	const never = "01990000-0000-7000-8000-000000000000"
	for _, path := range []string{"/api/v1/sessions/", "/api/v1/devices/"} {
		got, invented := v.exchange(v.request(http.MethodDelete, path+theirs, "", "")), v.exchange(v.request(http.MethodDelete, path+never, "", ""))
		if got.status != 404 || got.masked() != invented.masked() {
			t.Errorf("%s: %d for another's, %d for what never was", path, got.status, invented.status)
		}
	}
	a.want(200, owner.get("/api/v1/session"))
}
