package web

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"countersign/internal/client"
	"countersign/internal/platform/fault"
	"countersign/internal/web/bound"
)

// MaxBody is the most bytes a request body may have.
const MaxBody = 64 << 10

// maxReports is the most bytes that providers may send at once below hooksPath: Infobip puts up to a hundred reports into one
// request, of 700 bytes each.
const (
	maxReports = 256 << 10
	hooksPath  = "/hooks/"
)

// HealthPath is answered whatever the Host header says, because load balancers ask by address.
const HealthPath = "/healthz"

// Front is the outermost handler: what every request passes and every answer carries.
// Log, Mux, PublicURL and Now are required.
type Front struct {
	Log *slog.Logger
	Mux *http.ServeMux
	// PublicURL is the one base of every link and the one host that is served.
	PublicURL *url.URL
	// InternalHosts are further Host values under which applications reach /api/.
	InternalHosts []string
	// Page renders a failure for a person. Without it everybody gets problem+json.
	Page func(w http.ResponseWriter, r *http.Request, a Answer)
	// Metrics may be nil.
	Metrics *Metrics
	// Apps may be nil: then nobody asks what version calls.
	Apps *Apps
	Now  func() time.Time

	sameSite http.CrossOriginProtection
}

// response is what handlers below a Front write to.
type response struct {
	http.ResponseWriter
	front    *Front
	request  *http.Request
	fixed    [10]string // the values of the headers every answer carries, in one allocation with the rest
	set      int        // how many of them are set
	status   int
	bytes    int64
	unrouted bool   // the mux found no handler and is writing its own words, which are dropped
	code     string // of the failure that was answered
	app      client.Caller
}

// Open names what other sites' pages may send to us, as a pattern of a mux. Cookies must decide nothing there.
func (f *Front) Open(patterns ...string) {
	for _, p := range patterns {
		f.sameSite.AddInsecureBypassPattern(p)
	}
}

// id is the request's id; it is a header too.
func (w *response) id() string { return w.fixed[0] }

// put sets a header without an allocation of its own.
func (w *response) put(h http.Header, name, value string) {
	if w.set == len(w.fixed) {
		h[name] = []string{value}
		return
	}
	w.fixed[w.set] = value
	h[name] = w.fixed[w.set : w.set+1 : w.set+1]
	w.set++
}

