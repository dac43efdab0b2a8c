package pages

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/approval"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// What the server mounts fits.
var (
	_ past       = (*profile.Service)(nil)
	_ ownAccount = (*profile.Service)(nil)
)

func (d *desk) DisavowDeed(_ context.Context, _ session.Session, _ signin.Client, id string) (bool, error) {
	deed, ok, _ := d.Deed(context.Background(), session.Session{}, id)
	return ok && deed.Foreign(), d.note("disavow " + id)
}

func (d *desk) Approvals(context.Context, session.Session) ([]approval.Request, error) {
	return nil, nil
}

func (d *desk) Self(context.Context, session.Session) (profile.Self, error) { return d.self, nil }

func (d *desk) SetLanguage(_ context.Context, _ session.Session, _ signin.Client, language string) error {
	return errors.Join(d.refuses, d.note("language "+language))
}

func (d *desk) Data(context.Context, session.Session, signin.Client) ([]byte, error) {
	return []byte(`{"addresses":[]}`), errors.Join(d.refuses, d.note("data"))
}

func (d *desk) AskErase(context.Context, session.Session, signin.Client) (time.Time, error) {
	return time.Time{}, errors.Join(d.refuses, d.note("erase"))
}

func (d *desk) Keep(context.Context, session.Session, signin.Client) (bool, error) {
	return true, d.note("keep")
}

func signedInAs(r *http.Request) *http.Request { return with(r, web.SessionCookie, "css_x") }

// Each thing is done where it says so, and leads to where it is said to be done; what takes a fresh proof leads
// through one, and back to the page.
func TestWhatIsDoneWithTheAccountAsAWhole(t *testing.T) {
	for path, want := range map[string]struct{ done, to, stale string }{
		"/account/language": {"language fr", "/account?done=language-set", "/reauth?for=account"},
		"/account/data":     {"data", "", "/reauth?for=account"},
		"/account/erase":    {"erase", "/account?done=erase-asked", "/reauth?for=account"},
		"/account/keep":     {"keep", "/account?done=kept", "/account?done=kept"}, // whoever keeps it need not prove anything
	} {
		d := &desk{}
		res, _ := answer(door(t, d), signedInAs(post(path, "language", "fr")))
		if res.Header.Get("Location") != want.to || !slices.Equal(d.done, []string{want.done}) {
			t.Errorf("%s: %v, to %q", path, d.done, res.Header.Get("Location"))
		}
		d = &desk{refuses: fault.New(fault.Forbidden, "reauthentication_required", nil)}
		if res, _ := answer(door(t, d), signedInAs(post(path, "language", "fr"))); res.Header.Get("Location") != want.stale {
			t.Errorf("%s, stale: to %q", path, res.Header.Get("Location"))
		}
		if res, _ := answer(door(t, &desk{}), signedInAs(get(path))); res.Header.Get("Location") != "/account" {
			t.Errorf("%s from the address line: %s", path, res.Status)
		}
	}
}

// Nobody else's page does any of this, nor does anybody without a session.
func TestTheAccountIsItsOwners(t *testing.T) {
	const deed = "/activity/0196f0c1-0000-7000-8000-000000000001/notme"
	for _, path := range []string{"/account/language", "/account/data", "/account/erase", "/account/keep", deed} {
		d := &desk{}
		for _, site := range []string{"cross-site", "same-site"} {
			r := signedInAs(post(path, "language", "fr"))
			r.Header.Set("Sec-Fetch-Site", site)
			if res, _ := answer(door(t, d), r); res.StatusCode != http.StatusForbidden || len(d.done) != 0 {
				t.Errorf("%s from a %s page: %s, %v", path, site, res.Status, d.done)
			}
		}
		d = &desk{gone: true}
		if res, _ := answer(door(t, d), post(path, "language", "fr")); res.Header.Get("Location") != "/signin" || len(d.done) != 0 {
			t.Errorf("%s by a stranger: %s, %v", path, res.Status, d.done)
		}
	}
	for _, path := range []string{"/account", deed} {
		if res, _ := answer(door(t, &desk{gone: true}), get(path)); res.Header.Get("Location") != "/signin" {
			t.Errorf("%s to a stranger: %s", path, res.Status)
		}
	}
}

// The file is saved and neither shown nor kept by anything on the way.
func TestTheDownload(t *testing.T) {
	res, body := answer(door(t, &desk{}), signedInAs(post("/account/data")))
	h := res.Header
	if body != `{"addresses":[]}` || h.Get("Content-Type") != "application/json; charset=utf-8" || h.Get("Cache-Control") != "no-store" ||
		h.Get("Content-Disposition") != `attachment; filename="countersign-account-2026-11-23.json"` {
		t.Errorf("%s, %v", body, h)
	}
}

