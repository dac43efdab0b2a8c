package oidc_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web"
)

// differences is where every difference from npm oidc-provider is explained: a table of the request, what each answers, and why.
const differences = "../../docs/openid-differences.md"

// side is one of the two providers.
type side struct {
	t        *testing.T
	base     string
	ends     map[string]string // its endpoints
	secrets  map[string]string // of the clients
	signedIn *http.Client      // somebody's browser
	stranger *http.Client
	agrees   *http.Client      // the same browser, for whoever agrees to what is asked; nil where nothing is
	kept     map[string]string // of what it has handed out, what lasts
}

func newSide(t *testing.T, base string, secrets map[string]string, signedIn *http.Client) *side {
	t.Helper()
	stranger := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s := &side{t: t, base: base, secrets: secrets, signedIn: signedIn, stranger: stranger, kept: map[string]string{}}
	s.ends = map[string]string{"metadata": base + "/.well-known/openid-configuration", "rfc8414": base + "/.well-known/oauth-authorization-server"}
	told := s.members("metadata")
	for end, member := range map[string]string{"keys": "jwks_uri", "authorize": "authorization_endpoint", "token": "token_endpoint", "introspection": "introspection_endpoint", "revocation": "revocation_endpoint", "userinfo": "userinfo_endpoint"} {
		s.ends[end], _ = told[member].(string)
	}
	return s
}

func (s *side) members(end string) (told map[string]any) {
	s.t.Helper()
	_, body := s.do(ask{to: end})
	if err := json.Unmarshal(body, &told); err != nil {
		s.t.Fatalf("%s: %s: %v", s.ends[end], body, err)
	}
	return told
}

// ours is a node with somebody signed in, and the clients that both have.
func ours(t *testing.T) (*side, []map[string]any) {
	t.Helper()
	n := servertest.Start(t, servertest.Options{Idle: true, Config: func(c *config.Config) { c.Throttle.ExemptSources = []string{"127.0.0.0/8"} }})
	secrets := map[string]string{}
	var theirs []map[string]any
	for _, c := range []oidc.Client{
		{ID: "shop", Auth: oidc.ByBasic}, {ID: "other", Auth: oidc.ByBasic}, {ID: "post", Auth: oidc.ByPost}, {ID: "app", Auth: oidc.ByNothing},
	} {
		c.Name, c.FirstParty, c.Scopes = "Corner Shop", true, []string{"openid", "offline_access"}
		c.RedirectURIs = []string{callback, "http://127.0.0.1/done"}
		c.Sector = "shop.example.com"
		token, err := n.Core().Applications.Add(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		secrets[c.ID] = token.Reveal()
		same := map[string]any{
			"client_id": c.ID, "redirect_uris": c.RedirectURIs, "token_endpoint_auth_method": c.Auth,
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		}
		if c.Auth == oidc.ByNothing { // a loopback port is an app's to choose
			same["application_type"] = "native"
		} else {
			same["client_secret"], same["redirect_uris"] = token.Reveal(), c.RedirectURIs[:1]
		}
		theirs = append(theirs, same)
	}
	var held secret.Token
	id := n.Account("ada@example.org")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		st, err := n.Core().Sessions.Start(t.Context(), tx, session.New{Account: id, Methods: []assurance.Method{assurance.Password, assurance.SMS}})
		held = st.Token
		return err
	})
	n.Clock.Advance(time.Minute) // since they signed in
	at, err2 := url.Parse(n.URL)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	browser := n.Browser()
	browser.Jar.SetCookies(at, []*http.Cookie{{Name: web.SessionCookie, Value: held.Reveal(), Path: "/", Secure: true}})
	return newSide(t, n.URL, secrets, browser), theirs
}

// theirs is npm oidc-provider, where somebody signs in at the first request.
func theirs(t *testing.T, clients []map[string]any, secrets map[string]string) *side {
	t.Helper()
	if _, err := os.Stat("node_modules/oidc-provider"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("oidc-provider is missing: run scripts/install-test-tools")
		}
		t.Skip("oidc-provider is missing: run scripts/install-test-tools")
	}
	c := exec.CommandContext(t.Context(), "node", "provider.js")
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	if err := json.NewEncoder(in).Encode(map[string]any{"clients": clients}); err != nil {
		t.Fatal(err)
	}
	var said struct{ Issuer string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaving := func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), said.Issuer) {
			return nil
		}
		return http.ErrUseLastResponse
	}
	s := newSide(t, said.Issuer, secrets, nil)
	s.agrees = &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: leaving}
	s.signedIn = &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: s.stranger.CheckRedirect}
	s.code("shop", "openid offline_access")
	return s
}

