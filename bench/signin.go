package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"countersign/internal/device"
)

// person is an account with its device, as its owner has them.
type person struct {
	Name, Account string
	Handle        string
	Key           []byte
	Session       string
	Pass          string // a cookie of a site behind a proxy
	Access        string // a token of an application's

	keys *authenticator
}

// step is what the API says of a sign-in.
type step struct {
	Flow, Nonce, Step string
	Code              string // of a problem
	Account           string
	Ways              []string
	Session           struct{ Token string }
	Device            struct{ Handle string }
}

// reply is an answer, whatever it says.
type reply struct {
	step

	status     int
	retryAfter string
}

func (l *load) call(ctx context.Context, url string, body any) (reply, error) {
	return l.callAs(ctx, url, "", body)
}

// callAs calls with a session, if it is not empty.
func (l *load) callAs(ctx context.Context, url, session string, body any) (reply, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return reply{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if session != "" {
		req.Header.Set("Authorization", "Bearer "+session)
	}
	return l.send(req)
}

func (l *load) send(req *http.Request) (out reply, err error) {
	res, err := l.client.Do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return out, err
	}
	out.status, out.retryAfter = res.StatusCode, res.Header.Get("Retry-After")
	if len(text) == 0 {
		return out, nil
	}
	return out, json.Unmarshal(text, &out.step)
}

type fields = map[string]any

func (l *load) begin(ctx context.Context, addr string, p *person) (step, error) {
	got, err := l.call(ctx, "http://"+addr+"/api/v1/signin", fields{"identifier": p.Name, "devices": []string{p.Handle}})
	if err == nil && got.status != http.StatusCreated {
		err = fmt.Errorf("begin: %d %s", got.status, got.Code)
	}
	return got.step, err
}

// prove gives the password and the device's proof.
func (l *load) prove(ctx context.Context, addr string, p *person, at step, word string) (reply, error) {
	signature, err := p.sign("http://"+addr, at.Nonce)
	if err != nil {
		return reply{}, err
	}
	return l.call(ctx, "http://"+addr+"/api/v1/signin/password", fields{
		"flow": at.Flow, "password": word, "device": fields{"handle": p.Handle, "signature": signature},
	})
}

func (p *person) sign(origin, nonce string) (string, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), p.Key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(device.Statement("recognise", origin, nonce))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return base64.RawURLEncoding.EncodeToString(signature), nil
}

// known signs somebody in from a remembered device: password and key, no code.
func (l *load) known(ctx context.Context, addr string) error {
	p := <-l.free
	defer func() { l.free <- p }()
	at, err := l.begin(ctx, addr, p)
	if err != nil {
		return err
	}
	got, err := l.prove(ctx, addr, p, at, secretWord)
	if err != nil {
		return err
	}
	return p.keep(got)
}

// keep keeps what a finished sign-in brought.
func (p *person) keep(got reply) error {
	if got.status != http.StatusOK || got.Step != "done" || got.Session.Token == "" || got.Device.Handle == "" {
		return fmt.Errorf("sign-in: %d %s%s", got.status, got.Code, got.Step)
	}
	p.Handle, p.Session = got.Device.Handle, got.Session.Token
	return nil
}

// unknown signs somebody in from a device that nobody knows: password, a letter, a code.
func (l *load) unknown(ctx context.Context, addr string) error {
	p := <-l.free
	defer func() { l.free <- p }()
	base := "http://" + addr + "/api/v1/signin"
	at, err := l.call(ctx, base, fields{"identifier": p.Name})
	if err != nil {
		return err
	}
	got, err := l.call(ctx, base+"/password", fields{"flow": at.Flow, "password": secretWord})
	if err != nil || got.Step != "second" {
		return fmt.Errorf("password: %d %s%s %w", got.status, got.Code, got.Step, err)
	}
	letter := l.letters.to(p.Name)
	sent, err := l.call(ctx, base+"/code/send", fields{"flow": at.Flow, "way": "email"})
	if err != nil || sent.status != http.StatusAccepted {
		return fmt.Errorf("send: %d %s %w", sent.status, sent.Code, err)
	}
	code, err := letter.wait(ctx)
	if err != nil {
		return err
	}
	got, err = l.call(ctx, base+"/code", fields{"flow": at.Flow, "code": code})
	if err != nil || got.Step != "done" {
		return fmt.Errorf("code: %d %s%s %w", got.status, got.Code, got.Step, err)
	}
	return nil
}

// whose returns the account of a session, as the server sees it.
func (l *load) whose(ctx context.Context, addr, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/session", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	got, err := l.send(req)
	return got.Account, err
}
