// Package anyhttp sends SMS, or e-mail, through any gateway that takes a message in one HTTP request, as the operator describes it: an address, headers
// and a body with fields in braces, and what in an answer means taken or refused for good.
package anyhttp

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// Config describes a gateway. URL is required.
//
// In URL, Headers and Body the fields {to} (+4915112345678), {number} (4915112345678), {from}, {text}, {id} (the letter's, the same in every
// try) and {secret} are filled in, escaped for where they stand: in the URL as a parameter, in the body as its type wants. {coding} is 0 if
// the text can be written in GSM 03.38 and 2 if it takes UCS-2, for gateways that do not find that out. {report} is the
// address for reports of this letter, which holds a code made with the secret, since a gateway's own signature could be anything.
//
// With Mail there are {subject} and {html}, and beside {from} (Example <no-reply@example.org>) its parts {from_name} and {from_address}; there is
// no {number} or {coding}.
type Config struct {
	Mail    bool
	URL     string
	Method  string   // empty means POST
	Headers []string // such as "Authorization: Bearer {secret}"
	Body    string
	Type    string // the body's: application/json (if empty), application/x-www-form-urlencoded, application/xml or text/xml
	Secret  secret.Token
	Taken   []string // an answer that fits all of these took the message; none means 2xx
	Refused []string // one that fits any of these refused it for good; any other is a failure that may pass
	ID      string   // where the gateway's own id stands in a JSON answer, such as messages.0.id
	// Reports is where the gateway reports to; empty has {report} be empty. A report that fits any of Delivered says that a letter has
	// arrived, one that fits any of NotDelivered that it will not; it is JSON, a form, or parameters that the gateway adds to the address.
	Reports                 string
	Delivered, NotDelivered []string
	// Roots verify the gateway's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is the gateway.
type Provider struct {
	c              Config
	client         *post.Client
	escape         func(string) string
	taken, refused []condition

	delivered, notDelivered []condition // of reports
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	p := &Provider{c: c}
	address, _, _ := strings.Cut(c.URL, "?")
	if strings.ContainsAny(address, "{}") {
		return nil, errors.New("http: fields stand behind the question mark of the address")
	}
	var err error
	if p.client, err = post.New("gateway", address, c.Roots); err != nil {
		return nil, err
	}
	if p.c.Method == "" {
		p.c.Method = http.MethodPost
	}
	if !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodGet}, p.c.Method) {
		return nil, errors.New("http: the method must be POST, PUT or GET")
	}
	if p.c.Type == "" {
		p.c.Type = "application/json"
	}
	kind, _, err := mime.ParseMediaType(p.c.Type)
	p.escape = map[string]func(string) string{
		"application/json": inJSON, "application/x-www-form-urlencoded": url.QueryEscape, "application/xml": inXML, "text/xml": inXML,
	}[kind]
	if err != nil || p.escape == nil {
		return nil, errors.New("http: the body must be JSON, a form or XML")
	}
	if err := p.fields(kind); err != nil {
		return nil, err
	}
	if len(c.Taken) == 0 {
		c.Taken = []string{"2xx"}
	}
	for _, list := range []struct {
		lines []string
		into  *[]condition
	}{{c.Taken, &p.taken}, {c.Refused, &p.refused}, {c.Delivered, &p.delivered}, {c.NotDelivered, &p.notDelivered}} {
		if *list.into, err = conditions(list.lines); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// field is a name in braces; JSON's own braces hold no bare word.
var field = regexp.MustCompile(`\{[a-z_]+\}`)

// fields refuses what a typing error would send to the gateway as it stands, and a JSON body that would be none.
func (p *Provider) fields(kind string) error {
	all := strings.Join(append([]string{p.c.URL, p.c.Body}, p.c.Headers...), "\n")
	known := p.values(courier.Message{To: "+1"})
	for _, name := range field.FindAllString(all, -1) {
		if _, ok := known[name]; !ok {
			return fmt.Errorf("http: there is no field %s; there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	uses, reports := strings.Contains(all, "{secret}"), strings.Contains(all, "{report}")
	if (uses || reports) == p.c.Secret.Empty() {
		return errors.New("http: a secret and the fields {secret} or {report} go together")
	}
	if reports != (len(p.c.Delivered) > 0 || p.c.Mail && len(p.c.NotDelivered) > 0) { // of e-mail, bounces alone are worth hearing of
		return errors.New("http: the field {report} and what a report says of a letter that was delivered go together")
	}
	if !strings.Contains(all, "{text}") || !strings.Contains(all, "{to}") && !strings.Contains(all, "{number}") {
		return errors.New("http: {text} and {to} or {number} must stand somewhere")
	}
	if p.c.Mail && !strings.Contains(all, "{subject}") {
		return errors.New("http: {subject} must stand somewhere")
	}
	for _, line := range p.c.Headers {
		if name, _, ok := strings.Cut(line, ":"); !ok || name == "" || strings.ContainsAny(line, "\r\n") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("http: %q: want a header such as Authorization: Bearer {secret}", name)
		}
		if strings.Contains(line, "{text}") || strings.Contains(line, "{subject}") || strings.Contains(line, "{html}") {
			return errors.New("http: a text fits in no header")
		}
	}
	if kind == "application/json" && p.c.Body != "" && !json.Valid([]byte(p.fill(p.c.Body, inJSON, courier.Message{Text: "a\n\"b"}))) {
		return errors.New(`http: the body is no JSON once its fields are filled in: put them between quotation marks, as "{text}"`)
	}
	return nil
}

func (p *Provider) values(m courier.Message) map[string]string {
	report, coding := "", "0"
	if !message.GSM(m.Text) {
		coding = "2"
	}
	if p.c.Reports != "" {
		report = courier.ReportAddress(p.c.Reports, p.c.Secret, m.ID)
	}
	out := map[string]string{"{report}": report, "{to}": m.To, "{from}": m.From, "{text}": m.Text, "{id}": m.ID, "{secret}": p.c.Secret.Reveal()}
	if !p.c.Mail {
		out["{coding}"], out["{number}"] = coding, strings.TrimPrefix(m.To, "+")
		return out
	}
	out["{subject}"], out["{html}"], out["{from_name}"], out["{from_address}"] = m.Subject, m.HTML, "", ""
	if from, err := mail.ParseAddress(m.From); err == nil {
		out["{from_name}"], out["{from_address}"] = from.Name, from.Address
	}
	return out
}

// fill puts the fields in, in one pass: what stands in a text is no field.
func (p *Provider) fill(s string, escape func(string) string, m courier.Message) string {
	known := p.values(m)
	return field.ReplaceAllStringFunc(s, func(name string) string { return escape(known[name]) })
}

func inJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), `"`), "\"\n")
}