const (
	codeVerifier  = "a-verifier-of-43-characters-or-more-0123456789"
	codeChallenge = "gwx_1ff33sP-Na7uzErlwZMg02IfMm0pwvZjX6iq0Jg" // what S256 makes of it
)

// order is a request that is in order.
func (s *side) order(end string) url.Values {
	switch end {
	case "authorize":
		return url.Values{
			"client_id": {"shop"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"xyz"}, "nonce": {"abc"},
			"code_challenge": {codeChallenge}, "code_challenge_method": {"S256"},
		}
	case "token":
		return url.Values{"grant_type": {"authorization_code"}, "code": {"{code}"}, "redirect_uri": {callback}, "code_verifier": {codeVerifier}}
	case "introspection", "revocation":
		return url.Values{"token": {"{access}"}}
	}
	return url.Values{}
}

// edited is such a request with changes.
func (s *side) edited(a ask) url.Values {
	s.t.Helper()
	v := s.order(a.to)
	for _, edit := range a.edits {
		if gone, ok := strings.CutPrefix(edit, "-"); ok {
			v.Del(gone)
			continue
		}
		name, value, _ := strings.Cut(edit, "=")
		if raw, err := url.PathUnescape(value); err == nil && a.to == "authorize" {
			value = raw
		}
		if again, ok := strings.CutSuffix(name, "+"); ok {
			v.Add(again, value)
		} else {
			v.Set(name, value)
		}
	}
	for _, values := range v {
		for i := range values {
			values[i] = s.fill(values[i])
		}
	}
	return v
}

var (
	braces  = regexp.MustCompile(`\{([a-z0-9 ]+)\}`)
	encoded = regexp.MustCompile(`b64\((.*)\)`)
)

// fill puts in what a provider has handed out.
func (s *side) fill(text string) string {
	s.t.Helper()
	text = braces.ReplaceAllStringFunc(text, func(m string) string { return s.held(strings.Trim(m, "{}")) })
	return encoded.ReplaceAllStringFunc(text, func(m string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.TrimSuffix(strings.TrimPrefix(m, "b64("), ")")))
	})
}

// do puts a request.
func (s *side) do(a ask) (*http.Response, []byte) {
	s.t.Helper()
	if a.to == "authorize" && !a.stranger {
		return s.send(s.signedIn, a)
	}
	return s.send(s.stranger, a)
}

func (s *side) send(by *http.Client, a ask) (*http.Response, []byte) {
	s.t.Helper()
	method := a.method
	published := slices.Contains([]string{"authorize", "userinfo", "metadata", "rfc8414", "keys"}, a.to)
	if method == "" {
		if method = http.MethodPost; published {
			method = http.MethodGet
		}
	}
	to, form, body := s.ends[a.to], s.edited(a).Encode(), ""
	inBody := method == http.MethodPost || method == http.MethodPut
	if (!inBody || a.inQuery) && form != "" {
		to += "?" + form
	} else if body = form; a.kind == "application/json" {
		flat := map[string]string{}
		for name, values := range s.edited(a) {
			flat[name] = values[0]
		}
		text, _ := json.Marshal(flat) // texts always can
		body = string(text)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		if r.Header.Set("Content-Type", "application/x-www-form-urlencoded"); a.kind != "" {
			r.Header.Set("Content-Type", a.kind)
		}
	}
	auth := a.auth
	if auth == "" {
		auth = map[string]string{"userinfo": "Bearer {access}", "token": "Basic b64(shop:{secret of shop})"}[a.to]
		if a.to == "introspection" || a.to == "revocation" {
			auth = "Basic b64(shop:{secret of shop})"
		}
	}
	if auth = s.fill(auth); auth != "" && auth != "-" {
		r.Header.Set("Authorization", auth)
	}
	return s.got(by.Do(r))
}

func (s *side) got(res *http.Response, err error) (*http.Response, []byte) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, body
}

