package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// boundKey remembers a device of the account and binds a key to it.
func boundKey(t *testing.T, n *servertest.Node, who account.ID) (id device.ID, chip testkit.BoundKey) {
	t.Helper()
	chip, core := testkit.NewBoundKey(t), n.Core()
	err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		r, err := core.Devices.Remember(t.Context(), tx, who, device.Enrolment{PublicKey: testkit.NewKey(t).Public(), Name: "Phone"}, nil)
		if err != nil {
			return err
		}
		id = r.ID
		_, ok, err := core.Devices.Bind(t.Context(), tx, who, device.Binding{Device: id, Session: "one", Proof: chip.Enrol(core.Devices.Offer(tx, id, "one"))})
		if !ok {
			t.Error("not bound")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, chip
}

// A browser drops a key for good at any 4xx but 403, and at {"continue":false}: so a proof that is none is asked for anew, one
// too many is told to come again, and only the key of a device that is over is dropped.
func TestABrowserKeepsTheKeyOfADeviceThatIsRemembered(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	ada := n.Account("ada@example.org")
	id, chip := boundKey(t, n, ada)
	refresh := func(id device.ID, proof string) (status int, head http.Header, text string) {
		t.Helper()
		return post(t, n, "/dbsc/refresh", "Sec-Secure-Session-Id", string(id), "Secure-Session-Response", proof)
	}
	asked := regexp.MustCompile(`^"([^"]+)";id="` + string(id) + `"$`)
	challenge := func(head http.Header) string {
		t.Helper()
		found := asked.FindStringSubmatch(head.Get("Secure-Session-Challenge"))
		if found == nil {
			t.Fatalf("asked %q", head.Get("Secure-Session-Challenge"))
		}
		return found[1]
	}
	status, head, _ := refresh(id, "")
	if status != http.StatusForbidden {
		t.Errorf("without a proof: %d", status)
	}
	good := chip.Sign(challenge(head))
	if status, head, _ = refresh(id, testkit.NewBoundKey(t).Sign(challenge(head))); status != http.StatusForbidden || challenge(head) == "" || head.Get("Set-Cookie") != "" {
		t.Errorf("by another key: %d, %v", status, head)
	}
	if status, head, text := refresh(id, good); status != http.StatusOK || !strings.Contains(head.Get("Set-Cookie"), string(id)+".") || strings.Contains(text, "continue") {
		t.Errorf("by the key: %d, %v, %s", status, head, text)
	}
	status = http.StatusForbidden
	for range n.Core().SignIn.Limits.Bound.Burst {
		if status, head, _ = refresh(id, good); head.Get("Set-Cookie") != "" {
			t.Error("a proof is taken twice")
		}
		if status != http.StatusForbidden {
			break
		}
	}
	if status != http.StatusServiceUnavailable || head.Get("Retry-After") == "" {
		t.Errorf("one too many: %d, %v", status, head)
	}
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error { return n.Core().Devices.ForgetAll(t.Context(), tx, ada) })
	if err != nil {
		t.Fatal(err)
	}
	for _, over := range []device.ID{id, "0199a0c8-0000-7000-8000-000000000000", "rubbish", ""} {
		if status, _, text := refresh(over, ""); status != http.StatusOK || text != `{"continue":false}` {
			t.Errorf("%q: %d, %s", over, status, text)
		}
	}
	if status, _, _ := post(t, n, "/dbsc/register", "Secure-Session-Response", chip.Enrol("c")); status != http.StatusUnauthorized {
		t.Errorf("a key without a session: %d", status)
	}
}

func post(t *testing.T, n *servertest.Node, path string, headers ...string) (status int, head http.Header, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := n.Browser().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body := read(t, got)
	return got.StatusCode, got.Header, strings.TrimSpace(body)
}
