package pages

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/factor"
	"countersign/internal/registration"
)

func testPages(t *testing.T) *Pages {
	t.Helper()
	p, err := New(Options{
		Site: "Example", Origin: "https://id.example", RPID: "id.example",
		Now: func() time.Time { return time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shots renders the whole gallery in every language.
func shots(t *testing.T, p *Pages) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, shot := range p.Gallery() {
		for _, lang := range Languages() {
			var page strings.Builder
			if err := shot.Write(&page, lang); err != nil {
				t.Fatalf("%s in %s: %v", shot.Name, lang, err)
			}
			all[shot.Name+"/"+lang] = page.String()
		}
	}
	return all
}

func TestEveryPageIsWholeInEveryLanguage(t *testing.T) {
	key := regexp.MustCompile(`>\s*[a-z]+(_[a-z]+)+\s*<`)
	for name, page := range shots(t, testPages(t)) {
		lang := name[strings.LastIndex(name, "/")+1:]
		for _, want := range []string{`<html lang="` + lang + `" dir="` + map[bool]string{true: "rtl", false: "ltr"}[lang == "ar"] + `">`, "<title>", `<main id="main"`, "<h1>", "</html>"} {
			if strings.Count(page, want) != 1 {
				t.Errorf("%s: want %s exactly once", name, want)
			}
		}
		if found := key.FindString(page); found != "" {
			t.Errorf("%s shows the name of words instead of the words: %s", name, found)
		}
		for _, leftOver := range []string{"{site}", "{wait}", "{longer}", "{min}", "{days}", "{n}", "ZgotmplZ", "<no value>"} {
			if strings.Contains(page, leftOver) {
				t.Errorf("%s contains %s", name, leftOver)
			}
		}
	}
}

func TestNoLanguageLacksWords(t *testing.T) {
	all := testPages(t).words
	if len(all) != len(Languages()) {
		t.Fatalf("%d catalogues for %v", len(all), Languages())
	}
	placeholder := regexp.MustCompile(`\{[a-z]+\}`)
	for _, lang := range Languages() {
		for key, text := range all[fallback] {
			if strings.TrimSpace(all[lang][key]) == "" {
				t.Errorf("%s lacks %s", lang, key)
			}
			want, got := placeholder.FindAllString(text, -1), placeholder.FindAllString(all[lang][key], -1)
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s: %s", lang, key, diff)
			}
		}
		for key := range all[lang] {
			unit, _, form := strings.Cut(key, "_")
			counted := form && slices.Contains([]string{"second", "minute", "hour", "day"}, unit)
			if _, ok := all[fallback][key]; !ok && !counted {
				t.Errorf("%s has %s, which %s has not", lang, key, fallback)
			}
		}
	}
}

// source is every template and every Go file of the package but the tests.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		names, err := fs.Glob(os.DirFS("."), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(raw)
		}
	}
	return all.String()
}

func TestNoWordsAreUnusedAndNoneAreMissing(t *testing.T) {
	text, words := source(t), testPages(t).words[fallback]
	for _, use := range regexp.MustCompile(`(?:\.T|\.say\() ?"([a-z_]+[a-z])"[ )}]`).FindAllStringSubmatch(text, -1) {
		if _, ok := words[use[1]]; !ok {
			t.Errorf("no words for %s", use[1])
		}
	}
	// These are put together: "way_" + way, and the like.
	built := regexp.MustCompile(`^(way|method|address_code_lead|strength|did|code_lead|register_code_lead|claim|wrong|second|minute|hour|day)_|_(title|lead)$|^(notme(_app)?|stop|link)_(ask|done|dead)_|^recover_(to_hint|where|code_lead|other_lead|by|contacts|saved|old|otp|backup|password)_`)
	for key := range words {
		if !strings.Contains(text, `"`+key+`"`) && !built.MatchString(key) {
			t.Errorf("%s is not used", key)
		}
	}
}

func TestNoFrenchLineBeginsWithItsQuestionMark(t *testing.T) {
	breakable := regexp.MustCompile(` [;:!?»]|« `)
	for key, text := range testPages(t).words["fr"] {
		if breakable.MatchString(text) {
			t.Errorf("%s: %q", key, text)
		}
	}
}

