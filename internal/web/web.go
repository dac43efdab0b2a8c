// Package web is what every door that speaks HTTP shares: from error to answer, headers, cookies, limits.
//
// Front is the outermost handler. Handlers below it return an error and write nothing when they
// fail; Handle logs the error once and Front writes the one answer that its kind has.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/dpop"
	"countersign/internal/platform/fault"
)

// Answer is all that a failed request is told.
type Answer struct {
	Status     int
	Code       string        // stable, listed in docs/errors.md
	RequestID  string        // the same as in the log
	RetryAfter time.Duration // coarse; zero when the answer has none
	extra
}

// extra is what few answers have.
type extra struct {
	allow        string // the Allow header of a 405
	upgrade      string // the Upgrade header of a 426
	detail, lang string // words for a person whose application can do nothing but show them
}

// Refusal is a failure of the HTTP message itself, for which the domain has no kind.
type Refusal struct {
	Status int
	Code   string
	extra
}

// Refuse returns a Refusal.
func Refuse(status int, code string) error { return &Refusal{Status: status, Code: code} }

// Error returns the code.
func (e *Refusal) Error() string { return e.Code }

// RefuseField refuses input because of one field, and names it: a name of small letters and digits alone, which no
// address can be, and no longer than ours are. Of any other nothing is said. text is our own words for what is wrong, with %s for the name, and nothing in it that JSON
// escapes.
func RefuseField(name, text string) error {
	e := &Refusal{Status: http.StatusUnprocessableEntity, Code: "input_invalid"}
	if name != "" && len(name) <= longestField && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.[]") == "" {
		e.detail = strings.Replace(text, "%s", name, 1)
	}
	return e
}

const longestField = 64

// Handle turns a function that may fail into a handler. The error is logged here, once, and
// answered by the Front above; h must not have written anything when it returns one.
func Handle(log *slog.Logger, h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			fail(log, w, r, err)
		}
	})
}

// fail logs err and writes its answer.
func fail(log *slog.Logger, w http.ResponseWriter, r *http.Request, err error) {
	a := answerTo(r, err)
	a.RequestID = requestID(w)
	report(r.Context(), log, a, err)
	res := responseOf(w)
	if res == nil { // a handler tested without its Front
		writeProblem(w, r, a)
		return
	}
	if res.status != 0 {
		return // too late to answer; the log has it
	}
	res.code = a.Code
	res.front.answer(res, r, a)
}

// report logs a failure once. The cause is written only when the failure is ours: the cause of a
// caller's mistake may quote what the caller typed. A note of it never does.
func report(ctx context.Context, log *slog.Logger, a Answer, err error) {
	attrs := []slog.Attr{slog.String("request_id", a.RequestID), slog.String("code", a.Code)}
	level := slog.LevelInfo
	if a.Status >= 500 {
		level = slog.LevelWarn
		if a.Status == http.StatusInternalServerError {
			level = slog.LevelError
		}
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	log.LogAttrs(ctx, level, "request refused", append(attrs, fault.NoteOf(err)...)...)
}

// statusClientGone is written to the log and the metrics, and to nobody else.
const statusClientGone = 499

// answerTo decides the answer. This is the only place where a kind becomes a status.
func answerTo(r *http.Request, err error) Answer {
	if e, ok := errors.AsType[*Refusal](err); ok {
		return Answer{Status: e.Status, Code: e.Code, extra: e.extra}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Answer{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large"}
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return Answer{Status: statusClientGone, Code: "client_gone"}
	}
	f := fault.Of(err)
	if f.Kind == fault.Internal && errors.Is(err, context.DeadlineExceeded) {
		f = fault.Later(fault.Unavailable, "busy", 30*time.Second, err)
	}
	a := Answer{Code: f.Code}
	switch f.Kind {
	case fault.Invalid:
		a.Status = http.StatusUnprocessableEntity
	case fault.Unauthenticated:
		a.Status = http.StatusUnauthorized
	case fault.Forbidden:
		a.Status = http.StatusForbidden
	case fault.NotFound:
		a.Status = http.StatusNotFound
	case fault.Conflict:
		a.Status = http.StatusConflict
	case fault.Gone:
		a.Status = http.StatusGone
	case fault.TooMany:
		a.Status, a.RetryAfter = http.StatusTooManyRequests, coarse(f.RetryAfter)
	case fault.Unavailable:
		a.Status, a.RetryAfter = http.StatusServiceUnavailable, coarse(f.RetryAfter)
	case fault.Internal:
		a.Status = http.StatusInternalServerError
	}
	return a
}

// coarse rounds a wait up to one of a few steps, so that Retry-After says neither which limit
// spoke nor when exactly it will yield (C-BM-04).
func coarse(d time.Duration) time.Duration {
	for _, step := range []time.Duration{30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour} {
		if d <= step {
			return step
		}
	}
	return 24 * time.Hour
}

// answer writes a: a problem for an application, a page for a person.
func (f *Front) answer(w http.ResponseWriter, r *http.Request, a Answer) {
	a.setHeaders(w.Header(), r)
	if f.Page == nil || !forPerson(r) {
		writeProblem(w, r, a)
		return
	}
	f.Page(w, r, a)
}

func (a Answer) setHeaders(h http.Header, r *http.Request) {
	h.Del("Content-Length")
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(a.RetryAfter.Seconds())))
	}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	if a.upgrade != "" {
		h.Set("Upgrade", a.upgrade)
		h.Set("Connection", "Upgrade")
		if r.Close { // without the word net/http drops ours for its own
			h.Set("Connection", "Upgrade, close")
		}
	}
	if a.lang != "" {
		h.Set("Content-Language", a.lang)
		h.Set("Vary", "Accept-Language")
	}
}