// code has a client given a code. Where offline_access takes a question (OpenID Connect Core section 11), it is answered.
func (s *side) code(client, scope string) string {
	s.t.Helper()
	a := ask{to: "authorize", edits: []string{"client_id=" + client, "scope=" + scope}}
	browser := s.signedIn
	if s.agrees != nil && (scope != "openid" || client == "app") { // and of a native app each is asked (RFC 8252 section 8.6)
		browser, a.edits = s.agrees, append(a.edits, "prompt=consent")
	}
	res, body := s.send(browser, a)
	to, err := res.Location()
	if err != nil || to.Query().Get("code") == "" {
		s.t.Fatalf("no code from %s: %d %v %s", s.base, res.StatusCode, to, body)
	}
	return to.Query().Get("code")
}

type handed struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// tokens is what a client has for a code or a token.
func (s *side) tokens(client string, edits ...string) (h handed) {
	s.t.Helper()
	a := ask{to: "token", auth: "Basic b64(" + client + ":{secret of " + client + "})", edits: edits}
	if client == "app" {
		a.auth, a.edits = "-", append(a.edits, "client_id=app")
	}
	res, body := s.do(a)
	if err := json.Unmarshal(body, &h); err != nil || h.Access == "" {
		s.t.Fatalf("no tokens from %s: %d %s %v", s.base, res.StatusCode, body, err)
	}
	return h
}

func (s *side) offline(client string) handed {
	s.t.Helper()
	return s.tokens(client, "code="+s.code(client, "openid offline_access"))
}

func (s *side) refreshed(h handed) handed {
	s.t.Helper()
	return s.tokens("shop", "grant_type=refresh_token", "refresh_token="+h.Refresh, "-code", "-code_verifier", "-redirect_uri")
}

// replayed has a code come again.
func (s *side) replayed() handed {
	s.t.Helper()
	code := s.code("shop", "openid offline_access")
	h := s.tokens("shop", "code="+code)
	s.do(ask{to: "token", edits: []string{"code=" + code}})
	return h
}

// held is something that a provider has handed out.
func (s *side) held(what string) string {
	s.t.Helper()
	if client, ok := strings.CutPrefix(what, "secret of "); ok {
		return s.secrets[client]
	}
	lasting := slices.Contains([]string{"access", "other access"}, what)
	if had := s.kept[what]; lasting && had != "" {
		return had
	}
	got := s.make(what)
	if lasting {
		s.kept[what] = got
	}
	return got
}

func (s *side) make(what string) string {
	s.t.Helper()
	switch what {
	case "5000", "129":
		n := map[string]int{"5000": 5000, "129": 129}[what]
		return strings.Repeat("a", n)
	case "code":
		return s.code("shop", "openid")
	case "offline code":
		return s.code("shop", "openid offline_access")
	case "other code", "post code", "app code":
		return s.code(strings.TrimSuffix(what, " code"), "openid")
	case "used code":
		code := s.code("shop", "openid")
		s.tokens("shop", "code="+code)
		return code
	case "access", "fresh access":
		return s.offline("shop").Access
	case "other access":
		return s.offline("other").Access
	case "app access":
		return s.offline("app").Access
	case "refresh":
		return s.offline("shop").Refresh
	case "other refresh":
		return s.offline("other").Refresh
	case "used refresh":
		h := s.offline("shop")
		s.refreshed(h)
		return h.Refresh
	case "next refresh after one came again":
		h := s.offline("shop")
		next := s.refreshed(h)
		s.do(ask{to: "token", edits: []string{"grant_type=refresh_token", "refresh_token=" + h.Refresh, "-code", "-code_verifier", "-redirect_uri"}})
		return next.Refresh
	case "revoked access", "revoked refresh", "access of a refresh token that was revoked":
		h := s.offline("shop")
		gone, asked := h.Access, h.Access
		if what != "revoked access" {
			gone = h.Refresh
		}
		if what == "revoked refresh" {
			asked = h.Refresh
		}
		s.do(ask{to: "revocation", edits: []string{"token=" + gone}})
		return asked
	case "access of a code that came again":
		return s.replayed().Access
	case "refresh of a code that came again":
		return s.replayed().Refresh
	}
	s.t.Fatalf("nothing is called %q", what)
	return ""
}

// short is what came of a request, as far as the two can be compared.
func (s *side) short(a ask) string {
	s.t.Helper()
	res, body := s.do(a)
	if res.StatusCode >= 500 {
		s.t.Errorf("%s at %s: %d %s", a.name, s.base, res.StatusCode, body)
	}
	if a.to == "authorize" {
		return s.led(res)
	}
	out := fmt.Sprint(res.StatusCode)
	var told map[string]any
	if json.Unmarshal(body, &told) == nil {
		switch {
		case told["error"] != nil:
			out += fmt.Sprintf(" %v", told["error"])
		case told["active"] == false:
			out += " inactive"
		case a.to != "metadata" && a.to != "rfc8414":
			out += " " + strings.Join(slices.Sorted(maps.Keys(told)), " ")
		}
	}
	if scheme, _, _ := strings.Cut(res.Header.Get("WWW-Authenticate"), " "); scheme != "" {
		out += ", " + scheme
	}
	return out
}

