package pages

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// shopping are the requests of one application.
type shopping struct{ wishes }

func (shopping) Name(_ context.Context, ref oidc.Ref) (string, error) {
	if ref.Request == "0196f0c1-7b1a-7c3e-8f00-0123456789ab" && ref.Browser.Equal(secret1) {
		return "Corner Shop", nil
	}
	return "", fault.New(fault.Gone, "oidc_request_ended", nil)
}

// On the way from an application the sign-in names it; a request that is over, or another browser's, is of none.
func TestTheSignInNamesWhatItLeadsTo(t *testing.T) {
	p, mux := testPages(t), http.NewServeMux()
	d := &desk{}
	(&SignIn{Pages: p, Log: quiet(), Flows: d, Sessions: d, Owner: d, Client: func(*http.Request) signin.Client { return signin.Client{} }, Requests: shopping{}}).Mount(mux)
	for query, want := range map[string]string{
		"": p.options.Site, "?for=app/0196f0c1-7b1a-7c3e-8f00-0123456789ab": "Corner Shop", "?for=app/0196f0c1-7b1a-7c3e-8f00-000000000000": p.options.Site,
	} {
		if _, body := answer(mux, with(get("/signin"+query), web.BrowserCookie, secret1.Reveal())); !strings.Contains(body, "to continue to "+want+"<") {
			t.Errorf("%s: not to %q", query, want)
		}
	}
}