func inXML(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // nor does a buffer fail
	return b.String()
}

// Check connects, and sends nothing.
func (p *Provider) Check(ctx context.Context) error { return p.client.Check(ctx) }

// Name returns "http".
func (p *Provider) Name() string { return "http" }

// Send makes the request.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	header := http.Header{"Content-Type": {p.c.Type}}
	for _, line := range p.c.Headers {
		name, value, _ := strings.Cut(line, ":")
		header.Set(name, strings.TrimSpace(p.fill(value, func(s string) string { return s }, m)))
	}
	body := []byte(p.fill(p.c.Body, p.escape, m))
	if len(body) == 0 {
		header.Del("Content-Type")
	}
	ok, no, err := p.client.Call(ctx, p.c.Method, p.fill(p.c.URL, url.QueryEscape, m), header, body)
	if err != nil {
		return courier.Receipt{}, err
	}
	var got answer
	if ok != nil {
		got = read(ok.Status, ok.Body)
	} else {
		got = read(no.Status, no.Body)
	}
	if fitsAll(p.taken, got) {
		id := got.at(p.c.ID)
		return courier.Receipt{ID: id[:min(len(id), 200)]}, nil
	}
	forGood := slices.ContainsFunc(p.refused, func(c condition) bool { return c.fits(got) })
	switch {
	case no != nil:
		e := p.client.Fault(no, "")
		e.Permanent = forGood
		return courier.Receipt{}, e
	case len(ok.Body) == 0 && !forGood:
		return courier.Receipt{}, p.client.Unclear() // it was asked for more than a status, and nothing is there
	}
	return courier.Receipt{}, p.client.Refused("http_"+strconv.Itoa(ok.Status)+"_not_taken", forGood)
}

// Receive reads a report.
func (p *Provider) Receive(a courier.Arrived) ([]courier.Report, error) {
	if p.c.Secret.Empty() || len(p.delivered)+len(p.notDelivered) == 0 {
		return nil, courier.ErrForged
	}
	letter, err := a.Letter(p.c.Secret)
	if err != nil {
		return nil, err
	}
	got := read(http.StatusOK, a.Body)
	if form, err := url.ParseQuery(string(a.Body)); got.json == nil && err == nil {
		flat := map[string]any{}
		for _, values := range []url.Values{a.Query, form} {
			for name := range values {
				flat[name] = values.Get(name)
			}
		}
		got.json = flat
	}
	r := courier.Report{Provider: p.Name(), Letter: letter, State: courier.Underway}
	switch {
	case slices.ContainsFunc(p.delivered, func(c condition) bool { return c.fits(got) }):
		r.State = courier.Delivered
	case slices.ContainsFunc(p.notDelivered, func(c condition) bool { return c.fits(got) }):
		r.State = courier.NotDelivered
	}
	return []courier.Report{r}, nil
}

// answer is a gateway's answer.
type answer struct {
	status int
	text   string
	json   any // nil if it is none
}

func read(status int, body []byte) answer {
	a := answer{status: status, text: string(body)}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	_ = d.Decode(&a.json) // a text is an answer, too
	return a
}

// at finds a value by its path, such as messages.0.id; empty if it is not there.
func (a answer) at(path string) string {
	if path == "" {
		return ""
	}
	v := a.json
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) {
				return ""
			}
			v = in[i]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// condition is one thing that an answer must be: a status (429, 4xx), a value in its JSON (status=0), or a text in it (~OK).
type condition struct{ status, path, value, text string }

func conditions(lines []string) (out []condition, err error) {
	for _, line := range lines {
		path, value, equal := strings.Cut(line, "=")
		text, holds := strings.CutPrefix(line, "~")
		switch {
		case holds && text != "":
			out = append(out, condition{text: text})
		case equal && path != "":
			out = append(out, condition{path: path, value: value})
		case len(line) == 3 && line[0] >= '1' && line[0] <= '5' && (line[1:] == "xx" || strings.Trim(line[1:], "0123456789") == ""):
			out = append(out, condition{status: strings.TrimSuffix(line, "xx")})
		default:
			return nil, fmt.Errorf("http: %q: want a status such as 400 or 4xx, a value such as messages.0.status=0, or a text such as ~OK", line)
		}
	}
	return out, nil
}

func (c condition) fits(a answer) bool {
	switch {
	case c.status != "":
		return strings.HasPrefix(strconv.Itoa(a.status), c.status)
	case c.text != "":
		return strings.Contains(a.text, c.text)
	}
	return a.at(c.path) == c.value
}

func fitsAll(all []condition, a answer) bool {
	return !slices.ContainsFunc(all, func(c condition) bool { return !c.fits(a) })
}
