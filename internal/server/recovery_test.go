package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/testkit/servertest"
)

const newWord = "velvet harbour cinnamon 77"

// P8, N-4.2.2.2-01 at the API: two codes by two ways.
func TestAnAppGetsSomebodyBackIn(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org", "+4915112345678")
	a := &app{t: t, node: n}
	post := func(path, body string) answer { return a.call("POST", "/api/v1/recovery"+path, body) }
	refused := func(status int, code string, got answer) {
		t.Helper()
		if got.status != status || got.Code != code {
			t.Fatalf("got %d %s, want %d %s", got.status, got.text, status, code)
		}
	}
	refused(422, "destination_missing", post("", `{"identifier":"ada.lovelace"}`))
	st := a.want(201, post("", `{"identifier":"ada@example.org"}`))
	flow := `{"flow":"` + st.Flow + `"`
	refused(409, "step_out_of_order", post("/password", flow+`,"password":"`+newWord+`"}`))
	refused(409, "step_out_of_order", post("/old-password", flow+`,"password":"`+servertest.Password+`"}`))
	refused(401, "code_refused", post("/code", flow+`,"code":"000000"}`))
	refused(429, "resend_too_soon", post("/send", flow+`,"way":"email"}`))
	refused(422, "way_unknown", post("/send", flow+`,"way":"sms"}`))
	if got := a.want(200, post("/code", flow+`,"code":"`+n.Code("ada@example.org")+`"}`)); got.Step != "more" {
		t.Fatal(got.text)
	}
	refused(401, "password_refused", post("/old-password", flow+`,"password":"not it, not it, not it"}`))
	refused(401, "code_refused", post("/saved-code", flow+`,"code":"0000-0000"}`))
	if got := a.want(200, post("/contacts", flow+`}`)); !strings.Contains(got.text, `"asked":true`) {
		t.Fatal(got.text)
	}
	refused(401, "code_refused", post("/contacts/code", flow+`,"code":"00000000"}`))
	a.want(200, post("/send", flow+`,"way":"sms"}`))
	if got := a.want(200, post("/code", flow+`,"way":"sms","code":"`+n.Code("+4915112345678")+`"}`)); got.Step != "password" {
		t.Fatal(got.text)
	}
	if got := a.want(200, post("/state", flow+`}`)); got.Step != "password" {
		t.Fatal(got.text)
	}
	refused(422, "password_too_short", post("/password", flow+`,"password":"short"}`))
	if got := a.want(200, post("/password", flow+`,"password":"`+newWord+`"}`)); strings.TrimSpace(got.text) != "{}" {
		t.Errorf("the answer has more than it needs: %s", got.text)
	}
	refused(410, "flow_ended", post("/state", flow+`}`))
	signin := a.begin("ada@example.org").Flow
	a.want(401, a.call("POST", "/api/v1/signin/password", `{"flow":"`+signin+`","password":"`+servertest.Password+`"}`))
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+signin+`","password":"`+newWord+`"}`))
}

// One proof and the waiting time, which an app sits out.
func TestAnAppWaits(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	st := a.want(201, a.call("POST", "/api/v1/recovery", `{"identifier":"ada@example.org"}`))
	flow := `{"flow":"` + st.Flow + `"`
	a.want(200, a.call("POST", "/api/v1/recovery/code", flow+`,"code":"`+n.Code("ada@example.org")+`"}`))
	if got := a.want(200, a.call("POST", "/api/v1/recovery/wait", flow+`}`)); got.Step != "waiting" || !strings.Contains(got.text, `"ready_at":"`) {
		t.Fatal(got.text)
	}
	if letter := n.Wait("ada@example.org"); !strings.Contains(letter.Text, n.URL+"/stop#csn_") {
		t.Errorf("no way to stop it in %q", letter.Text)
	}
	n.Clock.Advance(24 * time.Hour)
	a.want(200, a.call("POST", "/api/v1/recovery/password", flow+`,"password":"`+newWord+`"}`))
}

// visitor is somebody at a browser without JavaScript.
type visitor struct {
	t    testing.TB
	node *servertest.Node
	http *http.Client
	path string
	page string
}

func (v *visitor) do(want int, method, path string, pairs ...string) *visitor {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.node.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.page = string(page)
	if res.StatusCode != want {
		v.t.Fatalf("%s %s: %d, want %d\n%s", method, path, res.StatusCode, want, v.page)
	}
	if to := res.Header.Get("Location"); to != "" {
		v.path = to
		v.do(http.StatusOK, http.MethodGet, to)
	}
	return v
}

// post sends a form and follows where it leads.
func (v *visitor) post(path string, pairs ...string) *visitor {
	v.t.Helper()
	return v.do(http.StatusSeeOther, http.MethodPost, path, pairs...)
}

func (v *visitor) shows(want string) *visitor {
	v.t.Helper()
	if !strings.Contains(v.page, want) {
		v.t.Fatalf("%s does not show %q:\n%s", v.path, want, v.page)
	}
	return v
}

// begin begins a recovery and returns its path.
func (v *visitor) begin(name, to string) string {
	v.t.Helper()
	v.post("/recover", "username", name, "to", to).shows("Enter the code")
	return v.path
}

func newVisitor(t testing.TB, n *servertest.Node) *visitor {
	return &visitor{t: t, node: n, http: n.Browser()}
}

