// Package notice tells holders what happened to their accounts, at every address that takes
// notices (P7), and knows by which links of those letters they say that it was not them. It owns the
// table notice_link.
//
// A link is a secret of 256 bits, good for 30 days and for one use. It stands behind the # of its
// address, which no browser sends: it reaches no log and no Referer. What it may do is
// decided when it is used: an address that has left the account since says nothing about it any more.
package notice

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// LinkPrefix begins the secret of every link.
const LinkPrefix = "csn"

// LinkFor is how long a link works: people are away, and mail is read late (N-4.6-05).
const LinkFor = 30 * 24 * time.Hour

// The pages that links lead to. The secret follows behind a #.
const (
	PathNotMe = "/notme"     // everything ends, and the old password with it
	PathApp   = "/notme/app" // of an application's own account: no device is remembered any more, and where codes go stays
	PathStop  = "/stop"      // only a waiting recovery ends: nobody has got in
)

// App is an application with accounts of its own, as letters to their holders name it. Site is the origin of its pages.
type App struct{ Name, Site string }

// Service tells holders. All fields are required but Where and Apps.
type Service struct {
	Ring     *keyring.Ring
	Accounts *account.Service
	Outbox   *outbox.Box
	Base     string            // scheme and host that every link begins with; it comes from the settings alone (P3)
	Site     string            // our name in letters
	Channels []message.Channel // those with a provider: an address of another kind is not told
	// Where says roughly where an address of the network is, in a language; empty if unknown.
	Where func(from netip.Addr, lang string) string
	// Apps returns an application that has accounts of its own.
	Apps func(ctx context.Context, tx *sqldb.Tx, id string) (App, error)
}

// Event is what happened.
type Event struct {
	Kind    message.Kind
	Account account.ID
	Source  netip.Addr
	Device  string // the name of whatever it was done from
	// Operator says that an operator did it, from no device of the holder's.
	Operator bool
	App      bool      // so it was by the application whose account it is
	Ends     time.Time // for kinds that end a wait: when
	Mail     bool      // by e-mail alone: what is not worth a text message
	// Withhold writes everything and sends nothing, where the letter's being written must not tell.
	Withhold bool
	// Except is an address that is not told, in its normal form, because somebody else may read what goes there.
	Except string
}

// Tell writes a letter about the event to every address of the account that takes notices, and to
// those that did until lately, each with a link of its own.
func (s *Service) Tell(ctx context.Context, tx *sqldb.Tx, e Event) error {
	reaches, l, err := s.letters(ctx, tx, e)
	if err != nil {
		return err
	}
	for _, r := range reaches {
		if err := s.write(ctx, tx, e, r, l); err != nil {
			return err
		}
	}
	return nil
}

// Last returns what is to be told of an account once it is erased, for the outbox: then nobody can be looked up any more. Such letters
// have no link.
func (s *Service) Last(ctx context.Context, tx *sqldb.Tx, e Event) (all []outbox.Letter, err error) {
	reaches, l, err := s.letters(ctx, tx, e)
	for _, r := range reaches {
		if channel, ok := s.channel(e, r); ok {
			all = append(all, outbox.Letter{Letter: message.Letter{Kind: e.Kind, Channel: channel, To: r.Normal, Language: l.language, Params: l.params}})
		}
	}
	return all, err
}

// letters are whom to tell, and what all letters say.
func (s *Service) letters(ctx context.Context, tx *sqldb.Tx, e Event) ([]account.Reach, letter, error) {
	who, err := s.Accounts.Get(ctx, tx, e.Account)
	if err != nil {
		return nil, letter{}, err
	}
	reaches, err := s.Accounts.Reaches(ctx, tx, e.Account)
	if err != nil {
		return nil, letter{}, err
	}
	params, err := s.From(ctx, tx, e.Account)
	if err != nil {
		return nil, letter{}, err
	}
	params["when"] = tx.Now().UTC().Format(time.RFC3339)
	switch {
	case e.Operator:
		params["operator"] = "yes"
	case e.App:
		params["operator"] = message.ByApp
	default:
		params["device"] = e.Device
	}
	if s.Where != nil {
		if place := s.Where(e.Source, who.Language); place != "" {
			params["place"] = place
		}
	}
	if !e.Ends.IsZero() {
		params["ends"] = e.Ends.UTC().Format(time.RFC3339)
	}
	reaches = slices.DeleteFunc(reaches, func(r account.Reach) bool { return r.Normal == e.Except })
	return reaches, letter{who.Language, params, params["app"] != ""}, nil
}

