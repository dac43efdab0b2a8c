package browser_test

import (
	"crypto/tls"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

// harbour is a site with Ada's account, of a kind that browsers bind keys for: https, with a certificate that they trust.
type harbour struct {
	*servertest.Node

	ada   account.ID
	stand atomic.Pointer[http.Handler] // in the place of the node's own handler

	mu     sync.Mutex
	proofs []string // that browsers have sent to be remembered, oldest first
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	need(t)
	h := &harbour{}
	h.Node = servertest.Start(t, servertest.Options{
		TLS: true, Config: func(c *config.Config) { c.Site.Name = "Larkspur" },
		Wrap: func(own http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if proof := r.Header.Get("Secure-Session-Response"); proof != "" {
					h.mu.Lock()
					h.proofs = append(h.proofs, proof)
					h.mu.Unlock()
				}
				if stand := h.stand.Load(); stand != nil {
					(*stand).ServeHTTP(w, r)
					return
				}
				own.ServeHTTP(w, r)
			})
		},
	})
	h.ada = h.Account(ada)
	return h
}

// moor opens a browser that binds keys. Linux has none from a security chip: these are kept in the profile, so
// what is shown is the protocol, not that nobody can copy the key.
func (h *harbour) moor(t *testing.T) *person {
	t.Helper()
	return settle(
		t, h.URL,
		chromedp.Flag("enable-features", "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"),
		chromedp.Flag("ignore-certificate-errors-spki-list", h.Pin),
	)
}

// remembered goes the whole way in, and waits until the browser has bound its key.
func (h *harbour) remembered(t *testing.T) *person {
	t.Helper()
	p := h.moor(t)
	enter(h.Node, p, true)
	bound := func() bool {
		all, err := h.Core().Devices.List(t.Context(), h.ada)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(d device.Device) bool { return d.Strength == device.Bound })
	}
	for late := time.Now().Add(patience); !bound(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the browser has bound no key: is DBSC off?")
		}
	}
	return p
}

// signOut ends the session, as people do.
func (p *person) signOut() {
	p.t.Helper()
	p.press("Sign out")
	p.see("You are signed out.")
}

const (
	byBoundKey = "password, remembered device with a bound key"
	byOtherKey = "password, remembered device"
)

func TestABoundKeyOutlivesTheBrowser(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	p.reload()
	p.see("a key bound to the device itself")
	p.signOut()
	p.signIn(ada, servertest.Password)
	p.see(byBoundKey)

	h.Clock.Advance(20 * time.Hour)
	p.restart()
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	p.see(byBoundKey)

	p.signOut()
	p.noScript() // the browser proves this key by itself
	p.reload()
	p.signIn(ada, servertest.Password)
	p.press("Continue")
	p.see(byBoundKey)
}

// with all of the owner's cookies and their password, but without the key.
func TestCopiedBoundCookiesAreAStranger(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	owner, thief := h.remembered(t), h.moor(t)
	owner.signOut()
	thief.steal(owner.cookies())
	thief.open("/signin")
	thief.signIn(ada, servertest.Password)
	thief.see("Enter the code")

	// A program that sends the cookies again whatever it is told, and every proof that it has ever seen.
	site, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	var stolen []*http.Cookie
	var id string
	for _, c := range owner.cookies() {
		stolen = append(stolen, &http.Cookie{Name: c.Name, Value: c.Value})
		if strings.HasPrefix(c.Name, "__Host-cs_bound_") {
			id, _, _ = strings.Cut(c.Value, ".")
		}
	}
	if id == "" {
		t.Fatal("the owner has no bound cookie to steal")
	}
	script := program{t: t, site: site, stolen: stolen}
	script.jar, _ = cookiejar.New(nil)
	to := script.post("/signin", url.Values{"username": {ada}, "password": {servertest.Password}}, nil)
	asked := 0
	for at := to.Header.Get("Location") + "/device"; ; asked++ {
		if to = script.post(at, url.Values{}, nil); to.StatusCode != http.StatusTemporaryRedirect {
			break
		}
		h.mu.Lock()
		proofs := slices.Clone(h.proofs)
		h.mu.Unlock()
		for _, proof := range proofs {
			old := script.post("/dbsc/refresh", nil, http.Header{"Sec-Secure-Session-Id": {id}, "Secure-Session-Response": {proof}})
			if old.StatusCode != http.StatusForbidden || len(old.Cookies()) > 0 {
				t.Errorf("an old proof got %d and cookies %v", old.StatusCode, old.Cookies())
			}
		}
	}
	if asked != 3 || to.StatusCode != http.StatusSeeOther {
		t.Errorf("asked %d times, then %d; want 3 and 303", asked, to.StatusCode)
	}
	for _, c := range to.Cookies() {
		if c.Name == "__Host-cs_session" {
			t.Error("the program is signed in")
		}
	}

	owner.signIn(ada, servertest.Password)
	owner.see(byBoundKey)
}

// program is no browser.
type program struct {
	t      *testing.T
	site   *url.URL
	stolen []*http.Cookie
	jar    *cookiejar.Jar
}

func (s *program) post(path string, form url.Values, head http.Header) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.site.String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if head != nil {
		r.Header = head
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range s.stolen {
		r.AddCookie(c)
	}
	own := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the test's own server
	defer own.CloseIdleConnections()
	answer, err := own.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer
}

// Chromium signs six times in nine minutes for a site. After that it comes without a proof, and the other key is taken.
func TestAQuotaThatIsUsedUpLocksNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	var proved []string
	for range 8 {
		p.signOut()
		p.signIn(ada, servertest.Password)
		p.see("Where you are signed in")
		proved = append(proved, h.proved(t))
	}
	if proved[0] != "dbsc" || proved[len(proved)-1] != "device" {
		t.Errorf("proved %v, want dbsc until the quota is used up, and device then", proved)
	}
}

// proved is what the newest session was opened with.
func (h *harbour) proved(t *testing.T) string {
	t.Helper()
	all, err := h.Core().Sessions.List(t.Context(), h.ada)
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	return all[0].Methods[len(all[0].Methods)-1]
}

func TestARefreshThatFailsLocksNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	p.signOut()
	broken := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/dbsc/") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		h.Handler().ServeHTTP(w, r)
	}))
	h.stand.Store(&broken)
	p.signIn(ada, servertest.Password)
	p.see("Where you are signed in")
	if got := h.proved(t); got != "device" {
		t.Errorf("proved %s while the refresh failed, want the other key", got)
	}
	h.stand.Store(nil)
	p.signOut()
	p.signIn(ada, servertest.Password)
	p.see(byBoundKey)
}

// The node goes and another comes, between two sign-ins and within one: nothing of it is in memory.
func TestARestartedServerKnowsTheKey(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	p.signOut()
	c := h.Core().Config
	next := servertest.Start(t, servertest.Options{
		Database: c.Database.URL.Reveal(), Keys: c.Keys.Value.Reveal(), Clock: h.Clock, Idle: true,
		Config: func(n *config.Config) { n.Site = c.Site },
	}).Handler()
	changing := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/dbsc/") {
			h.stand.Store(&next)
			next.ServeHTTP(w, r)
			return
		}
		h.Handler().ServeHTTP(w, r)
	}))
	h.stand.Store(&changing)
	p.signIn(ada, servertest.Password)
	p.see(byBoundKey)
	p.signOut()
	p.signIn(ada, servertest.Password)
	p.see(byBoundKey)
}
