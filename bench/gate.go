package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"countersign/internal/access"
	"countersign/internal/web"
	"countersign/internal/web/forwardauth"
)

// siteHost is a site that stands behind a proxy.
const siteHost = "wiki.example.org"

// ask asks as a proxy does, for people who have come to the site before.
func (l *load) ask(ctx context.Context, j job) (outcome, error) {
	for i := range l.people {
		p := &l.people[i]
		if p.Pass != "" {
			continue
		}
		var err error
		if p.Pass, err = l.come(ctx, j, *p); err != nil {
			return outcome{}, fmt.Errorf("on the way to the site: %w", err)
		}
	}
	return l.check(ctx, j)
}

// come takes somebody who is signed in to the site, and returns the cookie that they have there.
func (l *load) come(ctx context.Context, j job, p person) (string, error) {
	begun, err := l.step(ctx, j.Gate, access.BeginPath+"?to=/", siteHost, "")
	if err != nil {
		return "", err
	}
	to, err := begun.Location()
	if err != nil {
		return "", err
	}
	led, err := l.step(ctx, j.Addr, to.RequestURI(), j.Addr, web.SessionCookie+"="+p.Session)
	if err != nil {
		return "", err
	}
	if to, err = led.Location(); err != nil {
		return "", err
	}
	entered, err := l.step(ctx, j.Gate, to.RequestURI(), siteHost, cookies(begun))
	return cookies(entered), err
}

func cookies(got *http.Response) string {
	var all []string
	if got != nil {
		for _, c := range got.Cookies() {
			if c.Value != "" {
				all = append(all, c.Name+"="+c.Value)
			}
		}
	}
	return strings.Join(all, "; ")
}

func (l *load) step(ctx context.Context, addr, path, host, cookie string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	r.Host = host
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	got, err := l.client.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if err := got.Body.Close(); err != nil {
		return nil, err
	}
	if got.StatusCode/100 != 3 {
		return nil, fmt.Errorf("%s%s: %s", host, (&url.URL{Path: path}).EscapedPath(), got.Status)
	}
	return got, nil
}

func proxied(j job, p person) []byte {
	return []byte("GET " + forwardauth.Path + " HTTP/1.1\r\nHost: " + j.Gate + "\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: " + siteHost +
		"\r\nX-Forwarded-Uri: /pages/1?edit=no\r\nCookie: " + p.Pass + "\r\n\r\n")
}
