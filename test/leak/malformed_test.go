package leak_test

import (
	"strings"
	"testing"

	"countersign/internal/platform/secret"
	"countersign/internal/testkit/servertest"
)

// Servers skipped the password for an X-Forwarded-For that they could not read (CVE-2024-47070), and the whole
// sign-in for a cookie that they could not (CVE-2026-25748). Here what cannot be read is nothing: every step asks for what it always does.
func TestWhatCannotBeReadSkipsNoStep(t *testing.T) {
	a := newAttack(t)
	l := &a.node.Core().SignIn.Limits
	for _, tries := range []*int{&l.Password.Free, &l.PasswordAccount.Free, &l.Code.Free, &l.CodeAccount.Free, &l.Password.Stop, &l.PasswordAccount.Stop, &l.Code.Stop, &l.CodeAccount.Stop} {
		*tries = 1 << 10
	}
	session := a.visitor()
	a.toSecond(session, mallory, "email")
	a.want(200, session.call("/signin/code", "flow", session.flow, "code", a.read(mallory)))
	own := secret.NewToken("css").Reveal()
	addresses := []string{"", ",", ";=", "null", "[", "1.2.3.4.5", "-1", "%00", "\"", "unknown", "_hidden", "127.0.0.1, ' OR 1=1", "for=\"[", strings.Repeat(",", 3000)}
	tokens := []string{"", "Bearer", "Bearer ", "Bearer null", "Basic YTpi", "Bearer " + own, "Bearer " + own + " " + own, "{}"}
	cookies := []string{"", ";;;=", "\"", strings.Repeat("a=b; ", 600), "__Host-cs_device=%", "__Host-cs_device=.", "__Host-cs_browser=,", "__Host-cs_browser=\x7f"}
	for _, value := range []string{"", "=", "=;", "=\"", "=null", "=" + own[:20], "=" + own, "=" + own + "; __Host-cs_session=" + own} {
		cookies = append(cookies, "__Host-cs_session"+value)
	}
	for header, values := range map[string][]string{
		"X-Forwarded-For": addresses, "Forwarded": addresses, "X-Real-Ip": addresses, "Authorization": tokens, "Cookie": cookies,
	} {
		for _, value := range values {
			a.asksAsEver(header, value)
		}
	}
	a.onlyMallory("all of it")
}

// asksAsEver fails if a request with a header gets further, anywhere, than one without.
func (a *attack) asksAsEver(header, value string) {
	a.t.Helper()
	v := newVisitor(a.t, a.node, "198.51.100.101")
	if v.header[header] = []string{value}; header == "X-Forwarded-For" {
		v.from = value
	}
	say := func(what string, got answer, want int) {
		a.t.Helper()
		if got.status != want && got.status != 400 {
			a.t.Errorf("%s: %.40q, %s: %d, want %d", header, value, what, got.status, want)
		}
	}
	say("home", v.get("/"), 303)
	say("the session", v.get("/api/v1/session"), 401)
	say("the form", v.form("/signin", "username", mallory, "password", servertest.Password), 303)
	say("home after the form", v.get("/"), 303)
	if v.path != "/signin" && v.path != "" {
		a.t.Errorf("%s: %.40q: home leads to %s", header, value, v.path)
	}
	began := v.call("/signin", "identifier", mallory)
	say("the name", began, 201)
	if began.status != 201 {
		return
	}
	say("a code before the password", v.call("/signin/code", "flow", v.flow, "code", "000000"), 409)
	say("a wrong password", v.call("/signin/password", "flow", v.flow, "password", wrong), 401)
	say("no password", v.call("/signin/password", "flow", v.flow), 422)
	right := v.call("/signin/password", "flow", v.flow, "password", servertest.Password)
	say("the right password", right, 200)
	if right.fields["step"] != "second" {
		a.t.Errorf("%s: %.40q leads past the second door, to %v", header, value, right.fields["step"])
	}
	say("a wrong code", v.call("/signin/code", "flow", v.flow, "code", "000000"), 401)
}
