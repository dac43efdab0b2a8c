package client_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"countersign/client"
	"countersign/internal/oidc"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

const ada = "ada@example.org"

func inBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// asks is an app's call of a running server.
func asks(t *testing.T, n *servertest.Node, want int, method, path, token string, body map[string]string) (out struct {
	Flow    string
	Session struct{ Token string }
},
) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if body == nil {
		text = nil
	}
	r, err := http.NewRequestWithContext(t.Context(), method, n.URL+"/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := n.Browser().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	said, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		t.Fatalf("%s %s: %d %s %v, want %d", method, path, res.StatusCode, said, err, want)
	}
	if len(said) > 0 {
		if err := json.Unmarshal(said, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// signsIn signs somebody in as an app does, and returns the session's token.
func signsIn(t *testing.T, n *servertest.Node, name string) string {
	t.Helper()
	flow := asks(t, n, 201, "POST", "/signin", "", map[string]string{"identifier": name}).Flow
	asks(t, n, 200, "POST", "/signin/password", "", map[string]string{"flow": flow, "password": servertest.Password})
	asks(t, n, 202, "POST", "/signin/code/send", "", map[string]string{"flow": flow, "way": "email"})
	return asks(t, n, 200, "POST", "/signin/code", "", map[string]string{"flow": flow, "code": n.Code(name)}).Session.Token
}

// soon waits for something that a server must have done within a second.
func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	began := time.Now()
	for !done() {
		if time.Since(began) > 20*time.Second { // a busy machine is slow, and not wrong
			t.Fatalf("%s: not yet", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took > time.Second {
		t.Logf("%s: took %v", what, took)
	}
}

// A running server: whoever is signed in is let in, asked about once, and refused within the second when the session has ended, for a webhook says so.
func TestSessionsOfARunningServer(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	who := n.Account(ada)
	sessions := &client.Sessions{Client: dial(t, client.Config{URL: n.URL, Now: n.Clock.Now}), Keep: time.Hour}
	hook := client.Webhook{Now: n.Clock.Now}
	heard := make(chan client.Event, 100)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		event, err := hook.Verify(r.Header, body)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		sessions.Forget(event.Account)
		heard <- event
	}))
	t.Cleanup(app.Close)
	_, secret, err := n.Core().Subscribers.Add(t.Context(), app.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	hook.Secrets = []string{secret.Reveal()}
	if err := n.Core().Subscribers.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}

	photos := sessions.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		me, _ := client.SessionOf(r.Context())
		_, _ = fmt.Fprint(w, me.Account, " ", me.AAL)
	}))
	ask := func(token string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, "/photos", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		photos.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	first, second := signsIn(t, n, ada), signsIn(t, n, ada)
	for _, token := range []string{first, second} {
		if status, said := ask(token); status != 200 || said != string(who)+" aal1" {
			t.Fatal(status, said)
		}
	}
	if status, _ := ask("css_" + first[4:20]); status != 401 {
		t.Errorf("a token that is none: %d", status)
	}
	for len(heard) > 0 { // of the sign-ins
		<-heard
	}
	asks(t, n, 204, "DELETE", "/session", first, nil)
	soon(t, "the end of a session", func() bool { status, _ := ask(first); return status == 401 })
	if status, _ := ask(second); status != 200 {
		t.Errorf("the other session: %d", status)
	}
	asks(t, n, 204, "POST", "/sessions/end", second, map[string]string{"which": "all"})
	soon(t, "the end of all", func() bool { status, _ := ask(second); return status == 401 })
	select {
	case e := <-heard:
		if e.Account != string(who) || e.Type == "" || e.ID == "" || e.At.IsZero() {
			t.Errorf("told of %+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Error("not told")
	}
	// Who signs nothing is not listened to.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app.URL, bytes.NewReader([]byte(`{}`)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := n.Browser().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != 401 {
		t.Errorf("a delivery that nobody has signed: %d", res.StatusCode)
	}
}

// A running server, and an application with accounts of its own: a device that is new meets a code, and is recognised the next time.
func TestTheSecondDoorOfARunningServer(t *testing.T) {
	const site = "https://photos.example.net"
	n := servertest.Start(t, servertest.Options{})
	secret, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "photos", Name: "Photos", SecondDoor: []string{site}})
	if err != nil {
		t.Fatal(err)
	}
	n.Guard.Add(ada)
	c := dial(t, client.Config{URL: n.URL, ID: "photos", Secret: secret.Reveal(), Now: n.Clock.Now})
	ctx, who := t.Context(), client.Person{Address: "192.0.2.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(what, err)
		}
	}
	opened, err := c.PutAccount(ctx, "u/17", client.Contact{Email: ada, Language: "en"})
	if must("open", err); !opened {
		t.Error("it was there")
	}
	begun, err := c.Begin(ctx, client.Arrival{Reference: "u/17", Person: who})
	if must("begin", err); begun.Allowed || begun.Step != "second" || len(begun.Ways) != 1 || begun.Ways[0] != "email" {
		t.Fatalf("begun: %+v", begun)
	}
	must("send", c.SendCode(ctx, begun.Flow, who, "email"))
	if err := c.SendCode(ctx, begun.Flow, who, "email"); codeOf(err) != "resend_too_soon" {
		t.Errorf("sent again: %v", err)
	}
	if _, err := c.ProveCode(ctx, begun.Flow, who, client.Code{Code: "000000"}); codeOf(err) != "code_refused" {
		t.Errorf("a wrong code: %v", err)
	}
	key := testkit.NewKey(t)
	passed, err := c.ProveCode(ctx, begun.Flow, who, client.Code{Code: n.Code(ada), Remember: &client.Signed{
		PublicKey: inBase64(key.Public()), Signature: inBase64(key.Sign("remember", site, begun.Nonce)),
	}})
	if must("the code", err); !passed.Allowed || passed.ACR != "aal1" || passed.Device.Handle == "" {
		t.Fatalf("passed: %+v", passed)
	}
	again, err := c.Begin(ctx, client.Arrival{Reference: "u/17", Devices: []string{passed.Device.Handle}, Person: who})
	if must("again", err); again.Step != "device" {
		t.Fatalf("again: %+v", again)
	}
	known, err := c.ProveDevice(ctx, again.Flow, who, &client.Signed{Handle: passed.Device.Handle, Signature: inBase64(key.Sign("recognise", site, again.Nonce))})
	if must("the device", err); !known.Allowed || len(known.AMR) != 2 {
		t.Errorf("known: %+v", known)
	}
	all, err := c.Devices(ctx, "u/17")
	if must("devices", err); len(all) != 1 || all[0].Name != "Firefox on Linux" {
		t.Errorf("devices: %+v", all)
	}
	must("forget", c.ForgetDevice(ctx, "u/17", ""))
	if all, err := c.Devices(ctx, "u/17"); err != nil || len(all) != 0 {
		t.Errorf("forgotten: %+v, %v", all, err)
	}
	list, err := c.NewBackupCodes(ctx, "u/17", begun.Flow)
	if must("codes", err); len(list) == 0 {
		t.Error("no codes")
	}
	if f, err := c.Factors(ctx, "u/17"); err != nil || f.BackupCodesLeft != len(list) {
		t.Errorf("factors: %+v, %v", f, err)
	}
	must("remove", c.RemoveAccount(ctx, "u/17"))
	if _, err := c.Begin(ctx, client.Arrival{Reference: "u/17", Person: who}); codeOf(err) != "account_unknown" {
		t.Errorf("removed: %v", err)
	}
	if _, err := dial(t, client.Config{URL: n.URL, ID: "photos", Secret: "guess"}).Begin(ctx, client.Arrival{Reference: "u/17", Person: who}); codeOf(err) != "client_unproved" {
		t.Errorf("another secret: %v", err)
	}
}
