package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/oidc"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/web"
)

const (
	callback = "https://shop.example.org/callback"
	verifier = "a-verifier-of-43-characters-or-more-0123456789"
	// exchanged is how many codes are exchanged in a turn: so few that none of them is a minute old by then, which is as long as they last.
	exchanged = 500
	// referred is how many accounts of its own the application of the second door has: so many that none comes to its device's limit, 20 at once,
	// on a machine that answers 15,000 times a second.
	referred = 6400
)

// applied has the node know an application, which is of the second door too, and returns what proves it and whom it knows.
func applied(ctx context.Context, core *server.Core) (proof string, known []person, err error) {
	c := oidc.Client{
		ID: "bench", Name: "Bench", FirstParty: true, RedirectURIs: []string{callback}, SecondDoor: []string{"https://shop.example.org"},
	}
	if _, err := core.Applications.Add(ctx, c); err != nil {
		return "", nil, err
	}
	token, err := core.Applications.Renew(ctx, c.ID) // in a file that is kept it is there already
	if err != nil {
		return "", nil, err
	}
	keys, err := publicKeys(1)
	if err != nil {
		return "", nil, err
	}
	const atOnce = 400 // in one transaction, which has ten seconds
	for len(known) < referred && err == nil {
		var more []person
		err = core.DB.Write(ctx, func(tx *sqldb.Tx) error {
			more = nil // it may be run again
			for range min(atOnce, referred-len(known)) {
				p, err := acquainted(ctx, core, tx, c.ID, keys[0])
				if err != nil {
					return err
				}
				more = append(more, p)
			}
			return nil
		})
		known = append(known, more...)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+token.Reveal())), known, err
}

// acquainted makes an account of the application's, with a device that is remembered.
func acquainted(ctx context.Context, core *server.Core, tx *sqldb.Tx, app string, key []byte) (p person, err error) {
	p.Name = "u-" + rand.Text()
	ident, err := account.NewReference(app, p.Name)
	if err != nil {
		return person{}, err
	}
	id, err := core.Accounts.Create(ctx, tx, account.New{Language: "en", Identifiers: []account.NewIdentifier{{Identifier: ident, SignsIn: true}}})
	if err != nil {
		return person{}, err
	}
	kept, err := core.Devices.Remember(ctx, tx, id, device.Enrolment{PublicKey: key, Name: "bench"}, nil)
	p.Handle = kept.Handle.Reveal()
	return p, err
}

// code signs somebody in for the application, who is signed in here.
func (l *load) code(ctx context.Context, j job, p person) (string, error) {
	sum := sha256.Sum256([]byte(verifier))
	ask := url.Values{
		"client_id": {"bench"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	led, err := l.step(ctx, j.Addr, string(oidc.AuthorizePath)+"?"+ask.Encode(), j.Addr, web.SessionCookie+"="+p.Session)
	if err != nil {
		return "", err
	}
	to, err := led.Location()
	if err == nil && to.Query().Get("code") == "" {
		err = fmt.Errorf("no code, but %s", to)
	}
	if err != nil {
		return "", err
	}
	return to.Query().Get("code"), nil
}

// redeem exchanges a code, and returns the access token.
func (l *load) redeem(ctx context.Context, j job, code string) (string, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+j.Addr+string(oidc.TokenPath), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", j.Proof)
	res, err := l.client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	var got struct {
		Access string `json:"access_token"`
		Error  string
	}
	if err := json.NewDecoder(bufio.NewReader(res.Body)).Decode(&got); err != nil {
		return "", err
	}
	if got.Access == "" {
		return "", fmt.Errorf("a code: %s %s", res.Status, got.Error)
	}
	return got.Access, nil
}

// exchange exchanges codes that it has had given before, which is not counted.
func (l *load) exchange(ctx context.Context, j job) (outcome, error) {
	codes := make([]string, exchanged)
	for i := range codes {
		var err error
		if codes[i], err = l.code(ctx, j, l.people[i%len(l.people)]); err != nil {
			return outcome{}, err
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, j.Clients)
	began := l.now()
	for c := range j.Clients {
		wg.Go(func() {
			for errs[c] == nil {
				i := next.Add(1) - 1
				if i >= exchanged {
					return
				}
				_, errs[c] = l.redeem(ctx, j, codes[i])
			}
		})
	}
	wg.Wait()
	return outcome{Done: exchanged, Seconds: l.now().Sub(began).Seconds()}, errors.Join(errs...)
}

// userInfo asks who somebody is, for people whom the application has signed in before.
func (l *load) userInfo(ctx context.Context, j job) (outcome, error) {
	some := *l
	some.people = l.people[:min(len(l.people), 8*j.Clients)] // each asks about eight
	for i := range some.people {
		p := &some.people[i]
		if p.Access != "" {
			continue
		}
		code, err := l.code(ctx, j, *p)
		if err == nil {
			p.Access, err = l.redeem(ctx, j, code)
		}
		if err != nil {
			return outcome{}, err
		}
	}
	return some.check(ctx, j)
}

// signatureOnce is the ceiling of a code's exchange: the signature, and the digests of what is checked and what is handed out.
func signatureOnce() func() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	text := bytes.Repeat([]byte("a"), 500) // an ID token without its signature
	secret := make([]byte, 32)
	return func() error {
		if err != nil {
			return err
		}
		for range 3 { // the client's secret, the code, the access token
			mac := hmac.New(sha256.New, secret)
			mac.Write(text[:53])
			mac.Sum(nil)
		}
		sha256.Sum256(text[:46]) // the verifier
		sha256.Sum256(text[:53]) // at_hash
		sum := sha256.Sum256(text)
		_, _, err := ecdsa.Sign(rand.Reader, key, sum[:])
		return err
	}
}

// apps measures what applications ask of us.
func (r rated) apps() error {
	core, err := open(r.ctx, r.few.config, r.now)
	if err != nil {
		return err
	}
	proof, known, err := applied(r.ctx, core)
	if err = errors.Join(err, core.Close()); err != nil {
		return err
	}
	bare, bareAddr, err := r.bare()
	if err != nil {
		return err
	}
	got, err := r.turns(r.Rounds, r.check, []contender{bare, r.load("userinfo", r.few, job{Kind: kindUserInfo, Clients: checkClients, Proof: proof})})
	if err != nil {
		return err
	}
	r.table.rate("userinfo", "/s", compare(got[1].rates, got[0].rates), .6)
	raw := contender{"signatures and digests alone", r.hasher.cmd.Process.Pid, func(d time.Duration) (outcome, error) {
		return r.hasher.do(job{Kind: kindSignature, For: d, Clients: runtime.GOMAXPROCS(0)})
	}}
	got, err = r.turns(r.Rounds, r.check, []contender{raw, r.load("code for tokens, ES256", r.few, job{Kind: kindExchange, Clients: checkClients, Proof: proof})})
	if err != nil {
		return err
	}
	r.table.rate("code for tokens, ES256 (ceiling: its signature and digests)", "/s", compare(got[1].rates, got[0].rates), .5)
	return r.doorsAtHalf(bareAddr, proof, known)
}
