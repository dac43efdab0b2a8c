package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/internal/web"
)

// Message is one that the demo would have sent.
type Message struct {
	At                time.Time
	Channel           string // "sms" or "email"
	To, Subject, Text string
}

// DemoAccount is one of the made-up accounts.
type DemoAccount struct {
	Name              string // of the person
	SignsIn, Password string
	Texts             bool // codes reach them by text message as well
}

// Demo is the intro and the inbox of the demo. It shows every message to everyone who can reach it:
// mount it nowhere else. All fields are required.
type Demo struct {
	Pages    *Pages
	Log      *slog.Logger
	Accounts []DemoAccount
	// Messages returns all messages, in any order. It is called with every look at the inbox.
	Messages func() []Message
}

// Mount registers the routes; nobody else knows these paths.
func (h *Demo) Mount(mux *http.ServeMux) {
	mux.Handle("GET /demo", web.Handle(h.Log, h.Pages.keepLanguage(h.getDemo)))
	mux.Handle("GET /demo/inbox", web.Handle(h.Log, h.Pages.keepLanguage(h.getInbox)))
}

func (h *Demo) getDemo(w http.ResponseWriter, r *http.Request) error {
	return h.Pages.show(w, http.StatusOK, demoPage(h.Pages.frame(h.Pages.language(r), "demo_title"), h.Accounts))
}

func demoPage(f frame, accounts []DemoAccount) demoView {
	f.Shape = "wide"
	return demoView{frame: f, Accounts: accounts}
}

func (h *Demo) getInbox(w http.ResponseWriter, r *http.Request) error {
	return h.Pages.show(w, http.StatusOK, inboxPage(h.Pages.frame(h.Pages.language(r), "inbox_title"), h.Messages()))
}

const shown = 50 // messages on one page

func inboxPage(f frame, messages []Message) inboxView {
	f.Shape = "wide"
	v := inboxView{frame: f}
	newest := slices.SortedStableFunc(slices.Values(messages), func(a, b Message) int { return b.At.Compare(a.At) })
	sum := sha256.New()
	for _, m := range newest[:min(len(newest), shown)] {
		_, _ = fmt.Fprintln(sum, m.At.UnixNano(), m.Channel, m.To, m.Subject, len(m.Text))
		text := unwrap(strings.TrimSpace(m.Text))
		link := link.FindString(text)
		view := messageView{At: f.instant(m.At), To: m.To, Subject: m.Subject, Text: text, Link: link, Code: codeIn(strings.ReplaceAll(text, link, ""))}
		if m.Channel == "sms" {
			v.Texts = append(v.Texts, view)
		} else {
			v.Letters = append(v.Letters, view)
		}
	}
	v.Version = hex.EncodeToString(sum.Sum(nil)[:8])
	return v
}

// unwrap joins the lines of a paragraph again, which were broken for readers of plain text.
func unwrap(text string) string {
	lines := strings.Split(text, "\n")
	var b strings.Builder
	for i, line := range lines {
		switch {
		case i == 0:
		case line == "" || lines[i-1] == "" || strings.HasPrefix(line, "    ") || strings.HasPrefix(lines[i-1], "    ") || len([]rune(lines[i-1])) < 50:
			b.WriteByte('\n')
		default:
			b.WriteByte(' ')
			line = strings.TrimPrefix(line, "\u200f")
		}
		b.WriteString(line)
	}
	return b.String()
}

var link = regexp.MustCompile(`https?://[^\s]+#[A-Za-z0-9_-]+`)

// codeIn finds the code that a message carries: six to eight digits that stand alone.
func codeIn(text string) string { return codeWord.FindString(text) }

var codeWord = regexp.MustCompile(`\b[0-9]{6,8}\b`)
