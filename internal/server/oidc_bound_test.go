package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/keyring"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// prover is an application that proves its key with each call.
type prover struct {
	*shop

	key   testkit.DPoP
	nonce string // the newest
}

// proof makes one for a call, with a token unless it is empty.
func (p *prover) proof(method, endpoint, token string) string {
	return p.key.Proof(testkit.About(p.n.Clock.Now(), method, p.shop.n.URL+endpoint, token, p.nonce))
}

// send calls a node by the address of the first one.
func (p *prover) send(n *servertest.Node, method, endpoint string, header http.Header, pairs ...string) shown {
	p.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, n.URL+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Host = strings.TrimPrefix(p.n.URL, "http://")
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got := p.got(n.Browser().Do(r))
	if next := got.Header.Get("DPoP-Nonce"); next != "" {
		p.nonce = next
	}
	return got
}

func (p *prover) want(status int, word string, got shown) shown {
	p.t.Helper()
	if got.StatusCode != status || !strings.Contains(got.body, word) {
		p.t.Fatalf("%d %s, want %d %s", got.StatusCode, got.body, status, word)
	}
	return got
}

func with(proofs ...string) http.Header { return http.Header{"Dpop": proofs} }

func showing(scheme, token string, proofs ...string) http.Header {
	h := with(proofs...)
	h.Set("Authorization", scheme+" "+token)
	return h
}

// RFC 9126 and RFC 9449 at the doors of two nodes: pushed with a proof, brought, exchanged, shown, and everywhere with the key alone.
func TestAPushedRequestAndABoundToken(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			shared := servertest.Options{Database: dbtest.NewURL(t, engine), Keys: keyring.Generate(), Clock: dbtest.NewClock()}
			one := servertest.Start(t, shared)
			shared.Config = func(c *config.Config) { c.Site.PublicURL = one.URL }
			boundAtTheDoors(t, one, servertest.Start(t, shared))
		})
	}
}

