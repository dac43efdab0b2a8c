package api

import (
	"errors"
	"net/http"
	"strings"

	"countersign/internal/dpop"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/web"
)

// The headers of proofs (RFC 9449), as net/http writes them.
const (
	proofHeader = "Dpop"
	nonceHeader = "Dpop-Nonce"
)

// token returns the session's token: of an app from the Authorization header, of a browser from the cookie. Who sends the
// header means it: a bad one is not made good by a cookie. proved says that it comes under the scheme DPoP.
func token(r *http.Request) (t secret.Token, proved bool) {
	switch lines := r.Header["Authorization"]; len(lines) {
	case 0:
		return web.Cookie(r, web.SessionCookie), false
	case 1:
		scheme, value, _ := strings.Cut(lines[0], " ")
		proved = strings.EqualFold(scheme, "DPoP")
		if proved || strings.EqualFold(scheme, "Bearer") {
			return secret.Of(value), proved
		}
	}
	return secret.Token{}, false
}

// proved returns the session of a token that comes with a proof of its key. The proof is used up last: a call that fails for
// another reason may be sent again as it is.
func (h *API) proved(w http.ResponseWriter, r *http.Request, token secret.Token) (session.Session, error) {
	p, err := h.proof(r, token)
	if err != nil {
		return session.Session{}, err
	}
	s, err := h.Sessions.CheckKey(r.Context(), token, p.Key)
	if err != nil {
		return session.Session{}, err
	}
	next, err := h.Proofs.Spend(r.Context(), p)
	if next != "" {
		w.Header()[nonceHeader] = []string{next}
	}
	return s, err
}

// proof reads the one proof of a call. What it must be for comes from the settings: Host may be anything.
func (h *API) proof(r *http.Request, token secret.Token) (dpop.Proof, error) {
	lines := r.Header[proofHeader]
	if len(lines) != 1 {
		return dpop.Proof{}, fault.New(fault.Unauthenticated, "dpop_proof_refused", errors.New("want one DPoP header"))
	}
	return dpop.Read(lines[0], dpop.Request{Method: r.Method, URL: h.Public + r.URL.EscapedPath(), Token: token}, h.Now())
}

// binding reads the proof of the key that the session which a call may begin is to be bound to, if there is one. It answers
// the nonce of the step, which only the step knows; the answer brings one for the next call.
func (h *API) binding(w http.ResponseWriter, r *http.Request) (dpop.Proof, error) {
	if len(r.Header[proofHeader]) == 0 {
		return dpop.Proof{}, nil
	}
	p, err := h.proof(r, secret.Token{})
	if err == nil {
		w.Header()[nonceHeader] = []string{h.Proofs.Nonce()}
	}
	return p, err
}

// opened is a session as whoever began it is told.
func opened(st session.Started) newSession {
	return newSession{Token: st.Token.Reveal(), TokenType: st.TokenType(), ExpiresAt: instant(st.ExpiresAt)}
}
