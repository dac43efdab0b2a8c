package pages

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/protect"
	"countersign/internal/signin"
)

var _ protector = (*protect.Service)(nil)

// guard stands in for what protects: it notes what it was asked.
type guard struct {
	used []string
	dead bool
	err  error
}

func (g *guard) Disavow(_ context.Context, token secret.Token, _ signin.Client) (bool, error) {
	g.used = append(g.used, "disavow "+token.Reveal())
	return !g.dead, g.err
}

func (g *guard) DisavowApp(_ context.Context, token secret.Token, _ signin.Client) (bool, error) {
	g.used = append(g.used, "disavow at an application "+token.Reveal())
	return !g.dead, g.err
}

func (g *guard) Stop(_ context.Context, token secret.Token, _ signin.Client) (bool, error) {
	g.used = append(g.used, "stop "+token.Reveal())
	return !g.dead, g.err
}

// asked answers one request for a page about a link; link is what is posted, or "-" for a GET.
func (g *guard) asked(t *testing.T, path, link string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	(&Protect{Pages: testPages(t), Log: quiet(), Owner: g, Client: func(*http.Request) signin.Client { return signin.Client{} }}).Mount(mux)
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if link != "-" {
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(url.Values{"link": {link}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// C-FP-07: mail servers open links before people do, so opening one does nothing.
func TestOpeningALinkDoesNothing(t *testing.T) {
	for _, path := range []string{"/notme", "/stop", "/notme?link=csn_x", "/stop?link=csn_x", "/notme/done", "/stop/done", "/notme/app", "/notme/app/done"} {
		g := &guard{}
		if w := g.asked(t, path, "-"); w.Code != http.StatusOK || len(g.used) != 0 {
			t.Errorf("%s: %d, %v", path, w.Code, g.used)
		}
	}
}

// A confirmed link is used, whether its secret or the whole of it was pasted, on the page that it leads to.
func TestAConfirmedLinkIsUsed(t *testing.T) {
	for path, does := range map[string]string{"/notme": "disavow", "/notme/app": "disavow at an application", "/stop": "stop"} {
		for _, typed := range []string{"csn_1", " csn_1\n", "#csn_1", "https://id.example.org" + path + "#csn_1 "} {
			g := &guard{}
			w := g.asked(t, path, typed)
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != path+"/done" || len(g.used) != 1 || g.used[0] != does+" csn_1" {
				t.Errorf("%q at %s: %d %s, %v", typed, path, w.Code, w.Header().Get("Location"), g.used)
			}
		}
		g := &guard{}
		if w := g.asked(t, path, "  "); w.Code != http.StatusUnprocessableEntity || len(g.used) != 0 || !strings.Contains(w.Body.String(), `aria-invalid="true"`) {
			t.Errorf("nothing at %s: %d, %v", path, w.Code, g.used)
		}
	}
}

// A link that is worth nothing gets one page, whichever it was, which does not say it back.
func TestALinkThatIsWorthNothingGetsOnePage(t *testing.T) {
	first := ""
	for _, path := range []string{"/notme", "/stop"} {
		for _, typed := range []string{"csn_1", "x", strings.Repeat("y", 5000)} {
			w := (&guard{dead: true}).asked(t, path, typed)
			if first == "" {
				first = w.Body.String()
			}
			if w.Code != http.StatusGone || w.Body.String() != first || strings.Contains(first, "csn_1") {
				t.Errorf("%.20s at %s: %d, and another page", typed, path, w.Code)
			}
		}
	}
	if w := (&guard{err: fault.New(fault.TooMany, "too_many_attempts", nil)}).asked(t, "/notme", "csn_1"); w.Code != http.StatusTooManyRequests {
		t.Errorf("over a limit: %d", w.Code)
	}
}

// Who has an account at an application signs in nowhere here: no page about its links leads to our own ways in.
func TestPagesOfAnApplicationsAccountLeadNowhereElse(t *testing.T) {
	g := &guard{dead: true}
	for what, w := range map[string]*httptest.ResponseRecorder{
		"asked": g.asked(t, "/notme/app", "-"), "done": g.asked(t, "/notme/app/done", "-"), "dead": g.asked(t, "/notme/app", "csn_1"),
	} {
		_, main, _ := strings.Cut(w.Body.String(), "<main")
		main, _, _ = strings.Cut(main, "</main>")
		if strings.Contains(main, "/signin") || strings.Contains(main, "/recover") {
			t.Errorf("%s: %s", what, main)
		}
	}
}

// Letters tell people what to choose on a page, in the words that stand there.
func TestLettersSayWhatStandsOnThePages(t *testing.T) {
	c, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range Languages() {
		words := testPages(t).words[lang]
		for kind, keys := range map[message.Kind][]string{
			message.RegistrationAttempt: {"signin_forgot"},
			message.NewDevice:           {"notme_ask_title", "notme_ask_submit"},
			message.Protected:           {"signin_forgot", "notme_ask_title", "notme_ask_submit"},
		} {
			params := map[string]string{"when": "2026-11-23T18:49:00Z", "device": "Firefox", "site": "Fotoalbum"}
			if kind != message.RegistrationAttempt {
				params["link"] = "https://id.example.org/notme#csn_1"
			}
			letter, err := c.Render(message.Letter{Kind: kind, Channel: message.Email, To: "ada@example.org", Language: lang, Params: params})
			if err != nil {
				t.Fatal(err)
			}
			plain := func(s string) string { // lines are broken elsewhere
				return strings.NewReplacer("’", "'", "\u200f", "").Replace(strings.ToLower(strings.Join(strings.Fields(s), " ")))
			}
			text := plain(letter.Text)
			for _, key := range keys {
				if want := plain(words[key]); !strings.Contains(text, want) {
					t.Errorf("%s: the letter %s does not say %q:\n%s", lang, kind, want, text)
				}
			}
		}
	}
}
