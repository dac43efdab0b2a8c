package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/web"
)

//go:embed words/*/*.json
var wordFiles embed.FS

// fallback is the language of whoever asks for none that we have.
const fallback = "en"

// Languages are those the pages have, the fallback first.
func Languages() []string {
	var codes []string
	for _, t := range tongues {
		codes = append(codes, t.Code)
	}
	return codes
}

// tongue is a language by the name that those who speak it know it by.
type tongue struct{ Code, Name string }

var tongues = []tongue{{fallback, "English"}, {"de", "Deutsch"}, {"fr", "Français"}, {"es", "Español"}, {"ar", "العربية"}} //nolint:gochecknoglobals // a constant table

// Tongues are the languages that a page offers.
func (f frame) Tongues() []tongue { return tongues }

// chosen is the language that the query or the cookie names, if we have it.
func (p *Pages) chosen(name string) (lang string, ok bool) {
	_, ok = p.words[name]
	return name, ok
}

// keepLanguage remembers, for a year, the language that a link at the foot of each page names.
func (p *Pages) keepLanguage(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	const year = 365 * 24 * time.Hour
	return func(w http.ResponseWriter, r *http.Request) error {
		if lang, ok := p.chosen(r.URL.Query().Get("lang")); ok {
			web.SetCookie(w, web.LangCookie, secret.Of(lang), year)
		}
		return handle(w, r)
	}
}

// words is the catalogue of one language.
type words map[string]string

// readWords reads words/LANGUAGE/AREA.json. A key stands in one area only.
func readWords() (map[string]words, error) {
	all := map[string]words{}
	err := fs.WalkDir(wordFiles, "words", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := wordFiles.ReadFile(name)
		if err != nil {
			return err
		}
		var area words
		if err := json.Unmarshal(raw, &area); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		lang := path.Base(path.Dir(name))
		if all[lang] == nil {
			all[lang] = words{}
		}
		for key, text := range area {
			if _, twice := all[lang][key]; twice {
				return fmt.Errorf("read %s: %q stands in another file too", name, key)
			}
			all[lang][key] = message.Typeset(lang, text)
		}
		return nil
	})
	return all, err
}

// T returns the words for key with {name} replaced by the value that follows the name. Templates
// call it; a key that is missing is an error there.
func (w words) T(key string, pairs ...any) (string, error) {
	text, ok := w[key]
	if !ok {
		return "", fmt.Errorf("no words for %q", key)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, "{"+fmt.Sprint(pairs[i])+"}", fmt.Sprint(pairs[i+1]))
	}
	return text, nil
}

// say is T for Go; a missing key says its own name, and a test keeps that from happening.
func (w words) say(key string, pairs ...any) string {
	text, err := w.T(key, pairs...)
	if err != nil {
		return key
	}
	return text
}

// span says how long, rounded up: nobody is told to come back too early.
func (w words) span(d time.Duration) string {
	unit, n := "second", int(math.Ceil(d.Seconds()))
	switch {
	case n > 90*60:
		unit, n = "hour", int(math.Ceil(d.Hours()))
	case n > 90:
		unit, n = "minute", int(math.Ceil(d.Minutes()))
	}
	return w.count(unit, n)
}

// count says how many of a unit, in the forms that the language has (CLDR).
func (w words) count(unit string, n int) string {
	switch {
	case n <= 1:
		return w.say(unit + "_one")
	case n == 2 && w[unit+"_two"] != "": // Arabic has more
		return w.say(unit + "_two")
	case n%100 >= 3 && n%100 <= 10 && w[unit+"_few"] != "":
		return w.say(unit+"_few", "n", n)
	}
	return w.say(unit+"_many", "n", n)
}

// instant says when, in UTC; the script turns it into the reader's own time.
func (w words) instant(t time.Time) instant {
	t = t.UTC()
	months := strings.Fields(w.say("months"))
	return instant{
		Machine: t.Format(time.RFC3339),
		Words:   w.say("time", "day", t.Day(), "month", months[t.Month()-1], "year", t.Year(), "clock", t.Format("15:04")),
	}
}

const (
	localeCookie = "__Host-cs_locale" // the language that an application has asked for, while somebody signs in for it; no secret

	maxLocales = 512              // bytes of a list of languages that are read: browsers send some fifty
	localeFor  = 30 * time.Minute // as long as an application's request is kept
)

// wished is the first of our languages in ui_locales, where an application names them, best first (OpenID Connect Core section 3.1.2.1).
func (p *Pages) wished(locales string) (lang string, ok bool) {
	for tag := range strings.FieldsSeq(locales[:min(len(locales), maxLocales)]) {
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if lang, ok = p.chosen(primary); ok {
			return lang, true
		}
	}
	return "", false
}

// speak has the pages that follow speak the language that an application asks for. One that asks for none of ours has them speak as ever.
func (p *Pages) speak(w http.ResponseWriter, r *http.Request, locales string) {
	lang, ok := p.wished(locales)
	switch {
	case ok:
		web.SetCookie(w, localeCookie, secret.Of(lang), localeFor)
	case !web.Cookie(r, localeCookie).Empty():
		web.SetCookie(w, localeCookie, secret.Token{}, -1)
	}
}

// language is languageOf where it is not known whose page it is.
func (p *Pages) language(r *http.Request) string { return p.languageOf(r, "") }

// languageOf is what the person has chosen, else what the application asks for that they sign in for, else own, which is the language of the
// account's letters, else one of ours by the Accept-Language header: the highest weight wins, the first of equals.
func (p *Pages) languageOf(r *http.Request, own string) string {
	for _, choice := range []string{r.URL.Query().Get("lang"), web.Cookie(r, web.LangCookie).Reveal()} {
		if lang, ok := p.chosen(choice); ok {
			return lang
		}
	}
	for _, locales := range []string{r.URL.Query().Get("ui_locales"), web.Cookie(r, localeCookie).Reveal(), own} {
		if lang, ok := p.wished(locales); ok {
			return lang
		}
	}
	best, weight := fallback, 0.0
	header := r.Header.Get("Accept-Language")
	for part := range strings.SplitSeq(header[:min(len(header), maxLocales)], ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if _, known := p.words[primary]; !known {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			if parsed, err := strconv.ParseFloat(v, 64); err == nil {
				q = parsed
			}
		}
		if q > weight {
			best, weight = primary, q
		}
	}
	return best
}

// AppOutdated is what a person is told whose application is too old to be answered, and in which language.
func (p *Pages) AppOutdated(r *http.Request) (lang, text string) {
	lang = p.language(r)
	return lang, p.words[lang].say("app_outdated")
}
