package server_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/testkit/servertest"
)

// Whoever comes by another address is told which is ours, on a page that needs nothing else from here, for there is nothing else at that
// address. What was sent is not repeated.
func TestAnotherAddressLeadsToOurs(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	ask := func(path, host string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := n.Browser().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	res, body := ask("/signin", strings.TrimPrefix(n.URL, "http://"))
	style := regexp.MustCompile(`/assets/[0-9a-f]+/app\.css`).FindString(body)
	if res.StatusCode != http.StatusOK || style == "" {
		t.Fatalf("%d\n%s", res.StatusCode, body)
	}
	const other = "evil.example:8080"
	for _, path := range []string{"/", "/signin?for=x", "/nothing", style, "/.well-known/change-password", "/oauth/logout"} {
		res, body := ask(path, other)
		if res.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(body, `<a class="button" href="`+n.URL+`">`+n.URL+`</a>`) || !strings.Contains(body, "This server has another address") {
			t.Errorf("%s: %d\n%s", path, res.StatusCode, body)
		}
		if strings.Contains(body, "evil") || strings.Contains(body, "/assets/") || len(res.Cookies()) > 0 {
			t.Errorf("%s: repeats what was sent, or wants what there is not:\n%s", path, body)
		}
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/oauth/token", "/api/v1/session"} {
		res, body := ask(path, other)
		if res.StatusCode != http.StatusMisdirectedRequest || res.Header.Get("Content-Type") != "application/problem+json; charset=utf-8" || !strings.Contains(body, "host_unknown") || strings.Contains(body, "evil") {
			t.Errorf("%s: %d %s\n%s", path, res.StatusCode, res.Header.Get("Content-Type"), body)
		}
	}
}
