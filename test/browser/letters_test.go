package browser_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
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
	mux.HandleFunc("GET /{kind}/{language}/letter", func(w http.ResponseWriter, r *http.Request) {
		mail, err := words.Render(message.Sample(message.Kind(r.PathValue("kind")), message.Email, r.PathValue("language"), message.Site{Name: "Larkspur", Base: "https://id.example.org"}))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(mail.HTML))
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
	built := []message.Kind{message.SigninCode, message.NewDevice, message.ContactAdded} // with a code, with facts and a link, with words alone
	for _, lang := range message.Languages() {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			b := visit(t, site).tab
			for _, k := range message.Kinds() {
				path := "/" + string(k) + "/" + lang
				b.open(path + "/letter")
				if slices.Contains(built, k) {
					b.perform(source)
					for _, l := range []look{{700, "light", false}, {320, "dark", false}} {
						b.as(l)
						for _, v := range ask[[]string](b, examine) {
							t.Errorf("%s at %s: %s", path, l, v)
						}
					}
				}
				b.measure(path)
			}
		})
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
