package servertest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/testkit/servertest"
)

func TestNodeServesItsPages(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	res, err := n.Browser().Get(n.URL + "/signin")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "<form") {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
}
