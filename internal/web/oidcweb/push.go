package oidcweb

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"countersign/internal/oidc"
)

// requests are taken before a browser brings them.
type requests interface {
	Push(context.Context, oidc.Client, url.Values, oidc.Caller) (uri string, lasts time.Duration, err error)
}

// push keeps a request (RFC 9126 section 2.2).
func (d *Door) push(w http.ResponseWriter, r *http.Request) error {
	c, form, by, err := d.proving(w, r)
	if err != nil {
		return err
	}
	uri, lasts, err := d.Requests.Push(r.Context(), c, form, by)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, pushed{uri, int(lasts.Seconds())})
}

type pushed struct {
	URI string `json:"request_uri"`
	For int    `json:"expires_in"`
}
