package leak_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

const (
	ada      = "adalovelace@maildomain.example"
	adaPhone = "+4915112345671"
	adaName  = "countessofcomputing"
	bobPhone = "+4915112345672"
	carol    = "lockedoutcarol@maildomain.example"
	dave     = "waitingfordave@maildomain.example"
	nobody   = "nobodyatall@elsewhere.example"
	typed    = "typed by somebody who has no account"
)

// story is what happens before the database is stolen.
type story struct {
	t    *testing.T
	node *servertest.Node
	loot *loot
	who  []*visitor
}

func (s *story) visitor() *visitor {
	v := newVisitor(s.t, s.node, fmt.Sprintf("198.51.100.%d", 101+len(s.who)))
	v.heard = []byte{}
	s.who = append(s.who, v)
	return v
}

// want fails unless the answer has the status.
func (s *story) want(status int, a answer) answer {
	s.t.Helper()
	if a.status != status {
		s.t.Fatalf("got %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// read returns the code in the newest letter to an address.
func (s *story) read(to string) string {
	s.t.Helper()
	courierWorks(s.t, s.node)
	return s.node.Code(to)
}

// toSecond takes an app's flow to the second door and has a code sent.
func (s *story) toSecond(v *visitor, name, way string) (nonce string) {
	s.t.Helper()
	s.want(201, v.call("/signin", "identifier", name))
	a := s.want(200, v.call("/signin/password", "flow", v.flow, "password", servertest.Password))
	s.want(202, v.call("/signin/code/send", "flow", v.flow, "way", way))
	return fmt.Sprint(a.fields["nonce"])
}

func field(a answer, object, name string) string {
	m, _ := a.fields[object].(map[string]any)
	return fmt.Sprint(m[name])
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// anApp signs Ada in with a code, remembers the device, and signs in from it again without one.
func (s *story) anApp() {
	v, key := s.visitor(), testkit.NewKey(s.t)
	s.want(201, v.call("/signin", "identifier", ada))
	s.want(401, v.call("/signin/password", "flow", v.flow, "password", wrong))
	nonce := s.toSecond(v, ada, "email")
	s.want(401, v.call("/signin/code", "flow", v.flow, "code", "000000"))
	remember := map[string]any{"public_key": b64(key.Public()), "signature": b64(key.Sign("remember", s.node.URL, nonce))}
	done := s.want(200, v.call("/signin/code", "flow", v.flow, "code", s.read(ada), "remember", remember))
	handle := field(done, "device", "handle")
	v.header.Set("Authorization", "Bearer "+field(done, "session", "token"))
	for _, path := range []string{"/session", "/sessions", "/devices"} {
		s.want(200, v.get("/api/v1"+path))
	}
	v.header.Del("Authorization")
	again := s.want(201, v.call("/signin", "identifier", adaName, "devices", []string{handle}))
	device := map[string]any{"handle": handle, "signature": b64(key.Sign("recognise", s.node.URL, fmt.Sprint(again.fields["nonce"])))}
	if in := s.want(200, v.call("/signin/password", "flow", v.flow, "password", servertest.Password, "device", device)); in.fields["step"] != "done" {
		s.t.Fatal("the device was not recognised")
	}
}

var pageNonce = regexp.MustCompile(`data-nonce="([A-Z2-7]{26})"`)

// aBrowser signs Ada in with cookies, by her number, and out again.
func (s *story) aBrowser() {
	v, key := s.visitor(), testkit.NewKey(s.t)
	s.want(422, v.form("/signin", "username", adaPhone, "password", wrong))
	s.want(303, v.form("/signin", "username", adaPhone, "password", servertest.Password))
	nonce := pageNonce.FindStringSubmatch(s.want(200, v.get(v.path)).body)
	if nonce == nil {
		s.t.Fatal("the page has no nonce")
	}
	s.want(303, v.form("/signin/"+v.flow+"/code", "code", s.read(adaPhone), "remember", "on",
		"public_key", b64(key.Public()), "signature", b64(key.Sign("remember", s.node.URL, nonce[1]))))
	s.want(200, v.get("/"))
	s.want(303, v.form("/signout"))
}

// others: by number only, locked, without an account, and one whose letter is still waiting.
func (s *story) others() {
	bob := s.visitor()
	s.toSecond(bob, bobPhone, "sms")
	s.want(200, bob.call("/signin/code", "flow", bob.flow, "code", s.read(bobPhone)))
	locked, ghost := s.visitor(), s.visitor()
	s.want(201, locked.call("/signin", "identifier", carol))
	s.want(401, locked.call("/signin/password", "flow", locked.flow, "password", servertest.Password))
	s.want(201, ghost.call("/signin", "identifier", nobody))
	s.want(401, ghost.call("/signin/password", "flow", ghost.flow, "password", typed))
	s.want(422, ghost.form("/signin", "username", nobody, "password", typed))
	s.want(422, ghost.call("/signin", "identifier", "not an address, "+nobody))
	s.toSecond(s.visitor(), dave, "email")
}

// P4, P1, I-03: whoever has the database, the log or the metrics has no address, number, code,
// token or password of anybody.
func TestStolenDatabaseLogAndMetricsHoldNothing(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n := servertest.Start(t, servertest.Options{Database: url, Idle: true, Config: func(c *config.Config) {
			c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
		}})
		n.Account(ada, adaPhone, adaName)
		n.Account(bobPhone)
		n.Account(dave)
		if err := n.Core().Owner.Lock(t.Context(), n.Account(carol)); err != nil {
			t.Fatal(err)
		}
		s := &story{t: t, node: n, loot: newLoot()}
		s.anApp()
		s.aBrowser()
		s.others()
		waiting := steal(t, url) // with a letter that has not left
		courierWorks(t, n)
		s.learn()
		s.loot.none(t, "the database, letters waiting", waiting)
		s.loot.none(t, "the database", steal(t, url))
		s.loot.none(t, "the log", []byte(n.Log.String()))
		s.loot.none(t, "the metrics", watched(n, "/metrics"))
		s.loot.none(t, "the health report", watched(n, "/readyz"))
		if !strings.Contains(n.Log.String(), "POST /api/v1/signin/password") || !strings.Contains(string(watched(n, "/metrics")), "countersign_http_requests_total") {
			t.Error("the log or the metrics know nothing of the story, so nothing was searched")
		}
		peppered(t, waiting)
		s.planted(url)
	})
}

// learn collects the secrets of the story.
func (s *story) learn() {
	s.loot.contact(ada, adaPhone, bobPhone, carol, dave, nobody)
	s.loot.hide("user name", adaName)
	s.loot.hide("password", servertest.Password, wrong, typed)
	tokens := 0
	for _, v := range s.who {
		tokens += s.loot.tokens(v.heard)
		s.loot.hide("network address", v.from)
	}
	letters := s.node.Inbox().Messages()
	for _, l := range letters {
		if s.loot.tokens([]byte(l.Text)) > 0 { // a notice, whose link is a secret
			continue
		}
		if code := sixDigits.FindString(l.Text); code != "" {
			s.loot.code(code)
		}
	}
	if tokens < 20 || len(s.loot.codes) < 4 {
		s.t.Fatalf("the story had %d tokens and %d codes in %d letters", tokens, len(s.loot.codes), len(letters))
	}
}

func watched(n *servertest.Node, path string) []byte {
	w := httptest.NewRecorder()
	n.Watch().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.Bytes()
}

// planted shows that the searches see: an address in clear in a column of text, the bytes of a token
// in one of bytes, and a code in the log.
func (s *story) planted(url string) {
	s.t.Helper()
	stolen := token.FindSubmatch(s.who[0].heard)
	raw, err := base64.RawURLEncoding.DecodeString(string(stolen[1]))
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.node.Core().DB.Write(s.t.Context(), func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(s.t.Context(), `UPDATE audit_event SET detail = $1`, `{"to":"`+ada+`"}`); err != nil {
			return err
		}
		_, err := tx.Exec(s.t.Context(), `UPDATE session SET digest = $1 WHERE id = (SELECT MIN(id) FROM session)`, raw)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	found := strings.Join(s.loot.find(steal(s.t, url)), "\n")
	if !strings.Contains(found, "address in clear") || !strings.Contains(found, "token's bytes in hex") {
		s.t.Errorf("an address and a token were planted in the database; found:\n%s", found)
	}
	for code := range s.loot.codes {
		if len(s.loot.find([]byte(s.node.Log.String()+`{"msg":"sent `+code+`"}`))) == 0 {
			s.t.Error("a code planted in the log was not found")
		}
	}
}

var phc = regexp.MustCompile(`\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})`)

// peppered tries the right password on every stolen hash: without the key, none fits.
func peppered(t *testing.T, stolen []byte) {
	t.Helper()
	hashes := phc.FindAllSubmatch(stolen, -1)
	if len(hashes) < 4 {
		t.Fatalf("%d password hashes found", len(hashes))
	}
	for _, m := range hashes {
		var p [3]int
		for i := range p {
			p[i], _ = strconv.Atoi(string(m[i+1]))
		}
		salt, err := base64.RawStdEncoding.DecodeString(string(m[4]))
		if err != nil {
			t.Fatal(err)
		}
		tag := argon2.IDKey([]byte(servertest.Password), salt, uint32(p[1]), uint32(p[0]), uint8(p[2]), 32)
		if base64.RawStdEncoding.EncodeToString(tag) == string(m[5]) {
			t.Error("a stolen hash can be tried without the server's key")
		}
	}
}
