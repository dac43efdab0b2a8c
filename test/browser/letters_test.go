package browser_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"countersign/internal/message"
	"countersign/internal/web/preview"
)

// letters serves every letter as countersign message preview does.
func letters(t testing.TB) (site string) {
	t.Helper()
	words, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	h, err := preview.Handler(words, message.Site{Name: "Larkspur", Base: "https://id.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	// A sandbox keeps scripts out, those that look at it here as well.
	mux := http.NewServeMux()
	mux.Handle("/", h)
	write := func(w http.ResponseWriter, lang string, kinds ...message.Kind) {
		var before, after string
		var bodies strings.Builder
		for _, k := range kinds {
			mail, err := words.Render(message.Sample(k, message.Email, lang, message.Site{Name: "Larkspur", Base: "https://id.example.org"}))
			if err != nil {
				t.Error(err)
			}
			head, rest, _ := strings.Cut(mail.HTML, "<body>")
			body, tail, _ := strings.Cut(rest, "</body>")
			before, after = head, tail
			bodies.WriteString(body)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, before+"<body>"+bodies.String()+"</body>"+after)
	}
	mux.HandleFunc("GET /{kind}/{language}/letter", func(w http.ResponseWriter, r *http.Request) {
		write(w, r.PathValue("language"), message.Kind(r.PathValue("kind")))
	})
	mux.HandleFunc("GET /{language}", func(w http.ResponseWriter, r *http.Request) { // one below the other
		write(w, r.PathValue("language"), message.Kinds()...)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// built are letters that are built differently: with a code, with facts and a link, with words alone.
var built = []message.Kind{message.SigninCode, message.NewDevice, message.ContactAdded}

// Every letter of every language fits on the narrowest phone. Those that are built differently are looked at in a client that is light and in one that is
// dark: axe finds nothing, contrast included.
func TestEveryLetterIsAccessible(t *testing.T) {
	t.Parallel()
	site := letters(t)
	for _, lang := range message.Languages() {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			b := visit(t, site).tab
			b.bringAxe()
			b.open("/" + lang)
			b.measure(lang, narrow, large, spaced)
			for _, k := range built {
				path := "/" + string(k) + "/" + lang
				b.open(path + "/letter")
				b.examine(path, examined{look{700, "light", false}, everything}, examined{look{320, "dark", false}, everything})
			}
		})
	}
}

// A client that knows neither colours nor widths, w3m, shows the code on a line of its own, the link whole and the last words.
func TestEveryLetterInATextOnlyClient(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("w3m"); err != nil {
		missing(t, "w3m")
	}
	words, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range message.Languages() {
		kinds := built
		if lang == "en" { // a process for each letter takes long, and of other languages only the words are other ones
			kinds = message.Kinds()
		}
		for _, k := range kinds {
			l := message.Sample(k, message.Email, lang, message.Site{Name: "Larkspur", Base: "https://id.example.org"})
			mail, err := words.Render(l)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "w3m", "-dump", "-T", "text/html", "-cols", "72", "-I", "UTF-8", "-O", "UTF-8", "-o", "display_link_number=1")
			cmd.Stdin, cmd.Env = strings.NewReader(mail.HTML), append(os.Environ(), "HOME="+t.TempDir())
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if code, link := l.Params["code"], l.Params["link"]; code != "" && !strings.Contains(string(out), "\n"+code+"\n") || link != "" && !strings.Contains(string(out), "\n[1] "+link+"\n") {
				t.Errorf("%s in %s: no code or no link:\n%s", k, lang, out)
			}
			said := strings.Fields(mail.Text)
			if last := said[len(said)-1]; !strings.Contains(string(out), last) {
				t.Errorf("%s in %s lacks %q:\n%s", k, lang, last, out)
			}
		}
	}
}

// The preview itself.
func TestThePreviewIsAccessible(t *testing.T) {
	t.Parallel()
	site := letters(t)
	b := visit(t, site).tab
	b.bringAxe()
	for _, path := range []string{"/", "/signin_code/de", "/new_device/ar"} {
		b.open(path)
		b.examine(path, examined{look{1280, "light", false}, everything}, examined{look{360, "dark", false}, everything})
	}
}
