package leak_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/secret"
	"countersign/internal/testkit/servertest"
)

// recoverer is Mallory, who gets back into an account of their own and would rather have Ada's.
func newRecoverer(t *testing.T) (*attack, *visitor) {
	t.Helper()
	a := newAttack(t)
	l := &a.node.Core().Recovery.Limits
	l.Source.Every, l.SendSource.Every, l.SendName.Every, l.SendOwner.Every = 0, 0, 0, 0 // an attacker with a network
	return a, a.visitor()
}

// P3, I-04, I-06: at the API, a field more in any step of a recovery is refused by its name, whatever it says, and
// nothing is sent.
func TestAppsCannotRedirectARecovery(t *testing.T) {
	a, v := newRecoverer(t)
	sent := "" // the last code
	for _, s := range []struct {
		path string
		body func() map[string]any
		want int
	}{
		{"", func() map[string]any { return map[string]any{"identifier": mallory, "to": mallory} }, 201},
		{"/state", func() map[string]any { return map[string]any{"flow": v.flow} }, 200},
		{"/code", func() map[string]any { return map[string]any{"flow": v.flow, "code": sent} }, 200},
		{"/saved-code", func() map[string]any { return map[string]any{"flow": v.flow, "code": "0000"} }, 401},
		{"/contacts", func() map[string]any { return map[string]any{"flow": v.flow} }, 200},
		{"/contacts/code", func() map[string]any { return map[string]any{"flow": v.flow, "code": "00000000"} }, 401},
		{"/old-password", func() map[string]any { return map[string]any{"flow": v.flow, "password": wrong} }, 401},
		{"/send", func() map[string]any { return map[string]any{"flow": v.flow, "way": "sms"} }, 200},
		{"/code", func() map[string]any { return map[string]any{"flow": v.flow, "way": "sms", "code": sent} }, 200},
		{"/password", func() map[string]any {
			return map[string]any{"flow": v.flow, "password": "velvet harbour cinnamon 77"}
		}, 200},
	} {
		body := s.body()
		for _, name := range slices.Sorted(maps.Keys(extras())) {
			if _, proper := body[name]; !proper {
				more := maps.Clone(body)
				more[name] = extras()[name]
				if got := v.recoverCall(s.path, "", more); got.status != 422 || got.code() != "input_invalid" {
					t.Errorf("%s with %s: %d %s", s.path, name, got.status, got.body)
				}
			}
			if got := v.recoverCall(s.path, "?"+name+"="+extras()[name], body); got.status != 422 || got.code() != "input_invalid" {
				t.Errorf("%s with ?%s: %d %s", s.path, name, got.status, got.body)
			}
		}
		if codes := a.onlyMallory(s.path + " with fields more"); len(codes) > 0 {
			t.Errorf("%s: a refused request sent %d codes", s.path, len(codes))
		}
		a.want(s.want, v.recoverCall(s.path, "", body))
		if codes := a.onlyMallory(s.path); len(codes) > 0 {
			sent = codes[0]
		}
	}
	a.onlyMallory("the end")
	a.stillAdas()
}

// recoverCall posts to a step of a recovery.
func (v *visitor) recoverCall(path, query string, body map[string]any) answer {
	v.t.Helper()
	var pairs []any
	for name, value := range body {
		pairs = append(pairs, name, value)
	}
	return v.call("/recovery"+path+query, pairs...)
}

// stillAdas fails unless Ada's password is what it was.
func (a *attack) stillAdas() {
	a.t.Helper()
	v := a.visitor()
	a.want(201, v.call("/signin", "identifier", ada))
	if got := a.want(200, v.call("/signin/password", "flow", v.flow, "password", servertest.Password)); got.fields["step"] != "second" {
		a.t.Errorf("Ada's password leads to %v", got.fields["step"])
	}
}

