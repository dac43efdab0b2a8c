package browser_test

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"

	"countersign/internal/web"
	"countersign/internal/web/pages"
)

// gallery serves every page in every state, with the headers of the real thing, at /LANG/NAME.
func gallery(t testing.TB) (site string, names []string) {
	t.Helper()
	need(t)
	server := httptest.NewUnstartedServer(nil)
	base := &url.URL{Scheme: "http", Host: server.Listener.Addr().String()}
	now := func() time.Time { return time.Date(2026, time.November, 23, 14, 30, 0, 0, time.UTC) }
	p, err := pages.New(pages.Options{Site: "Larkspur", Origin: base.String(), RPID: base.Hostname(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	log, mux := slog.New(slog.DiscardHandler), http.NewServeMux()
	p.Mount(mux, log)
	for _, shot := range p.Gallery() {
		names = append(names, shot.Name)
		mux.HandleFunc("GET /{lang}/"+shot.Name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			if err := shot.Write(w, r.PathValue("lang")); err != nil {
				t.Errorf("%s: %v", shot.Name, err)
			}
		})
	}
	// A form that sends itself stays on its page, to be looked at.
	mux.HandleFunc("POST /signin/example/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /signin/example/approve/state", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"state":"waiting"}`)) })
	mux.HandleFunc("POST "+web.ReportPath, func(http.ResponseWriter, *http.Request) { t.Error("a page broke the content security policy") })
	server.Config.Handler = &web.Front{Log: log, Mux: mux, PublicURL: base, Page: p.Failure, Now: now}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, names
}

// look is how somebody's screen is set up.
type look struct {
	width  int64
	scheme string // light or dark
	forced bool   // forced colours
}

func (l look) String() string {
	name := fmt.Sprintf("%d-%s", l.width, l.scheme)
	if l.forced {
		name += "-forced"
	}
	return name
}

// as sets the screen up. Motion is off: what moves cannot be measured.
func (b *tab) as(l look) {
	b.t.Helper()
	b.screen(l.width, 800)
	forced := map[bool]string{true: "active", false: "none"}[l.forced]
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "forced-colors", Value: forced}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// axe is the source of axe-core.
func axe(t testing.TB) string {
	t.Helper()
	source, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		missing(t, "axe-core")
	}
	return string(source)
}

// parts are the states of the pages that a tab looks at: of English all, by two; of the others some. Those of one page stand together, so that each has some.
var parts = []struct {
	lang   string
	at, of int
}{{"en", 0, 2}, {"en", 1, 2}, {"de", 0, 2}, {"ar", 1, 2}, {"fr", 0, 3}, {"es", 1, 3}}

// Every page in every state, in English, and some of its states in every other language: nothing overflows or is cut off, with large text neither, and a
// finger hits every button. WCAG 2.2 AA and axe's own advice, light on a desk; on a dark phone what a screen and its colours change; and on
// a phone a language that is read from the right, whose marks and colours are the same.
func TestEveryPageIsAccessible(t *testing.T) {
	t.Parallel()
	site, names := gallery(t)
	for _, part := range parts {
		lang := part.lang
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			b := visit(t, site).tab
			looks := map[string][]examined{
				"en": {{look{1280, "light", false}, everything}, {look{360, "dark", false}, ofScreens}}, "ar": {{look{360, "dark", false}, ofWords}},
			}[lang]
			if looks != nil {
				b.bringAxe()
			}
			for i, name := range names {
				if i%part.of != part.at {
					continue
				}
				b.open("/" + lang + "/" + name)
				b.examine(lang+"/"+name, looks...)
				b.measure(lang+"/"+name, fits[lang]...)
			}
		})
	}
}

// examined is what is examined of a page, and how it is looked at.
type examined struct {
	look  look
	rules string // axe's options
}

// The rules: all; those that a narrow screen and other colours can break; and those that other words can.
const (
	everything = `runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`
	ofScreens  = `runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]}`
	ofWords    = `runOnly: {type: "rule", values: ["button-name", "document-title", "html-has-lang", "html-lang-valid", "label", "link-name", "summary-name", "target-size", "valid-lang"]}`
)

// bringAxe has axe-core there on every page that the tab opens from now on: to send it to each took as long as its rules.
func (b *tab) bringAxe() {
	b.t.Helper()
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: axe(b.t)})
}

// examine has axe look at the page. It hides what is painted behind the words first, and a select's arrow beside them: axe gives up on
// contrast before a pseudo-element and before a gradient.
func (b *tab) examine(name string, looks ...examined) {
	b.t.Helper()
	for _, l := range looks {
		b.as(l.look)
		for _, v := range ask[[]string](b, strings.Replace(examination, "RULES", l.rules, 1)) {
			b.t.Errorf("%s at %s: %s", name, l.look, v)
		}
	}
}

const examination = `(() => {
	const plain = new CSSStyleSheet();
	plain.replaceSync("body::before, .glass::before { content: none !important } select { background-image: none !important }");
	document.adoptedStyleSheets = [plain];
})() || axe.run(document, {
	resultTypes: ["violations", "incomplete"],
	iframes: false, // a letter in its frame is looked at by itself
	RULES,
}).then((found) => [...found.violations, ...found.incomplete.filter((v) => v.id === "color-contrast")].flatMap((v) =>
	v.nodes.map((n) => v.id + ": " + n.html.slice(0, 120) + " " + n.any.concat(n.all, n.none).map((c) => c.message).join("; "))))`

// fit is a way in which a page must fit.
type fit struct {
	what  string
	width int64
	style string
}

var (
	narrow = fit{"320 pixels wide", 320, ""}
	large  = fit{"text at 200 %", 640, "font-size: 200%"}
	spaced = fit{"wide text spacing", 360, "line-height: 1.5; letter-spacing: .12em; word-spacing: .16em"}
	// fits are what is looked at by language: German has the longest words and Arabic runs the other way; where those fit in every way, the others'
	// do on the narrowest screen.
	fits = map[string][]fit{"en": {narrow, large, spaced}, "de": {narrow, large, spaced}, "ar": {narrow, large, spaced}, "fr": {narrow}, "es": {narrow}}
)

// measure looks for what does not fit.
func (b *tab) measure(name string, ways ...fit) {
	b.t.Helper()
	for _, m := range ways {
		b.as(look{m.width, "light", false})
		ask[any](b, `document.documentElement.setAttribute("data-x", "") || (document.documentElement.style.cssText = `+quote(m.style)+`)`)
		for _, v := range ask[[]string](b, misfits) {
			b.t.Errorf("%s, %s: %s", name, m.what, v)
		}
	}
	ask[any](b, `document.documentElement.style.cssText = ""`)
}

const misfits = `(() => {
	const found = [], root = document.documentElement;
	if (root.scrollWidth > innerWidth) found.push("scrolls sideways: " + root.scrollWidth);
	for (const e of document.querySelectorAll("body *")) {
		if (!shown(e) || e.closest(".unseen, .skip, select")) continue;
		const style = getComputedStyle(e), box = e.getBoundingClientRect(), words = e.outerHTML.slice(0, 80);
		const cuts = style.overflowX !== "visible" && style.overflowX !== "auto";
		if (cuts && !e.matches("input") && e.scrollWidth > e.clientWidth + 1) found.push("cut off: " + words);
		if (box.right > innerWidth + 1 || box.left < -1) found.push("off the screen: " + words);
		if (e.matches("button, summary, input:not([type=hidden]), a") && style.display !== "inline") {
			const hit = e.matches("input") && e.closest("label") ? e.closest("label").getBoundingClientRect() : box;
			if (hit.width < 24 || hit.height < 24) found.push("too small to hit: " + words);
		}
	}
	return found;
})()`

// The navigation stands on one line of a small phone, in every language.
func TestTheNavigationTakesOneLine(t *testing.T) {
	t.Parallel()
	site, _ := gallery(t)
	b := visit(t, site).tab
	for _, lang := range pages.Languages() {
		b.open("/" + lang + "/security")
		b.as(look{360, "light", false})
		if n := ask[int](b, `new Set([...document.querySelectorAll(".places a")].map((a) => a.offsetTop)).size`); n != 1 {
			t.Errorf("%s: %d lines", lang, n)
		}
		// Their words keep 4 pixels more to either side.
		if apart := ask[float64](b, `(() => {
			const boxes = [...document.querySelectorAll(".places a")].map((a) => a.getBoundingClientRect()).sort((a, b) => a.x - b.x);
			return 8 + Math.min(...boxes.slice(1).map((box, i) => box.left - boxes[i].right));
		})()`); apart < 16 {
			t.Errorf("%s: the words of the navigation stand %v pixels apart", lang, apart)
		}
	}
}

// A code that breaks is read and typed as two, on the smallest phone and on a wide screen.
func TestABackupCodeStaysOnItsLine(t *testing.T) {
	t.Parallel()
	site, _ := gallery(t)
	b := visit(t, site).tab
	b.open("/en/backup")
	for _, width := range []int64{320, 360, 768} {
		b.as(look{width, "light", false})
		if n := ask[int](b, `[...document.querySelectorAll(".codes code")].filter((c) => c.getClientRects().length !== 1).length`); n != 0 {
			t.Errorf("%d pixels wide: %d codes break", width, n)
		}
		if size := ask[float64](b, `parseFloat(getComputedStyle(document.querySelector(".codes code")).fontSize)`); size < 12 {
			t.Errorf("%d pixels wide: in letters of %v pixels", width, size)
		}
	}
}

// A line may end between a date and a time of the reader's own, and nowhere inside them.
func TestDatesBreakInOnePlaceOnly(t *testing.T) {
	t.Parallel()
	site, _ := gallery(t)
	b := visit(t, site).tab
	for _, lang := range pages.Languages() {
		b.open("/" + lang + "/security")
		for _, said := range ask[[]string](b, `[...document.querySelectorAll("time")].map((time) => time.textContent)`) {
			if strings.Count(said, " ") != 1 {
				t.Errorf("%s: %q", lang, said)
			}
		}
	}
}

// Whoever asked for less motion gets none; forced colours leave the buttons and the focus to be seen.
func TestPagesHeedWhatTheSystemAsksFor(t *testing.T) {
	t.Parallel()
	site, _ := gallery(t)
	b := visit(t, site).tab
	b.open("/en/device")
	if n := ask[int](b, `document.getAnimations().length`); n == 0 {
		t.Error("nothing moves: this test sees nothing")
	}
	b.as(look{1000, "light", false})
	if n := ask[int](b, `document.getAnimations().length`); n != 0 {
		t.Errorf("%d animations run", n)
	}
	b.as(look{1000, "dark", true})
	for path, marks := range map[string][]string{
		"/en/device": {".mark", ".turning"}, "/en/code-refused": {".mark", ".problem", "button.main"}, "/en/home": {".mark", "summary", ".badge"},
	} {
		b.open(path)
		for _, mark := range marks {
			if !ask[bool](b, `(() => {
				const style = getComputedStyle(document.querySelector(`+quote(mark)+`)), paper = getComputedStyle(document.body).backgroundColor;
				return style.backgroundColor !== paper && style.maskImage !== "none" || parseFloat(style.borderInlineStartWidth) >= 1 && style.borderInlineStartColor !== paper;
			})()`) {
				t.Errorf("%s: %s cannot be seen in forced colours", path, mark)
			}
		}
	}
}

var (
	screenshots = flag.String("screenshots", "", "write the screenshots of the documentation to this folder")
	every       = flag.String("gallery", "", "write every page, wide and narrow, light and dark, to this folder")
	spoken      = flag.String("language", "en", "the language of -gallery")
)

// TestScreenshots makes the pictures of the documentation:
//
//	go test ./test/browser -run TestScreenshots -screenshots docs/images
//
// The folders are relative to the root of the repository.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" && *every == "" {
		*screenshots = t.TempDir() // that they can be made is seen all the same
	}
	site, names := gallery(t)
	b := visit(t, site).tab
	if *screenshots != "" {
		for path, l := range map[string]look{
			"code-sms": {720, "light", false}, "home": {720, "light", false},
		} {
			b.shoot(*screenshots, strings.TrimSuffix(path, "-sms"), "/en/"+path, l)
		}
	}
	if *every != "" {
		slices.Sort(names)
		for _, name := range names {
			for _, l := range []look{{1280, "light", false}, {1280, "dark", false}, {360, "light", false}, {360, "dark", false}} {
				b.shoot(*every, name+"-"+l.String(), "/"+*spoken+"/"+name, l)
			}
		}
	}
}

// shoot writes a picture of a whole page.
func (b *tab) shoot(folder, name, path string, l look) {
	b.t.Helper()
	b.as(l)
	b.open(path)
	ask[any](b, `document.activeElement.blur()`)
	b.capture(folder, name, l.width)
}

// capture writes a picture of what the tab shows, from top to bottom.
func (b *tab) capture(folder, name string, width int64) {
	b.t.Helper()
	height := ask[float64](b, `document.querySelector("footer").getBoundingClientRect().bottom + scrollY`)
	// Beyond the viewport only what is taller: a page that is read from the right would be moved aside.
	got := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: new(height > 800), Clip: &page.Viewport{Width: float64(width), Height: height, Scale: 1},
	})
	if !filepath.IsAbs(folder) {
		folder = filepath.Join("..", "..", folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), got.Data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
