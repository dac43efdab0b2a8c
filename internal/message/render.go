package message

import (
	"fmt"
	"strings"
	"unicode"
)

// Rendered is a letter in words. An SMS has only Text.
type Rendered struct{ Subject, Text, HTML string }

// page is what the HTML of a letter is made of; the plain text is made of the same.
type page struct {
	Language, Dir, Subject, Heading, Footer string
	Blocks                                  []block
}

// block is one of: a paragraph, a code, a list of facts.
type block struct {
	Text, Code string
	Facts      []fact
}

type fact struct{ Label, Value string }

// Render puts a letter into words. An error means the letter is malformed (see Validate);
// it never contains an address or a code.
func (c *Catalog) Render(l Letter) (Rendered, error) {
	if err := l.Validate(); err != nil {
		return Rendered{}, err
	}
	lang, w := c.in(l.Language)
	if l.Channel == SMS {
		text, err := w.sms(l, c.host)
		return Rendered{Text: text}, err
	}
	p := w.page(l, c.host)
	p.Language = lang
	var html strings.Builder
	if err := c.html.Execute(&html, p); err != nil {
		return Rendered{}, fmt.Errorf("render %s: %w", l.Kind, err)
	}
	return Rendered{Subject: p.Subject, Text: p.text(), HTML: html.String()}, nil
}

func (w words) page(l Letter, host string) page {
	values := map[string]string{"site": l.Params["site"], "host": host}
	if n, ok := l.Params["minutes"]; ok {
		values["minutes"] = w.minutes(n)
	}
	key := "email." + string(l.Kind) + "."
	say := func(name string) string { return w.say(key+name, values) }
	p := page{
		Dir: w.text["language.dir"], Subject: say("subject"), Heading: say("heading"), Footer: w.say("email.footer", values),
		Blocks: []block{{Text: say("1")}},
	}
	if code, ok := l.Params["code"]; ok {
		p.Blocks = append(p.Blocks, block{Code: code})
	}
	if device, ok := l.Params["device"]; ok {
		p.Blocks = append(p.Blocks, block{Facts: []fact{
			{say("label.device"), plainName(device)}, {say("label.when"), w.when(l.Params["when"])},
		}})
	}
	p.Blocks = append(p.Blocks, block{Text: say("2")}, block{Text: say("3")}, block{Text: say("4")})
	return p
}

// text is the page for those who read plain text.
func (p page) text() string {
	var b strings.Builder
	b.WriteString(p.Heading + "\n\n")
	for _, bl := range p.Blocks {
		switch {
		case bl.Code != "":
			b.WriteString("    " + bl.Code + "\n\n")
		case len(bl.Facts) > 0:
			for _, f := range bl.Facts {
				b.WriteString("    " + f.Label + ": " + f.Value + "\n")
			}
			b.WriteString("\n")
		default:
			b.WriteString(wrap(bl.Text, 74) + "\n\n")
		}
	}
	b.WriteString("-- \n" + wrap(p.Footer, 74) + "\n")
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
	for i, word := range strings.Fields(s) {
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
