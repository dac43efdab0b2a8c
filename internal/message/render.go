package message

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// Rendered is a letter in words. An SMS has only Text.
type Rendered struct {
	Subject, Text, HTML string

	Language string // that it is in
	Speech   Speech // of an SMS with a code: what a voice says in its place
}

// Speech is what a voice says: Hello until a key is pressed, then the code after Code, once more after Again, and End.
type Speech struct{ Hello, Code, Again, End string }

// page is what the HTML of a letter is made of; the plain text is made of the same.
type page struct {
	Language, Dir, Subject, Heading, Footer string
	Blocks                                  []block
}

// block is one of: a paragraph, a code, a link with its words, a list of facts.
type block struct {
	Text, Code, Link string
	Facts            []fact
}

type fact struct{ Label, Value, Line string } // Line is both, where they stand on one

// Render puts a letter into words. An error means the letter is malformed (see Validate);
// it never contains an address or a code.
func (c *Catalog) Render(l Letter) (Rendered, error) {
	if err := l.Validate(); err != nil {
		return Rendered{}, err
	}
	if u, err := url.Parse(l.Params["link"]); err != nil || u.Hostname() != "" && u.Hostname() != hostname(c.host) {
		return Rendered{}, fmt.Errorf("letter %s: the link leads to somebody else", l.Kind) // P3: whoever made it
	}
	lang, w := c.in(l.Language)
	w.app = l.Params["app"] != ""
	if l.Channel == SMS {
		text, err := w.sms(l, c.host)
		out := Rendered{Text: text, Language: lang}
		if l.Kind.Typed() {
			values := w.values(l, c.host)
			out.Speech = Speech{w.say("call.hello", values), w.say("call.code", values), w.say("call.again", values), w.say("call.end", values)}
		}
		return out, err
	}
	p := w.page(l, c.host)
	p.Language = lang
	var html strings.Builder
	if err := c.html.Execute(&html, p); err != nil {
		return Rendered{}, fmt.Errorf("render %s: %w", l.Kind, err)
	}
	return Rendered{Subject: p.Subject, Text: p.text(), HTML: html.String(), Language: lang}, nil
}

// values are what may stand between braces in any sentence about the letter.
func (w words) values(l Letter, host string) map[string]string {
	v := map[string]string{"site": l.Params["site"], "host": host, "us": l.Params["site"], "our_host": host, "link": l.Params["link"]}
	if w.app {
		v["site"], v["host"] = l.Params["app"], appHost(l)
	}
	if n, ok := l.Params["minutes"]; ok {
		v["minutes"] = w.minutes(n)
	}
	if name, ok := l.Params["holder"]; ok {
		v["holder"] = plainName(name)
	}
	if t, ok := l.Params["ends"]; ok {
		v["ends"] = w.when(t)
	}
	return v
}

// appHost is what people type to reach the application that a letter is about.
func appHost(l Letter) string {
	u, err := url.Parse(l.Params["app_site"])
	if err != nil {
		return "" // validated
	}
	return u.Host
}

// page is what a letter says, from the top: what happened, the code or the facts, what to do. A
// notice ends with what every notice ends with.
func (w words) page(l Letter, host string) page {
	values := w.values(l, host)
	key := "email." + string(l.Kind) + "."
	say := func(key string) block { return block{Text: w.say(key, values)} }
	p := page{
		Dir: w.text["language.dir"], Subject: w.say(key+"subject", values), Heading: w.say(key+"heading", values),
		Footer: w.say("email.footer", values), Blocks: []block{say(key + "1")},
	}
	if code, ok := l.Params["code"]; ok {
		p.Blocks = append(p.Blocks, block{Code: code})
	}
	if facts := w.facts(l); len(facts) > 0 {
		p.Blocks = append(p.Blocks, block{Facts: facts})
	}
	for n := 2; w.text[key+strconv.Itoa(n)] != ""; n++ {
		p.Blocks = append(p.Blocks, say(key+strconv.Itoa(n)))
	}
	if link, ok := l.Params["link"]; ok {
		button, works := "email.notice.button", "email.notice.link"
		if l.Kind == RecoveryWaiting { // after "ends" there is nothing left to stop
			button, works = "email.notice.stop", "email.notice.link_stop"
		}
		p.Blocks = append(p.Blocks, block{Text: w.text[button], Link: link}, say(works), say("email.notice.never"))
	}
	return p
}

// ByApp in the param operator says that the application did it.
const ByApp = "application"

// facts say when, from what and roughly where something happened.
func (w words) facts(l Letter) (out []fact) {
	if device, ok := l.Params["device"]; ok {
		out = append(out, w.fact("label.device", w.device(device)))
	}
	switch l.Params["operator"] {
	case "":
	case ByApp:
		out = append(out, w.fact("label.by", l.Params["app"]))
	default:
		out = append(out, w.fact("label.by", w.text["by.operator"]))
	}
	if place := plainPlace(l.Params["place"]); place != "" {
		out = append(out, w.fact("label.place", place))
	}
	if when, ok := l.Params["when"]; ok {
		out = append(out, w.fact("label.when", w.when(when)))
	}
	return out
}

func (w words) fact(key, value string) fact {
	label := w.text[key]
	return fact{label, value, w.say("label.of", map[string]string{"label": label, "value": value})}
}

// textWidth is what the narrowest screen of those that show plain text as it stands has room for, beside a mark of who wrote it.
const textWidth = 72

// text is the page for those who read plain text.
func (p page) text() string {
	var b strings.Builder
	b.WriteString(p.Heading + "\n\n")
	for _, bl := range p.Blocks {
		switch {
		case bl.Code != "":
			b.WriteString("    " + bl.Code + "\n\n")
		case bl.Link != "":
			b.WriteString(wrap(bl.Text, textWidth) + "\n\n    " + bl.Link + "\n\n")
		case len(bl.Facts) > 0:
			for _, f := range bl.Facts {
				b.WriteString("    " + f.Line + "\n")
			}
			b.WriteString("\n")
		default:
			b.WriteString(wrap(bl.Text, textWidth) + "\n\n")
		}
	}
	b.WriteString("-- \n" + wrap(p.Footer, textWidth) + "\n")
	if p.Dir == "rtl" {
		return rightToLeft(b.String())
	}
	return b.String()
}

// rightToLeft begins every line of words with a mark that cannot be seen: a reader of plain text
// takes each line for a paragraph, and one that begins with a host's name for left to right.
func rightToLeft(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.ContainsFunc(line, unicode.IsLetter) {
			lines[i] = "\u200f" + line
		}
	}
	return strings.Join(lines, "\n")
}

// wrap breaks s between words into lines of at most width characters.
func wrap(s string, width int) string {
	var b strings.Builder
	col := 0
	for i, word := range strings.FieldsFunc(s, breaks) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case col+1+n > width:
			b.WriteByte('\n')
			col = 0
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	return b.String()
}

// breaks reports whether a line may end at r.
func breaks(r rune) bool { return unicode.IsSpace(r) && r != '\u00a0' && r != '\u202f' }
