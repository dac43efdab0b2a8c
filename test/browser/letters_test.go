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

// Every letter of every language fits on the narrowest phone. Those that are built differently are looked at in a client that is light and in one that is
// dark: axe finds nothing, contrast included.
func TestEveryLetterIsAccessible(t *testing.T) {
	t.Parallel()
	source, site := axe(t), letters(t)
	for _, lang := range message.Languages() {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			b := visit(t, site).tab
			b.open("/" + lang)
			b.measure(lang)
			for _, k := range []message.Kind{message.SigninCode, message.NewDevice, message.ContactAdded} { // with a code, with facts and a link, with words alone
				path := "/" + string(k) + "/" + lang
				b.open(path + "/letter")
				b.perform(source)
				for _, l := range []look{{700, "light", false}, {320, "dark", false}} {
					b.as(l)
					for _, v := range ask[[]string](b, examine) {
						t.Errorf("%s at %s: %s", path, l, v)
					}
				}
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
		for _, k := range message.Kinds() {
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
	source, site := axe(t), letters(t)
	b := visit(t, site).tab
	for _, path := range []string{"/", "/signin_code/de", "/new_device/ar"} {
		b.open(path)
		b.perform(source)
		for _, l := range []look{{1280, "light", false}, {360, "dark", false}} {
			b.as(l)
			for _, v := range ask[[]string](b, examine) {
				t.Errorf("%s at %s: %s", path, l, v)
			}
		}
	}
}
