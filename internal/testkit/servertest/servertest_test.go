package servertest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/courier"
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

func TestALetterThatCameTwiceIsOne(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	for _, id := range []string{"first", "first", "second"} {
		if _, err := n.Inbox().Send(t.Context(), courier.Message{ID: id, To: "ada@example.org"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"first", "second"} {
		if got := n.Wait("ada@example.org").ID; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// P1, I-03: every node has a guard, without being asked to, that knows the contact data of every
// account made through the node and fails the test when any of it is in an answer.
func TestEveryNodeHasAGuard(t *testing.T) {
	const mail, phone = "quillfeather@mailhaven.example", "+4915112345678"
	for name, leak := range map[string]func(w http.ResponseWriter){
		"address in a page":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "We wrote to "+mail) },
		"number in a header": func(w http.ResponseWriter) { w.Header().Set("X-Sent-To", phone) },
		"address in a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "/signin?username=quillfeather%40mailhaven.example")
			w.WriteHeader(http.StatusSeeOther)
		},
		"masked in a failure": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusGone)
			_, _ = io.WriteString(w, "We wrote to q•••••r@m•••")
		},
		"in two writes": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "quillfeather@mail")
			_, _ = io.WriteString(w, "haven.example")
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &failures{TB: t}
			n := servertest.Start(seen, servertest.Options{Idle: true, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/leak" {
						leak(w)
						return
					}
					next.ServeHTTP(w, r)
				})
			}})
			n.Account(mail, phone)
			ask := func(path string) {
				t.Helper()
				res, err := n.Browser().Get(n.URL + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
			}
			ask("/signin")
			if len(seen.said) > 0 {
				t.Fatalf("the guard fails a page that is fine: %s", seen.said)
			}
			ask("/leak")
			if len(seen.said) != 1 || !strings.Contains(seen.said[0], "GET /leak answered with") {
				t.Errorf("the guard said %q", seen.said)
			}
		})
	}
}

// failures is a test that notes its failures instead of failing.
type failures struct {
	testing.TB
	said []string
}

func (f *failures) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}
