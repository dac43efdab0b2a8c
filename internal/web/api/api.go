// Package api is the door for applications: JSON under /api/v1, described by OpenAPI 3.1.
//
// It has no rule of its own: every call is one call of the sign-in machine, of recovery, of sessions
// or of devices. Huma describes the calls and checks bodies against the description; how a body is
// read and how a failure is answered is ours (call.go), so that nothing sent is ever echoed.
package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/factor"
	"countersign/internal/profile"
	"countersign/internal/protect"
	"countersign/internal/recovery"
	"countersign/internal/registration"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// Flows is the sign-in machine.
type Flows interface {
	Begin(context.Context, signin.Begin) (signin.Started, error)
	Again(context.Context, session.Session, signin.Begin) (signin.Started, error)
	Password(context.Context, signin.Ref, signin.Client, signin.PasswordProof) (signin.Next, error)
	Code(context.Context, signin.Ref, signin.Client, signin.CodeProof) (signin.Next, error)
	seconds
	passkeys
	approvals
}

// seconds are what comes beside a code: the device's proof, and how the code goes and what became of it.
type seconds interface {
	Device(context.Context, signin.Ref, signin.Client, device.Proof) (signin.Next, error)
	Send(context.Context, signin.Ref, signin.Client, factor.Way) (signin.Sent, error)
	At(context.Context, signin.Ref) (signin.Next, error)
}

// API is the JSON API. All fields are required.
type API struct {
	Log      *slog.Logger
	Flows    Flows
	Sessions *session.Service
	Proofs   *dpop.Service
	Recovery *recovery.Service
	Owner    *profile.Service
	Protect  *protect.Service
	Client   func(*http.Request) signin.Client
	Now      func() time.Time
	Public   string // the public URL, for the description
	// Where says in a language roughly where an address of the network is; empty if that is not known.
	Where func(from netip.Addr, lang string) string

	Newcomers
	Door

	buffers sync.Pool // of *[]byte, for getSession
}

// Newcomers are how accounts are opened. All fields are required.
type Newcomers struct {
	Registrations Registrations
	Asks          registration.Rules
	MinPassword   int
}

// Version is the version of the API that is served, as it stands in the path.
const Version = "v1"

const base = "/api/" + Version

// Mount registers the routes; nobody else knows these paths.
func (h *API) Mount(mux *http.ServeMux) {
	d := h.describe(mux)
	// Written when somebody asks: it takes longer than everything else at start-up together.
	text := sync.OnceValues(func() (out [2][]byte, err error) {
		if out[0], err = json.Marshal(d.OpenAPI()); err == nil {
			out[1], err = d.OpenAPI().YAML()
		}
		return out, err
	})
	for i, name := range []string{"json", "yaml"} {
		mux.Handle("GET "+base+"/openapi."+name, web.Handle(h.Log, func(w http.ResponseWriter, _ *http.Request) error {
			both, err := text()
			if err != nil {
				return err
			}
			w.Header().Set("Content-Type", "application/openapi+"+name+"; charset=utf-8")
			_, _ = w.Write(both[i]) // the client may have gone; there is nobody to tell
			return nil
		}))
	}
	mux.Handle("GET "+base+"/session", web.Handle(h.Log, h.getSession))
}

// MountDoor registers the second door's routes alone, for which Log, Flows, Client, Now, Public, Where and Door are enough.
func (h *API) MountDoor(mux *http.ServeMux) {
	a := newHuma(h, mux)
	h.door(a)
	h.doorFactors(a)
}

// describe registers every call with huma, on mux.
func (h *API) describe(mux *http.ServeMux) huma.API {
	a := newHuma(h, mux)
	h.signIn(a)
	h.recovery(a)
	h.register(a)
	h.own(a)
	h.protect(a)
	h.account(a)
	h.activity(a)
	h.lifecycle(a)
	h.contacts(a)
	h.factors(a)
	h.passkeys(a)
	h.approve(a)
	h.door(a)
	h.doorFactors(a)
	documentSession(a)
	documentWebhooks(a)
	finishDescription(a.OpenAPI())
	return a
}

// operation says what a call is called and which codes it can fail with.
type operation struct {
	id, method, path, tag string
	summary, about        string
	status                int
	signedIn              bool
	enrols                bool // and so is open to sessions that must enrol something first
	door                  bool // is for applications at the second door, which prove who they are
	begins                bool // may end in a new session, which a proof binds to a key
	bare                  bool // looks at neither body nor query
	codes                 []string
}

// register registers a call. Its handler gets the call itself for what is not in the body.
func register[I, O any](a huma.API, op operation, handle func(context.Context, *I) (*O, error)) {
	o := op.describe()
	huma.Register(a, *o, handle)
}
