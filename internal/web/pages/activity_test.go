package pages

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/audit"
	"countersign/internal/profile"
	"countersign/internal/web"
)

// Every kind of deed has its sentence, and no sentence is of none.
func TestEveryDeedIsSaidInWords(t *testing.T) {
	source, err := os.ReadFile("../../profile/what.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`What = "([a-z_]+)"`).FindAllSubmatch(source, -1) {
		known["did_"+string(m[1])] = true
	}
	if len(known) < 30 {
		t.Fatalf("%d kinds found", len(known))
	}
	words := testPages(t).words[fallback]
	for key := range known {
		if words[key] == "" {
			t.Errorf("no words for %s", key)
		}
	}
	for key := range words {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(key, "_sms"), "_email"), "_with")
		if strings.HasPrefix(key, "did_") && !known[base] {
			t.Errorf("%s are the words of nothing", key)
		}
	}
}

func TestTheActivityPage(t *testing.T) {
	const id = "0196f0c1-0000-7000-8000-000000000001"
	at := testPages(t).options.Now()
	mark := audit.Mark{At: at, ID: id}
	d := &desk{activity: profile.Activity{Further: true, Older: mark, Deeds: []profile.Deed{
		{ID: id, What: profile.SignedIn, At: at, Name: "Firefox on Linux", Methods: []string{"password", "sms", "of a later release"}, Times: 1},
		{ID: "2", What: profile.SignedIn, At: at, Times: 1},
		{ID: "3", What: "of_a_later_release", At: at, Name: "Later browser", Times: 1},
		{ID: "4", What: profile.CodeAsked, Way: "sms", At: at, Times: 1},
		{ID: "5", What: profile.CodeAsked, Way: "pigeon", At: at, Times: 1},
		{ID: "6", What: profile.WrongPassword, At: at, Times: 14},
		{ID: "7", What: profile.LookedAt, At: at, Actor: "operator", Times: 1},
		{ID: "8", What: profile.Renamed, Subject: "<b>Desk", At: at, Times: 1},
	}}}
	mine := func(path string) string {
		_, body := answer(door(t, d), with(get(path), web.SessionCookie, "css_x"))
		return body
	}
	body := mine("/activity")
	for text, want := range map[string]int{
		"<h2>Signed in with password and code by text message": 1, "<h2>Signed in</h2>": 1, "Later browser": 0, "later release": 0, "of_a_later": 0,
		"<h2>A code by text message was asked for": 1, "<h2>A code was asked for": 1, "× 14": 1, "× 1<": 0,
		"An operator looked at your account": 1, "A device was renamed: <bdi translate=\"no\">&lt;b&gt;Desk</bdi>": 1,
		`href="/activity?before=` + mark.String() + `"`: 1, "To the newest": 0,
	} {
		if got := strings.Count(body, text); got != want {
			t.Errorf("%q stands there %d times, want %d", text, got, want)
		}
	}
	if mine("/activity?before=" + mark.String()); d.from.ID != mark.ID || !d.from.At.Equal(mark.At) {
		t.Errorf("from %v, want %v", d.from, mark)
	}
	for _, odd := range []string{"x", "-1-" + id, "%00", "1-2"} {
		if mine("/activity?before=" + odd); (d.from != audit.Mark{}) {
			t.Errorf("%q is %v", odd, d.from)
		}
	}
	if body := mine("/activity?before=" + mark.String()); !strings.Contains(body, "To the newest") {
		t.Error("no way back to the newest")
	}
}

// Lists are written as the language writes them.
func TestListsInWords(t *testing.T) {
	p := testPages(t)
	for lang, want := range map[string]string{"en": "a, b and c", "de": "a, b und c", "fr": "a, b et c", "es": "a, b y c", "ar": "a، b وc"} {
		if got := p.words[lang].and([]string{"a", "b", "c"}); got != want {
			t.Errorf("%s: %q", lang, got)
		}
	}
	if w := p.words["en"]; w.and(nil) != "" || w.and([]string{"a"}) != "a" || w.and([]string{"a", "b"}) != "a and b" {
		t.Error("short lists")
	}
}

// What stands after the words stands after the language's own colon, seen and spoken.
func TestColonsInWords(t *testing.T) {
	p := testPages(t)
	a := profile.Activity{Deeds: []profile.Deed{{ID: "1", What: profile.Renamed, Subject: "Desk", Times: 1}}}
	for lang, want := range map[string]string{"en": "renamed: <bdi", "de": "umbenannt: <bdi", "fr": "renommé\u202f: <bdi"} {
		var out strings.Builder
		if err := p.render(&out, activityPage(p.frame(lang, "activity_title"), a, false)); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v: lacks %q", lang, err, want)
		}
		_, said, _ := strings.Cut(out.String(), "<main")
		if found := regexp.MustCompile(`[^\x{202f}]:[ <]`).FindString(said); lang == "fr" && found != "" {
			t.Errorf("%s: %q", lang, found)
		}
	}
}

// A place that could turn a line around stays within itself.
func TestPlacesStayWithinThemselves(t *testing.T) {
	p := testPages(t)
	p.options.Where = func(netip.Addr, string) string { return "Somewhere" }
	var out strings.Builder
	deed := profile.Deed{What: profile.SignedIn, Source: netip.MustParseAddr("192.0.2.7"), Name: "Browser", Times: 1}
	if err := p.render(&out, activityPage(p.frame("ar", "activity_title"), profile.Activity{Deeds: []profile.Deed{deed}}, false)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<bdi>Somewhere</bdi>", `<bdi translate="no">Browser</bdi>`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %s", want)
		}
	}
}
