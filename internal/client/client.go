// Package client knows the applications that call the API by what they call themselves: which
// versions are in use, which are warned, and which are refused. It owns the tables client_rule,
// client_api, client_revision and client_usage.
//
// An old application cannot be mended on people's phones; it can be told apart and turned away.
// Whoever writes a client can lie about its version, so nothing here protects anything: an old
// version is offered no more than a new one, and a version that lies loses only the warning.
package client

import (
	"sync/atomic"
	"time"

	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
)

// What stands in the place of a client's name or version.
const (
	Unnamed = "unnamed" // the name of who sent none, or one that cannot be read
	Unknown = "unknown" // the name of who sent one that the operator has not listed
	Other   = "other"   // the version of those that are too many to be told apart
)

// MaxClients is how many applications can have a rule.
const MaxClients = 100

// Service judges and counts calls. DB and Audit are required.
type Service struct {
	DB    *sqldb.DB
	Audit *audit.Log

	book  atomic.Pointer[book]
	usage usage
}

// Rule is what the operator decided about an application.
type Rule struct {
	Client      string
	WarnBelow   Bound
	RefuseBelow Bound
	WarnedAt    time.Time // since when versions below WarnBelow are; zero if none are
	Sunset      time.Time // from then on those are refused; zero means never
	ChangedAt   time.Time
}

// API is a version of the API that is, or will be, withdrawn.
type API struct {
	Version     string
	AnnouncedAt time.Time
	RetiredAt   time.Time
}

// book is all rules, as of one revision.
type book struct {
	revision int64
	rules    map[string]Rule
	apis     map[string]API
}

// Class is how a call fares.
type Class string

// The classes.
const (
	Current Class = "current"
	Warned  Class = "warned"
	Refused Class = "refused"
)

// Caller is who calls, as far as it is told apart, and how it fares.
type Caller struct {
	Client  string // listed, Unnamed or Unknown
	Version string // "" unless the client is listed
	Class   Class
}

// Verdict is what becomes of a call.
type Verdict struct {
	Caller

	// Retired says that the version of the API is, whoever calls.
	Retired bool
	// Least is the first version that is accepted, if the call was refused and there is one.
	Least string
	// Since and Sunset are when the warning began and when it ends in a refusal; zero if not.
	Since, Sunset time.Time
}

// Call is one call of the API.
type Call struct {
	Lines []string // of the header in which the client names itself
	API   string   // the version of the API in the path: "v1"
	// Open spares what everybody may read, whatever their version: the description of the API.
	Open bool
	At   time.Time
}

// Judge decides about a call, from memory alone.
func (s *Service) Judge(c Call) Verdict {
	b := s.book.Load()
	if b == nil {
		b = &book{}
	}
	v, rule, version := b.find(c.Lines)
	api, ends := b.apis[c.API]
	v.Retired = ends && !c.At.Before(api.RetiredAt)
	warned := rule.WarnBelow.over(version)
	over := warned && !rule.Sunset.IsZero() && !c.At.Before(rule.Sunset)
	switch {
	case v.Retired:
		v.Class = Refused
	case c.Open:
	case over, rule.RefuseBelow.over(version):
		v.Class = Refused
		v.Least = rule.RefuseBelow.least.text
		if over {
			v.Least = rule.WarnBelow.least.text
		}
	case warned:
		v.Class, v.Since, v.Sunset = Warned, rule.WarnedAt, rule.Sunset
	}
	if v.Class != Refused && ends {
		v.Class, v.Since, v.Sunset = Warned, earlier(v.Since, api.AnnouncedAt), earlier(v.Sunset, api.RetiredAt)
	}
	return v
}

// find tells who calls, as far as the operator has listed them.
func (b *book) find(lines []string) (Verdict, Rule, Version) {
	v := Verdict{Caller: Caller{Client: Unnamed, Class: Current}}
	var version Version
	if named, ok := parse(lines); ok {
		v.Client = Unknown
		// Nobody is called as those without a name are.
		if _, listed := b.rules[named.Name]; listed && named.Name != Unnamed && named.Name != Unknown {
			v.Client, v.Version, version = named.Name, named.Version.text, named.Version
		}
	}
	return v, b.rules[v.Client], version
}

// earlier is the earlier of two times, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