// the policy allows no inline script, style or handler and nothing of other hosts, so no page may need them.
func TestNoPageNeedsWhatThePolicyForbids(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script(?:[^>]*)>[^<]|<base|<iframe|(?:href|src|action)="(?:https?:)?//`)
	for name, page := range shots(t, testPages(t)) {
		if strings.HasPrefix(name, "access-onward") { // which leads to a site of the operator's
			page = strings.Replace(page, `href="https://wiki.example.org"`, "", 1)
		}
		if strings.HasPrefix(name, "notice-elsewhere") { // which leads to ourselves, from another host
			page = strings.Replace(page, `href="https://id.example"`, "", 1)
		}
		if found := forbidden.FindString(page); found != "" {
			t.Errorf("%s contains %q", name, found)
		}
	}
	for name, raw := range testPages(t).assets.files {
		if found := regexp.MustCompile(`(?i)@import|url\("?(?:https?:)?//|<script|\beval\(|new Function|innerHTML`).Find(raw); found != nil {
			t.Errorf("%s contains %q", name, found)
		}
	}
}

// and its like: whatever comes from outside is text and never markup.
func TestNothingFromOutsideBecomesMarkup(t *testing.T) {
	if found := regexp.MustCompile(`template\.(HTML|JS|CSS|URL|Srcset)\b|\bsafe[A-Z]`).FindString(source(t)); found != "" {
		t.Fatalf("a way around escaping: %s", found)
	}
	p := testPages(t)
	const evil = `"><img src=x onerror=alert(1)>'`
	f := p.frame("en", "signin_title")
	f.Site, f.Flash = evil, evil
	pages := []view{
		signInView{frame: f.fails(evil)},
		registerPage(f.fails(evil), Asks{Invitation: true}),
		registerCodePage(f, evil, registration.Next{Way: factor.Email}, 1),
		aboutView{
			frame: f, Submit: evil, Nonce: evil, Origin: evil, Asks: Asks{TermsURL: "https://example.org/" + evil, TermsVersion: evil, Claims: []registration.Claim{
				{Name: "team", Labels: map[string]string{"": evil}},
			}},
		}.asking([]registration.Problem{{Field: "team", Code: "claim_missing"}}),
		deviceView{frame: f, Flow: "/signin/" + evil, Nonce: evil, Origin: evil},
		codeView{frame: f, Submit: evil, Nonce: evil, Origin: evil}.ways(nil, evil, 0),
		homeView{frame: f, Sessions: []sessionRow{{ID: evil, Name: evil}}, Devices: []deviceRow{{ID: evil, Name: evil}}},
		securityView{frame: f, Open: true, Addresses: []addressRow{{owned: f.owned("addresses", evil, evil, evil), Uses: evil, Reachable: true}}, Contacts: []contactRow{{owned: f.owned("contacts", evil, evil, evil), Holder: evil, Address: evil}}},
		addressCodeView{frame: f, Submit: evil, Resend: evil, Lead: evil},
		passwordView{frame: f, CurrentProblem: evil},
		savedView{frame: f, Code: evil},
		noticeView{frame: f, Heading: evil, Lead: evil, RequestID: evil},
		demoPage(f, []DemoAccount{{Name: evil, SignsIn: evil, Password: evil}}),
		inboxPage(f, []Message{{Channel: "sms", To: evil, Text: evil}, {To: evil, Subject: evil, Text: evil}}),
	}
	for _, v := range pages {
		var out strings.Builder
		if err := p.render(&out, v); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "<img") {
			t.Errorf("%s: markup got through", v.template())
		}
	}
}

