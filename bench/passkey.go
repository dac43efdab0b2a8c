package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/descope/virtualwebauthn"
)

// authenticator is a person's authenticator with one passkey in it.
type authenticator struct {
	site virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

// ceremony is what the API gives to an authenticator.
type ceremony struct {
	Options json.RawMessage
	State   string
	Code    string // of a problem
}

func (l *load) ceremony(ctx context.Context, url, session string) (c ceremony, err error) {
	body := []byte("{}")
	if session != "" { // which says enough
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return c, err
	}
	if session == "" {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Header.Set("Authorization", "Bearer "+session)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return c, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&c); err != nil {
		return c, err
	}
	if c.State == "" {
		return c, fmt.Errorf("%s: %s %s", url, res.Status, c.Code)
	}
	return c, nil
}

// withPasskeys gives everybody a passkey.
func (l *load) withPasskeys(ctx context.Context, addr string) error {
	base := "http://" + addr + "/api/v1/account/passkeys"
	for i := range l.people {
		p := &l.people[i]
		c, err := l.ceremony(ctx, base+"/options", p.Session)
		if err != nil {
			return err
		}
		o, err := virtualwebauthn.ParseAttestationOptions(string(c.Options))
		if err != nil {
			return err
		}
		k := &authenticator{virtualwebauthn.RelyingParty{ID: o.RelyingPartyID, Origin: "http://" + addr}, virtualwebauthn.NewAuthenticator(), newCredential()}
		k.auth.Options.BackupEligible, k.auth.Options.UserHandle = true, []byte(o.UserID)
		got, err := l.callAs(ctx, base, p.Session, fields{"state": c.State, "credential": virtualwebauthn.CreateAttestationResponse(k.site, k.auth, k.cred, *o)})
		if err != nil {
			return err
		}
		if got.status != http.StatusNoContent {
			return fmt.Errorf("a passkey was not enrolled: %d %s", got.status, got.Code)
		}
		p.keys = k
	}
	return nil
}

// newCredential makes one whose coordinates have no leading zeros: the library leaves them out, which the specification
// does not allow.
func newCredential() virtualwebauthn.Credential {
	const whole = 77 // bytes
	for {
		if c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(c.Key.AttestationData()) == whole {
			return c
		}
	}
}

// byPasskey signs somebody in without a name, a password or a code; its holder is told each time, of a new device.
func (l *load) byPasskey(ctx context.Context, addr string) error {
	p := <-l.free
	defer func() { l.free <- p }()
	c, err := l.ceremony(ctx, "http://"+addr+"/api/v1/signin/passkey/options", "")
	if err != nil {
		return err
	}
	o, err := virtualwebauthn.ParseAssertionOptions(string(c.Options))
	if err != nil {
		return err
	}
	got, err := l.call(ctx, "http://"+addr+"/api/v1/signin/passkey", fields{
		"state": c.State, "credential": virtualwebauthn.CreateAssertionResponse(p.keys.site, p.keys.auth, p.keys.cred, *o),
	})
	if err == nil && (got.status != http.StatusOK || got.Step != "done") {
		err = fmt.Errorf("by passkey: %d %s%s", got.status, got.Code, got.Step)
	}
	return err
}
