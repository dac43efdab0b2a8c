package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// boundApp is an app whose session is bound to its key.
type boundApp struct {
	*app

	key   testkit.DPoP
	nonce string // the newest
}

// proof makes one for a call at this node, with the session's token unless it is empty.
func (b *boundApp) proof(method, path, token, nonce string) string {
	path, _, _ = strings.Cut(path, "?")
	return b.key.Proof(testkit.About(b.node.Clock.Now(), method, b.node.URL+path, token, nonce))
}

// call sends a call with a new proof, and another if a nonce is wanted.
func (b *boundApp) call(method, path, body string) answer {
	b.t.Helper()
	for range 2 {
		got := b.with(b.proof(method, path, b.token, b.nonce)).call(method, path, body)
		if next := got.header.Get("DPoP-Nonce"); next != "" {
			b.nonce = next
		}
		if got.Code != "dpop_nonce_needed" {
			return got
		}
	}
	b.t.Fatal("one nonce after the other")
	return answer{}
}

// with is the app with headers of one's own choice.
func (b *boundApp) with(proof string) *raw { return &raw{b.app, b.token, "DPoP", []string{proof}} }

// raw sends what it is told.
type raw struct {
	*app

	token, scheme string
	proofs        []string
}

func (r *raw) call(method, path, body string, header ...string) answer {
	r.t.Helper()
	was := r.app.token
	r.app.token = ""
	defer func() { r.app.token = was }()
	if r.scheme != "" {
		header = append(header, "Authorization", r.scheme+" "+r.token)
	}
	for _, p := range r.proofs {
		header = append(header, "DPoP", p)
	}
	return r.app.call(method, path, body, header...)
}

