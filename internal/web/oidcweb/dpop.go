package oidcweb

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"countersign/internal/dpop"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
)

// The headers of proofs (RFC 9449), as net/http writes them.
const (
	proofHeader = "Dpop"
	nonceHeader = "Dpop-Nonce"
)

// proof reads the one proof that a call brings; the zero Proof if it brings none. Spending it is for the last step that can fail for another reason.
func (d *Door) proof(r *http.Request, token secret.Token) (dpop.Proof, error) {
	switch lines := r.Header[proofHeader]; len(lines) {
	case 0:
		return dpop.Proof{}, nil
	case 1:
		return dpop.Read(lines[0], dpop.Request{Method: r.Method, URL: cmp.Or(d.Alias, d.Issuer) + r.URL.EscapedPath(), Token: token}, d.Now())
	}
	return dpop.Proof{}, fault.New(fault.Unauthenticated, "dpop_proof_refused", errors.New("more than one DPoP header"))
}

// spend uses a proof up, and says which nonce the next one should answer. There is nothing to use up of none.
func (d *Door) spend(w http.ResponseWriter, r *http.Request, p dpop.Proof) error {
	if p.Key == "" {
		return nil
	}
	next, err := d.Proofs.Spend(r.Context(), p)
	if next != "" {
		w.Header()[nonceHeader] = []string{next}
	}
	return err
}

// proving is a call of a client that has proved who it is, and maybe a key.
func (d *Door) proving(w http.ResponseWriter, r *http.Request) (c oidc.Client, form url.Values, by oidc.Caller, err error) {
	if c, form, err = d.call(r); err != nil {
		return c, nil, by, err
	}
	p, err := d.proof(r, secret.Token{})
	if err == nil {
		err = d.spend(w, r, p)
	}
	return c, form, oidc.Caller{Key: p.Key, Certificate: d.certificate(r), Source: d.Source(r)}, err
}

// unproved says in the words of OAuth what is wrong with a proof, if that is what is wrong.
func unproved(err error) (*oidc.Refusal, bool) {
	switch fault.Of(err).Code {
	case "dpop_proof_refused":
		return &oidc.Refusal{Word: "invalid_dpop_proof", Why: "the DPoP proof is not for this call, was used before, or is not well formed"}, true
	case "dpop_nonce_needed":
		return &oidc.Refusal{Word: "use_dpop_nonce", Why: "the DPoP proof has to answer the nonce in DPoP-Nonce"}, true
	}
	return nil, false
}

// shown is the token that a call shows in the header, and whether it comes under the scheme DPoP.
func shown(r *http.Request) (token secret.Token, proved bool) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	proved = strings.EqualFold(scheme, "DPoP")
	if !proved && !strings.EqualFold(scheme, "Bearer") {
		return secret.Token{}, false
	}
	return secret.Of(strings.TrimSpace(value)), proved
}

// tokenType is the type of a token that is bound to a key, or to none.
func tokenType(key dpop.Thumbprint) string {
	if key != "" {
		return "DPoP"
	}
	return "Bearer"
}
