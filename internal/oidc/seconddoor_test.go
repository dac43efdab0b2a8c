package oidc_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/seconddoor"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// A device that nobody knows meets a code, one that is recognised comes straight back, and the application hears what was proved: never an address, and
// nobody is signed in here.
func TestTheSecondDoorByOpenIDConnect(t *testing.T) {
	eachDoor(t, func(d *door) {
		sessions := func() (n int) {
			d.write(func(tx *sqldb.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT COUNT(*) FROM session`).Scan(&n)
			})
			return n
		}
		before := sessions()
		looked := d.clock.Now().Unix()
		request := d.comes(nil)
		d.clock.Advance(time.Minute)
		ref, next, _ := d.vouch(request)
		if next.Step != signin.StepSecond || next.App != "Bank" || !slices.Equal(next.Ways, []factor.Way{factor.Email}) {
			t.Fatalf("a device that nobody knows: %+v", next)
		}
		if done := d.types(ref, next, true); done.Back != "app/"+request {
			t.Errorf("leads to %q", done.Back)
		}
		out := d.tokens(redeeming(d.answered(request).Get("code")))
		claims, _ := d.claimsOf(out.ID)
		if claims["reference"] != "u-17" || claims["sub"] == "" || claims["sub"] == "u-17" || claims["acr"] != "aal1" || claims["nonce"] != "n-0S6" || claims["aud"] != "bank" ||
			claims["auth_time"] != float64(looked) || !slices.Equal(words(claims["amr"]), []string{"pwd"}) || claims["sid"] != nil {
			t.Errorf("told %v", claims)
		}
		if !slices.Equal(out.Scopes, []string{"openid"}) || !out.Refresh.Empty() {
			t.Errorf("given %v", out.Scopes)
		}
		info, err := d.UserInfo(t.Context(), out.Access, oidc.Caller{})
		if err != nil || len(info) != 1 || info["sub"] != claims["sub"] {
			t.Errorf("told %v, %v", info, err)
		}

		request = d.comes(nil)
		ref, next, _ = d.vouch(request)
		if next.Step != signin.StepDevice {
			t.Fatalf("a device that is remembered: %+v", next)
		}
		d.shows(ref, next.Nonce)
		known, _ := d.claimsOf(d.tokens(redeeming(d.answered(request).Get("code"))).ID)
		if known["sub"] != claims["sub"] || !slices.Equal(words(known["amr"]), []string{"pwd", "swk"}) {
			t.Errorf("told %v", known)
		}
		if n := sessions(); n != before {
			t.Errorf("%d sessions, %d before", n, before)
		}
		all, err := d.house.Devices(t.Context(), seconddoor.Named{App: "bank", Reference: "u-17"})
		if err != nil || len(all) != 1 {
			t.Errorf("devices: %v, %v", all, err)
		}
	})
}

// The code is typed on our page: a letter that named the application's would have it typed elsewhere, and a browser would not fill it in.
func TestACodeIsForOurPage(t *testing.T) {
	eachDoor(t, func(d *door) {
		ref, _, _ := d.vouch(d.comes(nil))
		if _, err := d.m.Send(t.Context(), ref, d.m.Client, factor.Email); err != nil {
			t.Fatal(err)
		}
		for _, l := range d.m.Letters(message.Email) {
			if l.Kind == message.SigninCode && (l.Params["app"] != "Bank" || l.Params["app_site"] != testkit.Origin) {
				t.Errorf("the letter: %v", l.Params)
			}
		}
	})
}

// What the application has not signed says nothing about a first factor, wherever it stands.
func TestAFirstFactorIsSigned(t *testing.T) {
	eachDoor(t, func(d *door) {
		now := d.clock.Now().Unix()
		first, _ := json.Marshal(map[string]any{"amr": []string{"pwd"}, "auth_time": now})
		_, _, err := d.Push(t.Context(), d.client, d.query("login_hint", "u-17", "first_factor", string(first)), oidc.Caller{Source: from})
		d.refused("invalid_request", err)
		// Beside an object that does not say it, it is not looked at: the request is for our own door.
		uri, err := d.pushes(d.object(nil), "login_hint", "u-17", "first_factor", string(first))
		if err != nil {
			t.Fatal(err)
		}
		d.me.ID = ""
		b, err := d.bring("bank", uri, d.held, "login_hint", "u-17", "first_factor", string(first))
		if err != nil || d.stands(b.Request).Step != oidc.StepSignIn {
			t.Errorf("%+v %v", b, err)
		}
		if v := d.answer("login_hint", "u-17", "first_factor", string(first)); v.Get("error") != "invalid_request" {
			t.Errorf("in the query: %v", v)
		}
		if got := d.error(d.vouches(nil)); got != "invalid_request" {
			t.Errorf("signed, and not pushed: %q", got)
		}
		other, _ := keyPair(t, jose.ES256)
		_, err = d.pushes(bank{d.kit, jose.ES256, other}.object(map[string]any{"login_hint": "u-17", "first_factor": json.RawMessage(first)}))
		d.refused("invalid_request_object", err)
	})
}

func TestFirstFactorsThatAreRefused(t *testing.T) {
	eachDoor(t, func(d *door) {
		now := d.clock.Now().Unix()
		pwd := func(at int64) map[string]any { return map[string]any{"amr": []string{"pwd"}, "auth_time": at} }
		for name, c := range map[string]struct {
			change map[string]any
			want   string
		}{
			"six minutes ago":     {map[string]any{"first_factor": pwd(now - 360)}, "invalid_request"},
			"to come":             {map[string]any{"first_factor": pwd(now + 60)}, "invalid_request"},
			"at no time":          {map[string]any{"first_factor": map[string]any{"amr": []string{"pwd"}}}, "invalid_request"},
			"nothing":             {map[string]any{"first_factor": map[string]any{"auth_time": now}}, "invalid_request"},
			"something else":      {map[string]any{"first_factor": map[string]any{"amr": []string{"face"}, "auth_time": now}}, "invalid_request"},
			"more behind it":      {map[string]any{"first_factor": `{"amr":["pwd"],"auth_time":` + strconv.FormatInt(now, 10) + `} {"acr":"aal2"}`}, "invalid_request"},
			"more than we read":   {map[string]any{"first_factor": map[string]any{"amr": []string{"pwd"}, "auth_time": now, "acr": "aal2"}}, "invalid_request"},
			"no object":           {map[string]any{"first_factor": "pwd"}, "invalid_request"},
			"of nobody":           {map[string]any{"login_hint": nil}, "invalid_request"},
			"of no reference":     {map[string]any{"login_hint": "u 17"}, "invalid_request"},
			"of somebody unknown": {map[string]any{"login_hint": "u-18"}, "unknown_user_id"},
			"of one of ours":      {map[string]any{"login_hint": "ada@example.org"}, "unknown_user_id"},
			"older than max_age":  {map[string]any{"first_factor": pwd(now - 60), "max_age": 30}, "login_required"},
			"asking for a login":  {map[string]any{"prompt": "login"}, "invalid_request"},
			"without openid":      {map[string]any{"scope": "email"}, "invalid_scope"},
			"without a name":      {map[string]any{"jti": nil}, "invalid_request_object"},
		} {
			_, err := d.pushes(d.vouches(c.change))
			if d.refused(c.want, err); t.Failed() {
				t.Fatal(name)
			}
		}
		if _, err := d.pushes(d.vouches(map[string]any{"first_factor": `{"amr":["pwd"],"auth_time":` + "1" + `}`})); word(err) != "invalid_request" {
			t.Errorf("as text: %v", err)
		}
		// Fresh when it was pushed, and not any more when it comes.
		uri, err := d.pushes(d.vouches(map[string]any{"first_factor": pwd(now - 290)}))
		if err != nil {
			t.Fatal(err)
		}
		d.clock.Advance(30 * time.Second)
		if b, err := d.bring("bank", uri, d.held); err != nil || d.said(b.Answer).Get("error") != "invalid_request" {
			t.Errorf("%+v %v", b, err)
		}
	})
}

// An object is pushed once, and what was pushed is for one browser.
func TestAVouchedRequestIsForOneBrowser(t *testing.T) {
	eachDoor(t, func(d *door) {
		object := d.vouches(nil)
		uri, err := d.pushes(object)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.pushes(object)
		d.refused("invalid_request_object", err)
		b, err := d.bring("bank", uri, d.held)
		if err != nil {
			t.Fatal(err)
		}
		thief := secret.NewToken(signin.BrowserPrefix)
		_, err = d.bring("bank", uri, thief)
		d.gone("in another browser", err)
		_, _, _, err = d.Vouch(t.Context(), oidc.Ref{Request: b.Request, Browser: thief}, signin.Begin{Client: d.m.Client})
		d.gone("a flow of another browser's", err)

		// A flow begun here, whose code somebody has read out: it is typed elsewhere.
		ref, _, _ := d.vouch(b.Request)
		if _, err := d.m.Send(t.Context(), ref, d.m.Client, factor.Email); err != nil {
			t.Fatal(err)
		}
		proof := signin.CodeProof{Code: d.m.LastCode(message.Email)}
		app := d.m.Client
		app.App = "bank"
		for what, try := range map[string]struct {
			ref signin.Ref
			by  signin.Client
		}{
			"in another browser": {signin.Ref{Flow: ref.Flow, Browser: thief}, d.m.Client},
			"in no browser":      {signin.Ref{Flow: ref.Flow}, d.m.Client},
			"by the application": {signin.Ref{Flow: ref.Flow}, app},
		} {
			if _, err := d.m.Code(t.Context(), try.ref, try.by, proof); fault.Of(err).Code != "flow_ended" {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := d.m.Code(t.Context(), ref, d.m.Client, proof); err != nil {
			t.Fatal(err)
		}
		_, err = d.At(t.Context(), oidc.Ref{Request: b.Request, Browser: thief}, d.me, from)
		d.gone("the answer in another browser", err)
		if d.answered(b.Request).Get("code") == "" {
			t.Error("no code")
		}
		_, err = d.At(t.Context(), oidc.Ref{Request: b.Request, Browser: d.held}, d.me, from)
		d.gone("a second answer", err)
	})
}

// A flow that ended well is for its request, and for no other of the same person in the same browser.
func TestOneFlowAnswersOneRequest(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.put("bank", "u-18", "bob@example.net")
		mine, same, others := d.comes(nil), d.comes(nil), d.comes(map[string]any{"login_hint": "u-18"})
		ref, next, _ := d.vouch(mine)
		d.types(ref, next, false)
		for _, request := range []string{same, others} {
			if n := d.stands(request); n.Step != oidc.StepDoor {
				t.Errorf("stands at %+v", n)
			}
		}
		// Nor is one of the JSON API's: the application could hand it to anybody.
		started, asked, err := d.house.Begin(t.Context(), seconddoor.Named{App: "bank", Reference: "u-17"}, bankSite, signin.Begin{Client: d.m.Client})
		if err != nil {
			t.Fatal(err)
		}
		app := d.m.Client
		app.App = "bank"
		json := signin.Ref{Flow: started.Flow}
		if _, err := d.m.Send(t.Context(), json, app, factor.Email); err != nil {
			t.Fatal(err)
		}
		if done, err := d.m.Code(t.Context(), json, app, signin.CodeProof{Code: d.m.LastCode(message.Email)}); err != nil || done.Step != signin.StepDone || asked.App != "" {
			t.Fatalf("%+v %v", done, err)
		}
		if n := d.stands(same); n.Step != oidc.StepDoor {
			t.Errorf("stands at %+v", n)
		}
		// And a flow of the pages proves nothing to the JSON API.
		_, err = d.house.Put(t.Context(), seconddoor.Named{App: "bank", Reference: "u-17"}, seconddoor.Contact{Email: "eve@example.net"}, ref.Flow)
		if fault.Of(err).Code != "contact_proof_required" {
			t.Errorf("another address: %v", err)
		}
	})
}

// Nobody names accounts of another, and a client of our own door has none.
func TestAReferenceIsItsApplications(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.put("photos", "u-99", "bob@example.net")
		_, err := d.pushes(d.vouches(map[string]any{"login_hint": "u-99"}))
		d.refused("unknown_user_id", err)
		_, err = d.pushes(d.vouches(map[string]any{"login_hint": "photos\x00u-99"}))
		d.refused("invalid_request", err)
		object := d.vouches(nil)
		d.client.SecondDoor = nil
		d.add(&d.client)
		_, err = d.pushes(object)
		d.refused("unauthorized_client", err)
	})
}

// An operator who takes the door away from a client takes it from what is under way, and from what came of it.
func TestTheDoorTakenAway(t *testing.T) {
	eachDoor(t, func(d *door) {
		out := d.tokens(redeeming(d.passes(nil, false).Get("code")))
		code := d.passes(nil, false).Get("code")
		uri, err := d.pushes(d.vouches(nil))
		if err != nil {
			t.Fatal(err)
		}
		request := d.comes(nil)
		c := d.client
		c.SecondDoor = nil
		d.add(&c)
		if b, err := d.bring("bank", uri, d.held); err != nil || d.said(b.Answer).Get("error") != "unauthorized_client" {
			t.Errorf("%+v %v", b, err)
		}
		_, err = d.At(t.Context(), oidc.Ref{Request: request, Browser: d.held}, d.me, from)
		d.gone("a request under way", err)
		if d.active(out.Access) {
			t.Error("the token is good")
		}
		d.exchangeRefused("invalid_grant", redeeming(code))
	})
}

// prompt=none asks nobody: whoever is not recognised is told to the application.
func TestTheSecondDoorAsksNobody(t *testing.T) {
	eachDoor(t, func(d *door) {
		quiet := map[string]any{"prompt": "none"}
		request := d.comes(quiet)
		if _, _, answer := d.vouch(request); d.said(answer).Get("error") != "login_required" {
			t.Errorf("answered %q", answer)
		}
		if letters := d.m.Letters(message.Email); len(letters) != 0 {
			t.Errorf("sent %v", letters)
		}
		_, err := d.At(t.Context(), oidc.Ref{Request: request, Browser: d.held}, d.me, from)
		d.gone("answered, and under way", err)

		d.passes(nil, true)
		request = d.comes(quiet)
		ref, next, _ := d.vouch(request)
		d.shows(ref, next.Nonce)
		if d.answered(request).Get("code") == "" {
			t.Error("a device that is recognised: no code")
		}
		// It has the handle, and does not prove the key.
		request = d.comes(quiet)
		ref, _, _ = d.vouch(request)
		if next := d.shows(ref, "another nonce"); next.Step != signin.StepSecond || next.App == "" {
			t.Fatalf("%+v", next)
		}
		sealed, err := d.MayAsk(t.Context(), oidc.Ref{Request: request, Browser: d.held})
		if err != nil || sealed == "" {
			t.Fatalf("%q %v", sealed, err)
		}
		if to, err := d.Unseal(sealed); err != nil || d.said(to).Get("error") != "login_required" {
			t.Errorf("answered %q %v", to, err)
		}
		request = d.comes(nil)
		if sealed, err := d.MayAsk(t.Context(), oidc.Ref{Request: request, Browser: d.held}); err != nil || sealed != "" {
			t.Errorf("where somebody may be asked: %q %v", sealed, err)
		}
	})
}

// Whoever is recognised is asked all the same where more is wanted; who has nothing so strong is told to the application.
func TestTheSecondDoorStepsUp(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.passes(nil, true)
		more := map[string]any{"acr_values": "aal2"}
		request := d.comes(more)
		ref, next, _ := d.vouch(request)
		if next = d.shows(ref, next.Nonce); next.Step != signin.StepSecond {
			t.Fatalf("%+v", next)
		}
		d.clock.Advance(time.Minute)
		d.types(ref, next, false)
		if v := d.answered(request); v.Get("error") != "unmet_authentication_requirements" {
			t.Errorf("answered %v", v)
		}
		var who account.ID
		d.write(func(tx *sqldb.Tx) error {
			ident, _ := account.NewReference("bank", "u-17")
			a, err := d.Accounts.ByIdentifier(t.Context(), tx, ident)
			who = a.ID
			return err
		})
		app := d.m.App(who)
		d.clock.Advance(30 * time.Second)
		request = d.comes(more)
		ref, next, _ = d.vouch(request)
		d.shows(ref, next.Nonce)
		if done, err := d.m.Code(t.Context(), ref, d.m.Client, signin.CodeProof{Way: factor.OTP, Code: secret.Of(app.Code())}); err != nil || done.Step != signin.StepDone {
			t.Fatalf("%+v %v", done, err)
		}
		claims, _ := d.claimsOf(d.tokens(redeeming(d.answered(request).Get("code"))).ID)
		if claims["acr"] != "aal2" || !slices.Equal(words(claims["amr"]), []string{"pwd", "otp", "mfa"}) {
			t.Errorf("told %v", claims)
		}
	})
}

// What was given is good for nothing of ours, and ends with the account's standing: no session holds it.
func TestWhatIsGivenAtTheSecondDoorEnds(t *testing.T) {
	named := seconddoor.Named{App: "bank", Reference: "u-17"}
	for what, end := range map[string]func(d *door){
		"the application erases the account": func(d *door) { d.must(d.house.Remove(d.t.Context(), named)) },
		"it was not them": func(d *door) {
			for _, l := range d.m.Letters(message.Email) {
				if _, link, ok := strings.Cut(l.Params["link"], "/notme/app#"); ok && l.Kind == message.NewDevice {
					done, err := d.m.Protect.DisavowApp(d.t.Context(), secret.Of(link), d.m.Client)
					if err != nil || !done {
						d.t.Fatalf("the link: %v %v", done, err)
					}
					return
				}
			}
			d.t.Fatal("no letter")
		},
		"the account is locked": func(d *door) {
			d.write(func(tx *sqldb.Tx) error {
				ident, _ := account.NewReference("bank", "u-17")
				a, err := d.Accounts.ByIdentifier(d.t.Context(), tx, ident)
				if err != nil {
					return err
				}
				return d.Accounts.Lock(d.t.Context(), tx, a.ID)
			})
		},
		"the client is removed": func(d *door) { d.must(d.Remove(d.t.Context(), "bank")) },
		"ten minutes":           func(d *door) { d.clock.Advance(10 * time.Minute) },
	} {
		t.Run(what, func(t *testing.T) {
			eachDoor(t, func(d *door) {
				reads := oidc.Client{ID: "files", Name: "Files", Introspects: true}
				d.add(&reads)
				out := d.tokens(redeeming(d.passes(nil, false).Get("code")))
				if f, err := d.Introspect(t.Context(), reads, out.Access); err != nil || f.Active {
					t.Errorf("to a resource server: %+v %v", f, err)
				}
				if !d.active(out.Access) {
					t.Fatal("to its own client it is worth nothing")
				}
				code := d.passes(nil, false).Get("code")
				d.clock.Advance(time.Second)
				if _, err := d.UserInfo(t.Context(), out.Access, oidc.Caller{}); err != nil {
					t.Error(err)
				}
				end(d)
				_, err := d.UserInfo(t.Context(), out.Access, oidc.Caller{})
				d.refused("invalid_token", err)
				if d.active(out.Access) {
					t.Error("the token is good")
				}
				d.exchangeRefused("invalid_grant", redeeming(code))
			})
		})
	}
}

// The application hears where it pushes that an account is locked, and the redirect URI only that the door does not open.
func TestALockedAccountAtTheSecondDoor(t *testing.T) {
	eachDoor(t, func(d *door) {
		request := d.comes(nil)
		d.write(func(tx *sqldb.Tx) error {
			ident, _ := account.NewReference("bank", "u-17")
			a, err := d.Accounts.ByIdentifier(t.Context(), tx, ident)
			if err != nil {
				return err
			}
			return d.Accounts.Lock(t.Context(), tx, a.ID)
		})
		if v := d.answered(request); v.Get("error") != "access_denied" || v.Get("error_description") != "the second door does not open" {
			t.Errorf("answered %v", v)
		}
		_, err := d.pushes(d.vouches(nil))
		d.refused("access_denied", err)
	})
}

// A hint about somebody else, though it is an ID token of ours for this client.
func TestTheSecondDoorIsAboutOnePerson(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.put("bank", "u-18", "bob@example.net")
		hers := d.tokens(redeeming(d.passes(nil, false).Get("code"))).ID
		if v := d.passes(map[string]any{"id_token_hint": hers}, false); v.Get("code") == "" {
			t.Errorf("about her: %v", v)
		}
		if v := d.answered(d.comes(map[string]any{"id_token_hint": hers, "login_hint": "u-18"})); v.Get("error") != "login_required" {
			t.Errorf("about somebody else: %v", v)
		}
	})
}

// What became of an account since its request was pushed stands in no address bar.
func TestTheSecondDoorIsShut(t *testing.T) {
	eachDoor(t, func(d *door) {
		request, second, third := d.comes(nil), d.comes(nil), d.comes(nil)
		for _, passed := range []string{second, third} {
			ref, next, _ := d.vouch(passed)
			d.types(ref, next, false)
			d.clock.Advance(time.Minute)
		}
		d.must(d.house.Remove(t.Context(), seconddoor.Named{App: "bank", Reference: "u-17"}))
		for _, one := range []string{request, second} {
			if v := d.answered(one); v.Get("error") != "access_denied" || v.Get("error_description") != "the second door does not open" {
				t.Errorf("answered %v", v)
			}
		}
		d.put("bank", "u-17", "ada@example.net") // another account of that name, which nobody has vouched for
		if v := d.answered(third); v.Get("error") != "access_denied" {
			t.Errorf("answered %v", v)
		}
	})
}
