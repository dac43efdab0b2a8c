package preview_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/internal/message"
	"countersign/internal/web/preview"
)

func TestEveryLetterIsShown(t *testing.T) {
	words, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	h, err := preview.Handler(words, message.Site{Name: "Fotoalbum <b>", Base: "https://id.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string, status int) string {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != status || status == 200 && w.Header().Get("Content-Security-Policy") == "" {
			t.Fatalf("%s: %d %v", path, w.Code, w.Header())
		}
		return w.Body.String()
	}
	list := read("/", 200)
	for _, k := range message.Kinds() {
		for _, lang := range message.Languages() {
			path := "/" + string(k) + "/" + lang
			if !strings.Contains(list, `href="`+path+`"`) {
				t.Errorf("%s is not on the list", path)
			}
			if page := read(path, 200); strings.Contains(page, "<b>") || !strings.Contains(page, "paid as ") {
				t.Errorf("%s:\n%s", path, page)
			}
			light, dark := read(path+"/light", 200), read(path+"/dark", 200)
			if strings.Contains(light+dark, "prefers-color-scheme") || !strings.Contains(dark, "@media all") {
				t.Errorf("%s: light and dark are the reader's, not the page's", path)
			}
		}
	}
	for _, path := range []string{"/nothing/en", "/signin_code/xx", "/signin_code/en/grey"} {
		read(path, 404)
	}
}
