package couriertest

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"countersign/internal/courier"
	"countersign/internal/message"
)

// Golden sends the suite's letter and compares what is on the wire, but for what a transport adds, with the file of that
// name in testdata. UPDATE_GOLDEN=1 writes the file.
func Golden(t *testing.T, far *Far, p courier.Provider, name string) {
	t.Helper()
	GoldenLetter(t, far, p, message.SMS, name)
}

// GoldenLetter is Golden for a letter of another channel.
func GoldenLetter(t *testing.T, far *Far, p courier.Provider, ch message.Channel, name string) {
	t.Helper()
	read := far.Read
	var wire string
	far.Read = func(r *http.Request, body []byte) (courier.Message, error) {
		wire = request(r, body)
		return read(r, body)
	}
	defer func() { far.Read = read }()
	if _, err := p.Send(t.Context(), letter(ch, "01890000-0000-7000-8000-000000000001")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(wire), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if wire != string(want) {
		t.Errorf("on the wire:\n%s\nwant:\n%s", wire, want)
	}
}

func request(r *http.Request, body []byte) string {
	lines := []string{}
	for name, values := range r.Header {
		if !slices.Contains([]string{"Accept-Encoding", "Content-Length"}, name) {
			value, _, _ := strings.Cut(strings.Join(values, ", "), ", SignedHeaders=") // the signature is over the port of the day
			lines = append(lines, name+": "+value)
		}
	}
	slices.Sort(lines)
	return r.Method + " " + r.URL.RequestURI() + "\n" + strings.Join(lines, "\n") + "\n\n" + string(body) + "\n"
}
