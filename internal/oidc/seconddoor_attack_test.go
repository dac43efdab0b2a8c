package oidc_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
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
