//go:build !race

package leak_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// fewLimits has nobody held up who calls in-process. What is left of the limits over all refills between steps.
func (c *clocked) fewLimits() {
	c.node.Core().SignIn.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest sits
}

const apart = 10 * time.Millisecond // of steps: the limit over all lets one pass each millisecond

// hintSteps are of people whom an application names, up to the password.
func hintSteps() []timed {
	return []timed{
		{"a request with login_hint", apart, func(p *person) (string, string, string) {
			return "/authorize?" + asking("login_hint", p.name).Encode(), "", ""
		}, 303},
		{"name, wrong password", apart, func(p *person) (string, string, string) {
			return "/signin", "application/x-www-form-urlencoded", url.Values{"username": {p.name}, "password": {wrong}, "for": {p.wish}}.Encode()
		}, 422},
	}
}

// registered has the node know the shop.
func registered(c *clocked, _ [2]*person) {
	c.t.Helper()
	if len(c.node.Core().SignIn.Throttle.Exempt) == 0 {
		c.fewLimits()
		application(c.t, c.node, shop("shop"))
	}
}

// referenceSteps are an application's calls about accounts that are not its own: a person's name is a reference.
func referenceSteps() []timed {
	return []timed{
		{"begin", apart, func(p *person) (string, string, string) {
			return "/api/v1/door/begin", "application/json", `{"reference":"` + p.name + `","person":{"address":"192.0.2.9"}}`
		}, 404},
		{"devices", apart, func(p *person) (string, string, string) {
			return "/api/v1/door/accounts/" + p.name + "/devices", "", ""
		}, 404},
		{"a pushed request", apart, func(p *person) (string, string, string) {
			return string(oidc.PushPath), "application/x-www-form-urlencoded", url.Values{"request": {p.wish}}.Encode()
		}, 400},
	}
}

// vouches has the application sign a request for either, of whom it says that it has looked at a password.
func vouches(c *clocked, two [2]*person) {
	c.t.Helper()
	now := c.node.Clock.Now().Unix()
	for _, p := range two {
		says := map[string]any{
			"iss": "photos", "aud": c.node.URL, "iat": now, "nbf": now, "exp": now + 60, "jti": secret.NewToken("cs").Reveal(),
			"login_hint": p.name, "first_factor": map[string]any{"amr": []string{"pwd"}, "auth_time": now},
		}
		for name, values := range asking() {
			says[name] = values[0]
		}
		says["client_id"] = "photos"
		text, err := json.Marshal(says)
		if err != nil {
			c.t.Fatal(err)
		}
		object, err := c.signer.Sign(text)
		if err != nil {
			c.t.Fatal(err)
		}
		if p.wish, err = object.CompactSerialize(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// stray puts what another application calls its accounts in the place of names, and as many references that nobody has.
func (c *clocked) stray() {
	c.t.Helper()
	c.fewLimits()
	_, other := application(c.t, c.node, oidc.Client{ID: "videos", SecondDoor: []string{"https://videos.example.net"}})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig"}}})
	if err != nil {
		c.t.Fatal(err)
	}
	typed := (&jose.SignerOptions{}).WithType("oauth-authz-req+jwt")
	if c.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, typed); err != nil {
		c.t.Fatal(err)
	}
	photos := shop("photos")
	photos.SecondDoor, photos.Keys = []string{"https://photos.example.net"}, string(keys)
	_, c.client = application(c.t, c.node, photos)
	for i := range c.known {
		c.known[i], c.unknown[i] = fmt.Sprintf("user-1%03d", i), fmt.Sprintf("user-2%03d", i)
		body := `{"email":"` + c.known[i] + `@maildomain.example"}`
		r := httptest.NewRequest(http.MethodPut, c.node.URL+"/api/v1/door/accounts/"+c.known[i], strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", other)
		w := httptest.NewRecorder()
		if c.handler.ServeHTTP(w, r); w.Code != http.StatusOK {
			c.t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got := c.pushed(c.known[0]); !strings.Contains(got, "unknown_user_id") { // and not that the request is not in order
		c.t.Fatal(got)
	}
}

// pushed is what the application is answered about a reference that nobody of its own has.
func (c *clocked) pushed(reference string) string {
	c.t.Helper()
	p := &person{name: reference}
	vouches(c, [2]*person{p, p})
	r := httptest.NewRequest(http.MethodPost, c.node.URL+string(oidc.PushPath), strings.NewReader(url.Values{"request": {p.wish}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", c.client)
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Body.String()
}

// P2, A-10.2: whether anybody has an account whom an application names, here or at another application, shows by no time.
func TestTimesAreAlikeForApplications(t *testing.T) {
	n, tries := pairs(t)
	hint := mode{
		label: "an application's request", engine: sqldb.SQLite, steps: hintSteps(),
		before: map[string]func(*clocked, [2]*person){"a request with login_hint": registered},
	}
	alike(t, newNodes(t), hint, n, tries)
	stray := mode{
		label: "second door, another's account", engine: sqldb.SQLite, strays: true, steps: referenceSteps(),
		before: map[string]func(*clocked, [2]*person){"a pushed request": vouches},
	}
	alike(t, newNodes(t), stray, n, tries)
}

// deviceSteps are of codes that are good for nothing: a person's name is a device's code and what people type, one after the other.
func deviceSteps() []timed {
	return []timed{
		{"another's device code", apart, func(p *person) (string, string, string) {
			return string(oidc.TokenPath), "application/x-www-form-urlencoded", polling(strings.Fields(p.name)[0]).Encode()
		}, 400},
		// The limit over all lets ten through each second.
		{"a code that is over", time.Second, func(p *person) (string, string, string) {
			return string(oidc.DevicePath), "application/x-www-form-urlencoded", url.Values{"code": {strings.Fields(p.name)[1]}}.Encode()
		}, 422},
	}
}

// pair puts devices of another application, whose time is over, in the place of names, and as many codes that no device has.
func (c *clocked) pair() {
	c.t.Helper()
	c.fewLimits()
	tv, _ := onDevice(c.t, c.node, "tv")
	_, c.client = onDevice(c.t, c.node, "radio")
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	for i := range c.known {
		c.node.Clock.Advance(time.Millisecond) // the limit over all
		p := waits(c.t, c.node, tv)
		c.known[i] = p.Device.Reveal() + " " + p.User
		user := make([]byte, len("BCDF-GHJK"))
		for j := range user {
			user[j] = letters[lot(len(letters))]
		}
		user[4] = '-'
		c.unknown[i] = secret.NewToken("cse").Reveal() + " " + string(user)
	}
	c.node.Clock.Advance(11 * time.Minute)
}

// I-01: neither an application nor who types a code can tell by the time whether there was such a device.
func TestTimesAreAlikeForDevices(t *testing.T) {
	n, tries := pairs(t)
	alike(t, newNodes(t), mode{label: "devices", engine: sqldb.SQLite, devices: true, steps: deviceSteps()}, n, tries)
}
