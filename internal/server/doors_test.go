package server_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/testkit/servertest"
)

// P3: a flow that an application began is not to be had by the pages. Its handle is all its secret, and
// whoever is sent a link with it must not be shown somebody else's sign-in.
func TestAnApplicationsFlowIsNoPage(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	flow := a.begin("ada@example.org").Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	victim := n.Browser() // without a browser's secret, as before the first sign-in
	for _, path := range []string{"", "/send", "/code"} {
		method, body := http.MethodGet, ""
		if path != "" {
			method, body = http.MethodPost, url.Values{"way": {"email"}, "code": {"000000"}}.Encode()
		}
		r, err := http.NewRequestWithContext(t.Context(), method, n.URL+"/signin/"+flow+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := victim.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusGone {
			t.Errorf("%s %q: got %d, want 410", method, path, res.StatusCode)
		}
	}
}
