package pages

import (
	"context"
	"net/http"
	"slices"
	"time"

	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

const enrolPath = "/enrol"

// ownSecond is what opens the second door of the signed-in, and what they choose of it.
type ownSecond interface {
	Factors(ctx context.Context, me session.Session) (profile.Factors, error)
	Choose(ctx context.Context, me session.Session, c signin.Client, change func(*factor.Choice)) error
}

// secondView is how the second door is asked for, on the page Security.
type secondView struct {
	SecondWhen string
	Least      bool // the operator wants it so
	Choosable  bool // the holder may choose between always and what is usual
	AskAlways  bool // they have chosen always
	Ordered    bool // more than one way opens, in an order
	Seconds    []secondRow
}

type secondRow struct {
	Way         factor.Way
	Name, Stand string
	First       bool
	CanBeFirst  bool
	Off, Sent   bool
}

func (f frame) secondView(s signin.Second) secondView {
	v := secondView{
		SecondWhen: f.say("second_when_" + string(s.Policy)), Least: s.Least != factor.Unrecognised,
		Choosable: s.Least == factor.Unrecognised, AskAlways: s.Policy == factor.Always,
	}
	opens := 0
	for _, w := range s.Ways {
		if w.Opens {
			opens++
		}
	}
	v.Ordered = opens > 1
	for i, w := range s.Ways {
		row := secondRow{
			Way: w.Way, Name: f.say("second_way_" + string(w.Way)), First: i == 0 && w.Opens && opens > 1,
			CanBeFirst: i > 0 && w.Opens, Off: w.Off, Sent: w.Way.Sent() && (w.Off || w.Opens && opens > 1),
		}
		switch {
		case w.Stopped:
			row.Stand = f.say("second_stopped")
		case w.Off && !w.Opens:
			row.Stand = f.say("second_off")
		case !w.Opens:
			row.Stand = f.say("second_idle")
		case w.Way == factor.SMS:
			row.Stand = f.say("second_sms_risk")
		}
		v.Seconds = append(v.Seconds, row)
	}
	return v
}

// postSecond changes one thing about the second door: which way comes first, whether one that is sent is wanted, or when it is asked for.
func (h *Security) postSecond(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	way := factor.Way(form.Get("way"))
	change := map[string]func(*factor.Choice){
		"first": func(c *factor.Choice) { c.Order = append([]factor.Way{way}, without(c.Order, way)...) },
		"off":   func(c *factor.Choice) { c.Off = append(without(c.Off, way), way) },
		"on":    func(c *factor.Choice) { c.Off = without(c.Off, way) },
		"ask":   func(c *factor.Choice) { c.Holder = factor.Policy(form.Get("when")) },
	}[r.PathValue("what")]
	if change == nil {
		return web.Refuse(http.StatusNotFound, "not_found")
	}
	done := "second-changed"
	if r.PathValue("what") == "first" {
		done = "second-ordered"
	}
	return after(w, r, done, h.Factors.Choose(r.Context(), me, h.Client(r), change))
}

func without(ways []factor.Way, w factor.Way) []factor.Way {
	return slices.DeleteFunc(slices.Clone(ways), func(one factor.Way) bool { return one == w })
}

// enrolView asks who has just signed in to enrol something better than codes that are sent.
type enrolView struct {
	frame

	Must    bool // before anything else
	Only    bool // a passkey, and nothing else
	Stale   bool // it takes another sign-in
	Passkey ceremony
	Left    int  // sign-ins at which it can be put off; 0 where that is not limited
	Last    bool // this was the last of them
	Until   *instant
	Later   string // where it is put off
}

func (enrolView) template() string { return "enrol" }

func (h *Security) getEnrol(w http.ResponseWriter, r *http.Request, me session.Session) error {
	own, err := h.Factors.Factors(r.Context(), me)
	if err != nil {
		return err
	}
	if !me.Enrol && len(own.Passkeys)+len(own.Apps) > 0 {
		return seeOther(w, r, returnPath(errand(r)))
	}
	f := h.Pages.frame(h.Pages.language(r), "enrol_title").on(errand(r))
	if key, ok := securityProblems[r.URL.Query().Get("problem")]; ok {
		f = f.fails(f.say(key))
	}
	v := enrolPage(f, own, me.Enrol, h.Pages.options.Now())
	switch b, err := h.Factors.BeginPasskey(r.Context(), me); {
	case err == nil:
		v.Passkey = h.Pages.ceremony(b)
	case fault.Of(err).Code == "reauthentication_required":
		v.Stale = true
	default:
		return err
	}
	return h.Pages.show(w, status(f), v)
}

func enrolPage(f frame, own profile.Factors, must bool, now time.Time) enrolView {
	f.SignedIn = true
	v := enrolView{frame: f, Must: must, Only: own.Nudge.Passkey, Later: returnPath(f.On)}
	if own.Nudge.Required && !must {
		v.Left, v.Until, v.Last = own.Nudge.Left, f.later(own.Nudge.Deadline, now), own.Nudge.Must
	}
	return v
}

// enrolling is signedIn for what enrols a factor: sessions that are good for nothing else get as far.
func (p *Pages) enrolling(sessions Sessions, next func(http.ResponseWriter, *http.Request, session.Session) error) func(http.ResponseWriter, *http.Request) error {
	return holding(sessions, func(w http.ResponseWriter, r *http.Request, at held) error {
		switch {
		case at.Ask != nil:
			return askBound(w, r, *at.Ask)
		case at.Unproved:
			return p.unproved(w, r)
		}
		return next(w, r, at.Session)
	})
}
