package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

type humaContext = huma.Context // embedding needs a name that is not a method's

// call is one request as huma sees it. Once it has failed nothing huma writes gets through: the
// error goes to web.Handle, which answers it like every other.
type call struct {
	humaContext

	body    io.Reader
	session session.Session
	client  signin.Client
	err     error

	application Application // at the second door
}

// BodyReader returns the body, which has been read and found to be strict JSON.
func (c *call) BodyReader() io.Reader { return c.body }

// SetStatus begins the answer, unless the call has failed.
func (c *call) SetStatus(status int) {
	if c.err == nil {
		c.humaContext.SetStatus(status)
	}
}

// BodyWriter drops what huma writes about a failure.
func (c *call) BodyWriter() io.Writer {
	if c.err != nil {
		return io.Discard
	}
	return c.humaContext.BodyWriter()
}

// SetHeader names the charset, too.
func (c *call) SetHeader(name, value string) {
	if c.err != nil {
		return
	}
	if name == "Content-Type" && value == "application/json" {
		value = "application/json; charset=utf-8"
	}
	c.humaContext.SetHeader(name, value)
}

// AppendHeader adds a header, unless the call has failed.
func (c *call) AppendHeader(name, value string) {
	if c.err == nil {
		c.humaContext.AppendHeader(name, value)
	}
}

// mux is huma's adapter: a route on the server's mux for every operation.
type mux struct {
	api *API
	*http.ServeMux
}

// Handle mounts one operation.
func (m mux) Handle(op *huma.Operation, next func(huma.Context)) {
	m.ServeMux.Handle(op.Method+" "+op.Path, web.Handle(m.api.Log, func(w http.ResponseWriter, r *http.Request) error {
		c := &call{humaContext: humago.NewContext(op, r, w), client: m.api.Client(r)}
		var err error
		switch {
		case op.Metadata[atDoor] == true:
			c.application, err = m.api.Door.Application(r)
		case len(op.Security) > 0:
			if c.session, err = m.api.signedIn(w, r); err == nil && op.Metadata[enrols] != true {
				err = c.session.Full()
			}
		case op.Metadata[begins] == true:
			c.client.Proof, err = m.api.binding(w, r)
		}
		if err != nil {
			return err
		}
		body, err := readBody(op, r)
		if err != nil {
			return err
		}
		c.body = bytes.NewReader(body)
		if op.Metadata[atDoor] == true && op.Method == http.MethodPost && r.Header[onceHeader] != nil {
			return m.api.once(w, c, body, next)
		}
		next(c)
		return c.err
	}))
}

// readBody reads a JSON body strictly, or makes sure that there is none.
func readBody(op *huma.Operation, r *http.Request) ([]byte, error) {
	if op.RequestBody == nil {
		if r.ContentLength != 0 {
			return nil, web.Refuse(http.StatusBadRequest, "body_malformed")
		}
		return nil, nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return nil, web.Refuse(http.StatusUnsupportedMediaType, "content_type_unsupported")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, web.Refuse(http.StatusUnsupportedMediaType, "content_type_unsupported")
	}
	body, err := io.ReadAll(r.Body) // bounded by the Front
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, err
		}
		return nil, web.Refuse(http.StatusRequestTimeout, "body_timeout")
	}
	if !strict(body) {
		return nil, web.Refuse(http.StatusBadRequest, "body_malformed")
	}
	return body, nil
}

// signedIn returns the session of the call. The old proof of a bound key is taken away: the browser, if it is one, proves
// the key before it calls again.
func (h *API) signedIn(w http.ResponseWriter, r *http.Request) (session.Session, error) {
	t, proved := token(r)
	if proved {
		return h.proved(w, r, t)
	}
	one, stands, err := h.Sessions.Stands(r.Context(), t, bound.Cookies(r))
	if err != nil {
		return session.Session{}, err
	}
	if err := stands.Refused(); err != nil {
		if stands.Ask != nil {
			web.SetCookie(w, bound.Cookie(string(one.Device)), secret.Token{}, -1)
		}
		return session.Session{}, err
	}
	return one, nil
}

// Caller is embedded in inputs whose handler needs to know who calls.
type Caller struct {
	client      signin.Client
	session     session.Session
	application Application
}

// Resolve implements huma.Resolver.
func (c *Caller) Resolve(ctx huma.Context) []error {
	if from, ok := ctx.(*call); ok {
		c.client, c.session, c.application = from.client, from.session, from.application
	}
	return nil
}

// takeOverErrors makes huma hand its errors to us. Huma keeps its error constructor in package
// variables; they are the same for every API, so they are set once.
//
//nolint:gochecknoglobals // huma's own globals need it
var takeOverErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, _ string, _ ...error) huma.StatusError { return &Problem{Status: status} }
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
		if c, ok := ctx.(*call); ok && c.err == nil {
			c.err = failure(status, errs)
		}
		return &Problem{Status: status}
	}
})

// failure finds what to answer: the handler's own error, or ours for what huma found wrong. Huma's
// words quote the request, password included, so they go no further.
func failure(status int, errs []error) error {
	for _, err := range errs {
		if _, classified := errors.AsType[*fault.Error](err); classified {
			return err
		}
	}
	switch status {
	case http.StatusBadRequest:
		return web.Refuse(http.StatusBadRequest, "body_malformed")
	case http.StatusInternalServerError:
		return errors.Join(errs...)
	default:
		return unfit(errs)
	}
}

// Problem is every failure's body (RFC 9457), as it is described; web writes it.
type Problem struct {
	Type      string `json:"type" example:"urn:countersign:error:flow_ended" doc:"A name for the code."`
	Title     string `json:"title" example:"The sign-in is over, or was begun elsewhere" doc:"The code in words, for people who develop."`
	Status    int    `json:"status" example:"410" doc:"The HTTP status."`
	Code      string `json:"code" example:"flow_ended" doc:"What programs should look at. Its meaning never changes."`
	Detail    string `json:"detail,omitempty" example:"This version of the app is too old and no longer works. Update the app, then try again." doc:"With client_outdated and api_retired: what to show the person, in their language (Accept-Language). With input_invalid: which field is wrong, and how."`
	RequestID string `json:"request_id" example:"9f86d081884c7d65" doc:"The name of this request in the server's log."`
}

// Error returns the code.
func (p *Problem) Error() string { return p.Code }

// GetStatus returns the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }
