// Package hooks is the door for what providers tell of letters that they took.
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

// Path is below which providers tell what became of letters; the channel's name follows, and the provider's.
const Path = "/hooks/"

// Report is what somebody who says to be a provider has sent.
type Report struct {
	Channel  string // sms or mail
	Provider string
	Header   http.Header
	Query    url.Values
	Body     []byte
}

// Answer is what the provider is told.
type Answer struct {
	Genuine bool
	Type    string // the body's; empty where there is none
	Body    []byte
}

// Take judges and keeps what providers send.
type Take func(context.Context, Report) (Answer, error)

// Mount has take judge and keep what providers send. What is not genuine is refused; whatever is, is answered alike,
// whether or not there is such a letter. Nothing is looked up for a forged one, and no limit per source is needed: it costs one
// digest, and real ones all come from a few addresses. Some gateways, such as Kannel, can do no better than GET.
func Mount(mux *http.ServeMux, log *slog.Logger, take Take) {
	for _, channel := range []string{"sms", "mail"} {
		h := door(log, channel, take)
		mux.Handle("POST "+Path+channel+"/{provider}", h)
		mux.Handle("GET "+Path+channel+"/{provider}", h)
	}
}

func door(log *slog.Logger, channel string, take Take) http.Handler {
	return web.Handle(log, func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return err
			}
			return fault.New(fault.Invalid, "body_malformed", err)
		}
		answer, err := take(r.Context(), Report{Channel: channel, Provider: r.PathValue("provider"), Header: r.Header, Query: r.URL.Query(), Body: body})
		if err != nil {
			return err // and the provider tries again
		}
		if !answer.Genuine {
			return fault.New(fault.Forbidden, "report_refused", errors.New("not the provider's"))
		}
		if answer.Type == "" {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		w.Header().Set("Content-Type", answer.Type)
		_, err = w.Write(answer.Body)
		return err
	})
}