// A problem stands in the title, is announced, has the focus, and the fields point at it (WCAG 3.3.1).
func TestAProblemIsToldToEveryone(t *testing.T) {
	all := shots(t, testPages(t))
	for _, name := range []string{
		"signin-refused", "signin-missing", "code-refused", "code-missing", "register-missing", "register-malformed", "register-refused",
		"register-code-refused", "register-code-missing",
	} {
		for _, want := range []string{
			"<title>Error: ", `id="problem" role="alert" tabindex="-1" autofocus`, `aria-invalid="true"`, `aria-describedby="problem`,
		} {
			if !strings.Contains(all[name+"/en"], want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}

// R-SMS-04: fields that browsers, password managers and phones know, and no obstacle to pasting.
func TestFieldsHelpPasswordManagersAndPhones(t *testing.T) {
	all := shots(t, testPages(t))
	for page, wants := range map[string][]string{
		"signin/en":     {`autocomplete="username webauthn"`, `type="password" autocomplete="current-password"`},
		"code-sms/en":   {`inputmode="numeric" autocomplete="one-time-code"`},
		"code-email/de": {`inputmode="numeric" autocomplete="one-time-code"`},

		"register/en":          {`autocomplete="username"`},
		"register-code-sms/en": {`inputmode="numeric" autocomplete="one-time-code"`},
		"about-everything/en": {
			`type="password" autocomplete="new-password"`, `<div class="unseen" aria-hidden="true"><input type="text" autocomplete="username" readonly tabindex="-1"`, `autocomplete="name" required`,
			`autocomplete="given-name"`, `autocomplete="additional-name"`, `autocomplete="family-name"`, `type="date" dir="auto" autocomplete="bday"`,
		},
	} {
		for _, want := range wants {
			if !strings.Contains(all[page], want) {
				t.Errorf("%s lacks %s", page, want)
			}
		}
	}
	for name, page := range all {
		if strings.Contains(page, "maxlength") || strings.Contains(page, "onpaste") {
			t.Errorf("%s hinders pasting", name)
		}
	}
}

// N-5.1-13: the way out is on every page of the signed-in.
func TestSignOutIsOnEverySignedInPage(t *testing.T) {
	for name, page := range shots(t, testPages(t)) {
		if slices.ContainsFunc([]string{"home", "again", "activity", "security", "password", "address", "contact", "saved", "app", "backup", "account", "disavow", "welcome", "approve", "refused", "enrol", "access-onward", "access-weak", "access-denied"}, func(page string) bool { return strings.HasPrefix(name, page) }) != strings.Contains(page, `action="/signout"`) {
			t.Errorf("%s: sign out is missing or too much", name)
		}
	}
}

// N-3.2.9-02: wherever a text message is a way, its risk is said, and with it the alternative there is.
func TestTheRiskOfTextMessagesIsSaid(t *testing.T) {
	p := testPages(t)
	words, all := p.words["en"], shots(t, p)
	for name, want := range map[string]string{
		"code-sms/en": words["sms_risk_email"], "code-email/en": words["sms_risk_email"],
		"code-sms-only/en": words["sms_risk"], "code-no-way-yet/en": words["sms_risk_email"],
	} {
		if !strings.Contains(all[name], want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
	if strings.Contains(all["code-one-way/en"], words["sms_risk"]) {
		t.Error("the risk of text messages where there are none")
	}
}

func TestLanguageByHeader(t *testing.T) {
	p := testPages(t)
	for header, want := range map[string]string{
		"": "en", "de": "de", "de-AT,de;q=0.9,en;q=0.8": "de", "en-GB,de;q=0.5": "en", "it,de;q=0.3": "de", "fr-CA,de;q=0.3": "fr", "ar-EG": "ar",
		"it": "en", "de;q=0": "en", "en;q=0.2, DE;q=0.7": "de", "de;q=nonsense": "de", "*": "en", ";;,,-": "en",
		strings.Repeat("x,", 5000) + "de": "en",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", header)
		if got := p.language(r); got != want {
			t.Errorf("%.40q gives %s, want %s", header, got, want)
		}
	}
}

func TestDigitsOfOtherKeyboardsAreDigits(t *testing.T) {
	if got := digits("٤٨٢ ۹۱۳"); got != "482913" {
		t.Errorf("%q", got)
	}
}

// A line may end between the date and the time, and nowhere inside them.
func TestInstantsBreakInOnePlaceOnly(t *testing.T) {
	p := testPages(t)
	for _, lang := range Languages() {
		if said := p.words[lang].instant(p.options.Now()).Words; len(strings.Fields(strings.ReplaceAll(said, "\u00a0", "_"))) != 2 {
			t.Errorf("%s: %q", lang, said)
		}
	}
}

func TestWaitsAreRoundedUp(t *testing.T) {
	words := testPages(t).words["en"]
	for d, want := range map[time.Duration]string{
		0: "1 second", time.Second: "1 second", 1100 * time.Millisecond: "2 seconds", 90 * time.Second: "90 seconds",
		91 * time.Second: "2 minutes", 5 * time.Minute: "5 minutes", time.Hour: "60 minutes", 24 * time.Hour: "24 hours",
	} {
		if got := words.span(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestAssetsAreKeptForeverUnderTheirHashOnly(t *testing.T) {
	p := testPages(t)
	mux := http.NewServeMux()
	p.Mount(mux, quiet())
	ask := func(path string) *http.Response {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Result()
	}
	for name, want := range map[string]string{"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "mark.svg": "image/svg+xml"} {
		res := ask(p.assets.base + "/" + name)
		got := []string{res.Status, res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"), res.Header.Get("X-Content-Type-Options")}
		if diff := cmp.Diff([]string{"200 OK", want, "public, max-age=31536000, immutable", "nosniff"}, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if res := ask("/assets/0000000000000000/app.css"); res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("another release's name: %s, %s", res.Status, res.Header.Get("Cache-Control"))
	}
	for _, path := range []string{"/nothing", "/..%2fpages.go", "/%2e%2e"} {
		if res := ask(p.assets.base + path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if lines := strings.Count(string(p.assets.files["app.js"]), "\n"); lines > 400 {
		t.Errorf("the script has grown to %d lines", lines)
	}
}

// Arabic counts in four ways (CLDR).
func TestSpansAreCountedTheLanguagesWay(t *testing.T) {
	p := testPages(t)
	for _, c := range []struct {
		lang string
		span time.Duration
		want string
	}{
		{"en", 24 * time.Second, "24 seconds"},
		{"fr", time.Hour * 3, "3 heures"},
		{"es", time.Second, "1 segundo"},
		{"ar", time.Second, "ثانية واحدة"},
		{"ar", 2 * time.Minute, "دقيقتين"},
		{"ar", 5 * time.Minute, "5 دقائق"},
		{"ar", 30 * time.Second, "30 ثانية"},
		{"ar", 103 * time.Minute, "ساعتين"},
	} {
		if got := p.words[c.lang].span(c.span); got != c.want {
			t.Errorf("%s in %s: %q, want %q", c.span, c.lang, got, c.want)
		}
	}
}

func TestTheDemoJoinsTheLinesOfAParagraph(t *testing.T) {
	letter := "Your code\n\nSomebody, hopefully you, wants to use this address with an account at\nFotoalbum. To show it:\n\n    482913\n\nIt works once.\n\n-- \nSent by us because of the security of your account, and of nothing else\nat all."
	want := "Your code\n\nSomebody, hopefully you, wants to use this address with an account at Fotoalbum. To show it:\n\n    482913\n\nIt works once.\n\n-- \nSent by us because of the security of your account, and of nothing else at all."
	if got := unwrap(letter); got != want {
		t.Errorf("got\n%s", got)
	}
	text := "Not you? https://id.example/notme#csn_ab-123456-cd end"
	if got := link.FindString(text); got != "https://id.example/notme#csn_ab-123456-cd" {
		t.Errorf("the link is %q", got)
	}
}

// The words go into a JSON text as they are, so there must be nothing in them to escape.
func TestWordsForOldAppsNeedNoEscaping(t *testing.T) {
	p := testPages(t)
	seen := map[string]bool{}
	for _, lang := range Languages() {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/session", nil)
		r.Header.Set("Accept-Language", lang)
		got, text := p.AppOutdated(r)
		encoded, err := json.Marshal(text)
		if got != lang || err != nil || string(encoded) != `"`+text+`"` || seen[text] {
			t.Errorf("%s: %s %q", lang, got, text)
		}
		seen[text] = true
	}
}