// From returns the params of a letter that say whose account it is about: ours, or an application's own.
func (s *Service) From(ctx context.Context, tx *sqldb.Tx, who account.ID) (map[string]string, error) {
	params := map[string]string{"site": s.Site}
	id, _, err := s.Accounts.Named(ctx, tx, who)
	if err != nil || id == "" || s.Apps == nil {
		return params, err
	}
	app, err := s.Apps(ctx, tx, id)
	params["app"], params["app_site"] = app.Name, app.Site
	return params, err
}

// letter is what all letters about one event have in common.
type letter struct {
	language string
	params   map[string]string
	app      bool
}

func (s *Service) write(ctx context.Context, tx *sqldb.Tx, e Event, to account.Reach, l letter) error {
	channel, ok := s.channel(e, to)
	if !ok {
		return nil
	}
	token := secret.NewToken(LinkPrefix)
	err := put(ctx, tx, s.digest(token), Link{Account: e.Account, Address: to.ID, Kind: e.Kind, At: tx.Now()}, tx.Now().Add(LinkFor))
	if err != nil {
		return err
	}
	params := map[string]string{"link": s.Base + pathOf(e.Kind, l.app) + "#" + token.Reveal()}
	for name, value := range l.params {
		params[name] = value
	}
	_, err = s.Outbox.Put(ctx, tx, outbox.Letter{
		Letter:  message.Letter{Kind: e.Kind, Channel: channel, To: to.Normal, Language: l.language, Params: params},
		Account: string(e.Account), Withhold: e.Withhold,
	})
	return err
}

// channel is how a letter about the event goes to an address, if it does.
func (s *Service) channel(e Event, to account.Reach) (message.Channel, bool) {
	channel, ok := channelOf(to.Kind)
	return channel, ok && slices.Contains(s.Channels, channel) && (!e.Mail || channel == message.Email)
}

func channelOf(k account.Kind) (message.Channel, bool) {
	switch k {
	case account.Email:
		return message.Email, true
	case account.Phone:
		return message.SMS, true
	case account.Username, account.Reference: // nothing can be sent to a name
	}
	return "", false
}

func pathOf(k message.Kind, app bool) string {
	switch {
	case app:
		return PathApp
	case k == message.RecoveryWaiting:
		return PathStop
	}
	return PathNotMe
}

// Link is what a holder's link says.
type Link struct {
	Account account.ID
	Address string // the identifier that the letter went to
	Kind    message.Kind
	At      time.Time // of what the letter told
	// Undoes says that the letter went to an address that may take changes of addresses back now.
	Undoes bool
}

// Use uses up a link that leads to a page. ok is false for one that is unknown, used, expired, malformed or
// another page's, or whose address is none of the account's any more: all the same to the caller, and all the
// same work, for which the next link in the index stands in for one that is not there. Of two uses at once
// one wins.
func (s *Service) Use(ctx context.Context, tx *sqldb.Tx, token secret.Token, page string) (l Link, ok bool, err error) {
	if !token.WellFormed(LinkPrefix) {
		token = secret.NewToken(LinkPrefix) // nobody's
	}
	digest := s.digest(token)
	l, known, err := next(ctx, tx, digest)
	if err != nil {
		return Link{}, false, err
	}
	reaches, err := s.Accounts.Reaches(ctx, tx, l.Account)
	if err != nil {
		return Link{}, false, err
	}
	app, _, err := s.Accounts.Named(ctx, tx, l.Account)
	if err != nil {
		return Link{}, false, err
	}
	address := ""
	i := slices.IndexFunc(reaches, func(r account.Reach) bool { return r.ID == l.Address })
	if known && i >= 0 && pathOf(l.Kind, app != "") == page {
		address, l.Undoes = l.Address, reaches[i].Undoes
	}
	if ok, err = use(ctx, tx, digest, address); err != nil || !ok {
		return Link{}, false, err
	}
	return l, true, nil
}

// Erase deletes every link of an account.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	return erase(ctx, tx, who)
}

// Prune deletes a bounded number of links that have expired and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// digest outlives the keys: the letters with the secrets are out there, and links are found by their neighbours.
func (s *Service) digest(t secret.Token) []byte { return s.Ring.Stable("notice/link", t.Reveal()) }