// While a proof is stale nothing is offered but to prove anew; an account that will be erased can be kept all the same.
func TestTheAccountPage(t *testing.T) {
	page := func(self profile.Self, query string) string {
		_, body := answer(door(t, &desk{self: self}), signedInAs(get("/account"+query)))
		return body
	}
	forms := []string{`action="/account/language"`, `action="/account/data"`, `action="/account/erase"`, `href="/reauth?for=account"`, `action="/account/keep"`}
	soon := testPages(t).options.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		self profile.Self
		want []bool
	}{
		"fresh":          {profile.Self{Language: "fr", Fresh: true}, []bool{true, true, true, false, false}},
		"stale":          {profile.Self{Language: "fr"}, []bool{false, false, false, true, false}},
		"erasing":        {profile.Self{Language: "fr", Fresh: true, EraseAt: soon}, []bool{true, true, false, false, true}},
		"erasing, stale": {profile.Self{Language: "fr", EraseAt: soon}, []bool{false, false, false, true, true}},
	} {
		body := page(c.self, "")
		for i, form := range forms {
			if strings.Contains(body, form) != c.want[i] {
				t.Errorf("%s: %s is there: %v", name, form, !c.want[i])
			}
		}
	}
	body := page(profile.Self{Language: "fr", Fresh: true}, "?done=kept")
	for _, want := range []string{`<option value="fr" lang="fr" selected>`, "14 days", "Your account stays."} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	_, body = answer(door(t, &desk{self: profile.Self{EraseAt: soon}}), signedInAs(get("/")))
	if !strings.Contains(body, `action="/account/keep"`) || !strings.Contains(body, "This account will be erased") {
		t.Error("whoever signs in is not told that the account will be erased")
	}
}

// Letters can be in every language that the pages offer for them, and in no other.
func TestLettersComeInThePagesLanguages(t *testing.T) {
	ours, theirs := slices.Sorted(slices.Values(Languages())), slices.Sorted(slices.Values(message.Languages()))
	if !slices.Equal(ours, theirs) {
		t.Errorf("pages in %v, letters in %v", ours, theirs)
	}
}

// C-FP-07: the page asks and does nothing; the post does it, ends the session in the browser and leads to what to do next.
func TestDisavowingOnThePage(t *testing.T) {
	const id, operators, unknown = "0196f0c1-0000-7000-8000-000000000001", "0196f0c1-0000-7000-8000-000000000002", "0196f0c1-0000-7000-8000-000000000003"
	at := testPages(t).options.Now()
	d := &desk{activity: profile.Activity{Deeds: []profile.Deed{
		{ID: id, What: profile.SignedIn, At: at, Name: "Their <browser>", Times: 1},
		{ID: operators, What: profile.EraseAsked, At: at, Actor: "operator", Times: 1},
		{ID: "4", What: profile.WrongPassword, At: at, Times: 1},
	}}}
	_, list := answer(door(t, d), signedInAs(get("/activity")))
	if got := strings.Count(list, "/notme"); got != 1 || !strings.Contains(list, `href="/activity/`+id+`/notme"`) {
		t.Errorf("%d lines can be disavowed, want the one that somebody else may have done", got)
	}
	res, body := answer(door(t, d), signedInAs(get("/activity/"+id+"/notme")))
	if res.StatusCode != http.StatusOK || len(d.done) != 0 || !strings.Contains(body, "Their &lt;browser&gt;") || !strings.Contains(body, `href="/reauth?for=activity"`) {
		t.Errorf("the page that asks: %s, %v", res.Status, d.done)
	}
	d.self.Fresh = true
	if _, body := answer(door(t, d), signedInAs(get("/activity/"+id+"/notme"))); strings.Contains(body, "/reauth") || !strings.Contains(body, "go back to how they were") {
		t.Error("with a fresh proof it does not say what is taken back")
	}
	d.activity.Deeds[0].At = at.Add(-31 * 24 * time.Hour)
	if _, body := answer(door(t, d), signedInAs(get("/activity/"+id+"/notme"))); !strings.Contains(body, "how they were a month ago") {
		t.Error("of what was long ago it promises more than is taken back")
	}
	for _, none := range []string{operators, unknown, "4", "x", "%00", "..%2f.."} {
		for _, r := range []*http.Request{get("/activity/" + none + "/notme"), post("/activity/" + none + "/notme")} {
			res, _ := answer(door(t, d), signedInAs(r))
			if res.StatusCode != http.StatusNotFound || cookie(res, web.SessionCookie).MaxAge < 0 {
				t.Errorf("%s %s: %s", r.Method, r.URL.Path, res.Status)
			}
		}
	}
	d.done = nil
	res, _ = answer(door(t, d), signedInAs(post("/activity/"+id+"/notme")))
	if res.Header.Get("Location") != "/notme/done" || !slices.Equal(d.done, []string{"disavow " + id}) || cookie(res, web.SessionCookie).MaxAge >= 0 ||
		res.Header.Get("Clear-Site-Data") != `"cache"` {
		t.Errorf("%s to %s, %v", res.Status, res.Header.Get("Location"), d.done)
	}
}
