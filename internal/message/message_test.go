package message

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func catalog(t *testing.T, host string) *Catalog {
	t.Helper()
	c, err := New(host)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// letters is one valid letter of each kind and channel; the first two carry a sign-in code.
func letters() (all []Letter) {
	for _, k := range Kinds() {
		for _, ch := range []Channel{Email, SMS} {
			all = append(all, Sample(k, ch, "", Site{"Fotoalbum", "https://id.example.org"}))
		}
	}
	slices.SortStableFunc(all, func(a, b Letter) int { return strings.Compare(string(a.Channel), string(b.Channel)) })
	slices.SortStableFunc(all, func(a, b Letter) int { return boolInt(b.Kind == SigninCode) - boolInt(a.Kind == SigninCode) })
	return all
}

// newDevice is the letter of a new device by e-mail.
func newDevice() Letter {
	all := letters()
	return all[slices.IndexFunc(all, func(l Letter) bool { return l.Kind == NewDevice && l.Channel == Email })]
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestEveryLetterInEveryLanguageIsComplete(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, lang := range Languages() {
		for _, l := range letters() {
			l.Language = lang
			r, err := c.Render(l)
			if err != nil {
				t.Fatalf("%s %s: %v", lang, l, err)
			}
			all := r.Subject + r.Text + r.HTML
			if strings.ContainsAny(r.Subject+r.Text, "{}") || strings.Contains(all, "<no value>") || strings.Contains(all, "ZgotmplZ") {
				t.Errorf("%s %s has a hole:\n%s", lang, l, all)
			}
			if l.Channel == Email && (r.Subject == "" || r.Text == "" || !strings.Contains(r.HTML, `lang="`+lang+`"`)) {
				t.Errorf("%s %s is not whole: %+v", lang, l, r)
			}
			if l.Channel == SMS && (r.Subject != "" || r.HTML != "") {
				t.Errorf("%s %s: an SMS is text only", lang, l)
			}
			for name := range l.Params {
				short := maps.Clone(l.Params)
				delete(short, name)
				if _, err := c.Render(Letter{Kind: l.Kind, Channel: l.Channel, To: l.To, Language: lang, Params: short}); err == nil {
					t.Errorf("%s %s without %q was rendered", lang, l, name)
				}
			}
		}
	}
}

func TestALanguageThatLacksASentenceOrAPlaceholderIsRefused(t *testing.T) {
	raw, err := files.ReadFile("words/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var en map[string]string
	if err := json.Unmarshal(raw, &en); err != nil {
		t.Fatal(err)
	}
	for key := range en {
		less := maps.Clone(en)
		delete(less, key)
		if complete(en, less) == nil {
			t.Errorf("a language without %q was accepted", key)
		}
		if len(placeholders(en[key])) > 0 {
			less[key] = "words without the value"
			if complete(en, less) == nil {
				t.Errorf("a language that drops the values of %q was accepted", key)
			}
		}
	}
	more := maps.Clone(en)
	more["email.signin_code.9"] = "nobody renders this"
	if complete(en, more) == nil {
		t.Error("a language with an unknown key was accepted")
	}
	more = maps.Clone(en)
	more["minutes.few"] = "{n} minut"
	if err := complete(en, more); err != nil {
		t.Errorf("a language with more plural forms was refused: %v", err)
	}
}

// In plain text a code and a link stand alone on their lines, whole, and no other line is too long.
func TestPlainTextIsReadOn72Columns(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, lang := range Languages() {
		for _, l := range letters() {
			if l.Language = lang; l.Channel != Email {
				continue
			}
			r, err := c.Render(l)
			if err != nil {
				t.Fatal(err)
			}
			whole := map[string]bool{}
			for line := range strings.Lines(r.Text) {
				line = strings.Trim(strings.TrimSuffix(line, "\n"), "\u200f")
				whole[strings.TrimSpace(line)] = true
				if n := len([]rune(line)); n > 72 && strings.TrimSpace(line) != l.Params["link"] {
					t.Errorf("%s %s: %d columns: %s", lang, l, n, line)
				}
			}
			for _, name := range []string{"code", "link"} {
				if v := l.Params[name]; v != "" && !whole[v] {
					t.Errorf("%s %s: the %s is not on a line of its own:\n%s", lang, l, name, r.Text)
				}
			}
		}
	}
}

// R-SMS-01, R-SMS-02, R-SMS-07.
func TestACodeBySMSFitsOneSegmentAndEndsWithItsOrigin(t *testing.T) {
	sites := []string{"X", "Fotoalbum", "Das große Fotoalbum für Familien", "写真アルバム", "a{b}c", strings.Repeat("w", 64)}
	for _, host := range []string{"id.example.org", "accounts.photo-sharing.example.com", strings.Repeat("a", 40) + ".example.org"} {
		c := catalog(t, host)
		for _, lang := range Languages() {
			for _, site := range sites {
				for _, code := range []string{"482913", "4829130571"} {
					r, err := c.Render(Letter{Kind: SigninCode, Channel: SMS, To: "+491", Language: lang, Params: map[string]string{"code": code, "minutes": "10", "site": site}})
					if err != nil {
						t.Fatalf("%s, host of %d, site %q: %v", lang, len(host), site, err)
					}
					if lang == "ar" {
						if n := len(utf16.Encode([]rune(r.Text))); n > 134 || n > 70 && len(host) < 20 {
							t.Errorf("%d characters: %q", n, r.Text)
						}
					} else if n, ok := septets(r.Text); !ok || n > 160 {
						t.Errorf("%s: %d septets, in the alphabet %v: %q", lang, n, ok, r.Text)
					}
					lines := strings.Split(r.Text, "\n")
					if got, want := lines[len(lines)-1], "@"+host+" #"+code; got != want {
						t.Errorf("last line %q, want %q", got, want)
					}
					if !strings.Contains(lines[0], code) || strings.Contains(r.Text, "://") || strings.Contains(lines[0], host) {
						t.Errorf("first line must show the code and no link: %q", r.Text)
					}
				}
			}
		}
	}
	for _, host := range []string{strings.Repeat("a", 90) + ".org", "https://id.example.org", "id.example.org:", "id.example.org/x", "bücher.example", ""} {
		if _, err := New(host); err == nil {
			t.Errorf("host %q was accepted", host)
		}
	}
}

func TestEverySMSSaysThatWeNeverAskForTheCode(t *testing.T) {
	never := map[string]string{"en": "We never ask for this code.", "de": "Wir fragen nie nach diesem Code.", "fr": "Nous ne le demandons jamais.", "es": "Nunca la pedimos.", "ar": "لا نطلبه أبدًا."}
	for _, lang := range Languages() {
		for _, site := range []string{"Fotoalbum", "写真アルバム"} {
			for _, kind := range []Kind{SigninCode, AddressCode, RecoveryCode} {
				l := Letter{Kind: kind, Channel: SMS, To: "+491", Language: lang, Params: map[string]string{"code": "482913", "minutes": "10", "site": site}}
				r, err := catalog(t, "id.example.org").Render(l)
				if err != nil || never[lang] == "" || !strings.Contains(r.Text, never[lang]) {
					t.Errorf("%s %s: %q, %v", lang, kind, r.Text, err)
				}
			}
		}
	}
}

// R-SMS-07: one letter outside the alphabet of text messages makes each cost twice.
func TestNoTextMessageNeedsAnotherAlphabetThanItsLanguage(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, lang := range []string{"en", "de", "fr", "es"} {
		for _, l := range letters() {
			l.Language = lang
			if r, err := c.Render(l); l.Channel == SMS {
				if n, ok := septets(r.Text); err != nil || !ok || n > 2*partSMS {
					t.Errorf("%s %s: %d septets, in the alphabet %v, %v: %q", lang, l, n, ok, err, r.Text)
				}
			}
		}
	}
}

// Whoever named a contact chose the name: none may keep the letter with the code from being sent.
func TestANameInAnyAlphabetFitsIntoATextMessage(t *testing.T) {
	for _, host := range []string{"id.example.org", strings.Repeat("a", 40) + ".example.org"} {
		c := catalog(t, host)
		for _, lang := range Languages() {
			for _, kind := range []Kind{ContactCode, ContactAdded} {
				for _, name := range []string{"Zoë", strings.Repeat("ё", 60), strings.Repeat("𐌰", 60), strings.Repeat("w", 60)} {
					need, _ := kind.form()
					l := Letter{Kind: kind, Channel: SMS, To: "+491", Language: lang, Params: map[string]string{}}
					for _, n := range need {
						l.Params[n] = map[string]string{"code": "4829130571", "minutes": "2880", "holder": name, "site": "Fotoalbum"}[n]
					}
					r, err := c.Render(l)
					if err != nil || !strings.Contains(r.Text, string([]rune(name)[:3])) || units(r.Text) > 4*partUCS2 && lang == "ar" {
						t.Errorf("%s %s, %.9s: %q, %v", lang, kind, name, r.Text, err)
					}
				}
			}
		}
	}
}

// A sentence that was forgotten stays English, and nothing else would notice.
func TestNoSentenceIsTheEnglishOne(t *testing.T) {
	same := map[string][]string{
		"de": {"language.dir", "label.of", "month.4", "month.8", "month.9", "month.11"},
		"fr": {"language.dir", "minutes.one", "minutes.other"},
		"es": {"language.dir", "label.of"},
		"ar": {"label.of"},
	}
	words := catalog(t, "id.example.org").words
	for lang, may := range same {
		for key, english := range words["en"].text {
			if words[lang].text[key] == english && !slices.Contains(may, key) {
				t.Errorf("%s: %q is English: %q", lang, key, english)
			}
		}
	}
	if len(same) != len(Languages())-1 {
		t.Error("a language is not looked at")
	}
}

// P1: a subject is shown on a locked screen and logged by mail servers.
func TestTheCodeIsInTheBodyOnly(t *testing.T) {
	l := letters()[0]
	r, err := catalog(t, "id.example.org").Render(l)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.Subject, "482913") || !strings.Contains(r.Text, "\n    482913\n") || !strings.Contains(r.HTML, `<p class="code" dir="ltr">482913</p>`) {
		t.Errorf("subject %q\n%s\n%s", r.Subject, r.Text, r.HTML)
	}
	title := r.HTML[strings.Index(r.HTML, "<title>"):strings.Index(r.HTML, "</title>")]
	if strings.Contains(title, "482913") {
		t.Errorf("the title shows the code: %s", title)
	}
}

func TestTheHTMLLoadsNothing(t *testing.T) {
	for _, l := range letters() {
		r, err := catalog(t, "id.example.org").Render(l)
		if err != nil {
			t.Fatal(err)
		}
		html := r.HTML
		if link := l.Params["link"]; link != "" && l.Channel == Email { // the one link there is, and it leads to us
			if strings.Count(html, `href="`+link+`"`) != 1 {
				t.Errorf("%s: the link is not there once:\n%s", l, html)
			}
			html = strings.ReplaceAll(html, `<a class="button" href="`+link+`"`, "")
		}
		for _, bad := range []string{"http:", "https:", "src=", "url(", "@import", "<script", "<link", "<img", "<a "} {
			if strings.Contains(html, bad) {
				t.Errorf("%s: the HTML contains %q", l, bad)
			}
		}
		if l.Channel == Email && !strings.Contains(r.HTML, "prefers-color-scheme: dark") {
			t.Errorf("%s: no dark mode", l)
		}
	}
}

func TestALetterNamesTheDeviceInItsLanguage(t *testing.T) {
	c := catalog(t, "id.example.org")
	for lang, want := range map[string]string{
		"en": "Firefox on Linux", "de": "Firefox unter Linux", "fr": "Firefox sous Linux", "es": "Firefox en Linux", "ar": "\u200fFirefox على Linux",
	} {
		l := newDevice()
		l.Language = lang
		r, err := c.Render(l)
		if err != nil || !strings.Contains(r.Text, ": "+want+"\n") || !strings.Contains(r.HTML, "<bdi>"+want+"</bdi>") {
			t.Errorf("%s: %v, want %q in\n%s", lang, err, want, r.Text)
		}
	}
}

func TestAHostileValueNeitherBreaksAHeaderNorBecomesALink(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, evil := range []string{"a\r\nBcc: x@example.net", "a\nb", "a\x00b", "a\u2028b", "a\u202eb", "\xff"} {
		l := letters()[0]
		l.Params = maps.Clone(l.Params)
		l.Params["site"] = evil
		if _, err := c.Render(l); err == nil {
			t.Errorf("site %q was rendered", evil)
		}
		l = letters()[0]
		l.To = evil
		if err := l.Validate(); err == nil {
			t.Errorf("address %q was accepted", evil)
		}
	}
	for name, want := range map[string]string{
		"Firefox 145.0 on Linux":                 "Firefox 145.0 on Linux",
		"Ada's Gerät (Küche)":                    "Ada's Gerät (Küche)",
		"https://evil.example/now":               "https evil example now",
		"evil.example":                           "evil example",
		"1.2.3.4/x":                              "1.2.3.4 x",
		"<b>x</b>\r\nSubject: y":                 "b x b Subject y",
		"call +49 1: your account\u202e is lost": "call +49 1 your account is lost",
		"\r\n":                                   "?",
		strings.Repeat("x", 200):                 strings.Repeat("x", 59) + "…",
	} {
		l := newDevice()
		l.Params = maps.Clone(l.Params)
		l.Params["device"] = name
		r, err := c.Render(l)
		if err != nil {
			t.Fatalf("a device's name is never a reason to send nothing: %q: %v", name, err)
		}
		if !strings.Contains(r.Text, "    Device: "+want+"\n") {
			t.Errorf("device %q: %s", name, r.Text)
		}
	}
	l := letters()[0]
	l.Params = maps.Clone(l.Params)
	l.Params["site"] = `<img src=x>{code}`
	r, err := c.Render(l)
	if err != nil || strings.Contains(r.HTML, "<img") || strings.Contains(r.Subject, "482913") {
		t.Errorf("%v\n%s\n%s", err, r.Subject, r.HTML)
	}
}

// P3, C-FP-12: whatever a caller was made to put there, no letter leads to another host.
func TestALinkLeadsToUsOrTheLetterIsNotSent(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, evil := range []string{
		"https://evil.example/notme#x", "https://id.example.org@evil.example/", "https://id.example.org.evil.example/", "javascript:alert(1)",
		"//evil.example", "/notme", "https://evil.example#id.example.org",
	} {
		for _, ch := range []Channel{Email, SMS} {
			l := newDevice()
			l.Channel, l.Params["link"] = ch, evil
			if r, err := c.Render(l); err == nil {
				t.Errorf("%s was rendered: %+v", evil, r)
			}
		}
	}
}

func TestAPlaceIsSaidWhereItIsKnown(t *testing.T) {
	c, l := catalog(t, "id.example.org"), newDevice()
	before, err := c.Render(l)
	l.Params["place"] = "Graz, Austria"
	after, err2 := c.Render(l)
	l.Params["place"] = "\u202e" + strings.Repeat("x", 500)
	if odd, err := c.Render(l); err != nil || strings.Contains(odd.Text, "\u202e") || strings.Contains(odd.Text, strings.Repeat("x", 81)) {
		t.Errorf("an odd place: %v\n%s", err, odd.Text)
	}
	if err != nil || err2 != nil || strings.Contains(before.Text, "Where") || !strings.Contains(after.Text, "Where, roughly: Graz, Austria\n") {
		t.Errorf("%v %v\n%s\n%s", err, err2, before.Text, after.Text)
	}
}

func TestAnErrorNamesNoValue(t *testing.T) {
	l := letters()[0]
	l.Params = map[string]string{"code": "12x456", "minutes": "10", "site": "s"}
	if err := l.Validate(); err == nil || strings.Contains(err.Error(), "12x456") || strings.Contains(err.Error(), "ada@") {
		t.Errorf("%v", err)
	}
}

func TestDatesAndNumbersAreTheLanguages(t *testing.T) {
	c := catalog(t, "id.example.org")
	for lang, want := range map[string]string{
		"en": "23 November 2026 at 18:49 (UTC)", "de": "23. November 2026 um 18:49 Uhr (UTC)",
		"fr": "23 novembre 2026 à 18:49 (UTC)", "es": "23 de noviembre de 2026 a las 18:49 (UTC)", "ar": "23 نوفمبر 2026، الساعة 18:49 (UTC)", "de-AT": "23. November 2026 um 18:49 Uhr (UTC)", "tlh": "23 November 2026 at 18:49 (UTC)", "": "23 November 2026 at 18:49 (UTC)",
	} {
		l := newDevice()
		l.Language = lang
		if r, err := c.Render(l); err != nil || !strings.Contains(r.Text, want) {
			t.Errorf("%q: %v: %s", lang, err, r.Text)
		}
	}
	l := newDevice()
	l.Params["when"] = "2026-03-01T08:05:00+02:00"
	l.Language = "de"
	if r, err := c.Render(l); err != nil || !strings.Contains(r.Text, "1. März 2026 um 08:05 Uhr (UTC+02:00)") {
		t.Errorf("%v: %s", err, r.Text)
	}
	for _, c2 := range []struct{ lang, minutes, want string }{
		{"en", "1", "1 minute."},
		{"en", "10", "10 minutes."},
		{"en", "90", "90 minutes."},
		{"en", "120", "2 hours."},
		{"en", "2880", "48 hours."},
		{"de", "2880", "48 Stunden"},
		{"fr", "2880", "48 heures"},
		{"es", "120", "2 horas"},
		{"ar", "120", "ساعتين"},
		{"ar", "180", "3 ساعات"},
		{"ar", "660", "11 ساعة"},
		{"ar", "2880", "48 ساعة"},
		{"ar", "2", "دقيقتين"},
	} {
		l := letters()[0]
		l.Language, l.Params["minutes"] = c2.lang, c2.minutes
		if r, err := c.Render(l); err != nil || !strings.Contains(r.Text, c2.want) {
			t.Errorf("%v: %v: %s", c2, err, r.Text)
		}
	}
}

func TestNoFrenchLineBeginsWithItsQuestionMark(t *testing.T) {
	c, breakable := catalog(t, "id.example.org"), regexp.MustCompile(`[ \n][;:!?»]|«[ \n]|[^\x{202f}][;:!?] `)
	narrow := 0
	for _, l := range letters() {
		if l.Language = "fr"; l.Channel == SMS { // another alphabet: TestNoTextMessageNeedsAnotherAlphabetThanItsLanguage
			continue
		}
		r, err := c.Render(l)
		if found := breakable.FindString(r.Subject + "\n" + r.Text); err != nil || found != "" {
			t.Errorf("%s: %v: %q in\n%s", l, err, found, r.Text)
		}
		narrow += strings.Count(r.Text, "\u202f")
	}
	if narrow == 0 {
		t.Error("no letter has a French space")
	}
}

func TestMatch(t *testing.T) {
	if got := Languages(); !slices.Equal(got, []string{"en", "ar", "de", "es", "fr"}) {
		t.Fatalf("languages %v", got)
	}
	for header, want := range map[string]string{
		"": "en", "de": "de", "de-CH,de;q=0.9,en;q=0.8": "de", "it-IT,it;q=0.9,de;q=0.5,en;q=0.3": "de", "it": "en", "fr-CA": "fr", "ar-MA": "ar", "es-419": "es",
		"en-GB,de;q=0.9": "en", "*": "en", ";;;": "en", "de;q=0,en": "en", strings.Repeat("x-", 5000): "en", "\x00": "en",
	} {
		if got := Match(header); got != want {
			t.Errorf("Match(%.40q) = %q, want %q", header, got, want)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("Fotoalbum", "Firefox", "de")
	f.Add("a\r\nb", "http://x.y", "en;q=1")
	c, err := New("id.example.org")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, site, device, lang string) {
		for _, l := range letters() {
			l.Language = lang
			l.Params["site"] = site
			if _, ok := l.Params["device"]; ok {
				l.Params["device"] = device
			}
			r, err := c.Render(l)
			if err == nil && strings.ContainsAny(r.Subject, "\r\n\x00") {
				t.Errorf("subject %q", r.Subject)
			}
		}
	})
}

// A letter that is read from right to left says so where webmail keeps it, and in every line of its plain text.
func TestALetterIsReadFromTheRight(t *testing.T) {
	l := letters()[0]
	l.Language = "ar"
	r, err := catalog(t, "id.example.org").Render(l)
	if err != nil || !strings.Contains(r.HTML, `<main lang="ar" dir="rtl">`) || !strings.Contains(r.HTML, `<p class="code" dir="ltr">482913</p>`) {
		t.Errorf("%v: %s", err, r.HTML)
	}
	for line := range strings.SplitSeq(r.Text, "\n") {
		if line != "" && line != "-- " && line != "    482913" && !strings.HasPrefix(line, "\u200f") {
			t.Errorf("a line without direction: %q", line)
		}
	}
}

// A number belongs to people, not to a site: a notice says first whose it is, and a long name gives way to the host
// where it would cost a segment more.
func TestEveryNoticeBySMSSaysWhoSendsIt(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, lang := range Languages() {
		for _, l := range letters() {
			if l.Channel != SMS || l.Params["link"] == "" {
				continue
			}
			l.Language = lang
			for site, want := range map[string]string{"Fotoalbum": "Fotoalbum", strings.Repeat("Fotoalbum ", 6) + "AG": "id.example.org"} {
				l.Params["site"] = site
				if r, err := c.Render(l); err != nil || !strings.HasPrefix(r.Text, want) {
					if strings.HasPrefix(r.Text, site) && segments(r.Text) == segments(strings.Replace(r.Text, site, want, 1)) {
						continue // it costs nothing
					}
					t.Errorf("%s %s: %q, %v", lang, l, r.Text, err)
				}
			}
		}
	}
	l := letters()[slices.IndexFunc(letters(), func(l Letter) bool { return l.Kind == NewDevice && l.Channel == SMS })]
	l.Params["site"] = "Fotoalbum"
	for _, lang := range []string{"en", "de", "fr", "es"} {
		l.Language = lang
		if r, err := c.Render(l); err != nil || segments(r.Text) != 1 && lang != "es" {
			t.Errorf("%s: %d segments: %q, %v", lang, segments(r.Text), r.Text, err)
		}
	}
}

// The link of a waiting recovery is worth nothing after it: a letter that says until when must not say 30 days.
func TestTheLetterOfAWaitingRecoveryNamesOneTerm(t *testing.T) {
	c := catalog(t, "id.example.org")
	l := letters()[slices.IndexFunc(letters(), func(l Letter) bool { return l.Kind == RecoveryWaiting && l.Channel == Email })]
	for _, lang := range Languages() {
		l.Language = lang
		r, err := c.Render(l)
		if err != nil || strings.Contains(strings.ReplaceAll(r.Text, c.words[lang].when(l.Params["ends"]), ""), "30") {
			t.Errorf("%s: %s, %v", lang, r.Text, err)
		}
	}
}

// Whoever types "localhost" where the server listens at another port than browsers try reaches nobody; the last line
// of a text message, which browsers read, has a name alone.
func TestALetterSaysThePortThatMustBeTyped(t *testing.T) {
	c := catalog(t, "localhost:8080")
	for _, l := range letters() {
		l.Params = maps.Clone(l.Params)
		if l.Params["link"] != "" {
			l.Params["link"] = "http://localhost:8080/notme#csn_1"
		}
		r, err := c.Render(l)
		if err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		bare := regexp.MustCompile(`localhost([^:]|$)`).MatchString(strings.Replace(r.Text, "\n@localhost #", "", 1))
		if bare || l.Channel == SMS && l.Kind.Typed() && !strings.Contains(r.Text, "\n@localhost #") {
			t.Errorf("%s: %s", l, r.Text)
		}
	}
	for _, host := range []string{"localhost:", "localhost:x", "localhost:70000", ":80"} {
		if _, err := New(host); err == nil {
			t.Errorf("%q is taken for a host", host)
		}
	}
}
