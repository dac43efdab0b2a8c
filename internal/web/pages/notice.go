package pages

import (
	"net/http"
	"strings"
	"time"

	"countersign/internal/oidc"
	"countersign/internal/registration"
	"countersign/internal/web"
)

// notice is a page that only says something.
type notice struct {
	words       string // prefix of its words
	action, act string // where to go on, and the words for it
	number      bool   // show the number of the request
}

// notices are the pages of failures by status, so that no status says more than another about why.
//
//nolint:gochecknoglobals // a table that is only read
var notices = map[int]notice{
	http.StatusBadRequest:            {words: "form", action: "/", act: "to_start"},
	http.StatusRequestTimeout:        {words: "form", action: "/", act: "to_start"},
	http.StatusUnauthorized:          {words: "signedout", action: "/signin", act: "signin_submit"},
	http.StatusForbidden:             {words: "forbidden", action: "/", act: "to_start"},
	http.StatusNotFound:              {words: "notfound", action: "/", act: "to_start"},
	http.StatusMethodNotAllowed:      {words: "notfound", action: "/", act: "to_start"},
	http.StatusMisdirectedRequest:    {words: "elsewhere"},
	http.StatusGone:                  {words: "ended", action: "/signin", act: "ended_action"},
	http.StatusConflict:              {words: "ended", action: "/signin", act: "ended_action"},
	http.StatusUnprocessableEntity:   {words: "form", action: "/", act: "to_start"},
	http.StatusUnsupportedMediaType:  {words: "form", action: "/", act: "to_start"},
	http.StatusRequestEntityTooLarge: {words: "large", action: "/", act: "to_start"},
	http.StatusTooManyRequests:       {words: "toomany", action: "/", act: "to_start"},
	http.StatusServiceUnavailable:    {words: "busy"},
}

// onward shows a page that leads on by itself to where its link leads. A redirect would not do after a form: browsers hold those to the
// policy of the page that it stood on (form-action), which names nobody else.
func (p *Pages) onward(w http.ResponseWriter, v noticeView) error {
	v.Onward = v.Action
	return p.show(w, http.StatusOK, v)
}

// Failure is the page of a failed request, for web.Front.
func (p *Pages) Failure(w http.ResponseWriter, r *http.Request, a web.Answer) {
	v := p.failure(p.language(r), r.URL.Path, a)
	v.Action = anew(r, v.Action)
	if err := p.show(w, a.Status, v); err != nil {
		panic(err) // the Front logs it and falls back to plain words
	}
}

// anew is where what has ended begins anew, on the way to what it was for.
func anew(r *http.Request, page string) string {
	name := keptErrand(r)
	switch {
	case name == "":
	case page == "/signin" && strings.HasPrefix(r.URL.Path, "/signin/"):
		return requestPath(requestName(name)) // which knows whether it is a sign-in that it wants
	case page == "/recover", page == registration.Path, page == "/signin" && strings.HasPrefix(r.URL.Path, registration.Path+"/"):
		return towards(page, name)
	}
	return page
}

func (p *Pages) failure(lang, path string, a web.Answer) noticeView {
	n, ok := notices[a.Status]
	if n.words == "ended" && strings.HasPrefix(path, "/recover") {
		n.words, n.action = "recover_ended", "/recover"
	}
	if strings.HasPrefix(path, string(oidc.AuthorizePath)) {
		switch n.words { // where to go on only the application knows
		case "form":
			switch n = (notice{words: "authorize_refused"}); a.Code {
			case "oidc_redirect_unregistered":
				n.words = "authorize_redirect"
			case "oidc_request_invalid":
				n.words = "authorize_request"
			}
		case "ended":
			n = notice{words: "authorize_ended"}
		}
	}
	if !ok {
		n = notice{words: "internal", action: "/", act: "to_start", number: true}
	}
	f := p.frame(lang, n.words+"_title")
	f.Title = f.say("error_prefix") + " " + f.Title
	v := noticeView{frame: f, Heading: f.say(n.words + "_title"), Lead: f.say(n.words + "_lead"), Action: n.action}
	if n.act != "" {
		v.ActionLabel = f.say(n.act)
	}
	if a.Status == http.StatusMisdirectedRequest {
		// The one link is our address by configuration: what was sent is repeated nowhere. Nor is there anything of ours at the host that was
		// named, the style sheet neither.
		v.Assets, v.Action, v.ActionLabel = "", p.options.Origin, p.options.Origin
	}
	if a.RetryAfter > 0 {
		key := "busy_wait"
		if a.Status == http.StatusTooManyRequests {
			key = "toomany_wait" // which limit spoke is not said, so how long it really is cannot be
		}
		v.Wait = f.say(key, "wait", f.span(max(a.RetryAfter, time.Second)))
	}
	if n.number {
		v.RequestID = a.RequestID
	}
	return v
}
