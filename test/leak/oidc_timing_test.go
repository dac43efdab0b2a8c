//go:build !race

package leak_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

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
	}
}

// stray puts what another application calls its accounts in the place of names, and as many references that nobody has.
func (c *clocked) stray() {
	c.t.Helper()
	c.fewLimits()
	_, other := application(c.t, c.node, oidc.Client{ID: "videos", SecondDoor: []string{"https://videos.example.net"}})
	_, c.client = application(c.t, c.node, oidc.Client{ID: "photos", SecondDoor: []string{"https://photos.example.net"}})
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
}

// P2, A-10.2: whether anybody has an account whom an application names, here or at another application, shows by no time.
func TestTimesAreAlikeForApplications(t *testing.T) {
	n, tries := pairs(t)
	hint := mode{
		label: "an application's request", engine: sqldb.SQLite, steps: hintSteps(),
		before: map[string]func(*clocked, [2]*person){"a request with login_hint": registered},
	}
	alike(t, newNodes(t), hint, n, tries)
	alike(t, newNodes(t), mode{label: "second door, another's account", engine: sqldb.SQLite, strays: true, steps: referenceSteps()}, n, tries)
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
