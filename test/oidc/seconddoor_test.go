package oidc_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/seconddoor"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

var nonceOf = regexp.MustCompile(`data-nonce="([^"]+)"`)

// npm openid-client, for an application that has looked at a password of its own: the browser meets our code once, and comes straight back the next time.
func TestOpenIDClientAtTheSecondDoor(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			f := proving(t, n, func(c *oidc.Client) { c.SecondDoor = []string{"https://bank.example.net"} })
			named := seconddoor.Named{App: "bank", Reference: "u-17"}
			if _, err := n.Core().SecondDoor().Put(t.Context(), named, seconddoor.Contact{Email: address, Language: "de"}, secret.Token{}); err != nil {
				t.Fatal(err)
			}
			p := person{t, n, n.Browser()}
			begin := func(more map[string]any) (link string) {
				t.Helper()
				asks := map[string]any{
					"push": true, "sign": true, "scope": "openid", "login_hint": "u-17",
					"first_factor": fmt.Sprintf(`{"amr":["pwd"],"auth_time":%d}`, n.Clock.Now().Unix()),
				}
				for name, v := range more {
					asks[name] = v
				}
				f.good("begin", asks, &link)
				return link
			}
			back := func(request string) string {
				t.Helper()
				onward, _ := p.do(http.MethodGet, request, nil)
				to, _ := p.do(http.MethodGet, onward, nil)
				return to
			}
			var got struct {
				Claims struct {
					Sub, Acr, Reference, Sid string
					Amr                      []string
				}
				Info map[string]any
			}
			nonce := func(page string) string {
				t.Helper()
				m := nonceOf.FindStringSubmatch(page)
				if m == nil {
					t.Fatalf("nothing to sign: %s", page)
				}
				return m[1]
			}

			if to, _ := p.do(http.MethodGet, begin(map[string]any{"prompt": "none"}), nil); f.ask("finish", to).Error != "login_required" {
				t.Errorf("with nobody to be asked: %s", to)
			}
			flow, _ := p.do(http.MethodGet, begin(nil), nil)
			_, page := p.do(http.MethodGet, flow, nil)
			if !strings.Contains(page, `<bdi translate="no">Bank</bdi>`) || !strings.Contains(page, `lang="de"`) {
				t.Errorf("the page: %s", page)
			}
			key, b64 := testkit.NewKey(t), base64.RawURLEncoding.EncodeToString
			request, _ := p.do(http.MethodPost, flow+"/code", url.Values{
				"code": {n.Code(address)}, "remember": {"on"}, "public_key": {b64(key.Public())}, "signature": {b64(key.Sign("remember", n.URL, nonce(page)))},
			})
			if f.good("finish", back(request), &got); got.Claims.Reference != "u-17" || got.Claims.Acr != "aal1" || strings.Join(got.Claims.Amr, " ") != "pwd" || len(got.Info) != 1 {
				t.Errorf("%+v", got)
			}
			for _, prompt := range []string{"", "none"} {
				more := map[string]any{"ui_locales": "fr"}
				if prompt != "" {
					more["prompt"] = prompt
				}
				flow, _ = p.do(http.MethodGet, begin(more), nil)
				if _, page = p.do(http.MethodGet, flow, nil); !strings.Contains(page, `lang="fr"`) { // before the account's
					t.Errorf("the page: %s", page)
				}
				request, _ = p.do(http.MethodPost, flow+"/device", url.Values{"signature": {b64(key.Sign("recognise", n.URL, nonce(page)))}})
				if f.good("finish", back(request), &got); strings.Join(got.Claims.Amr, " ") != "pwd swk" || got.Claims.Sid != "" {
					t.Errorf("%+v", got)
				}
			}
			// A device that has its handle and not its key, where nobody may be asked.
			flow, _ = p.do(http.MethodGet, begin(map[string]any{"prompt": "none"}), nil)
			onward, _ := p.do(http.MethodPost, flow+"/device", url.Values{"signature": {""}})
			if to, _ := p.do(http.MethodGet, onward, nil); f.ask("finish", to).Error != "login_required" {
				t.Errorf("led to %q, from %q", to, onward)
			}
			// Nobody is signed in here: our own pages ask who it is.
			if at, _ := p.do(http.MethodGet, "/account", nil); !strings.HasPrefix(at, "/signin") {
				t.Errorf("the account's page: %q", at)
			}
		})
	}
}