func boundAtTheDoors(t *testing.T, one, two *servertest.Node) {
	t.Helper()
	one.Account("ada@example.org")
	c := shopClient()
	c.Auth, c.FirstParty, c.RequirePAR, c.DPoP = oidc.ByPost, true, true, true
	p := &prover{shop: newShop(t, one, c), key: testkit.NewDPoP(t, testkit.NewKey(t))}
	client := []string{"client_id", "shop", "client_secret", p.config.ClientSecret}

	link, _ := url.Parse(p.config.AuthCodeURL("state-1"))
	ask := client
	for name, values := range link.Query() {
		ask = append(ask, name, values[0])
	}
	ask = append(ask, "code_challenge", challengeOf(p.verifier), "code_challenge_method", "S256")
	p.want(405, "", p.send(one, "GET", "/oauth/par", http.Header{}))
	p.want(401, "invalid_client", p.send(one, "POST", "/oauth/par", http.Header{}, ask[4:]...))
	p.want(400, "use_dpop_nonce", p.send(one, "POST", "/oauth/par", with(p.proof("POST", "/oauth/par", "")), ask...))
	pushed := p.want(201, `"expires_in":60`, p.send(one, "POST", "/oauth/par", with(p.proof("POST", "/oauth/par", "")), ask...))
	var made struct {
		URI string `json:"request_uri"`
	}
	if err := json.Unmarshal([]byte(pushed.body), &made); err != nil {
		t.Fatal(err)
	}
	at := "/authorize?client_id=shop&request_uri=" + url.QueryEscape(made.URI)
	in := p.signIn(p.to(p.get(at), "/signin?for=app"), "ada@example.org", "ada@example.org")
	code := p.back(p.get(p.to(in, "/authorize/"))).Get("code")

	exchange := append([]string{"grant_type", "authorization_code", "code", code, "redirect_uri", shopCallback, "code_verifier", p.verifier}, client...)
	p.want(400, "invalid_dpop_proof", p.send(one, "POST", "/oauth/token", http.Header{}, exchange...))
	p.want(400, "invalid_dpop_proof", p.send(one, "POST", "/oauth/token", with(p.proof("POST", "/oauth/par", "")), exchange...))
	thief := &prover{shop: p.shop, key: testkit.NewDPoP(t, testkit.NewKey(t)), nonce: p.nonce}
	p.want(400, "invalid_grant", thief.send(one, "POST", "/oauth/token", with(thief.proof("POST", "/oauth/token", "")), exchange...))
	proof := p.proof("POST", "/oauth/token", "")
	p.want(400, "invalid_dpop_proof", p.send(one, "POST", "/oauth/token", with(proof, p.proof("POST", "/oauth/token", "")), exchange...))
	got := p.want(200, `"token_type":"DPoP"`, p.send(one, "POST", "/oauth/token", with(proof), exchange...))
	var token struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(got.body), &token); err != nil {
		t.Fatal(err)
	}
	again := append([]string{"grant_type", "refresh_token", "refresh_token", token.Refresh}, client...)
	p.want(400, "invalid_dpop_proof", p.send(one, "POST", "/oauth/token", with(proof), again...)) // replayed
	p.want(400, "use_dpop_nonce", p.send(two, "POST", "/oauth/token", with(proof), again...))

	const info = "/oauth/userinfo"
	fresh := &prover{shop: p.shop, key: p.key} // without a nonce
	fresh.want(401, "use_dpop_nonce", fresh.send(two, "GET", info, showing("DPoP", token.Access, fresh.proof("GET", info, token.Access))))
	proof = p.proof("GET", info, token.Access)
	p.want(200, `"sub"`, p.send(two, "GET", info, showing("dpop", token.Access, proof)))
	for what, c := range map[string]struct {
		at   *servertest.Node
		h    http.Header
		word string
	}{
		"replayed":            {two, showing("DPoP", token.Access, proof), "invalid_dpop_proof"},
		"replayed elsewhere":  {one, showing("DPoP", token.Access, proof), "invalid_dpop_proof"},
		"without ath":         {two, showing("DPoP", token.Access, p.proof("GET", info, "")), "invalid_dpop_proof"},
		"for another method":  {two, showing("DPoP", token.Access, p.proof("POST", info, token.Access)), "invalid_dpop_proof"},
		"without a proof":     {two, showing("DPoP", token.Access), "invalid_dpop_proof"},
		"as a bearer's":       {two, showing("Bearer", token.Access), "invalid_token"},
		"a bearer's, proved":  {two, showing("Bearer", token.Access, p.proof("GET", info, token.Access)), "invalid_token"},
		"by a thief's key":    {two, showing("DPoP", token.Access, thief.proof("GET", info, token.Access)), "invalid_token"},
		"as no scheme's":      {two, showing("MAC", token.Access), "invalid_token"},
		"with two proofs":     {two, showing("DPoP", token.Access, p.proof("GET", info, token.Access), p.proof("GET", info, token.Access)), "invalid_dpop_proof"},
		"a refresh token":     {two, showing("DPoP", token.Refresh, p.proof("GET", info, token.Refresh)), "invalid_token"},
		"a token of somebody": {two, showing("DPoP", "cst_x", p.proof("GET", info, "cst_x")), "invalid_token"},
	} {
		got := p.send(c.at, "GET", info, c.h)
		scheme := "DPoP realm"
		if s, _, _ := strings.Cut(c.h.Get("Authorization"), " "); s != "DPoP" {
			scheme = "Bearer realm"
		}
		if challenge := got.Header.Get("WWW-Authenticate"); got.StatusCode != 401 || !strings.Contains(got.body, c.word) || !strings.HasPrefix(challenge, scheme) {
			t.Errorf("%s: %d %s %q", what, got.StatusCode, got.body, challenge)
		}
	}
	p.want(200, `"cnf":{"jkt":"`, p.send(one, "POST", "/oauth/introspect", http.Header{}, append(client, "token", token.Access)...))
	p.want(200, `"token_type":"DPoP"`, p.send(one, "POST", "/oauth/token", with(p.proof("POST", "/oauth/token", "")), again...))
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
