package oidcweb

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"

	"countersign/internal/oidc"
)

// devices lets in what has no browser (RFC 8628).
type devices interface {
	Pair(context.Context, oidc.Client, url.Values, netip.Addr) (oidc.Pairing, error)
}

// paired is what a device is told (RFC 8628 section 3.2).
type paired struct {
	Device string `json:"device_code"`
	User   string `json:"user_code"`
	At     string `json:"verification_uri"`
	Whole  string `json:"verification_uri_complete"`
	For    int    `json:"expires_in"`
	Pause  int    `json:"interval"`
}

func (d *Door) pair(w http.ResponseWriter, r *http.Request) error {
	c, form, err := d.call(r)
	if err != nil {
		return err
	}
	p, err := d.Devices.Pair(r.Context(), c, form, d.Source(r))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, paired{
		Device: p.Device.Reveal(), User: p.User, At: p.At, Whole: p.Whole, For: int(p.For.Seconds()), Pause: int(p.Pause.Seconds()),
	})
}
