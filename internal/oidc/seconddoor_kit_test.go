package oidc_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/seconddoor"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

const bankSite = "https://bank.example.net"

// door is a client that has accounts of its own, and a person's browser.
type door struct {
	bank

	house   *seconddoor.Service
	key     testkit.Key
	handles []secret.Token
}

// eachDoor runs a test on both engines, with the account u-17.
func eachDoor(t *testing.T, f func(d *door)) {
	t.Helper()
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		b := k.bank(jose.ES256, func(c *oidc.Client) {
			c.SecondDoor, c.FirstParty, c.Scopes = []string{bankSite}, false, []string{"openid", "email", "offline_access"}
		})
		k.m.Profile.Erasers = append(k.m.Profile.Erasers, k.Erase)
		d := &door{bank: b, house: &seconddoor.Service{Parts: k.m.Parts, SignIn: k.m.Service, Owner: k.m.Profile}, key: testkit.NewKey(k.t)}
		d.put("bank", "u-17", "ada@example.net")
		f(d)
	})
}

func (d *door) put(app, reference, email string) {
	d.t.Helper()
	if _, err := d.house.Put(d.t.Context(), seconddoor.Named{App: app, Reference: reference}, seconddoor.Contact{Email: email}, secret.Token{}); err != nil {
		d.t.Fatal(err)
	}
}

// vouches is a request object about u-17, whose password the application has just looked at, with changes.
func (d *door) vouches(change map[string]any) string {
	all := map[string]any{"login_hint": "u-17", "first_factor": map[string]any{"amr": []string{"pwd"}, "auth_time": d.clock.Now().Unix()}, "scope": "openid email offline_access"}
	maps.Copy(all, change)
	return d.object(all)
}

func (d *door) pushes(object string, beside ...string) (uri string, err error) {
	d.t.Helper()
	uri, _, err = d.Push(d.t.Context(), d.client, form(append(beside, "request", object)...), oidc.Caller{Source: from})
	return uri, err
}

// comes is a request that the person's browser has brought.
func (d *door) comes(change map[string]any) string {
	d.t.Helper()
	uri, err := d.pushes(d.vouches(change))
	if err != nil {
		d.t.Fatal(err)
	}
	b, err := d.bring("bank", uri, d.held)
	if err != nil || b.Request == "" {
		d.t.Fatalf("%+v %v", b, err)
	}
	return b.Request
}

// vouch begins the flow of a request.
func (d *door) vouch(request string) (ref signin.Ref, next signin.Next, answer string) {
	d.t.Helper()
	if n := d.stands(request); n.Step != oidc.StepDoor {
		d.t.Fatalf("stands at %+v", n)
	}
	started, next, answer, err := d.Vouch(d.t.Context(), oidc.Ref{Request: request, Browser: d.held}, signin.Begin{Client: d.m.Client, Handles: d.handles, Back: "app/" + request})
	if err != nil {
		d.t.Fatal(err)
	}
	return signin.Ref{Flow: started.Flow, Browser: d.held}, next, answer
}

// types passes a flow that wants a code, as the pages do, which name no application.
func (d *door) types(ref signin.Ref, next signin.Next, remember bool) signin.Next {
	d.t.Helper()
	if _, err := d.m.Send(d.t.Context(), ref, d.m.Client, factor.Email); err != nil {
		d.t.Fatal(err)
	}
	p := signin.CodeProof{Code: d.m.LastCode(message.Email), Handles: d.handles}
	if remember {
		p.Remember = &device.Enrolment{PublicKey: d.key.Public(), Signature: d.key.Sign("remember", testkit.Origin, next.Nonce), Browser: true}
	}
	done, err := d.m.Code(d.t.Context(), ref, d.m.Client, p)
	if err != nil || done.Step != signin.StepDone || done.Session != nil {
		d.t.Fatalf("%+v %v", done, err)
	}
	if done.Device != nil {
		d.handles = []secret.Token{done.Device.Handle}
	}
	return done
}

// shows has the device that stands at its step prove its key.
func (d *door) shows(ref signin.Ref, nonce string) signin.Next {
	d.t.Helper()
	next, err := d.m.Device(d.t.Context(), ref, d.m.Client, device.Proof{Handles: d.handles, Signature: d.key.Sign("recognise", testkit.Origin, nonce)})
	if err != nil {
		d.t.Fatal(err)
	}
	if next.Device != nil {
		d.handles = []secret.Token{next.Device.Handle}
	}
	return next
}

// passes goes through the second door by a code, to the answer.
func (d *door) passes(change map[string]any, remember bool) url.Values {
	d.t.Helper()
	request := d.comes(change)
	ref, next, _ := d.vouch(request)
	d.types(ref, next, remember)
	return d.answered(request)
}

func (d *door) answered(request string) url.Values {
	d.t.Helper()
	n := d.stands(request)
	return d.said(n.Answer)
}

func (d *door) said(answer string) url.Values {
	d.t.Helper()
	u, err := url.Parse(answer)
	if err != nil || !strings.HasPrefix(answer, callback+"?") {
		d.t.Fatalf("answered %q: %v", answer, err)
	}
	return u.Query()
}

func words(v any) (all []string) {
	list, _ := v.([]any)
	for _, one := range list {
		all = append(all, one.(string))
	}
	return all
}
