package pages

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"countersign/internal/device"
	"countersign/internal/session"
	"countersign/internal/web"
)

func TestRenamingADevice(t *testing.T) {
	mine := func(r *http.Request) *http.Request { return with(r, web.SessionCookie, "css_x") }
	for path, want := range map[string]string{"/devices/dev/rename": "/?done=device-renamed", "/devices/their/rename": "/?done=already-gone"} {
		d := &desk{}
		res, _ := answer(door(t, d), mine(post(path, "name", "Desk at home")))
		if res.Header.Get("Location") != want || len(d.done) != 1 || !strings.HasSuffix(d.done[0], " to Desk at home") {
			t.Errorf("%s: %v, to %s", path, d.done, res.Header.Get("Location"))
		}
	}
	d := &desk{}
	res, body := answer(door(t, d), mine(post("/devices/dev/rename", "name", " ")))
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "Enter a name that can be read.") || !strings.Contains(body, "<title>Error: ") || len(d.done) != 0 {
		t.Errorf("an empty name: %s, %v", res.Status, d.done)
	}
}

// Places are named in the page's language; where none is known none is shown.
func TestHomeSaysWhere(t *testing.T) {
	p := testPages(t)
	p.options.Where = func(a netip.Addr, lang string) string {
		if a.String() == "192.0.2.7" {
			return "Graz (" + lang + ")"
		}
		return ""
	}
	mine := session.Session{ID: "1", Device: "d", Name: "Firefox on Linux", Source: netip.MustParseAddr("192.0.2.7")}
	elsewhere := session.Session{ID: "2", Name: "Safari on iOS", Source: netip.MustParseAddr("198.51.100.1")}
	page := func(devices ...device.Device) string {
		var out strings.Builder
		if err := p.render(&out, homePage(p.frame("de", "home_title"), mine, []session.Session{mine, elsewhere, {ID: "3"}}, devices)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := strings.Count(page(), "Angemeldet aus"); got != 1 {
		t.Errorf("%d sessions say where, want one", got)
	}
	named := page(device.Device{ID: "d", Name: "Tisch", Source: mine.Source, Strength: device.SoftwareKey}, device.Device{ID: "e", Name: "Telefon", Strength: "of a later release"})
	for text, want := range map[string]int{"Graz (de)": 2, "Zuletzt gesehen in": 1, "Gemerktes Gerät": 1, "Erkannt an": 1, ">Tisch<": 2, "later release": 0} {
		if got := strings.Count(named, text); got != want {
			t.Errorf("%q stands there %d times, want %d", text, got, want)
		}
	}
	if !strings.Contains(named, "<bdi>Firefox unter Linux</bdi>") || strings.Contains(named, "Firefox on Linux") {
		t.Error("a name that we made is not said in the page's language")
	}
	if strings.Contains(page(device.Device{ID: "d", Name: mine.Name}), "Gemerktes Gerät</dt>") {
		t.Error("a device that nobody renamed is named twice")
	}
}
