package input_test

import (
	"strings"
	"testing"
	"time"
)

// Forms that no page of ours sends, at every step.
func TestFormsThatNoPageMade(t *testing.T) {
	n := node(t)
	b := newClient(t, n)
	path, code := b.atCode(ada)
	right := "username=ada%40example.org&password=x"
	for name, c := range map[string]struct {
		path, body, kind string
		status           int
		words            string
	}{
		"empty":                       {"/signin", "", "application/x-www-form-urlencoded", 422, "Enter your name and your password."},
		"no password":                 {"/signin", "username=ada", "application/x-www-form-urlencoded", 422, "Enter your name and your password."},
		"fields as an array":          {"/signin", "username[]=ada&password[]=x", "application/x-www-form-urlencoded", 422, "Enter your name and your password."},
		"a field too many":            {"/signin", right + "&admin=1&role=owner&to=eve@example.org", "application/x-www-form-urlencoded", 422, "<form"},
		"the name twice":              {"/signin", right + "&username=grace", "application/x-www-form-urlencoded", 422, "This could not be read"},
		"NUL":                         {"/signin", "username=ada%00&password=x", "application/x-www-form-urlencoded", 422, "This could not be read"},
		"not UTF-8":                   {"/signin", "username=%c3%28&password=x", "application/x-www-form-urlencoded", 422, "This could not be read"},
		"a lone surrogate":            {"/signin", "username=%ed%a0%80&password=x", "application/x-www-form-urlencoded", 422, "This could not be read"},
		"half an escape":              {"/signin", "username=%4&password=x", "application/x-www-form-urlencoded", 422, "This could not be read"},
		"semicolons":                  {"/signin", "username=ada;password=x", "application/x-www-form-urlencoded", 422, "This could not be read"},
		"JSON":                        {"/signin", `{"username":"ada","password":"x"}`, "application/json", 415, "This could not be read"},
		"XML":                         {"/signin", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>`, "application/xml", 415, "This could not be read"},
		"multipart":                   {"/signin", "--x--", "multipart/form-data; boundary=x", 415, "This could not be read"},
		"no type":                     {"/signin", right, "", 415, "This could not be read"},
		"the query is not the form":   {"/signin?username=ada&password=x", "", "application/x-www-form-urlencoded", 422, "Enter your name and your password."},
		"a code that is words":        {path + "/code", "code=one+two+three", "application/x-www-form-urlencoded", 422, "<form"},
		"an empty code":               {path + "/code", "code=", "application/x-www-form-urlencoded", 422, "<form"},
		"no code":                     {path + "/code", "", "application/x-www-form-urlencoded", 422, "<form"},
		"Arabic digits":               {path + "/code", "code=%d9%a1%d9%a2%d9%a3%d9%a4%d9%a5%d9%a6", "application/x-www-form-urlencoded", 422, "<form"},
		"two codes":                   {path + "/code", "code=" + code + "&code=" + code, "application/x-www-form-urlencoded", 422, "This could not be read"},
		"a code as JSON":              {path + "/code", `{"code":"` + code + `"}`, "application/json", 415, "This could not be read"},
		"an unknown way":              {path + "/send", "way=pigeon", "application/x-www-form-urlencoded", 422, ""},
		"an address instead of a way": {path + "/send", "way=eve%40example.org&to=eve%40example.org", "application/x-www-form-urlencoded", 422, ""},
		"a step that is none":         {path + "/admin", "", "application/x-www-form-urlencoded", 404, "Page not found"},
	} {
		var header []string
		if c.kind != "" {
			header = []string{"Content-Type", c.kind}
		}
		a := b.ask("POST", c.path, c.body, header...).want(t, name, c.status, c.words)
		if strings.Contains(a.text, "eve@example.org") || strings.Contains(a.text, "one two three") {
			t.Errorf("%s: the page echoes", name)
		}
	}
	b.post(path+"/code", "code", code).leads(t, "nothing was lost", "/")
}

// Two tabs are two sign-ins, even of two people.
func TestTwoTabs(t *testing.T) {
	n := node(t)
	b := newClient(t, n)
	first, firstCode := b.atCode(ada)
	second, secondCode := b.atCode(grace)
	if first == second {
		t.Fatal("two tabs share a flow")
	}
	if firstCode != secondCode {
		b.post(first+"/code", "code", secondCode).want(t, "the other tab's code", 422, "<form")
	}
	b.post(second+"/code", "code", secondCode).leads(t, "the second tab", "/")
	b.get(first).want(t, "the first tab still stands where it stood", 200, "<form")
	b.post(first+"/code", "code", firstCode).leads(t, "the first tab", "/")
	b.get("/").want(t, "signed in", 200, "")
}

// Back, and forward, and the button pressed twice: always to where the sign-in stands.
func TestTheBackButton(t *testing.T) {
	n := node(t)
	b := newClient(t, n)
	path, code := b.atCode(ada)
	b.get("/signin").want(t, "back to the beginning", 200, "<form")
	b.get(path).want(t, "forward again", 200, "<form")
	b.post(path+"/device").leads(t, "a step that is over", path)
	b.get(path+"/code").leads(t, "a form's address", path)
	b.post(path+"/code", "code", wrong(code)).want(t, "mistyped", 422, "<form")
	b.post(path+"/code", "code", code).leads(t, "right", "/")
	again := b.post(path+"/code", "code", code)
	if again.status != 410 && again.location != "/" {
		t.Errorf("the button pressed twice: %d to %q", again.status, again.location)
	}
	if back := b.get(path); back.status != 410 && back.location != "/" {
		t.Errorf("back after the end: %d to %q", back.status, back.location)
	}
	b.get("/signin").leads(t, "back to the beginning, signed in", "/")
	b.post("/signout").leads(t, "sign out", "/signin?done=signed-out")
	b.get("/").leads(t, "back after signing out", "/signin")
	b.post(path+"/code", "code", code).want(t, "the old form after signing out", 410, "This sign‑in has ended")
}

// P6: a code is worth nothing but in the browser that asked for it.
func TestACodeFromAnotherBrowser(t *testing.T) {
	n := node(t)
	mine, theirs := newClient(t, n), newClient(t, n)
	path, code := mine.atCode(ada)
	theirs.get(path).want(t, "the page in another browser", 410, "This sign‑in has ended")
	theirs.post(path+"/code", "code", code).want(t, "the code in another browser", 410, "This sign‑in has ended")
	theirs.post(path+"/send", "way", "email").want(t, "another code from another browser", 410, "This sign‑in has ended")
	own, ownCode := theirs.atCode(ada) // as a phisher would, who has asked for the code
	if code != ownCode {
		theirs.post(own+"/code", "code", code).want(t, "my code in their sign-in", 422, "<form")
	}
	theirs.call("/signin/code", jsonOf("flow", strings.TrimPrefix(path, "/signin/"), "code", code)).want(t, "by the API", 410, "flow_ended")
	mine.post(path+"/code", "code", code).leads(t, "in my own", "/")
}

// An old code is worth nothing once another was sent, and does not spoil the new one.
func TestAnOldCodeAfterAnotherWasSent(t *testing.T) {
	n := node(t)
	b := newClient(t, n)
	path, old := b.atCode(ada)
	b.post(path+"/send", "way", "email").leads(t, "too soon", path+"?soon")
	n.Clock.Advance(31 * time.Second)
	b.post(path+"/send", "way", "email").leads(t, "again", path+"?done=code-sent")
	code := b.code(ada)
	if code != old {
		b.post(path+"/code", "code", old).want(t, "the old one", 422, "<form")
	}
	b.post(path+"/code", "code", code).leads(t, "the new one", "/")

	app := newClient(t, n)
	flow, old := app.appAtCode(grace)
	n.Clock.Advance(31 * time.Second)
	app.call("/signin/code/send", jsonOf("flow", flow, "way", "email")).want(t, "again", 202, "")
	code = app.code(grace)
	if code != old {
		app.call("/signin/code", jsonOf("flow", flow, "code", old)).want(t, "the old one", 401, "code_refused")
	}
	n.Clock.Advance(10*time.Minute + time.Second)
	app.call("/signin/code", jsonOf("flow", flow, "code", code)).want(t, "too late", 401, "code_refused")
}
