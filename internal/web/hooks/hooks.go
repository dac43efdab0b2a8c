// Package hooks is the door for what providers of text messages tell of them.
package hooks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"countersign/internal/platform/fault"
	"countersign/internal/web"
)

// Path is below which providers of text messages tell what became of them; the provider's name follows.
const Path = "/hooks/sms/"

// Report is what somebody who says to be a provider has sent.
type Report struct {
	Provider string
	Header   http.Header
	Query    url.Values
	Body     []byte
}

// Mount has take judge and keep what providers send. It reports false for what is not the provider's; whatever is, is answered alike,
// whether or not there is such a letter. Nothing is looked up for a forged one, and no limit per source is needed: it costs one
// digest, and real ones all come from a few addresses. Some gateways, such as Kannel, can do no better than GET.
func Mount(mux *http.ServeMux, log *slog.Logger, take func(context.Context, Report) (genuine bool, err error)) {
	h := web.Handle(log, func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return err
			}
			return fault.New(fault.Invalid, "body_malformed", err)
		}
		genuine, err := take(r.Context(), Report{Provider: r.PathValue("provider"), Header: r.Header, Query: r.URL.Query(), Body: body})
		if err != nil {
			return err // and the provider tries again
		}
		if !genuine {
			return fault.New(fault.Forbidden, "report_refused", errors.New("not the provider's"))
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	mux.Handle("POST "+Path+"{provider}", h)
	mux.Handle("GET "+Path+"{provider}", h)
}
