package message

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

//go:embed words/*.json letter.html.tmpl
var files embed.FS

// fallback is the language of whoever asks for one we do not speak. Its file is the
// measure of what every other file must hold.
const fallback = "en"

// Languages lists the languages we speak, English first.
func Languages() []string {
	entries, err := files.ReadDir("words")
	if err != nil {
		panic(err) // embedded: cannot fail
	}
	out := []string{fallback}
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), path.Ext(e.Name())); name != fallback {
			out = append(out, name)
		}
	}
	return out
}

// Match chooses the language for an Accept-Language header or a BCP 47 tag; "en" if nothing fits.
func Match(acceptLanguage string) string {
	acceptLanguage = acceptLanguage[:min(len(acceptLanguage), 200)] // a header is as long as a stranger likes
	wanted, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil && len(wanted) == 0 {
		return fallback
	}
	ours := Languages()
	tags := make([]language.Tag, len(ours))
	for i, l := range ours {
		tags[i] = language.Make(l)
	}
	_, i, confidence := language.NewMatcher(tags).Match(wanted...)
	if confidence == language.No {
		return fallback
	}
	return ours[i]
}

// Catalog renders letters. It is safe for concurrent use.
type Catalog struct {
	host  string // with its port, if people must type one
	words map[string]words
	html  *template.Template
}

// words is one language: sentences with {placeholders}, by key.
type words struct {
	tag  language.Tag
	text map[string]string
	app  bool // the account is an application's own: what begins with appWords goes before
}

const appWords = "door."

// New loads every language. host is what people type to reach us: a name, and behind a colon the port if it is not
// their browsers' own. An SMS code is bound to the name (R-SMS-01), so one that leaves no room in one SMS is refused.
func New(host string) (*Catalog, error) {
	if err := checkHost(host); err != nil {
		return nil, err
	}
	page, err := template.ParseFS(files, "letter.html.tmpl")
	if err != nil {
		return nil, err
	}
	c := &Catalog{host: host, words: map[string]words{}, html: page}
	for _, name := range Languages() {
		raw, err := files.ReadFile("words/" + name + ".json")
		if err != nil {
			return nil, err
		}
		w := words{tag: language.Make(name)}
		if err := json.Unmarshal(raw, &w.text); err != nil {
			return nil, fmt.Errorf("words/%s.json: %w", name, err)
		}
		for key, text := range w.text {
			if !strings.HasPrefix(strings.TrimPrefix(key, appWords), "sms.") { // whose alphabet has the plain space alone
				w.text[key] = Typeset(name, text)
			}
		}
		c.words[name] = w
	}
	for name, w := range c.words {
		if err := complete(c.words[fallback].text, w.text); err != nil {
			return nil, fmt.Errorf("words/%s.json: %w", name, err)
		}
		if err := w.roomFor(host); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func checkHost(host string) error {
	name, port, has := strings.Cut(host, ":")
	if _, err := strconv.ParseUint(port, 10, 16); has && err != nil ||
		name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return fmt.Errorf("host %q: want a name without scheme or path (punycode for other scripts), and perhaps a port", host)
	}
	return nil
}

// complete compares a language with the measure: the same keys, none empty, and the same
// placeholders in each. A language may have plural forms that the measure has not.
func complete(measure, text map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(measure)) {
		got, ok := text[key]
		if !ok || strings.TrimSpace(got) == "" {
			return fmt.Errorf("%q is missing", key)
		}
		if want, has := placeholders(measure[key]), placeholders(got); !slices.Equal(want, has) {
			return fmt.Errorf("%q has the placeholders %v, want %v", key, has, want)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(text)) {
		if _, ok := measure[key]; !ok && !strings.HasPrefix(key, "minutes.") && !strings.HasPrefix(key, "hours.") {
			return fmt.Errorf("%q is not a key of ours", key)
		}
	}
	return nil
}

// placeholders lists the different {names} in s, sorted.
func placeholders(s string) []string {
	var out []string
	for {
		_, rest, found := strings.Cut(s, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			slices.Sort(out)
			return slices.Compact(out)
		}
		out, s = append(out, name), after
	}
}

// in returns the words for a language, or for English.
func (c *Catalog) in(lang string) (string, words) {
	if w, ok := c.words[lang]; ok {
		return lang, w
	}
	lang = Match(lang)
	return lang, c.words[lang]
}

// say fills the placeholders of one sentence. Values are not looked at again, so a value
// with braces in it stays what it is.
func (w words) say(key string, values map[string]string) string {
	text := w.text[key]
	if theirs, has := w.text[appWords+key]; has && w.app {
		text = theirs
	}
	if !strings.Contains(text, "{") {
		return text
	}
	pairs := make([]string, 0, 2*len(values))
	for name, v := range values {
		pairs = append(pairs, "{"+name+"}", v)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// minutes says a duration with the language's plural form, in hours if it is some whole ones.
func (w words) minutes(n string) string {
	count, _ := strconv.Atoi(n) // validated
	unit := "minutes."
	if count >= 120 && count%60 == 0 {
		unit, count = "hours.", count/60
	}
	key := unit + "other"
	for form, name := range map[plural.Form]string{
		plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many",
	} {
		if _, has := w.text[unit+name]; has && plural.Cardinal.MatchPlural(w.tag, count, 0, 0, 0, 0) == form {
			key = unit + name
		}
	}
	return w.say(key, map[string]string{"n": strconv.Itoa(count)})
}

// when says a time the language's way, in the zone it was given in.
func (w words) when(rfc3339 string) string {
	t, _ := time.Parse(time.RFC3339, rfc3339) // validated
	zone := "UTC"
	if _, offset := t.Zone(); offset != 0 {
		zone += t.Format("-07:00")
	}
	return w.say("when", map[string]string{
		"day": strconv.Itoa(t.Day()), "month": w.text["month."+strconv.Itoa(int(t.Month()))], "year": strconv.Itoa(t.Year()),
		"hour": t.Format("15"), "minute": t.Format("04"), "zone": zone,
	})
}
