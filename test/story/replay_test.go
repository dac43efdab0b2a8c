package story_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// post is what a story's letters come to: everybody's mailbox and phone.
type post struct {
	mu      sync.Mutex
	letters []letter
}

type letter struct{ To, Subject, Text string }

func (p *post) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var event struct{ Data letter }
	if json.NewDecoder(r.Body).Decode(&event) == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.letters = append(p.letters, event.Data)
	}
}

func (p *post) to(address string) (out []letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.letters {
		if address == "" || l.To == address {
			out = append(out, l)
		}
	}
	return out
}

type postKey struct{}

func postOf(ts *testscript.TestScript) *post {
	p, ok := ts.Value(postKey{}).(*post)
	if !ok {
		ts.Fatalf("no letters come: use mailboxes first")
	}
	return p
}

// mailboxes has all letters of a server come to the story: "mailboxes SETTINGS". It also lifts the limits
// per source, since everybody in a story sits at one machine.
func mailboxes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mailboxes SETTINGS")
	}
	s := httptest.NewServer(postOf(ts))
	ts.Defer(s.Close)
	more := "[throttle]\nexempt_sources = [\"127.0.0.0/8\"]\n"
	for _, section := range []string{"email", "sms"} {
		more += fmt.Sprintf("[%s]\nprovider = \"webhook\"\nfrom = \"Example <no-reply@example.com>\"\nwebhook_url = %q\nwebhook_secret = \"whsec_%s\"\n",
			section, s.URL, strings.Repeat("c3Rv", 8))
	}
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = file.WriteString(more)
	ts.Check(err)
	ts.Check(file.Close())
}

// letters waits until so many letters have come to an address: "letters ADDRESS N". The code in the last
// is then $CODE.
func letters(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: letters ADDRESS N")
	}
	var got []letter
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = postOf(ts).to(args[0]); fmt.Sprint(len(got)) == args[1] {
			if len(got) > 0 {
				ts.Setenv("CODE", regexp.MustCompile(`\b\d{6}\b`).FindString(got[len(got)-1].Text))
			}
			return
		}
	}
	ts.Fatalf("%d letters came to %s, want %s", len(got), args[0], args[1])
}

// delivered writes down how many letters came to whom since the beginning: "delivered FILE". With words
// behind it, none of them may be in any letter.
func delivered(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: delivered FILE [WORD...]")
	}
	count := map[string]int{}
	for _, l := range postOf(ts).to("") {
		count[l.To]++
		for _, word := range args[1:] {
			if strings.Contains(l.Subject+l.Text, word) {
				ts.Fatalf("a letter to %s says %q: %s", l.To, word, l.Text)
			}
		}
	}
	var lines []string
	for to, n := range count {
		lines = append(lines, fmt.Sprintf("%s %d\n", to, n))
	}
	slices.Sort(lines)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "")), 0o600))
}

// blots are what differs between any two answers: tokens, names of requests, times.
var blots = regexp.MustCompile(`\bcs[a-z]_[A-Za-z0-9_-]{49}|[0-9a-f]{16}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|(?m)^Date: [^\r]*`)

// replay sends a recorded request as a proxy between app and server would, which changes what it likes in
// it: "replay ANSWER RECORDED [OLD=NEW]...". The answer is written to a file, each byte of it, with what
// differs between any two answers blotted out at its length. The handle in it, if there is one, is then $FLOW.
func replay(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: replay ANSWER RECORDED [OLD=NEW]...")
	}
	head, body, _ := strings.Cut(strings.ReplaceAll(ts.ReadFile(args[1]), "\r\n", "\n"), "\n\n")
	for _, edit := range args[2:] {
		before, after, ok := strings.Cut(edit, "=")
		if !ok || !strings.Contains(head+body, before) {
			ts.Fatalf("%s has no %q to change", args[1], before)
		}
		head, body = strings.ReplaceAll(head, before, after), strings.ReplaceAll(body, before, after)
	}
	head = strings.ReplaceAll(head, "Host: SERVER", "Host: "+ts.Getenv("LISTEN"))
	body = strings.TrimSpace(body)
	conn, err := net.Dial("tcp", ts.Getenv("LISTEN"))
	ts.Check(err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "%s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n"), len(body), body)
	ts.Check(err)
	raw, err := io.ReadAll(bufio.NewReader(conn))
	ts.Check(err)
	if flow := regexp.MustCompile(`"flow":"([^"]*)"`).FindSubmatch(raw); flow != nil {
		ts.Setenv("FLOW", string(flow[1]))
	}
	blotted := blots.ReplaceAllFunc(raw, func(b []byte) []byte { return []byte(strings.Repeat("#", len(b))) })
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(string(blotted), "\r\n", "\n")), 0o600))
}