// led is where a browser was sent.
func (s *side) led(res *http.Response) string {
	s.t.Helper()
	to := res.Header.Get("Location")
	switch {
	case to == "" && (res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed):
		return "there is none"
	case to == "" && res.StatusCode >= http.StatusBadRequest:
		return "a page says no"
	case to == "":
		return "a page"
	case strings.HasPrefix(to, "/"), strings.HasPrefix(to, s.base):
		if strings.HasPrefix(strings.TrimPrefix(to, s.base), strings.TrimPrefix(s.ends["authorize"], s.base)+"?") {
			return "again, by GET"
		}
		return "a page asks"
	}
	where, rest, _ := strings.Cut(to, "?")
	if where != callback && where != "http://127.0.0.1:5151/done" && where != "http://localhost:5151/done" {
		in, fragment, _ := strings.Cut(to, "#")
		if where, rest = in, fragment; where != callback {
			s.t.Errorf("led to %s", to)
		}
		where += " in the fragment"
	}
	v, err := url.ParseQuery(rest)
	if err != nil {
		s.t.Fatal(err)
	}
	out := "back with " + v.Get("error")
	if v.Has("code") {
		out = "back with a code"
	}
	for _, name := range []string{"state", "iss"} {
		if !v.Has(name) {
			out += ", without " + name
		}
	}
	if strings.HasSuffix(where, "fragment") {
		out += ", in the fragment"
	}
	return out
}

// explained reads the table of differences: of a request, what each answers.
func explained(t *testing.T) map[string][2]string {
	t.Helper()
	text, err := os.ReadFile(differences)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][2]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.HasPrefix(line, "|--") || strings.Contains(line, "| why |") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells[3]) < 10 {
			t.Errorf("%s: no reason is given", cells[0])
		}
		all[cells[0]] = [2]string{cells[1], cells[2]}
	}
	return all
}

// The same requests to npm oidc-provider and to us. Whatever is answered otherwise is explained, and what is explained is so.
func TestWeAnswerAsOthersDo(t *testing.T) {
	us, clients := ours(t)
	them := theirs(t, clients, us.secrets)
	why := explained(t)
	seen := map[string]bool{}
	compare := func(name, theirs, ours string) {
		t.Helper()
		if seen[name] {
			t.Errorf("%q is asked twice", name)
		}
		seen[name] = true
		reason, known := why[name]
		switch {
		case theirs == ours && known:
			t.Errorf("%s: both answer %q, and the table explains a difference", name, ours)
		case theirs != ours && reason != [2]string{theirs, ours}:
			t.Errorf("not explained:\n| %s | %s | %s | |", name, theirs, ours)
		}
	}
	all := asks()
	if len(all) < 200 {
		t.Errorf("%d requests", len(all))
	}
	for _, a := range all {
		compare(a.name, them.short(a), us.short(a))
	}
	theirMembers, ourMembers := them.members("metadata"), us.members("metadata")
	for _, member := range slices.Sorted(maps.Keys(theirMembers)) { // nobody misses what we alone say
		theirs, ours := wanting(theirMembers[member], ourMembers[member])
		compare("metadata: "+member, theirs, ours)
	}
	for name := range why {
		if !seen[name] {
			t.Errorf("%q is explained, and nobody asks it", name)
		}
	}
}

// wanting is what the one says in its metadata and the other does not: words of a list, or whether a member is there. Addresses differ.
func wanting(theirs, ours any) (says, lacks string) {
	list, ok := theirs.([]any)
	if !ok && ours == nil {
		return fmt.Sprint(theirs), "not there"
	}
	if flag, isFlag := theirs.(bool); isFlag && flag {
		return fmt.Sprint(flag), fmt.Sprint(ours)
	}
	have, _ := ours.([]any)
	var words []string
	for _, one := range list {
		if !slices.Contains(have, one) {
			words = append(words, fmt.Sprint(one))
		}
	}
	if len(words) == 0 {
		return "", ""
	}
	slices.Sort(words)
	return strings.Join(words, ", "), "not there"
}
