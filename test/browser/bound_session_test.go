package browser_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"countersign/internal/device"
	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

const (
	sessionBound = "bound to this browser"
	onceMore     = "Please sign in once more"
	inside       = "Where you are signed in"
)

// later lets the last proof grow old.
func (h *harbour) later() { h.Clock.Advance(device.ProofFor + time.Second) }

// all of the owner's cookies, in another profile and in a program.
func TestACopiedSessionIsRefusedWithinMinutes(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	owner, thief := h.remembered(t), h.moor(t)
	owner.reload()
	owner.see(sessionBound)
	stolen := owner.cookies()
	thief.steal(stolen)
	thief.open("/")
	thief.see(inside) // what this is all about: until the proof is old

	h.later()
	thief.open("/")
	thief.at("/signin")
	thief.see(onceMore)
	thief.steal(stolen)
	thief.open("/security")
	thief.see(onceMore)

	site, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	script := program{t: t, site: site}
	var token string
	for _, c := range stolen {
		script.stolen = append(script.stolen, &http.Cookie{Name: c.Name, Value: c.Value})
		if c.Name == "__Host-cs_session" {
			token = c.Value
		}
	}
	for range 5 {
		if got := script.post("/sessions/end-others", url.Values{}, nil); got.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("a program with all cookies: %d, want to be sent to prove the key", got.StatusCode)
		}
	}
	script.stolen = nil
	if got := script.post("/api/v1/account/passkeys/options", nil, http.Header{"Authorization": {"Bearer " + token}}); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("the token at the API: %d, want 401", got.StatusCode)
	}

	owner.open("/")
	owner.see(inside)
	owner.click("Rename " + deviceName(owner))
	h.later()
	owner.write("New name", "Desk at home")
	owner.press("Rename") // a form is kept on its way through the proof
	owner.see("Rename Desk at home")
}

// The browser goes and comes back with its cookies, as with "continue where you left off", and so does the server.
func TestABoundSessionOutlivesBrowserAndServer(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	var kept []*network.Cookie
	for _, c := range p.cookies() {
		if c.Session {
			kept = append(kept, c)
		}
	}
	h.later()
	p.restart()
	p.plant(kept)
	p.open("/")
	p.see(inside)
	p.see(sessionBound)

	c := h.Core().Config
	next := servertest.Start(t, servertest.Options{
		Database: c.Database.URL.Reveal(), Keys: c.Keys.Value.Reveal(), Clock: h.Clock, Idle: true,
		Config: func(n *config.Config) { n.Site = c.Site },
	}).Handler()
	h.stand.Store(&next)
	p.open("/security")
	p.see("Password")
	h.later()
	p.open("/")
	p.see(inside)
}

// A refresh that fails asks for one more sign-in, and loses nothing that was typed. That session is bound as soon as it can be.
func TestASessionThatCannotBeProvedIsSignedInAgain(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	p.open("/account")
	ask[any](p.tab, `field("Language").value = "fr"`)
	broken := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/dbsc/") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		h.Handler().ServeHTTP(w, r)
	}))
	h.stand.Store(&broken)
	h.later()
	p.press("Save")
	p.see(onceMore)
	beside := p.anotherTab()
	beside.open("/signin")
	beside.signIn(ada, servertest.Password)
	beside.see(inside)
	if got := h.proved(t); got != "device" {
		t.Errorf("proved %s while the refresh failed, want the other key", got)
	}
	p.reload()
	p.see("From now on, letters come in the language you chose.")
	h.later()
	p.open("/") // this session is not bound, or it would be over as soon
	p.see(inside)
	p.lack(sessionBound)

	h.stand.Store(nil)
	for late := time.Now().Add(patience); !ask[bool](p.tab, `text().includes(`+quote(sessionBound)+`)`); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(late) { // Chromium waits a while after a refresh that failed, longer each time
			t.Fatal("the session was not bound when the browser could sign again")
		}
		p.open("/")
	}
	h.later()
	p.open("/")
	p.see(inside)
}

// Chromium signs six times in nine minutes.
func TestAQuotaThatIsUsedUpEndsNoWork(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	served := 0
	for range 8 {
		h.later()
		p.open("/")
		if !ask[bool](p.tab, `text().includes(`+quote(inside)+`)`) {
			break
		}
		served++
	}
	if served < 4 || served > 7 {
		t.Errorf("served %d times before the quota was used up", served)
	}
	p.see(onceMore)
	p.signIn(ada, servertest.Password)
	p.see(inside)
	for range 3 {
		h.later()
		p.open("/")
		p.see(inside)
	}
}

// A letter's link is followed from another site.
func TestALinkFromElsewhereIsProvedToo(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><title>Mail</title><link rel="icon" href="data:,"><a href="` + h.URL + `/">Open</a>`))
	}))
	t.Cleanup(elsewhere.Close)
	p := h.remembered(t)
	for range 2 {
		h.later()
		p.do("read mail", chromedp.Navigate(elsewhere.URL))
		p.click("Open")
		p.see(inside)
		p.see(sessionBound)
	}
}

// A script sends the form, and what was typed is still there when it comes back refused.
func TestAFormThatIsKeptGoesThroughTheProof(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	p := h.remembered(t)
	p.open("/security/contacts/new")
	p.write("What you call them", "My sister")
	p.write("What they call you", "Ada")
	p.clickOn(`document.getElementById("address")`)
	p.keys("nonsense")
	h.later()
	p.click("Add a person")
	p.see("Check how it is written")
	if got := p.holds("What you call them"); got != "My sister" {
		t.Errorf("the field holds %q", got)
	}
}