func forApplication(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

// providerPath begins the paths of the OpenID provider that programs call.
const providerPath = "/oauth/"

// wellKnownPath begins the paths where programs look what there is.
const wellKnownPath = "/.well-known/"

// Where below those people come by all the same.
const (
	logoutPath   = "/oauth/logout" // applications send them there, and they may be asked
	passwordPath = "/.well-known/change-password"
)

// forPerson reports whether whoever reads the answer is a person in a browser.
func forPerson(r *http.Request) bool {
	switch path := r.URL.Path; {
	case path == logoutPath, path == passwordPath:
		return true
	default:
		return !forApplication(r) && !strings.HasPrefix(path, providerPath) && !strings.HasPrefix(path, wellKnownPath)
	}
}

// writeProblem writes an RFC 9457 problem. Every byte of it is ours, but for the name of a field: see RefuseField.
func writeProblem(w http.ResponseWriter, r *http.Request, a Answer) {
	h := w.Header()
	h["Content-Type"] = []string{"application/problem+json; charset=utf-8"}
	if a.Status == http.StatusUnauthorized {
		h["Www-Authenticate"] = []string{challenge(r.URL.Path, a.Code)} // RFC 9110, 15.5.2
	}
	b := make([]byte, 0, 256)
	b = append(b, `{"type":"urn:countersign:error:`...)
	b = append(b, a.Code...)
	b = append(b, `","title":"`...)
	b = append(b, title(a.Code, a.Status)...)
	b = append(b, `","status":`...)
	b = strconv.AppendInt(b, int64(a.Status), 10)
	b = append(b, `,"code":"`...)
	b = append(b, a.Code...)
	if a.detail != "" {
		b = append(b, `","detail":"`...)
		b = append(b, a.detail...) // in which there is nothing to escape: our own words, as a test sees to, or RefuseField's
	}
	b = append(b, `","request_id":"`...)
	b = append(b, a.RequestID...)
	b = append(b, "\"}\n"...)
	w.WriteHeader(a.Status)
	_, _ = w.Write(b) // the client may have gone; there is nobody to tell
}

// doorPath begins the paths of the second door, whose callers are applications.
const doorPath = "/api/v1/door/"

// challenge says how a call that was refused could have been made: in the words of RFC 9449 where it was for want of a proof.
func challenge(path, code string) string {
	const algorithms = `algs="` + dpop.Algorithms + `"`
	if strings.HasPrefix(path, doorPath) {
		return `Basic realm="countersign", Bearer realm="countersign"`
	}
	switch code {
	case "session_key_unproved":
		return `DPoP error="invalid_token", ` + algorithms
	case "dpop_proof_refused":
		return `DPoP error="invalid_dpop_proof", ` + algorithms
	case "dpop_nonce_needed":
		return `DPoP error="use_dpop_nonce", ` + algorithms
	}
	return `Bearer realm="countersign", DPoP ` + algorithms
}

// WriteJSON writes a ready JSON text with status 200.
func WriteJSON(w http.ResponseWriter, text []byte) {
	const kind = "application/json; charset=utf-8"
	if res := responseOf(w); res != nil {
		res.put(w.Header(), "Content-Type", kind)
	} else {
		w.Header().Set("Content-Type", kind)
	}
	_, _ = w.Write(text) // the client may have gone; there is nobody to tell
}