// Unwrap serves http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status.
func (w *response) WriteHeader(status int) {
	if w.status != 0 && w.status != http.StatusEarlyHints {
		return
	}
	if w.request.Pattern == "" && w.code == "" && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		w.unrouted = true
		return
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (w *response) Write(b []byte) (int, error) {
	if w.unrouted {
		return len(b), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

func responseOf(w http.ResponseWriter) *response {
	for {
		switch v := w.(type) {
		case *response:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}

// requestID returns the id under which the log knows the request that w answers.
func requestID(w http.ResponseWriter) string {
	if res := responseOf(w); res != nil {
		return res.id()
	}
	return ""
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := f.Now()
	res := &response{ResponseWriter: w, front: f, request: r}
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	var id [16]byte
	hex.Encode(id[:], raw[:])
	res.fixed[0] = string(id[:])
	defer f.finish(res, r, began)
	f.setHeaders(res, r)
	if err := f.admit(res, r, began); err != nil {
		if r.URL.Path == bound.RefreshPath {
			err = fault.Later(fault.Unavailable, "busy", 30*time.Second, errors.New(err.Error())) // not a Refusal any more
		}
		fail(f.Log, res, r, err)
		return
	}
	f.Mux.ServeHTTP(res, r)
	if res.unrouted {
		res.unrouted = false
		fail(f.Log, res, r, unrouted(res.Header()))
	}
}

// unrouted says what the mux wanted to say, in our form. The mux has set Allow if only the method is wrong.
func unrouted(h http.Header) error {
	h.Del("Content-Type")
	if allow := h.Get("Allow"); allow != "" {
		return &Refusal{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", extra: extra{allow: allow}}
	}
	return Refuse(http.StatusNotFound, "not_found")
}

// finish is the last resort: it answers a panic, and logs and counts every request. It runs deferred.
func (f *Front) finish(res *response, r *http.Request, began time.Time) {
	if p := recover(); p != nil {
		f.panicked(res, r, p)
	}
	now := f.Now()
	took, status, route := now.Sub(began), res.status, r.Pattern
	if status == 0 {
		status = http.StatusOK
	}
	if route == "" {
		route = f.unmatched(res, r)
	}
	f.Metrics.request(route, status, took)
	if res.app.Client != "" {
		f.Apps.Clients.Count(res.app, route, now)
	}
	if r.Method == http.MethodHead {
		route = "HEAD for " + route
	}
	h := f.Log.Handler()
	if !h.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	// A record made by hand: the logger would look up its caller each time, which is always here.
	event := slog.NewRecord(now, slog.LevelInfo, "request", 0)
	// No address, no query, no agent, no raw path: nothing here says who asked.
	event.AddAttrs(
		slog.String("request_id", res.id()),
		slog.String("route", route), // method and pattern; five attributes fit into a record, a sixth costs an allocation
		slog.Int("status", status),
		slog.Int64("us", took.Microseconds()), // an integer: slog takes its time over fractions
		slog.Int64("bytes", res.bytes))
	_ = h.Handle(r.Context(), event) // there is nowhere to say that the log cannot be written
}

// unmatched names the route of a request that no handler had: of an application that was turned away,
// the one it would have had.
func (f *Front) unmatched(res *response, r *http.Request) string {
	if res.app.Class == client.Refused {
		if _, pattern := f.Mux.Handler(r); pattern != "" {
			return pattern
		}
	}
	return method(r.Method) + " unmatched"
}

func (f *Front) panicked(res *response, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // net/http's own way of dropping a connection
	}
	a := Answer{Status: http.StatusInternalServerError, Code: "internal", RequestID: res.id()}
	f.Log.LogAttrs(r.Context(), slog.LevelError, "panic",
		slog.String("request_id", a.RequestID),
		slog.Any("panic", p),
		slog.String("stack", string(debug.Stack())))
	if res.status == 0 {
		res.code = a.Code
		writeProblemOrPage(f, res, r, a)
	}
}

// writeProblemOrPage answers a panic. The page may be what panicked, so it gets one chance only.
func writeProblemOrPage(f *Front, res *response, r *http.Request, a Answer) {
	defer func() {
		if recover() != nil && res.status == 0 {
			writeProblem(res, r, a)
		}
	}()
	f.answer(res, r, a)
}

// admit refuses what no handler should see.
func (f *Front) admit(w *response, r *http.Request, now time.Time) error {
	switch r.Method {
	case http.MethodTrace, http.MethodConnect:
		return &Refusal{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", extra: extra{allow: "GET, HEAD, POST, PATCH, DELETE"}}
	}
	if !f.serves(r) {
		return Refuse(http.StatusMisdirectedRequest, "host_unknown")
	}
	if f.Apps != nil && forApplication(r) {
		verdict := f.Apps.judge(w, r, now)
		if w.app = verdict.Caller; w.app.Class == client.Refused {
			return f.Apps.refusal(verdict, r)
		}
	}
	if r.ContentLength > most(r) {
		return Refuse(http.StatusRequestEntityTooLarge, "body_too_large")
	}
	if r.ContentLength != 0 {
		r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, most(r)) // which has it close the connection
	}
	if err := f.sameSite.Check(r); err != nil {
		return Refuse(http.StatusForbidden, "cross_site")
	}
	return nil
}

// most is how many bytes a request's body may have.
func most(r *http.Request) int64 {
	if strings.HasPrefix(r.URL.Path, hooksPath) {
		return maxReports
	}
	return MaxBody
}

// serves reports whether the Host header names us. Nothing is ever built from it, and yet a foreign
// name means a rebinding attack or a proxy that sends us somebody else's requests.
func (f *Front) serves(r *http.Request) bool {
	if sameHost(r.Host, f.PublicURL) || r.URL.Path == HealthPath {
		return true
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		for _, h := range f.InternalHosts {
			if strings.EqualFold(r.Host, h) {
				return true
			}
		}
	}
	return false
}

func sameHost(host string, public *url.URL) bool {
	if strings.EqualFold(host, public.Host) {
		return true
	}
	port := ":80"
	if public.Scheme == "https" {
		port = ":443"
	}
	return public.Port() == "" && strings.EqualFold(host, public.Host+port)
}

// method keeps whatever a stranger put there out of the log and out of the labels.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return m
	}
	return "other"
}
