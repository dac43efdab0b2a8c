package oidc_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/oidc"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web"
)

// remembered has an account remember the browser, and returns the key that it keeps.
func (p person) remembered(who account.ID) testkit.Key {
	p.t.Helper()
	key, core := testkit.NewKey(p.t), p.n.Core()
	var kept *device.Remembered
	err := core.DB.Write(p.t.Context(), func(tx *sqldb.Tx) (err error) {
		kept, err = core.Devices.Remember(p.t.Context(), tx, who, device.Enrolment{PublicKey: key.Public(), Name: "Desk"}, nil)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	at, err := url.Parse(p.n.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Jar.SetCookies(at, []*http.Cookie{{Name: web.DeviceCookie, Value: kept.Handle.Reveal(), Path: "/", Secure: true}})
	return key
}

var askedToSign = regexp.MustCompile(`data-recognise data-nonce="([^"]+)"`)

// proves goes from a page that asks for a password, through the key of a browser that is remembered and a code where one is wanted, to where the application
// is answered. codes is how many were wanted.
func (p person) proves(page string, form url.Values, key testkit.Key) (back string, codes int) {
	p.t.Helper()
	_, text := p.do(http.MethodGet, page, nil)
	m := wish.FindStringSubmatch(text)
	if m == nil {
		p.t.Fatalf("%s asks for nothing: %s", page, text)
	}
	form.Set("password", servertest.Password)
	form.Set("for", m[1])
	path, _, _ := strings.Cut(page, "?")
	flow, _ := p.do(http.MethodPost, path, form)
	_, text = p.do(http.MethodGet, flow, nil)
	nonce := askedToSign.FindStringSubmatch(text)
	if nonce == nil {
		p.t.Fatalf("the device is not asked: %s", text)
	}
	signature := base64.RawURLEncoding.EncodeToString(key.Sign("recognise", p.n.URL, nonce[1]))
	next, _ := p.do(http.MethodPost, flow+"/device", url.Values{"signature": {signature}})
	for ; next == flow && codes < 2; codes++ {
		next, _ = p.do(http.MethodPost, flow+"/code", url.Values{"code": {p.n.Code(phone)}})
	}
	onward, _ := p.do(http.MethodGet, next, nil)
	back, _ = p.do(http.MethodGet, onward, nil)
	return back, codes
}

// photographs is a resource server: it asks us about tokens, and wants two factors (RFC 9470 section 3).
func photographs(t *testing.T, n *servertest.Node) (at string) {
	t.Helper()
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "photographs", Name: "Photographs", Introspects: true})
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		q, err := http.NewRequestWithContext(r.Context(), http.MethodPost, n.URL+"/oauth/introspect", strings.NewReader(url.Values{"token": {shown}}.Encode()))
		if err != nil {
			return
		}
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.SetBasicAuth("photographs", token.Reveal())
		res, err := n.Browser().Do(q)
		if err != nil {
			return
		}
		defer func() { _ = res.Body.Close() }()
		var known struct {
			Active bool
			ACR    string
		}
		switch err := json.NewDecoder(res.Body).Decode(&known); {
		case err != nil || !known.Active:
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
		case known.ACR < "aal2":
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", error_description="two factors are needed", acr_values="aal2"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(app.Close)
	return app.URL
}

// RFC 9470 by npm openid-client, from a resource that wants more, in a session that goes on: whoever came with a password alone, at a browser that is
// remembered, is asked for a code, and the resource opens.
func TestOpenIDClientStepsUp(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			who := n.Account(address, phone)
			token, err := n.Core().Applications.Add(t.Context(), oidc.Client{
				ID: "shop", Name: "Corner Shop", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}, FirstParty: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			f := start(t, n.URL, "shop", token.Reveal(), callback)
			p := person{t, n, n.Browser()}
			key := p.remembered(who)
			resource := photographs(t, n)
			type claims struct {
				Sub, Acr, Sid string
				Amr           []string
				Time          int64 `json:"auth_time"`
			}
			var link string
			var first, second struct{ Claims claims }
			var answered struct {
				Status int
				Error  string
				More   map[string]string
			}

			f.good("begin", nil, &link)
			at, _ := p.do(http.MethodGet, link, nil)
			back, codes := p.proves(at, url.Values{"username": {address}}, key)
			if f.good("finish", back, &first); codes != 0 || first.Claims.Acr != "aal1" {
				t.Fatalf("after %d codes: %+v", codes, first)
			}
			f.good("resource", resource, &answered)
			if answered.Status != http.StatusUnauthorized || answered.Error != "insufficient_user_authentication" || answered.More["acr_values"] != "aal2" {
				t.Fatalf("the resource answers %+v", answered)
			}

			// Nobody may be asked: then there is no more.
			f.good("begin", map[string]string{"prompt": "none", "acr_values": "aal2"}, &link)
			back, _ = p.do(http.MethodGet, link, nil)
			if a := f.ask("finish", back); a.Error != "login_required" {
				t.Errorf("prompt=none answers %+v", a)
			}

			n.Clock.Advance(time.Minute)
			f.good("begin", answered.More, &link)
			if at, _ = p.do(http.MethodGet, link, nil); !strings.HasPrefix(at, "/reauth") {
				t.Fatalf("leads to %s", at)
			}
			back, codes = p.proves(at, url.Values{}, key)
			f.good("finish", back, &second)
			if codes != 1 || second.Claims.Acr != "aal2" || second.Claims.Sub != first.Claims.Sub || second.Claims.Sid != first.Claims.Sid || second.Claims.Time <= first.Claims.Time {
				t.Errorf("after %d codes: %+v, and before %+v", codes, second, first)
			}
			if f.good("resource", resource, &answered); answered.Status != http.StatusOK {
				t.Errorf("the resource answers %+v", answered)
			}
			f.good("refresh", nil, nil)
			if f.good("resource", resource, &answered); answered.Status != http.StatusOK {
				t.Errorf("with what was refreshed the resource answers %+v", answered)
			}
			// And from now on nobody is asked.
			f.good("begin", map[string]string{"prompt": "none", "acr_values": "aal2"}, &link)
			back, _ = p.do(http.MethodGet, link, nil)
			if f.good("finish", back, &second); second.Claims.Acr != "aal2" {
				t.Errorf("asked again: %+v", second)
			}
		})
	}
}
