package pages

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/attestation"
	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// deskPasskeys are what the desk was told of passkeys.
type deskPasskeys struct {
	asked   signin.Asked
	passkey signin.PasskeyProof
	listed  int
}

func (d *desk) AskPasskey(_ context.Context, at signin.Asked) (passkey.Begun, error) {
	d.asked = at
	return passkey.Begun{Options: json.RawMessage(`{"challenge":"AAAA","timeout":600000}`), State: []byte("state"), Listed: d.listed}, nil
}

func (d *desk) Passkey(_ context.Context, at signin.Asked, _ signin.Client, p signin.PasskeyProof) (signin.Next, error) {
	d.asked, d.passkey = at, p
	return d.next, d.err
}

// The page asks for a passkey bound to the browser's secret, and keeps that secret in the browser; what comes back goes
// on with the state, the answer, the device's proof and the wish to be recognised.
func TestThePageAsksForAPasskey(t *testing.T) {
	d := &desk{}
	res, body := answer(door(t, d), get("/signin"))
	kept := cookie(res, web.BrowserCookie)
	if kept == nil || kept.Value != d.asked.Browser.Reveal() || !strings.Contains(body, "data-autofill") || !strings.Contains(body, `name="state" value="c3RhdGU"`) {
		t.Errorf("%v\n%s", kept, body)
	}
	d.next = signin.Next{Refused: true, Notes: signin.Notes{Unknown: true}}
	key := []string{"state", "c3RhdGU", "response", `{"id":"Y3JlZGVudGlhbA"}`, "recognise", "CCCC", "remember", "on", "public_key", "AAAA", "signature", "BBBB"}
	res, body = answer(door(t, d), post("/signin/passkey", key...))
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, `data-unknown-passkey="Y3JlZGVudGlhbA"`) {
		t.Errorf("%s\n%s", res.Status, body)
	}
	if string(d.passkey.State) != "state" || d.passkey.Remember == nil || base64.RawURLEncoding.EncodeToString(d.passkey.Signature) != "CCCC" || !d.asked.Browser.Equal(secret1) {
		t.Errorf("%+v, %+v", d.asked, d.passkey)
	}
	d.next = signin.Next{Refused: true}
	if _, body = answer(door(t, d), post("/signin/passkey", key...)); strings.Contains(body, "data-unknown-passkey") {
		t.Error("an authenticator is told to forget a passkey that did not fit this time")
	}
}

// Where there is one way nothing speaks of another, or of a code where none is typed; and what a passkey of this device does unasked is said.
func TestTheOnlyWay(t *testing.T) {
	only := func(w factor.Way) *desk {
		return &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{w}}}
	}
	refused := only(factor.Passkey)
	refused.next.Refused = true
	mistyped := only(factor.OTP)
	mistyped.next.Refused = true
	for name, page := range map[string]struct {
		d    *desk
		r    *http.Request
		says string
	}{
		"passkey":         {only(factor.Passkey), get(flowAt), "we remember the device for 30 days"},
		"passkey refused": {refused, post(flowAt + "/passkey"), "Try once more."},
		"code":            {only(factor.OTP), get(flowAt), "The code does not come from us"},
		"code refused":    {mistyped, post(flowAt+"/code", "way", "otp", "code", "123456"), "Check it and try again."},
	} {
		_, body := answer(door(t, page.d), page.r)
		if has(t, body, page.says); strings.Contains(strings.ToLower(body), "another way") || strings.Contains(body, "other-heading") {
			t.Errorf("%s: another way\n%s", name, body)
		}
	}
	both := &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.Passkey, factor.OTP}, Notes: signin.Notes{Always: true}}}
	_, body := answer(door(t, both), get(flowAt))
	if has(t, body, "Another way"); strings.Contains(body, "The code does not come from us") || strings.Contains(body, "we remember the device") {
		t.Error("a code that nobody asked for, or a device that is asked all the same")
	}
}

// At the second door the passkey is asked for first, and every other way stands beside it.
func TestThePasskeyOfAFlow(t *testing.T) {
	d := &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.Passkey, factor.OTP, factor.SMS}}}
	_, body := answer(door(t, d), get(flowAt))
	for _, want := range []string{flowAt + "/passkey", flowAt + "?way=otp", `value="sms"`, "Use your passkey"} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s\n%s", want, body)
		}
	}
	if _, body = answer(door(t, d), get(flowAt+"?way=otp")); !strings.Contains(body, flowAt+"?way=passkey") {
		t.Error("no way back to the passkey")
	}
	d.next.Refused = true
	if res, body := answer(door(t, d), post(flowAt+"/passkey", "state", "c3RhdGU", "response", "{}")); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "was not accepted") {
		t.Errorf("%s\n%s", res.Status, body)
	}
}