// bound signs an app in by a code and with a proof of its key.
func bound(t testing.TB, n *servertest.Node, name string, key testkit.Key) *boundApp {
	t.Helper()
	b := &boundApp{app: &app{t: t, node: n}, key: testkit.NewDPoP(t, key)}
	flow := b.begin(name).Flow
	second := b.want(200, b.app.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	b.want(202, b.app.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`))
	b.finish(`{"flow":"`+flow+`","code":"`+n.Code(name)+`"}`, second.Nonce)
	return b
}

// finish sends the last call of a sign-in.
func (b *boundApp) finish(body, nonce string) answer {
	b.t.Helper()
	const path = "/api/v1/signin/code"
	done := b.want(200, b.app.call("POST", path, body, "DPoP", b.proof("POST", path, "", nonce)))
	if !strings.Contains(done.text, `"token_type":"DPoP"`) {
		b.t.Fatal(done.text)
	}
	b.token, b.nonce = done.Session.Token, done.header.Get("DPoP-Nonce")
	return done
}

func TestABoundSessionNeedsItsKey(t *testing.T) {
	for name, made := range map[string]func(testing.TB) testkit.Key{"P-256": testkit.NewKey, "Ed25519": testkit.NewEdKey} {
		t.Run(name, func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{})
			n.Account("ada@example.org")
			mine := bound(t, n, "ada@example.org", made(t))
			const path = "/api/v1/session"
			got := mine.want(200, mine.with(mine.proof("GET", path, mine.token, mine.nonce)).call("GET", path, "")) // the sign-in's answer had a nonce
			if !strings.Contains(got.text, `"cnf":{"jkt":"`) {
				t.Error(got.text)
			}
			if all := mine.want(200, mine.call("GET", "/api/v1/sessions?lang=de", "")); !strings.Contains(all.text, `"token_type":"DPoP"`) {
				t.Error(all.text)
			}
			mine.want(200, mine.call("GET", "/api/v1/account", ""))
			mine.want(202, mine.call("POST", "/api/v1/account/addresses", `{"address":"ada@example.net"}`))

			thief := &boundApp{app: &app{t: t, node: n, token: mine.token}, key: testkit.NewDPoP(t, made(t)), nonce: mine.nonce}
			refused := func(what string, got answer, code, challenge string) {
				t.Helper()
				if got.status != 401 || got.Code != code || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), challenge) {
					t.Errorf("%s: %d %s, %q", what, got.status, got.Code, got.header.Get("WWW-Authenticate"))
				}
			}
			const invalidToken, invalidProof = `DPoP error="invalid_token", algs="ES256 EdDSA"`, `DPoP error="invalid_dpop_proof", algs="ES256 EdDSA"`
			for _, path := range []string{path, "/api/v1/account"} {
				refused("as a bearer's", thief.app.call("GET", path, ""), "session_key_unproved", invalidToken)
				refused("with another key's proof", thief.call("GET", path, ""), "session_key_unproved", invalidToken)
				refused("without a proof", (&raw{thief.app, mine.token, "DPoP", nil}).call("GET", path, ""), "dpop_proof_refused", invalidProof)
				refused("as a bearer's, with a proof", (&raw{thief.app, mine.token, "Bearer", []string{mine.proof("GET", path, mine.token, mine.nonce)}}).call("GET", path, ""),
					"session_key_unproved", invalidToken)
				cookie := (&raw{app: thief.app}).call("GET", path, "", "Cookie", "__Host-session="+mine.token+"; session="+mine.token)
				if cookie.status != 401 {
					t.Errorf("as a cookie: %s", cookie.text)
				}
				used := mine.proof("GET", path, mine.token, mine.nonce)
				mine.want(200, mine.with(used).call("GET", path, ""))
				refused("a proof again", mine.with(used).call("GET", path, ""), "dpop_proof_refused", invalidProof)
				for what, proof := range map[string]string{
					"another method's":     mine.proof("POST", path, mine.token, mine.nonce),
					"another path's":       mine.proof("GET", "/api/v1/devices", mine.token, mine.nonce),
					"another token's":      mine.proof("GET", path, "css_other", mine.nonce),
					"none's":               mine.proof("GET", path, "", mine.nonce),
					"another host's":       mine.key.Proof(testkit.About(n.Clock.Now(), "GET", "https://evil.example"+path, mine.token, mine.nonce)),
					"an old one":           mine.key.Proof(testkit.About(n.Clock.Now().Add(-time.Hour), "GET", n.URL+path, mine.token, mine.nonce)),
					"larger than any real": mine.key.Proof(testkit.Claims{"jti": strings.Repeat("x", 5000)}),
				} {
					refused(what, mine.with(proof).call("GET", path, ""), "dpop_proof_refused", invalidProof)
				}
			}
			// As in the Host header of somebody who has a name that leads here.
			if got := mine.with(mine.key.Proof(testkit.About(n.Clock.Now(), "GET", "http://evil.example"+path, mine.token, mine.nonce))).call("GET", path, "", "Host", "evil.example"); got.status != 421 {
				t.Errorf("%d %s", got.status, got.text)
			}
			refused("a huge header", mine.with(strings.Repeat("x", 64<<10)).call("GET", path, ""), "dpop_proof_refused", invalidProof)
			n.Clock.Advance(3 * time.Minute)
			late := mine.with(mine.proof("GET", path, mine.token, mine.nonce)).call("GET", path, "")
			refused("with an old nonce", late, "dpop_nonce_needed", `DPoP error="use_dpop_nonce", algs="ES256 EdDSA"`)
			if late.header.Get("DPoP-Nonce") == "" {
				t.Error("no nonce to go on with")
			}
			mine.want(200, mine.call("GET", path, ""))
			mine.want(204, mine.call("DELETE", path, ""))
			if got := mine.call("GET", path, ""); got.Code != "session_ended" {
				t.Error(got.text)
			}
		})
	}
}

