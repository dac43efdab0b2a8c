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
		bound         bool
	}{
		"cookie":          {nil, "c", false},
		"bearer":          {[]string{"Bearer b"}, "b", false},
		"any case":        {[]string{"bearer b"}, "b", false},
		"with a proof":    {[]string{"dpop b"}, "b", true},
		"two headers":     {[]string{"DPoP b", "Bearer d"}, "", false},
		"another scheme":  {[]string{"Basic b"}, "", false},
		"nothing but one": {[]string{""}, "", false},
	} {
		r := &http.Request{Header: http.Header{"Cookie": cookie}}
		if c.authorization != nil {
			r.Header["Authorization"] = c.authorization
		}
		if got, bound := token(r); got.Reveal() != c.want || bound != c.bound {
			t.Errorf("%s: %q, %v", name, got.Reveal(), bound)
		}
	}
}