// Whoever is signed in proves by a passkey who they are, if they have one, and goes on where they were.
func TestAPasskeyAgain(t *testing.T) {
	d := &desk{}
	signedIn := func(r *http.Request) *http.Request {
		r.AddCookie(&http.Cookie{Name: web.SessionCookie, Value: secret.NewToken("css").Reveal()})
		return r
	}
	if _, body := answer(door(t, d), signedIn(get("/reauth?for=security"))); strings.Contains(body, "data-passkey") {
		t.Error("a passkey is asked for that is not there")
	}
	d.listed = 1
	if _, body := answer(door(t, d), signedIn(get("/reauth?for=security"))); !strings.Contains(body, `action="/reauth/passkey"`) {
		t.Error("no passkey is asked for")
	}
	d.next = signin.Next{Step: signin.StepDone, Back: "security", Again: true}
	res, _ := answer(door(t, d), signedIn(post("/reauth/passkey", "for", "security", "state", "c3RhdGU", "response", "{}")))
	if res.Header.Get("Location") != "/security" || d.asked.Session.ID != "mine" || d.asked.Back != "security" {
		t.Errorf("%s, %+v", res.Header.Get("Location"), d.asked)
	}
}

// What a model is called stands in a file of others', and is text to us. Why one no longer signs in is said to its holder.
func TestTheModelOfAPasskey(t *testing.T) {
	v := &vault{overview: profile.Overview{Fresh: true}, factors: profile.Factors{Passkeys: []passkey.Passkey{
		{ID: "7", Name: "Key", Model: "<b>Example</b> Key 5"}, {ID: "8", Denied: attestation.Listed}, {ID: "9", Denied: attestation.Reported},
	}}}
	_, body := answer(safe(t, v), get("/security"))
	for _, want := range []string{"&lt;b&gt;Example&lt;/b&gt; Key 5", "its model is not accepted here any more", "a weakness of its model has become known"} {
		if strings.Count(body, want) != 1 {
			t.Errorf("not once: %s", want)
		}
	}
}

func TestOwnPasskeys(t *testing.T) {
	v := &vault{overview: profile.Overview{Fresh: true}, factors: profile.Factors{
		Passkeys: []passkey.Passkey{{ID: "7", Name: "Phone", UserVerified: true}}, Signal: passkey.Signal{RPID: "id.example", Accepted: []string{"AAAA"}},
	}}
	_, body := answer(safe(t, v), get("/security"))
	for _, want := range []string{"/security/passkeys/7/remove", "data-new-passkey", "Copied to your other devices", "allAcceptedCredentialIds"} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	v.overview.Fresh = false
	if _, body := answer(safe(t, v), get("/security")); strings.Contains(body, "data-new-passkey") || strings.Contains(body, "/security/passkeys/7/remove") {
		t.Error("offers what would be refused")
	}
	leads(t, v, post("/security/passkeys", "state", "c3RhdGU", "response", "{}"), "/security?done=passkey-added")
	leads(t, v, post("/security/passkeys/7/rename", "name", "Work"), "/security?done=passkey-renamed")
	leads(t, v, post("/security/passkeys/7/remove"), "/security?done=passkey-removed")
	if got := strings.Join(v.done, ", "); got != "add passkey state {}, rename passkey 7 Work, remove passkey 7" {
		t.Error(got)
	}
	v.refusal = passkey.Untaken
	leads(t, v, post("/security/passkeys"), "/security?problem=passkey_model_refused")
	v.refusal = passkey.Taken
	leads(t, v, post("/security/passkeys"), "/security?problem=passkey_taken")
	v.refusal = passkey.Stale
	leads(t, v, post("/security/passkeys"), "/security?problem=passkey_refused")
}

// Password managers and browsers find where passkeys are kept, and who else may ask for them.
func TestWhereBrowsersLook(t *testing.T) {
	mux := http.NewServeMux()
	testPages(t).MountPasskeys(mux, []string{"https://shop.example", "android:apk-key-hash:AAAA"})
	_, body := answer(mux, get("/.well-known/passkey-endpoints"))
	if body != `{"enroll":"https://id.example/security","manage":"https://id.example/security"}` {
		t.Error(body)
	}
	if _, body = answer(mux, get("/.well-known/webauthn")); body != `{"origins":["https://shop.example"]}` {
		t.Error(body)
	}
}
