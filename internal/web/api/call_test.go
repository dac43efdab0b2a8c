package api

import (
	"net/http"
	"testing"

	"countersign/internal/web"
)

// Two readers of two Authorization headers may believe different ones.
func TestWhichTokenIsMeant(t *testing.T) {
	cookie := []string{web.SessionCookie + "=c"}
	for name, c := range map[string]struct {
		authorization []string
		want          string
	}{
		"cookie":          {nil, "c"},
		"bearer":          {[]string{"Bearer b"}, "b"},
		"any case":        {[]string{"bearer b"}, "b"},
		"two headers":     {[]string{"Bearer b", "Bearer d"}, ""},
		"another scheme":  {[]string{"Basic b"}, ""},
		"nothing but one": {[]string{""}, ""},
	} {
		r := &http.Request{Header: http.Header{"Cookie": cookie}}
		if c.authorization != nil {
			r.Header["Authorization"] = c.authorization
		}
		if got := token(r).Reveal(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