// The whole way at the pages, without JavaScript: what is refused, what is led on, and a saved code that is shown once.
func TestAPersonGetsBackIn(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	id := n.Account("ada@example.org", "ada.l")
	var saved string
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		code, err := n.Core().Recovery.NewSavedCode(t.Context(), tx, id)
		saved = code.Reveal()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	v := newVisitor(t, n)
	v.do(200, "GET", "/signin").shows(`<a href="/recover">Forgot your password?</a>`)
	v.do(422, "POST", "/recover", "username", " ").shows("Enter the name of your account.")
	v.do(422, "POST", "/recover", "username", "ada.l").shows("No code can be sent there.")
	path := v.begin("ada.l", "ada@example.org")
	v.do(422, "POST", path+"/code", "code", " ").shows("Enter the code from the message.")
	v.do(422, "POST", path+"/code", "code", "000000").shows("That code is not right")
	v.post(path+"/send", "way", "email").shows("You can have another code sent in")
	v.do(200, "GET", path+"/saved").shows("six groups")
	v.do(422, "POST", path+"/saved", "proof", "").shows("Enter the recovery code.")
	v.do(422, "POST", path+"/saved", "proof", "0000").shows("That is not the code")
	v.post(path+"/saved", "proof", strings.ToLower(saved)).shows("One more proof")
	v.do(303, "GET", path+"/wait") // opened again from the address bar: nothing begins
	v.shows("One more proof")
	v.do(422, "POST", path+"/old", "proof", "not it").shows("That was not the password of this account, or it does not count now.")
	v.post(path + "/ask").shows("each of them has been sent a code")
	v.do(422, "POST", path+"/contacts", "proof", "12345678").shows("That code is not right")
	v.post(path+"/code", "way", "email", "code", n.Code("ada@example.org")).shows("Set a new password") // the first code still counts
	v.do(422, "POST", path+"/password", "password", newWord, "again", "something else").shows("The two passwords are not the same.")
	v.do(422, "POST", path+"/password").shows("Enter the new password twice.")
	v.do(422, "POST", path+"/password", "password", "short", "again", "short").shows("Use at least 15 characters.")
	v.do(422, "POST", path+"/password", "password", "ada@example.org", "again", "ada@example.org").shows("made of names or addresses")
	v.do(200, "POST", path+"/password", "password", newWord, "again", newWord).shows("Your password is set")
	if next := regexp.MustCompile(`([0-9A-Z]{4}-){5}[0-9A-Z]{4}`).FindString(v.page); next == "" || next == saved {
		t.Errorf("no new saved code is shown: %q", next)
	}
	v.do(410, "GET", path).shows("This recovery has ended")
	v.post("/signin", "username", "ada.l", "password", newWord).shows("Enter the code")
}

// Somebody who waits closes the browser's page, comes back to the start days later and goes on; nobody else can.
func TestAPersonComesBackAfterTheWait(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) { c.Recovery.Wait = config.Duration(48 * time.Hour) }})
	n.Account("ada@example.org", "+4915112345678")
	v := newVisitor(t, n)
	path := v.begin("ada@example.org", "")
	v.post(path+"/code", "code", n.Code("ada@example.org")).shows("48 hours, or 144 hours if the account has another address")
	v.post(path + "/wait").shows("You can set a new password later")
	v.do(200, "GET", path+"/more").shows("One more proof")
	if strings.Contains(v.page, "/wait") {
		t.Error("the wait that runs is offered again")
	}
	n.Clock.Advance(6 * 24 * time.Hour)
	v.do(200, "GET", "/recover").shows(fmt.Sprintf(`<a href="%s">Go on with it</a>`, path))
	v.begin("somebody@example.org", "") // another recovery in between
	v.do(200, "GET", "/recover").shows(fmt.Sprintf(`<a href="%s">Go on with it</a>`, path))
	newVisitor(t, n).do(410, "GET", path)
	v.do(200, "GET", path).shows("Set a new password")
	v.do(200, "POST", path+"/password", "password", newWord, "again", newWord).shows("Your password is set")
}

// Contacts at the pages: two codes, read out.
func TestAPersonAsksTheirContacts(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	id := n.Account("ada@example.org")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, to := range []string{"bob@example.org", "carol@example.org"} {
			ident, err := account.Parse(to)
			if err != nil {
				return err
			}
			n.Guard.Add(to)
			if err := n.Core().Recovery.AddContact(t.Context(), tx, id, recovery.Contact{Label: "A friend", Holder: "Ada", Identifier: ident}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v := newVisitor(t, n)
	path := v.begin("ada@example.org", "")
	v.post(path+"/code", "code", n.Code("ada@example.org")).shows("One more proof")
	v.post(path + "/ask").shows("Code of a contact")
	read := func(from string) string {
		for {
			if code := regexp.MustCompile(`\b\d{8}\b`).FindString(n.Wait(from).Text); code != "" {
				return code
			}
		}
	}
	v.post(path+"/contacts", "proof", read("bob@example.org")).shows("Now the code of one more person.")
	v.post(path+"/contacts", "proof", read("carol@example.org")).shows("Set a new password")
}

// The operator sees how often what happens, and never to whom.
func TestRecoveriesAreCounted(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	v := newVisitor(t, n)
	path := v.begin("ada@example.org", "")
	v.begin("ghost@example.org", "")
	v.do(422, "POST", path+"/code", "code", "000000")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	text := &recorded{header: http.Header{}}
	n.Watch().ServeHTTP(text, r)
	for _, want := range []string{`countersign_recovery_total{event="authn_code_sent"} 2`, `countersign_recovery_total{event="recovery_fail"} 1`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// recorded is an answer.
type recorded struct {
	strings.Builder

	header http.Header
}

func (r *recorded) Header() http.Header { return r.header }
func (r *recorded) WriteHeader(int)     {}
