package web

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/client"
)

// ClientHeader is where an application names itself and its version: "ios/4.2.1".
const ClientHeader = "Countersign-Client"

// Apps turns away applications that are too old, and warns those that will be. It looks at the path
// and at one header, in memory: before the body, the session and whoever the call is about. Clients
// and Say are required.
type Apps struct {
	Clients *client.Service
	// Say is what a person is told whose application is turned away, and in which language.
	Say func(*http.Request) (lang, text string)
	// More is a page about old versions, from the settings; empty names none.
	More string
}

// judge decides about a call of the API, and writes the headers of a warning.
func (a *Apps) judge(w http.ResponseWriter, r *http.Request, now time.Time) client.Verdict {
	version, call, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	v := a.Clients.Judge(client.Call{
		Lines: r.Header[ClientHeader], API: version, At: now,
		Open: strings.HasPrefix(call, "openapi."), // it says how to name oneself
	})
	if v.Class == client.Current {
		return v
	}
	h := w.Header()
	if !v.Since.IsZero() {
		h.Set("Deprecation", "@"+strconv.FormatInt(v.Since.Unix(), 10)) // RFC 9745
	}
	if !v.Sunset.IsZero() {
		h.Set("Sunset", v.Sunset.UTC().Format(http.TimeFormat)) // RFC 8594
	}
	if a.More != "" {
		h.Add("Link", "<"+a.More+`>; rel="deprecation"`)
		h.Add("Link", "<"+a.More+`>; rel="sunset"`)
	}
	return v
}

// refusal is the answer to a call that is refused: the same for everybody who makes it.
func (a *Apps) refusal(v client.Verdict, r *http.Request) error {
	lang, text := a.Say(r)
	if v.Retired {
		return &Refusal{Status: http.StatusGone, Code: "api_retired", extra: extra{detail: text, lang: lang}}
	}
	e := &Refusal{Status: http.StatusUpgradeRequired, Code: "client_outdated", extra: extra{detail: text, lang: lang}}
	// RFC 9110, 15.5.22 demands it. RFC 9113, 8.2.2 forbids it in HTTP/2, which some clients enforce.
	if r.ProtoMajor == 1 && r.ProtoMinor >= 1 {
		e.upgrade = ClientHeader
		if v.Least != "" {
			e.upgrade = v.Client + "/" + v.Least
		}
	}
	return e
}
