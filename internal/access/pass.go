package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
)

// The way of a session from our host to a site's. No cookie of ours goes there, so the browser carries it, sealed, in three steps:
//
//	wish    made on the site's host; says where somebody wants to go, and the digest of a secret that this browser alone has
//	ticket  made on ours, for who is signed in; is good for a minute, for that site, and with that secret alone
//	pass    made on the site's again; a cookie there, good as long as the session
//
// So nobody can have another's browser enter with a ticket of their own, and a ticket in a log is worth nothing.

const (
	wishFor   = 15 * time.Minute // to sign in in between, codes and all
	ticketFor = time.Minute      // two redirects
	maxTo     = 2048             // bytes of a path to come back to: longer ones begin at the site's front page
)

// EntryPrefix begins the secret that a browser has while it is on its way.
const EntryPrefix = "cs_en_"

type wish struct {
	Origin string `json:"o"`
	To     string `json:"t"`
	Entry  []byte `json:"n"`
	Until  int64  `json:"u"` // Unix seconds
}

type ticket struct {
	wish

	Session session.ID `json:"s"`
}

func place(what, origin string) keyring.Place {
	return keyring.Place{Table: "access", Row: origin, Column: what}
}

func (s *Service) write(what, origin string, v any) string {
	plain, _ := json.Marshal(v) // strings, bytes and numbers always can
	return base64.RawURLEncoding.EncodeToString(s.Ring.Seal(plain, place(what, origin)))
}

func (s *Service) read(what, origin, text string, into any) error {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		sealed, err = s.Ring.Open(sealed, place(what, origin))
	}
	if err == nil {
		err = json.Unmarshal(sealed, into)
	}
	return err
}

// What Wish, Wished, Ticket and Enter refuse.
var (
	ErrUnknown = errors.New("no rule names this site")
	// ErrOver is what is no good any more, or never was, or not for who brings it.
	ErrOver = errors.New("the way to the site is over")
)

func over(why string) error { return fmt.Errorf("%w: %s", ErrOver, why) }

func digest(entry secret.Token) []byte {
	sum := sha256.Sum256([]byte(entry.Reveal()))
	return sum[:16]
}

// inside is a path of the site and of no other.
func inside(to string) string {
	if len(to) > maxTo || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == '\\' || c >= 0x7f }) {
		return "/"
	}
	return to
}

// Wish is what a browser carries from a site's host to ours. entry is the secret that it keeps there. Errors: ErrUnknown.
func (s *Service) Wish(host, to string, entry secret.Token) (string, error) {
	f, ok := find(s.Rules, Asked{Host: host, Path: "/"})
	if !ok {
		return "", ErrUnknown
	}
	return s.write("wish", "", wish{Origin: f.origin, To: inside(to), Entry: digest(entry), Until: s.DB.Now().Add(wishFor).Unix()}), nil
}

// Wished is what it takes to go where a wish wants to. Errors: ErrOver.
func (s *Service) Wished(text string) (Need, error) {
	w, err := s.wished(text)
	if err != nil {
		return Need{}, err
	}
	_, host, _ := strings.Cut(w.Origin, "://")
	f, _ := find(s.Rules, Asked{Method: "GET", Host: host, Path: w.To})
	return f.need, nil
}

func (s *Service) wished(text string) (w wish, err error) {
	if err := s.read("wish", "", text, &w); err != nil {
		return wish{}, over("this is no wish of ours")
	}
	if s.DB.Now().Unix() > w.Until {
		return wish{}, over("too long ago")
	}
	return w, nil
}

// Ticket is where a browser goes on that is signed in, with what it carries. Errors: ErrOver.
func (s *Service) Ticket(text string, me session.Session) (string, error) {
	w, err := s.wished(text)
	if err != nil {
		return "", err
	}
	w.Until = s.DB.Now().Add(ticketFor).Unix()
	return w.Origin + EnterPath + "?ticket=" + s.write("ticket", w.Origin, ticket{w, me.ID}), nil
}

// Enter turns a ticket into the pass that a browser keeps at the site, and says where it goes on there. Errors: ErrOver,
// ErrUnknown.
func (s *Service) Enter(host, text string, entry secret.Token) (pass secret.Token, to string, err error) {
	f, ok := find(s.Rules, Asked{Host: host, Path: "/"})
	if !ok {
		return secret.Token{}, "", ErrUnknown
	}
	var t ticket
	switch err := s.read("ticket", f.origin, text, &t); {
	case err != nil:
		return secret.Token{}, "", over("this is no ticket for this site")
	case s.DB.Now().Unix() > t.Until:
		return secret.Token{}, "", over("too late")
	case subtle.ConstantTimeCompare(t.Entry, digest(entry)) != 1:
		return secret.Token{}, "", over("another browser began this")
	}
	return secret.Of(s.write("pass", f.origin, t.Session)), t.To, nil
}

// passed is the session of a pass; empty if it is none for this site.
func (s *Service) passed(origin string, pass secret.Token) (id session.ID) {
	if pass.Empty() || s.read("pass", origin, pass.Reveal(), &id) != nil {
		return ""
	}
	return id
}
