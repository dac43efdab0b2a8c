package server_test

import (
	"encoding/base64"
	"net/http"
	"testing"

	second "countersign/client"
	"countersign/internal/certificate"
	"countersign/internal/oidc"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// The devices that the second door remembers are listed at the listener for certificates, too.
func TestTheDoorForCertificatesListsDevices(t *testing.T) {
	ca := testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca})
	n.Guard.Add("ada@example.org")
	if _, err := n.Core().Applications.Add(t.Context(), oidc.Client{
		ID: "photos", Name: "Photos", Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "photos.example.net"}, SecondDoor: []string{photosPage},
	}); err != nil {
		t.Fatal(err)
	}
	c, err := second.New(second.Config{URL: n.Alias, ID: "photos", HTTP: presenting(ca, ca.Issue(ofHost("photos.example.net"))), Now: n.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	who := second.Person{Address: "192.0.2.7"}
	if _, err := c.PutAccount(t.Context(), "u-17", second.Contact{Email: "ada@example.org", Language: "en"}); err != nil {
		t.Fatal(err)
	}
	begun, err := c.Begin(t.Context(), second.Arrival{Reference: "u-17", Person: who})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SendCode(t.Context(), begun.Flow, who, "email"); err != nil {
		t.Fatal(err)
	}
	key, b64 := testkit.NewKey(t), base64.RawURLEncoding.EncodeToString
	passed, err := c.ProveCode(t.Context(), begun.Flow, who, second.Code{Code: n.Code("ada@example.org"), Remember: &second.Signed{
		PublicKey: b64(key.Public()), Signature: b64(key.Sign("remember", photosPage, begun.Nonce)),
	}})
	if err != nil || passed.Device.Handle == "" {
		t.Fatalf("%+v %v", passed, err)
	}
	if all, err := c.Devices(t.Context(), "u-17"); err != nil || len(all) != 1 {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := c.NewBackupCodes(t.Context(), "u-17", begun.Flow); err != nil {
		t.Error(err)
	}
	if _, err := c.Factors(t.Context(), "u-17"); err != nil {
		t.Error(err)
	}
}

// P9: who names a client that has nothing to prove itself by is counted as who names none.
func TestTheDoorForCertificatesCountsEveryFailure(t *testing.T) {
	ca := testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca})
	if _, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "page", Name: "Page", Auth: oidc.ByNothing, RedirectURIs: []string{"https://page.example.net/back"}}); err != nil {
		t.Fatal(err)
	}
	c, limited := presenting(ca), false
	for range 80 {
		got := send(t, c, "POST", n.Alias+"/api/v1/door/begin", func(r *http.Request) { r.SetBasicAuth("page", "") })
		limited = limited || got.status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("not limited")
	}
}