// Two headers are one too many, whichever of them is right.
func TestOneProofPerCall(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	mine := bound(t, n, "ada@example.org", testkit.NewKey(t))
	r, err := http.NewRequestWithContext(t.Context(), "GET", n.URL+"/api/v1/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+mine.token)
	for range 2 {
		r.Header.Add("DPoP", mine.proof("GET", "/api/v1/session", mine.token, mine.nonce))
	}
	res, err := n.Browser().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 401 || !strings.Contains(res.Header.Get("WWW-Authenticate"), "invalid_dpop_proof") {
		t.Error(res.Status, res.Header)
	}
}

// A session that began without a key stays as it is, whatever comes with its token.
func TestABearersSessionIsNotBoundLater(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	mine := &boundApp{app: &app{t: t, node: n}, key: testkit.NewDPoP(t, testkit.NewKey(t))}
	if done := mine.signIn("ada@example.org", nothing); !strings.Contains(done.text, `"token_type":"Bearer"`) || done.header.Get("DPoP-Nonce") != "" {
		t.Error(done.text)
	}
	if got := mine.call("GET", "/api/v1/session", ""); got.Code != "session_key_unproved" {
		t.Error(got.text)
	}
	for range 2 {
		mine.want(200, mine.app.call("GET", "/api/v1/session", "", "DPoP", mine.proof("GET", "/api/v1/session", mine.token, "")))
		mine.want(200, mine.app.call("GET", "/api/v1/session", "", "DPoP", "rubbish"))
	}
}

// The proof that a session begins with answers the nonce of the step, and of no other.
func TestASignInsProofIsForItsStep(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	const path = "/api/v1/signin/code"
	b := &boundApp{app: &app{t: t, node: n}, key: testkit.NewDPoP(t, testkit.NewKey(t))}
	first := b.begin("ada@example.org")
	second := b.want(200, b.app.call("POST", "/api/v1/signin/password", `{"flow":"`+first.Flow+`","password":"`+servertest.Password+`"}`))
	b.want(202, b.app.call("POST", "/api/v1/signin/code/send", `{"flow":"`+first.Flow+`","way":"email"}`))
	body := `{"flow":"` + first.Flow + `","code":"` + n.Code("ada@example.org") + `"}`
	other := b.begin("ada@example.org")
	for what, proof := range map[string]string{
		"the step before": b.proof("POST", path, "", first.Nonce),
		"another sign-in": b.proof("POST", path, "", other.Nonce),
		"no nonce":        b.proof("POST", path, "", ""),
		"another call":    b.proof("POST", "/api/v1/signin/password", "", second.Nonce),
		"with a token":    b.proof("POST", path, "css_x", second.Nonce),
		"rubbish":         "rubbish",
	} {
		got := b.app.call("POST", path, body, "DPoP", proof)
		if got.status != 401 || got.Code != "dpop_proof_refused" {
			t.Errorf("%s: %d %s", what, got.status, got.text)
		}
	}
	b.finish(body, second.Nonce) // no code was spent
	b.want(200, b.call("GET", "/api/v1/session", ""))
}

// What takes the place of a bound session is bound to the same key.
func TestAgainKeepsTheKey(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	mine := bound(t, n, "ada@example.org", testkit.NewKey(t))
	other := testkit.NewDPoP(t, testkit.NewKey(t))
	begun := mine.want(201, mine.call("POST", "/api/v1/signin/again", `{}`))
	second := mine.want(200, mine.app.call("POST", "/api/v1/signin/password", `{"flow":"`+begun.Flow+`","password":"`+servertest.Password+`"}`))
	mine.want(202, mine.app.call("POST", "/api/v1/signin/code/send", `{"flow":"`+begun.Flow+`","way":"email"}`))
	body := `{"flow":"` + begun.Flow + `","code":"` + n.Code("ada@example.org") + `"}`
	const path = "/api/v1/signin/code"
	if got := mine.app.call("POST", path, body); got.status != 401 || got.Code != "session_key_unproved" {
		t.Errorf("without a proof: %s", got.text)
	}
	foreign := other.Proof(testkit.About(n.Clock.Now(), "POST", n.URL+path, "", second.Nonce))
	if got := mine.app.call("POST", path, body, "DPoP", foreign); got.status != 401 || got.Code != "session_key_unproved" {
		t.Errorf("by another key: %s", got.text)
	}
	was := mine.token
	mine.finish(body, second.Nonce)
	if mine.token == was {
		t.Fatal("the token is the same")
	}
	mine.want(200, mine.call("GET", "/api/v1/session", ""))
	if got := mine.app.call("GET", "/api/v1/session", ""); got.Code != "session_key_unproved" {
		t.Error(got.text)
	}

	// A new password gives the session a new token, and leaves it bound.
	changed := mine.want(200, mine.call("POST", "/api/v1/account/password", `{"current":"`+servertest.Password+`","new":"walrus kettle umbrella 9"}`))
	if !strings.Contains(changed.text, `"token_type":"DPoP"`) {
		t.Error(changed.text)
	}
	mine.token = changed.Session.Token
	if got := mine.app.call("GET", "/api/v1/session", ""); got.Code != "session_key_unproved" {
		t.Error(got.text)
	}
	mine.want(200, mine.call("GET", "/api/v1/session", ""))
}

// A recognised device needs no second step, and binds its session in the one call.
func TestARecognisedDeviceBindsItsSession(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	b64 := base64.RawURLEncoding.EncodeToString
	key := testkit.NewEdKey(t)
	b := &boundApp{app: &app{t: t, node: n}, key: testkit.NewDPoP(t, key)} // one key may serve as both
	done := b.signIn("ada@example.org", func(nonce string) string {
		return `,"remember":{"public_key":"` + b64(key.Public()) + `","signature":"` + b64(key.Sign("remember", n.URL, nonce)) + `"}`
	})
	flow := b.begin("ada@example.org")
	const path = "/api/v1/signin/password"
	body := `{"flow":"` + flow.Flow + `","password":"` + servertest.Password + `","device":{"handle":"` + done.Device.Handle + `","signature":"` + b64(key.Sign("recognise", n.URL, flow.Nonce)) + `"}}`
	in := b.want(200, b.app.call("POST", path, body, "DPoP", b.proof("POST", path, "", flow.Nonce)))
	if in.Step != "done" || !strings.Contains(in.text, `"token_type":"DPoP"`) {
		t.Fatal(in.text)
	}
	b.token = in.Session.Token
	b.want(200, b.call("GET", "/api/v1/session", ""))
}

// At two nodes one proof is taken by one of them; an app whose calls go to either goes on, after one nonce from each.
func TestOneProofAtTwoNodes(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			oneProof(t, servertest.Options{Database: dbtest.NewURL(t, engine), Keys: keyring.Generate(), Clock: dbtest.NewClock()})
		})
	}
}

