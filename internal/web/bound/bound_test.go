package bound_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/web/bound"
)

// A browser may send as many cookies as it has devices that are over; only the newest are opened, and no cookie of another name.
func TestOnlyTheNewestOfTheCookiesAreLookedAt(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, lines := range [][2]int{{0, 7}, {7, 40}} {
		var parts []string
		for i := lines[0]; i < lines[1]; i++ {
			name := bound.Cookie(fmt.Sprintf("0199a0c8-0000-7000-8000-%012d", i))
			parts = append(parts, fmt.Sprintf("%s=%d", name, i), fmt.Sprintf("session=%s", name), "x"+name+"=no")
		}
		r.Header.Add("Cookie", strings.Join(parts, "; "))
	}
	var got, want []string
	for _, c := range bound.Cookies(r) {
		got = append(got, c.Reveal())
	}
	for i := 24; i < 40; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("looked at %v, want %v", got, want)
	}
}
