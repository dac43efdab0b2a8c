package pages

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/factor"
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

// A flow that begins anew does so on the way to where it was.
func TestAFlowBeginsAnewWhereItWasGoing(t *testing.T) {
	const request = "app/0196f0c1-7b1a-7c3e-8f00-0123456789ab"
	for want, next := range map[string]signin.Next{
		"/signin": {},
		"/signin?for=" + url.QueryEscape(request): {Back: request},
		"/reauth?for=security":                    {Again: true, Back: "security"},
		"/reauth?for=access":                      {Again: true, Back: "access"},
		"/reauth?for=" + url.QueryEscape(request): {Again: true, Back: request},
		"/authorize/" + request[4:]:               {Back: request, Notes: signin.Notes{App: "Corner Shop"}},
	} {
		for _, ways := range [][]factor.Way{{factor.Passkey}, {factor.Passkey, factor.OTP}, {factor.OTP}, {factor.Email}} {
			next.Step, next.Ways = signin.StepSecond, ways
			if _, body := answer(door(t, &desk{next: next}), get(flowAt)); !strings.Contains(body, `<a href="`+want+`">`) {
				t.Errorf("%s: does not lead to %s", ways, want)
			}
		}
	}
}

// A flow that is over leads back to the application that it was for, and a "for" that is of none nowhere.
func TestAFlowThatIsOverLeadsBack(t *testing.T) {
	const id = "0196f0c1-7b1a-7c3e-8f00-0123456789ab"
	over := &desk{err: fault.New(fault.Gone, "flow_ended", nil)}
	for kept, want := range map[string]string{"": "/signin", "app/" + id: "/authorize/" + id, "app/evil": "/signin", "https://evil.example/": "/signin", "//evil.example": "/signin"} {
		if _, body := answer(door(t, over), with(get(flowAt), errandCookie, kept)); !strings.Contains(body, `href="`+want+`">Start again<`) {
			t.Errorf("%q: does not lead to %s", kept, want)
		}
	}
}

// A sign-in that was wanted in the wish of a site behind a proxy, and is there by now, leads on to the site.
func TestWhoIsSignedInAlreadyGoesOnToTheSite(t *testing.T) {
	r := with(with(get("/signin"), wishCookie, "sealed"), web.SessionCookie, "css_x")
	if res, _ := answer(door(t, &desk{}), r); res.Header.Get("Location") != "/access" {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
}

// A form's address that is opened again is for what it was for.
func TestAFormOpenedAgainIsForTheSame(t *testing.T) {
	const query = "?for=app%2F0196f0c1-7b1a-7c3e-8f00-0123456789ab"
	if res, _ := answer(door(t, &desk{}), get("/signin/passkey"+query)); res.Header.Get("Location") != "/signin"+query {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
	// Nor is it forgotten where the session has ended meanwhile.
	if res, _ := answer(door(t, &desk{gone: true}), with(get("/reauth"+query), web.SessionCookie, "css_x")); res.Header.Get("Location") != "/signin"+query {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
}

// Who goes back without a proof does not come to what would only ask for it again.
func TestGoingBackWithoutAProof(t *testing.T) {
	const request = "0196f0c1-7b1a-7c3e-8f00-0123456789ab"
	for name, want := range map[string]string{
		"home": `<a href="/">`, "security": `<a href="/security">`, "address": `<a href="/security">`, "access": `<a href="/">`,
		"app/" + request: `<form method="post" action="/authorize/` + request + `" class="beside">`, "app/evil": `<a href="/">`,
	} {
		_, body := answer(door(t, &desk{}), with(get("/reauth?for="+url.QueryEscape(name)), web.SessionCookie, "css_x"))
		if !strings.Contains(body, want) {
			t.Errorf("%s: lacks %s", name, want)
		}
		if app := strings.HasPrefix(name, "app/0"); app == strings.Contains(body, "Go back without changing anything") {
			t.Errorf("%s: another way back", name)
		}
	}
}