func oneProof(t *testing.T, shared servertest.Options) {
	t.Helper()
	one := servertest.Start(t, shared)
	public, err := url.Parse(one.URL)
	if err != nil {
		t.Fatal(err)
	}
	shared.Config = func(c *config.Config) { c.Site.PublicURL = one.URL }
	two := servertest.Start(t, shared)
	one.Account("ada@example.org")
	mine := bound(t, one, "ada@example.org", testkit.NewKey(t))
	const path = "/api/v1/session"
	at := func(n *servertest.Node, proof string) answer {
		there := mine.with(proof)
		there.app = &app{t: t, node: n}
		got := there.call("GET", path, "", "Host", public.Host)
		if next := got.header.Get("DPoP-Nonce"); next != "" {
			mine.nonce = next
		}
		return got
	}
	stolen := mine.proof("GET", path, mine.token, mine.nonce)
	mine.want(200, at(one, stolen))
	if got := at(two, stolen); got.status != 401 || got.Code != "dpop_nonce_needed" {
		t.Errorf("%d %s", got.status, got.text)
	}
	stolen = mine.proof("GET", path, mine.token, mine.nonce)
	mine.want(200, at(two, stolen))
	for _, n := range []*servertest.Node{one, two} {
		if got := at(n, stolen); got.status != 401 || got.Code != "dpop_proof_refused" {
			t.Errorf("%d %s", got.status, got.text)
		}
	}
	for i := range 6 { // as a balancer deals them out
		mine.want(200, at([]*servertest.Node{one, two}[i%2], mine.proof("GET", path, mine.token, mine.nonce)))
	}
}
