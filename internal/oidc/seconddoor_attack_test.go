package oidc_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// link is that of the letter about a new device which waits to be sent.
func (d *door) link() secret.Token {
	d.t.Helper()
	for _, l := range d.m.Letters(message.Email) {
		if _, link, ok := strings.Cut(l.Params["link"], "/notme/app#"); ok && l.Kind == message.NewDevice {
			return secret.Of(link)
		}
	}
	d.t.Fatal("no letter")
	return secret.Token{}
}

func (d *door) disavows(link secret.Token) {
	d.t.Helper()
	if done, err := d.m.Protect.DisavowApp(d.t.Context(), link, d.m.Client); err != nil || !done {
		d.t.Fatalf("the link: %v %v", done, err)
	}
}

// P7: a clock of the application's that is ahead makes no proof younger than it is.
func TestAFirstFactorToComeEndsLikeAnyOther(t *testing.T) {
	eachDoor(t, func(d *door) {
		soon := d.clock.Now().Add(9 * time.Second).Unix()
		out := d.tokens(redeeming(d.passes(map[string]any{"first_factor": map[string]any{"amr": []string{"pwd"}, "auth_time": soon}}, false).Get("code")))
		if claims, _ := d.claimsOf(out.ID); claims["auth_time"].(float64) > float64(d.clock.Now().Unix()) {
			t.Errorf("signed in at %v, and it is %v", claims["auth_time"], d.clock.Now().Unix())
		}
		d.clock.Advance(5 * time.Second)
		d.disavows(d.link())
		_, err := d.UserInfo(t.Context(), out.Access, oidc.Caller{})
		d.refused("invalid_token", err)
	})
}

// P7: whoever had come as far as the code before its holder said that it was not them comes no farther, and is not remembered.
func TestWhatWasUnderWayEndsToo(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.passes(nil, false)
		link := d.link()
		request := d.comes(nil)
		ref, next, _ := d.vouch(request)
		if _, err := d.m.Send(t.Context(), ref, d.m.Client, factor.Email); err != nil {
			t.Fatal(err)
		}
		code := d.m.LastCode(message.Email)
		d.clock.Advance(time.Second)
		d.disavows(link)
		done, err := d.m.Code(t.Context(), ref, d.m.Client, signin.CodeProof{
			Code: code, Remember: &device.Enrolment{PublicKey: d.key.Public(), Signature: d.key.Sign("remember", testkit.Origin, next.Nonce), Browser: true},
		})
		if fault.Of(err).Code != "flow_ended" {
			t.Errorf("%+v %v", done, err)
		}
		d.clock.Advance(time.Second)
		d.passes(nil, false) // who comes afterwards is let in by the code, as ever
	})
}

// P4: what an application calls an account is sealed where accounts stand, and stands nowhere else: it may be more than a number.
func TestReferencesStandInNoRequest(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.put("bank", "ada@example.net", "ada@example.net")
		named := map[string]any{"login_hint": "ada@example.net"}
		if _, err := d.pushes(d.vouches(named)); err != nil {
			t.Fatal(err)
		}
		d.comes(named)
		for table, column := range map[string]string{"oidc_pushed": "parameters", "oidc_request": "request"} {
			d.write(func(tx *sqldb.Tx) error {
				rows := 0
				err := tx.Each(t.Context(), `SELECT `+column+` FROM `+table, func(scan func(...any) error) error {
					var text string
					err := scan(&text)
					rows++
					if plain, _ := url.QueryUnescape(text); strings.Contains(plain, "ada@example.net") {
						t.Errorf("%s: %s", table, plain)
					}
					return err
				})
				if rows == 0 {
					t.Errorf("%s is empty", table)
				}
				return err
			})
		}
		if v := d.passes(named, false); v.Get("code") == "" {
			t.Errorf("answered %v", v)
		}
	})
}

// An application is not told, by the page that comes or does not come, that a browser is remembered for somebody else's account.
func TestADeviceOfAnotherAccountIsNotSeen(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.put("bank", "u-18", "bob@example.net")
		d.passes(map[string]any{"login_hint": "u-18"}, true)
		request := d.comes(map[string]any{"prompt": "none"})
		if _, next, answer := d.vouch(request); d.said(answer).Get("error") != "login_required" {
			t.Errorf("%+v, answered %q", next, answer)
		}
		// A handle of its own that was changed since is looked at: that is how a copy shows.
		d.passes(nil, true)
		old := slices.Clone(d.handles)
		ref, next, _ := d.vouch(d.comes(nil))
		d.shows(ref, next.Nonce)
		d.handles = old
		d.clock.Advance(2 * time.Minute)
		if _, next, _ = d.vouch(d.comes(nil)); next.Step != signin.StepDevice {
			t.Errorf("a copy: %+v", next)
		}
	})
}

// OpenID Connect RP-Initiated Logout section 2: a token of the second door names no session, so it speaks for nobody who has one here, and does not show whether anybody does.
func TestATokenOfTheDoorSignsNobodyOut(t *testing.T) {
	eachDoor(t, func(d *door) {
		d.client.PostLogout = []string{"https://bank.example.net/bye"}
		d.add(&d.client)
		out := d.tokens(redeeming(d.passes(nil, false).Get("code")))
		for what, me := range map[string]session.Session{"somebody": d.me, "nobody": {}} {
			l, err := d.Leave(t.Context(), form("id_token_hint", out.ID, "post_logout_redirect_uri", "https://bank.example.net/bye"), me)
			if err != nil || !l.Ask {
				t.Errorf("%s signed in: %+v %v", what, l, err)
			}
		}
	})
}
