package oidcweb

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/web"
)

// registry is where applications register themselves.
type registry interface {
	Register(context.Context, secret.Token, oidc.Metadata, netip.Addr) (oidc.Entry, error)
	Own(context.Context, string, secret.Token, netip.Addr) (oidc.Entry, error)
	Amend(context.Context, string, secret.Token, oidc.Metadata, netip.Addr) (oidc.Entry, error)
	Deregister(context.Context, string, secret.Token, netip.Addr) error
}

func (d *Door) mountRegistry(mux *http.ServeMux) {
	one := string(oidc.RegisterPath) + "/{client}"
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST " + string(oidc.RegisterPath): d.register, "GET " + one: d.own, "PUT " + one: d.amend, "DELETE " + one: d.deregister,
	} {
		mux.Handle(pattern, web.Handle(d.Log, d.answering(h)))
	}
}

// registered is what a registration answers (RFC 7591 section 3.2.1, RFC 7592 section 3).
type registered struct {
	oidc.Metadata

	IssuedAt int64  `json:"client_id_issued_at"`
	Secret   string `json:"client_secret,omitempty"`
	Expires  *int64 `json:"client_secret_expires_at,omitempty"` // 0: it does not
	Token    string `json:"registration_access_token"`
	At       string `json:"registration_client_uri"`
}

func (d *Door) tell(w http.ResponseWriter, status int, e oidc.Entry) error {
	out := registered{
		Metadata: e.Metadata, IssuedAt: e.CreatedAt.Unix(), Secret: e.Secret.Reveal(), Token: e.Token.Reveal(),
		At: d.Issuer + string(oidc.RegisterPath) + "/" + url.PathEscape(e.ID),
	}
	if out.Secret != "" {
		out.Expires = new(int64)
	}
	w.Header().Set("Cache-Control", "no-store")
	return answer(w, status, out)
}

func (d *Door) register(w http.ResponseWriter, r *http.Request) error {
	m, err := metadata(r)
	if err != nil {
		return err
	}
	e, err := d.Registry.Register(r.Context(), bearer(r), m, d.Source(r))
	if err != nil {
		return err
	}
	return d.tell(w, http.StatusCreated, e)
}

func (d *Door) own(w http.ResponseWriter, r *http.Request) error {
	e, err := d.Registry.Own(r.Context(), r.PathValue("client"), bearer(r), d.Source(r))
	if err != nil {
		return err
	}
	return d.tell(w, http.StatusOK, e)
}

func (d *Door) amend(w http.ResponseWriter, r *http.Request) error {
	m, err := metadata(r)
	if err != nil {
		return err
	}
	e, err := d.Registry.Amend(r.Context(), r.PathValue("client"), bearer(r), m, d.Source(r))
	if err != nil {
		return err
	}
	return d.tell(w, http.StatusOK, e)
}

func (d *Door) deregister(w http.ResponseWriter, r *http.Request) error {
	err := d.Registry.Deregister(r.Context(), r.PathValue("client"), bearer(r), d.Source(r))
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func bearer(r *http.Request) secret.Token {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return secret.Token{}
	}
	return secret.Of(token)
}

func metadata(r *http.Request) (m oidc.Metadata, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return m, web.Refuse(http.StatusUnsupportedMediaType, "content_type_unsupported")
	}
	err = json.NewDecoder(r.Body).Decode(&m)
	if _, large := errors.AsType[*http.MaxBytesError](err); err == nil || large {
		return m, err
	}
	return m, &oidc.Refusal{Word: "invalid_client_metadata", Why: "the body is not the JSON of a registration (RFC 7591)"}
}
