package oidc_test

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/session"
)

// tv is a client on devices without a browser.
func (k *kit) tv() {
	k.t.Helper()
	k.client = oidc.Client{ID: "tv", Name: "Corner TV", Auth: oidc.ByNothing, Device: true, Scopes: []string{"openid", "offline_access"}, FirstParty: true}
	k.add(&k.client)
}

func (k *kit) pair(pairs ...string) oidc.Pairing {
	k.t.Helper()
	p, err := k.Pair(k.t.Context(), k.client, form(append([]string{"scope", "openid offline_access"}, pairs...)...), from)
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

func polling(p oidc.Pairing) url.Values {
	return form("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", p.Device.Reveal())
}

// typed has somebody type a code, and returns the request that it leads to.
func (k *kit) typed(code string) string {
	k.t.Helper()
	b, err := k.Typed(k.t.Context(), oidc.Asked{Query: form("code", code), Browser: k.held, Session: k.me, Source: from})
	if err != nil || b.Request == "" {
		k.t.Fatalf("%+v %v", b, err)
	}
	return b.Request
}

func (k *kit) decide(request string, agreed bool) oidc.Next {
	k.t.Helper()
	n, err := k.Decide(k.t.Context(), oidc.Ref{Request: request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: agreed, Source: from})
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

// RFC 8628: a device asks, somebody lets it in at a browser, and it gets what they proved.
func TestADeviceIsLetIn(t *testing.T) {
	each(t, func(k *kit) {
		k.tv()
		p := k.pair()
		if len(p.User) != 9 || p.At != issuer+"/device" || p.Whole != issuer+"/device?code="+p.User || strings.ContainsAny(p.User, "AEIOU0123456789") {
			t.Errorf("told %+v", p)
		}
		k.exchangeRefused("authorization_pending", polling(p))
		request := k.typed(" " + strings.ToLower(strings.ReplaceAll(p.User, "-", " ")) + " ")
		n := k.stands(request)
		if n.Step != oidc.StepConsent || n.Code != p.User || n.Name != "Corner TV" { // first_party or not (RFC 8628 section 5.4)
			t.Fatalf("stands at %+v", n)
		}
		if n := k.decide(request, true); n.Step != oidc.StepAnswer || n.Answer != issuer+"/device?done=allowed" || n.Code == "" {
			t.Errorf("leads to %+v", n)
		}
		k.clock.Advance(5 * time.Second)
		out := k.tokens(polling(p))
		claims, _ := k.claimsOf(out.ID)
		if claims["acr"] != "aal2" || claims["sub"] == "" || out.Refresh.Empty() || !k.active(out.Access) {
			t.Errorf("given %+v %v", out, claims)
		}
		out = k.tokens(refreshing(out.Refresh))
		// It is asked about again the next time: what is agreed to for one device is for no other.
		if n := k.stands(k.typed(k.pair().User)); n.Step != oidc.StepConsent {
			t.Errorf("another device stands at %+v", n)
		}
		k.end(k.me)
		if k.active(out.Access) {
			t.Error("its holder has signed out, and the device goes on")
		}
	})
}

// A code works once, for its client, in time; what comes again ends everything.
func TestACodeOfADeviceWorksOnce(t *testing.T) {
	each(t, func(k *kit) {
		k.tv()
		tv := k.client
		other := oidc.Client{ID: "radio", Name: "Radio", Auth: oidc.ByNothing, Device: true, Scopes: []string{"openid"}}
		k.add(&other)
		p := k.pair()
		request, second := k.typed(p.User), k.typed(p.User)
		k.decide(request, true)
		if _, err := k.Decide(t.Context(), oidc.Ref{Request: second, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: true}); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("it is let in twice: %v", err)
		}
		if _, err := k.Typed(t.Context(), oidc.Asked{Query: form("code", p.User), Browser: k.held, Session: k.me, Source: from}); fault.Of(err).Code != "device_code_unknown" {
			t.Errorf("its code is good still: %v", err)
		}
		k.client = other
		k.exchangeRefused("invalid_grant", polling(p))
		k.client = tv
		k.clock.Advance(5 * time.Second)
		var given []oidc.Tokens
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if out, err := k.Exchange(t.Context(), tv, polling(p), oidc.Caller{Source: from}); err == nil {
					mu.Lock()
					given = append(given, out)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(given) != 1 {
			t.Fatalf("%d devices got something", len(given))
		}
		if k.clock.Advance(time.Minute); true {
			k.exchangeRefused("invalid_grant", polling(p))
		}
		if k.active(given[0].Access) {
			t.Error("the device code came again, and its tokens live on")
		}
	})
}

// Refused, over, too fast (RFC 8628 section 3.5).
func TestWhatADeviceIsTold(t *testing.T) {
	each(t, func(k *kit) {
		k.tv()
		p := k.pair()
		k.exchangeRefused("authorization_pending", polling(p))
		k.exchangeRefused("slow_down", polling(p))
		k.clock.Advance(5 * time.Second)
		k.exchangeRefused("slow_down", polling(p)) // it has to wait for 10 s now, and then for 15
		k.clock.Advance(15 * time.Second)
		k.exchangeRefused("authorization_pending", polling(p))
		n := k.decide(k.typed(p.User), false)
		if n.Answer != issuer+"/device?done=refused" {
			t.Errorf("leads to %+v", n)
		}
		k.clock.Advance(15 * time.Second)
		k.exchangeRefused("access_denied", polling(p))

		p = k.pair()
		request := k.typed(p.User)
		k.clock.Advance(10*time.Minute + time.Second)
		k.exchangeRefused("expired_token", polling(p))
		if _, err := k.Typed(t.Context(), oidc.Asked{Query: form("code", p.User), Browser: k.held, Session: k.me, Source: from}); fault.Of(err).Code != "device_code_unknown" {
			t.Errorf("its code is good still: %v", err)
		}
		if _, err := k.Decide(t.Context(), oidc.Ref{Request: request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: true}); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("it is let in too late: %v", err)
		}
		k.exchangeRefused("invalid_grant", form("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", "cse_x"))
	})
}

// RFC 9470 on a device: whoever proved too little proves more, or it is not let in.
func TestADeviceAsksForAStrongerProof(t *testing.T) {
	each(t, func(k *kit) {
		k.tv()
		k.me = k.signIn(k.who, assurance.Password)
		p := k.pair("acr_values", "aal2")
		request := k.typed(p.User)
		if n := k.stands(request); n.Step != oidc.StepAgain || n.Least != assurance.AAL2 {
			t.Errorf("stands at %+v", n)
		}
		k.me = k.signIn(k.who, assurance.Password) // no more than before
		if n := k.stands(request); n.Step != oidc.StepAnswer || n.Answer != issuer+"/device?done=refused" {
			t.Errorf("stands at %+v", n)
		}
		k.exchangeRefused("access_denied", polling(p))
	})
}

// RFC 8628 section 5.1: codes are not found by trying, by person or by network; and a request is of the browser that typed.
func TestCodesOfDevicesAreNotGuessed(t *testing.T) {
	each(t, func(k *kit) {
		k.tv()
		try := func(me session.Session, code string) error {
			_, err := k.Typed(t.Context(), oidc.Asked{Query: form("code", code), Browser: k.held, Session: me, Source: from})
			return err
		}
		for _, code := range []string{"", "BCDF", "AAAA-AAAA", "BCDF-GHJK-L", strings.Repeat("B", 5000), "BCDF\x00GHJK"} {
			if err := try(session.Session{}, code); fault.Of(err).Code != "device_code_unknown" {
				t.Errorf("%.20q: %v", code, err)
			}
		}
		p := k.pair()
		for range 14 {
			_ = try(session.Session{}, "BCDF-GHJK")
		}
		if err := try(session.Session{}, p.User); fault.Of(err).Code != "too_many_attempts" {
			t.Errorf("after twenty from one network: %v", err)
		}
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		for range 10 {
			_ = try(k.me, "BCDF-GHJK")
		}
		if err := try(k.me, p.User); fault.Of(err).Code != "too_many_attempts" {
			t.Errorf("after ten by one person: %v", err)
		}
	})
}

// only who is registered for it.
func TestWhoMayAskForADevice(t *testing.T) {
	each(t, func(k *kit) {
		_, err := k.Pair(t.Context(), k.client, form("scope", "openid"), from)
		k.refused("unauthorized_client", err)
		k.tv()
		_, err = k.Pair(t.Context(), k.client, form("scope", "email"), from)
		k.refused("invalid_scope", err)
		// A client that is no device's any more lets in nobody.
		p := k.pair()
		request := k.typed(p.User)
		k.client.Device, k.client.RedirectURIs = false, []string{"org.example.tv:/callback"}
		k.add(&k.client)
		if _, err := k.At(t.Context(), oidc.Ref{Request: request, Browser: k.held}, k.me, from); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("goes on: %v", err)
		}
		k.exchangeRefused("invalid_grant", polling(p))
	})
}
