package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// linkIn is the secret of the link in the next letter to an address that has one.
func linkIn(n *servertest.Node, to string) string {
	for {
		if _, after, ok := strings.Cut(n.Wait(to).Text, "#"+notice.LinkPrefix+"_"); ok {
			return notice.LinkPrefix + "_" + strings.Fields(after)[0]
		}
	}
}

// P7 at the API: whoever has the letter ends the session of whoever signed in, once.
func TestAnAppSaysThatItWasNotTheHolder(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org", "+4915112345678")
	thief, holder := &app{t: t, node: n}, &app{t: t, node: n}
	thief.signIn("ada@example.org", func(string) string { return "" })
	token := linkIn(n, "+4915112345678")
	refused := func(status int, code, path, body string) {
		t.Helper()
		if got := holder.call("POST", "/api/v1"+path, body); got.status != status || got.Code != code {
			t.Errorf("%s %.40s: %d %s, want %d %s", path, body, got.status, got.text, status, code)
		}
	}
	refused(422, "input_invalid", "/notme", `{}`)
	refused(410, "link_ended", "/notme", `{"token":"csn_something"}`)
	refused(410, "link_ended", "/stop", `{"token":"`+token+`"}`)
	thief.want(200, thief.call("GET", "/api/v1/session", ""))
	holder.want(204, holder.call("POST", "/api/v1/notme", `{"token":"`+token+`"}`))
	thief.want(401, thief.call("GET", "/api/v1/session", ""))
	refused(410, "link_ended", "/notme", `{"token":"`+token+`"}`)
	st := holder.begin("ada@example.org")
	refused(401, "password_refused", "/signin/password", `{"flow":"`+st.Flow+`","password":"`+servertest.Password+`"}`)
}

func TestAnAppStopsARecovery(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	flow := `{"flow":"` + a.want(201, a.call("POST", "/api/v1/recovery", `{"identifier":"ada@example.org"}`)).Flow + `"`
	a.want(200, a.call("POST", "/api/v1/recovery/code", flow+`,"code":"`+n.Code("ada@example.org")+`"}`))
	a.want(200, a.call("POST", "/api/v1/recovery/wait", flow+`}`))
	a.want(204, a.call("POST", "/api/v1/stop", `{"token":"`+linkIn(n, "ada@example.org")+`"}`))
	a.want(410, a.call("POST", "/api/v1/recovery/state", flow+`}`))
	a.signIn("ada@example.org", func(string) string { return "" }) // the password is as it was
}

// Without a script the link is pasted; what was pasted reaches no log.
func TestALinkIsPastedIntoThePage(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	id := n.Account("ada@example.org")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		return n.Core().Notices.Tell(t.Context(), tx, notice.Event{Kind: message.NewDevice, Account: id, Device: "Firefox"})
	})
	if err != nil {
		t.Fatal(err)
	}
	token := linkIn(n, "ada@example.org")
	post := func(path, link string) *http.Response {
		t.Helper()
		res, err := n.Browser().PostForm(n.URL+path, url.Values{"link": {link}})
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	if res := post("/stop", token); res.StatusCode != http.StatusGone {
		t.Errorf("on the other page: %d", res.StatusCode)
	}
	if res := post("/notme", n.URL+"/notme#"+token); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/notme/done" {
		t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if res := post("/notme", token); res.StatusCode != http.StatusGone {
		t.Errorf("again: %d", res.StatusCode)
	}
	if strings.Contains(n.Log.String(), token) || !strings.Contains(n.Log.String(), "POST /notme") {
		t.Error("the link is in the log, or nothing is")
	}
}
