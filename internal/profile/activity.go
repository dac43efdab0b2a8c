package profile

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/audit"
	"countersign/internal/notice"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

const (
	// ActivityFor is how far back an owner is shown what happened.
	ActivityFor = 90 * 24 * time.Hour

	activityPage = 50 // lines a page
	activityRead = 200
	activityMost = 10 // reads a page: what nobody is shown must not make a page read without end
)

// Deed is something that was done in an account or to it, as its owner is shown it.
type Deed struct {
	ID      string // of the newest event of it
	What    What
	At      time.Time
	Actor   string // person, operator or system
	Source  netip.Addr
	Name    string   // of the browser or app that it was done in, where that is known
	Subject string   // name of the device, sign-in or application that it was done to, where that is known
	Way     string   // of a code: sms, email
	Methods []string // what was proved
	Times   int      // how often in a row
}

// Activity is a page of deeds, the newest first. Older is where the next one begins, if Further says that there is one.
type Activity struct {
	Deeds   []Deed
	Older   audit.Mark
	Further bool
}

// Activity returns what was done of late in the owner's account and to it, by whomever, operators
// included: a page of what came before a mark.
func (s *Service) Activity(ctx context.Context, me session.Session, before audit.Mark) (p Activity, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		names, err := s.namesOf(ctx, tx, me)
		if err != nil {
			return err
		}
		p, err = s.page(ctx, tx, me, before, names)
		return err
	})
	return p, err
}

func (s *Service) page(ctx context.Context, tx *sqldb.Tx, me session.Session, before audit.Mark, n names) (Activity, error) {
	p := Activity{Older: before}
	finished := map[string]bool{} // flows that ended in a session: what led there is not told by itself
	for range activityMost {
		events, err := s.Audit.Of(ctx, tx, string(me.Account), audit.Span{Since: tx.Now().Add(-ActivityFor), Before: p.Older, Most: activityRead})
		if err != nil {
			return Activity{}, err
		}
		for _, e := range events {
			d, shown := n.deed(e, finished)
			if shown {
				if err := s.nameApplication(ctx, tx, &d); err != nil {
					return Activity{}, err
				}
			}
			if shown && !p.add(d) {
				p.Further = true
				return p, nil
			}
			p.Older = audit.Mark{At: e.At, ID: e.ID}
		}
		if p.Further = len(events) == activityRead; !p.Further {
			return p, nil
		}
	}
	return p, nil
}

// add puts a deed at the end, or counts it with the last if they are alike. It is false if the page is full.
func (p *Activity) add(d Deed) bool {
	if n := len(p.Deeds); n > 0 && d.What.repeats() && p.Deeds[n-1].like(d) {
		p.Deeds[n-1].Times++
		return true
	}
	if len(p.Deeds) == activityPage {
		return false
	}
	p.Deeds = append(p.Deeds, d)
	return true
}

// Foreign says that somebody else may have done it, which its owner can then say: not what an operator did.
func (d Deed) Foreign() bool { return d.What.foreign() && d.Actor != "operator" }

// Recent says that it is no longer ago than what has changed since can be taken back.
func (d Deed) Recent(now time.Time) bool { return now.Sub(d.At) <= notice.LinkFor }

func (d Deed) like(o Deed) bool {
	return d.What == o.What && d.Actor == o.Actor && d.Source == o.Source && d.Name == o.Name && d.Subject == o.Subject && d.Way == o.Way &&
		slices.Equal(d.Methods, o.Methods)
}

// Deed returns one deed of the owner's account. ok is false if it has none by that id that is shown.
func (s *Service) Deed(ctx context.Context, me session.Session, id string) (d Deed, ok bool, err error) {
	if valid := uuid.Validate(id) == nil; !valid { // whatever stood in the path
		return d, false, nil
	}
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		e, found, err := s.Audit.Find(ctx, tx, string(me.Account), id)
		if err != nil || !found || e.At.Before(tx.Now().Add(-ActivityFor)) {
			return err
		}
		n, err := s.namesOf(ctx, tx, me)
		if d, ok = n.deed(e, map[string]bool{}); err == nil && ok {
			err = s.nameApplication(ctx, tx, &d)
		}
		return err
	})
	return d, ok && err == nil, err
}

// names are what the owner knows their browsers, apps and devices by: the record has none.
type names struct {
	sessions map[string]session.Session
	devices  map[string]string
}

func (s *Service) namesOf(ctx context.Context, tx *sqldb.Tx, me session.Session) (names, error) {
	n := names{map[string]session.Session{}, map[string]string{}}
	sessions, err := s.Sessions.All(ctx, tx, me.Account)
	if err != nil {
		return names{}, err
	}
	for _, one := range sessions {
		n.sessions[string(one.ID)] = one
	}
	devices, err := s.Devices.All(ctx, tx, me.Account)
	for _, one := range devices {
		n.devices[string(one.ID)] = one.Name
	}
	return n, err
}

// deed is an event as its owner is shown it. shown is false for what is not: see whatOf, and the steps
// of a sign-in that succeeded. finished collects the flows of those, so events come the newest first.
func (n names) deed(e audit.Past, finished map[string]bool) (d Deed, shown bool) {
	what := whatOf(e)
	if what == "" {
		return Deed{}, false
	}
	flow := e.Detail["flow"]
	if what == SignedIn && flow != "" {
		finished[flow] = true
	}
	if what.leadsOn() && finished[flow] {
		return Deed{}, false
	}
	d = Deed{ID: e.ID, What: what, At: e.At, Actor: e.Actor, Source: e.Source, Way: e.Detail["way"], Times: 1}
	if opened, ok := n.sessions[e.Detail["session"]]; ok {
		d.Name, d.Methods = opened.Name, opened.Methods
	} else if all := e.Detail["methods"]; all != "" {
		d.Methods = strings.Split(all, ",")
	}
	if by, ok := n.sessions[e.Detail["by_session"]]; ok {
		d.Name = by.Name
	}
	if what.ofApplication() {
		d.Subject = e.Detail["client"]
		return d, true
	}
	d.Subject = n.devices[e.Detail["device"]]
	if which := e.Detail["which"]; which != "" {
		d.Subject = n.devices[which]
		if ended, ok := n.sessions[which]; ok {
			d.Subject = ended.Name
		}
	}
	return d, true
}

// nameApplication has a deed say which application by the name that people know.
func (s *Service) nameApplication(ctx context.Context, tx *sqldb.Tx, d *Deed) error {
	if !d.What.ofApplication() || s.ApplicationName == nil {
		return nil
	}
	name, err := s.ApplicationName(ctx, tx, d.Subject)
	d.Subject = cmp.Or(name, d.Subject) // its id, if it is not registered any more
	return err
}