// P3: on the pages, fields more in a form or in the address change nothing, and what a client says about where we
// are is in no answer and no letter (C-FP-12).
func TestPeopleCannotRedirectARecovery(t *testing.T) {
	a, v := newRecoverer(t)
	var more []string
	query := "?"
	for name, value := range extras() {
		if name != "username" && name != "to" {
			more = append(more, name, value)
		}
		query += name + "=" + value + "&"
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Host", "X-Original-URL", "Referer"} {
		v.header.Set(name, "https://"+elsewhere+"/recover")
	}
	v.header.Set("Forwarded", "host="+elsewhere)
	step := func(path string, pairs ...string) answer {
		got := v.form(path+query, append(pairs, more...)...)
		if strings.Contains(got.wire, elsewhere) {
			t.Errorf("%s repeats what it was told: %s", path, got.wire)
		}
		return got
	}
	one := func(what string) string {
		codes := a.onlyMallory(what)
		if len(codes) != 1 {
			t.Fatalf("%s: %d codes came", what, len(codes))
		}
		return codes[0]
	}
	a.want(303, step("/recover", "username", mallory))
	root := "/recover/" + v.flow
	a.want(303, step(root+"/code", "code", one("the form")))
	a.want(303, step(root+"/send", "way", "sms", "username", ada, "to", ada))
	a.want(303, step(root+"/ask", "to", ada))
	a.want(303, step(root+"/wait", "to", ada))
	a.want(303, step(root+"/code", "way", "sms", "code", one("sending"), "to", ada))
	if page := a.want(200, v.get(root+query)); strings.Contains(page.wire, elsewhere) {
		t.Error("the page repeats what was in its address")
	}
	a.want(200, step(root+"/password", "password", "velvet harbour cinnamon 77", "again", "velvet harbour cinnamon 77", "username", ada))
	a.onlyMallory("the end")
	a.stillAdas()
}

// P3: a recovery's handle works for the browser that began it and nobody else; whoever else has it learns what an
// invented handle says. No GET changes anything.
func TestARecoveryIsOfItsBrowser(t *testing.T) {
	a, victim := newRecoverer(t)
	a.want(303, victim.form("/recover", "username", ada))
	app := a.visitor()
	a.want(201, app.call("/recovery", "identifier", ada, "to", adaPhone))
	code, text := a.read(ada), a.read(adaPhone)
	mine := a.visitor() // with a browser secret of its own
	a.want(303, mine.form("/recover", "username", mallory))
	for who, v := range map[string]*visitor{"another browser": mine, "no browser": a.visitor()} {
		for _, theirs := range []struct{ flow, code string }{{victim.flow, code}, {app.flow, text}} {
			asks := map[string]func(flow string) answer{
				"code": func(flow string) answer { return v.form("/recover/"+flow+"/code", "code", theirs.code) },
				"send": func(flow string) answer { return v.form("/recover/"+flow+"/send", "way", "email") },
				"password": func(flow string) answer {
					return v.form("/recover/"+flow+"/password", "password", wrong, "again", wrong)
				},
			}
			for _, page := range []string{"", "/more", "/saved", "/contacts", "/old"} {
				asks["look at "+page] = func(flow string) answer { return v.get("/recover/" + flow + page) }
			}
			for what, ask := range asks {
				got, invented := ask(theirs.flow), ask(secret.NewToken("csr").Reveal())
				if got.status != http.StatusGone || got.masked() != invented.masked() {
					t.Errorf("%s, %s: %d, for an invented flow %d", who, what, got.status, invented.status)
				}
			}
		}
	}
	bare := a.visitor()
	got := bare.call("/recovery/code", "flow", victim.flow, "code", code)
	if invented := bare.call("/recovery/code", "flow", secret.NewToken("csr").Reveal(), "code", code); got.status != http.StatusGone || got.masked() != invented.masked() {
		t.Errorf("a browser's flow at the API: %d, for an invented one %d", got.status, invented.status)
	}
	// Nothing of it cost the owner anything, and looking costs nothing either.
	rows := newReader(t, a.node.Core().DB)
	before := rows.take(t)
	for _, page := range []string{"", "/more", "/saved", "/contacts", "/old", "/send", "/code", "/ask", "/wait", "/password"} {
		victim.get("/recover/" + victim.flow + page)
	}
	if changed := changes(before, rows.take(t), rows.columns); changed != "" {
		t.Errorf("looking changes rows:\n%s", changed)
	}
	a.node.Clock.Advance(time.Minute)
	if done := a.want(303, victim.form("/recover/"+victim.flow+"/code", "code", code)); done.head.Get("Location") != fmt.Sprintf("/recover/%s", victim.flow) {
		t.Errorf("the owner was led to %s", done.head.Get("Location"))
	}
}
