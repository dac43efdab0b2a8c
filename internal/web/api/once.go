package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"countersign/internal/platform/fault"
	"countersign/internal/seconddoor"
	"countersign/internal/web"
)

// onceHeader names a call, so that it can be repeated (draft-ietf-httpapi-idempotency-key-header).
const onceHeader = "Idempotency-Key"

const maxCallName = 255

// outcome is what came of a call, as it is kept.
type outcome struct {
	Status int        `json:"status,omitempty"`
	Type   string     `json:"type,omitempty"`
	Body   []byte     `json:"body,omitempty"`
	Kind   fault.Kind `json:"kind,omitempty"`
	Code   string     `json:"code,omitempty"` // of a refusal, which stands as well
}

// recorder takes an answer down.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// once serves a call that its application gave a name: the first time as any other, and then what came of it.
func (h *API) once(w http.ResponseWriter, c *call, body []byte, next func(huma.Context)) error {
	r, _ := humago.Unwrap(c.humaContext)
	name, err := callName(r.Header.Values(onceHeader))
	if err != nil {
		return err
	}
	kept, err := h.Door.Second.Once(r.Context(), seconddoor.Call{
		App: c.application.ID, Name: name, Asked: r.Method + " " + r.URL.Path + "\n" + string(body),
	}, func() ([]byte, error) {
		rec := &recorder{header: http.Header{}, status: http.StatusOK}
		c.humaContext = humago.NewContext(c.Operation(), r, rec)
		next(c)
		o := outcome{Status: rec.status, Type: rec.header.Get("Content-Type"), Body: rec.body.Bytes()}
		if c.err != nil {
			f := fault.Of(c.err)
			if !stands(f.Kind) {
				return nil, c.err
			}
			o = outcome{Kind: f.Kind, Code: f.Code}
		}
		return json.Marshal(o)
	})
	if err != nil {
		return err
	}
	var o outcome
	if err := json.Unmarshal(kept, &o); err != nil {
		return err
	}
	if o.Code != "" {
		return fault.New(o.Kind, o.Code, errors.New("as the call was answered the first time"))
	}
	if o.Type != "" {
		w.Header().Set("Content-Type", o.Type)
	}
	w.WriteHeader(o.Status)
	_, err = w.Write(o.Body)
	return err
}

// stands reports whether a refusal is the call's answer. One for lack of time, room or patience is not: the call may be tried again.
func stands(k fault.Kind) bool {
	return k != fault.Internal && k != fault.TooMany && k != fault.Unavailable
}

// callName reads the header: a String (RFC 8941 section 3.3.3) as the draft has it, or the same without its quotes, as many send it.
func callName(values []string) (string, error) {
	bad := web.Refuse(http.StatusBadRequest, "idempotency_key_malformed")
	if len(values) != 1 {
		return "", bad
	}
	text := values[0]
	if inner, quoted := strings.CutPrefix(text, `"`); quoted {
		var ends bool
		if text, ends = strings.CutSuffix(inner, `"`); !ends {
			return "", bad
		}
	}
	if text == "" || len(text) > maxCallName || strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }) {
		return "", bad
	}
	return text, nil
}
