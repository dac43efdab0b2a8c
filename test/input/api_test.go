package input_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/testkit/servertest"
)

// Text that is well-formed and still not what anybody types. Each is a name or password like any
// other, or refused as malformed; none comes near an account that looks alike.
func TestTextThatLooksLikeOther(t *testing.T) {
	n := node(t)
	c := newClient(t, n)
	for name, typed := range map[string]string{
		"right-to-left override": "\u202eada@example.org", "right-to-left mark": "ada\u200f@example.org", "zero-width space": "a\u200bda@example.org",
		"zero-width joiner": "ada@exam\u200dple.org", "byte order mark": "\ufeffada@example.org", "soft hyphen": "a\u00adda@example.org",
		"Cyrillic a": "\u0430da@example.org", "a newline": "ada@example.org\nBcc: eve@example.org", "a line separator": "ada@exam\u2028ple.org",
		"nothing but spaces": "   ", "tag characters": "ada\U000e0061@example.org",
	} {
		switch a := c.call("/signin", jsonOf("identifier", typed)); a.status {
		case 422:
			if a.Code != "identifier_malformed" {
				t.Errorf("%s: %s", name, a.text)
			}
		case 201:
			c.call("/signin/password", jsonOf("flow", a.Flow, "password", servertest.Password)).want(t, name, 401, "password_refused")
		default:
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
		c.post("/signin", "username", typed, "password", servertest.Password).want(t, name+" in the page", 422, "<form")
	}
	for name, typed := range map[string]string{
		"zero-width space": "orbit\u200b lantern meadow 42", "right-to-left override": "\u202e" + servertest.Password, "no-break space": strings.Replace(servertest.Password, " ", "\u00a0", 1),
		"space before": " " + servertest.Password, "newline after": servertest.Password + "\n", "other case": strings.ToUpper(servertest.Password),
		"cut short": servertest.Password[:len(servertest.Password)-1], "full width": strings.Replace(servertest.Password, "42", "\uff14\uff12", 1),
	} {
		flow := c.call("/signin", jsonOf("identifier", grace)).Flow
		c.call("/signin/password", jsonOf("flow", flow, "password", typed)).want(t, name, 401, "password_refused")
	}
	c.appAtCode(ada) // nothing of all this was counted against ada
}

// Sizes: a megabyte is refused for what it is before anybody reads it, whatever its field.
func TestHugeInput(t *testing.T) {
	n := node(t)
	c := newClient(t, n)
	huge, long := strings.Repeat("x", 1<<20), strings.Repeat("x", 60<<10)
	flow, code := c.appAtCode(ada)
	c.call("/signin", jsonOf("identifier", huge)).want(t, "identifier", 413, "body_too_large")
	c.call("/signin/password", jsonOf("flow", flow, "password", huge)).want(t, "password", 413, "body_too_large")
	c.call("/signin/code", jsonOf("flow", huge, "code", code)).want(t, "handle", 413, "body_too_large")
	c.call("/signin/code", jsonOf("flow", flow, "code", long)).want(t, "long code", 422, "input_invalid")
	c.call("/signin", jsonOf("identifier", long)).want(t, "long identifier", 422, "input_invalid")
	b := newClient(t, n)
	path, typed := b.atCode(grace)
	b.post("/signin", "username", huge, "password", "x").want(t, "name in the page", 413, "That was too much")
	b.post("/signin", "username", grace, "password", huge).want(t, "password in the page", 413, "That was too much")
	b.post("/signin", "username", grace, "password", long).want(t, "long password in the page", 422, "<form")
	b.post(path+"/code", "code", huge).want(t, "code in the page", 413, "That was too much")
	b.post(path+"/code", "code", long).want(t, "long code in the page", 422, "<form")
	b.get("/signin/"+strings.Repeat("x", 10_000)).want(t, "long path", 410, "")
	c.call("/signin/code", jsonOf("flow", flow, "code", code)).want(t, "after all that", 200, `"done"`)
	b.post(path+"/code", "code", typed).leads(t, "after all that in the page", "/")
}

// P3: a flow's handle is worth something as it was given, to whom it was given, in its time, and until it is used.
func TestHandlesThatDoNotFit(t *testing.T) {
	n := node(t)
	c := newClient(t, n)
	flow, code := c.appAtCode(ada)
	other, otherCode := c.appAtCode(grace)
	browser := newClient(t, n)
	path, pageCode := browser.atCode(grace)
	for name, handle := range map[string]string{
		"truncated": flow[:len(flow)-1], "with more": flow + "A", "with a space": flow + " ", "upper case": strings.ToUpper(flow), "without its prefix": flow[4:],
		"of a page": strings.TrimPrefix(path, "/signin/"), "traversal": "../" + flow, "a number": "1", "an id": "0196f0c1-0000-7000-8000-000000000000",
		"SQL": "' OR 1=1 --", "right to left": "\u202e" + flow,
	} {
		c.call("/signin/code", jsonOf("flow", handle, "code", code)).want(t, name, 410, "flow_ended")
		c.call("/signin/code/send", jsonOf("flow", handle, "way", "email")).want(t, name, 410, "flow_ended")
		c.call("/signin/password", jsonOf("flow", handle, "password", servertest.Password)).want(t, name, 410, "flow_ended")
	}
	browser.post("/signin/"+flow+"/code", "code", code).want(t, "an application's in a page", 410, "This sign‑in has ended")
	if otherCode != code {
		c.call("/signin/code", jsonOf("flow", flow, "code", otherCode)).want(t, "another flow's code", 401, "code_refused")
		c.call("/signin/code", jsonOf("flow", other, "code", code)).want(t, "another flow's code", 401, "code_refused")
	}
	c.call("/signin/password", jsonOf("flow", flow, "password", servertest.Password)).want(t, "a step back", 409, "step_out_of_order")

	done := c.call("/signin/code", jsonOf("flow", flow, "code", code)).want(t, "the right one", 200, `"done"`)
	for name, try := range map[string]answer{
		"the code again":      c.call("/signin/code", jsonOf("flow", flow, "code", code)),
		"the password again":  c.call("/signin/password", jsonOf("flow", flow, "password", servertest.Password)),
		"another code please": c.call("/signin/code/send", jsonOf("flow", flow, "way", "email")),
		"a session as a flow": c.call("/signin/code", jsonOf("flow", done.Session.Token, "code", code)),
	} {
		try.want(t, name, 410, "flow_ended")
	}
	for name, token := range map[string]string{
		"a flow as a session": flow, "truncated": done.Session.Token[:20], "with more": done.Session.Token + "A", "empty": "", "two": done.Session.Token + " " + done.Session.Token,
	} {
		c.ask("GET", "/api/v1/session", "", "Authorization", "Bearer "+token).want(t, name, 401, "session_ended")
	}
	c.ask("GET", "/api/v1/session", "", "Authorization", "Bearer "+done.Session.Token).want(t, "as it was given", 200, "")
	browser.post(path+"/code", "code", pageCode).leads(t, "the page's", "/")

	n.Clock.Advance(16 * time.Minute)
	c.call("/signin/code", jsonOf("flow", other, "code", otherCode)).want(t, "expired", 410, "flow_ended")
}

// Whoever the request says it came through or was meant for: links, cookies and answers do not follow it.
func TestForgedOrigins(t *testing.T) {
	n := node(t)
	c := newClient(t, n)
	forged := []string{
		"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "gopher", "X-Forwarded-Port", "666", "X-Forwarded-Prefix", "/evil", "X-Forwarded-Server", "evil.example",
		"X-Forwarded-For", "evil.example, 203.0.113.9", "Forwarded", `for="[::evil]";host=evil.example;proto=gopher`, "X-Real-Ip", "evil", "X-Original-Url", "/evil",
		"X-Rewrite-Url", "/evil", "X-Http-Method-Override", "DELETE", "X-Host", "evil.example", "True-Client-Ip", "evil", "Via", "1.1 evil", "Referer", "https://evil.example/",
	}
	same := func(what string, a answer) {
		t.Helper()
		var head strings.Builder
		_ = a.header.Write(&head)
		if strings.Contains(head.String()+a.text, "evil") || strings.Contains(head.String()+a.text, "gopher") {
			t.Errorf("%s: a forged header shows:\n%s%s", what, head.String(), a.text)
		}
	}
	page := c.ask("GET", "/signin", "", forged...).want(t, "the page", 200, "<form")
	same("the page", page)
	in := c.raw("/signin", "username=ada%40example.org&password="+strings.ReplaceAll(servertest.Password, " ", "+"), forged...)
	same("the sign-in", in)
	if in.status != 303 || !strings.HasPrefix(in.location, "/signin/") {
		t.Errorf("the sign-in: %d to %q", in.status, in.location)
	}
	letter := n.Wait(ada)
	if strings.Contains(letter.Text+letter.HTML, "evil") {
		t.Errorf("the letter: %s", letter.Text)
	}
	same("the API", c.call("/signin", jsonOf("identifier", ada), forged...).want(t, "the API", 201, ""))

	for name, header := range map[string][]string{
		"another host": {"Host", "evil.example"}, "ours as a subdomain": {"Host", strings.TrimPrefix(n.URL, "http://") + ".evil.example"}, "another port": {"Host", "127.0.0.1:1"},
	} {
		same(name, c.ask("GET", "/signin", "", header...).want(t, name, 421, ""))
		same(name, c.call("/signin", jsonOf("identifier", ada), header...).want(t, name, 421, "host_unknown"))
	}
}

// A post that another site's page sends changes nothing, signed in or not.
func TestPostsFromOtherSites(t *testing.T) {
	n := node(t)
	b := newClient(t, n)
	path, code := b.atCode(ada)
	sites := [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Origin", "http://127.0.0.1:1"},
		{"Origin", n.URL + ".evil.example"},
		{"Sec-Fetch-Site", "cross-site", "Origin", n.URL},
	}
	for _, site := range sites {
		b.raw("/signin", "username=eve&password=x", site...).want(t, "sign-in", 403, "Not from there")
		b.raw(path+"/code", "code="+code, site...).want(t, "code", 403, "Not from there")
		b.raw(path+"/send", "way=email", site...).want(t, "send", 403, "Not from there")
		b.call("/signin", jsonOf("identifier", ada), site...).want(t, "API", 403, "cross_site")
	}
	b.post(path+"/code", "code", code).leads(t, "our own", "/")
	for _, site := range sites {
		for _, action := range []string{"/signout", "/sessions/end-all", "/sessions/end-others", "/devices/forget-all"} {
			b.raw(action, "", site...).want(t, action, 403, "Not from there")
		}
	}
	b.get("/").want(t, "still signed in", 200, "")
	b.post("/signout").leads(t, "signed out", "/signin?done=signed-out")
}
