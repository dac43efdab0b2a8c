package profile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// FlowPrefix begins the handle of an address that is being added.
const FlowPrefix = "csa"

// flowTTL is how long an address waits for its code.
const flowTTL = 15 * time.Minute

// AddressFlow is an address that is being added to an account.
type AddressFlow struct {
	Handle    secret.Token // set by BeginAddress
	Way       factor.Way   // the code goes
	Refused   bool         // the code just given did not fit; why is not for the caller
	Done      bool         // the address is the account's
	TooSoon   bool         // no code was sent, since one was lately
	ResendAt  time.Time    // zero: there is no further code
	ExpiresAt time.Time
}

// The limits. A code is tried by account and by address; both show, and neither tells whose it is.
//
//nolint:gochecknoglobals // constant tables
var (
	sendOwner   = throttle.Rate{Name: "address/send/account", Burst: 5, Every: 10 * time.Minute}
	sendAddress = throttle.Rate{Name: "address/send/name", Burst: 5, Every: 10 * time.Minute}
	sendSource  = throttle.Rate{Name: "address/send/source", Burst: 20, Every: time.Minute}
	sendAll     = throttle.Rate{Name: "address/send/all", Burst: 500, Every: 50 * time.Millisecond}
	toldOwner   = throttle.Rate{Name: "address/told", Burst: 1, Every: 24 * time.Hour} // that somebody tried; it never shows
	codeWaits   = []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	codeOwner   = throttle.Ladder{Name: "address/code/account", Free: 5, Delays: codeWaits, Stop: 100}
	codeAddress = throttle.Ladder{Name: "address/code/name", Free: 5, Delays: codeWaits, Stop: 100}
)

// BeginAddress sends a code to an address that the owner wants to add, for ProveAddress. Nothing in the
// result, the rows written or the work done depends on whether somebody else has the address: then its
// owner gets another letter, and no code fits.
//
// Errors: fault.Invalid "identifier_malformed" and "way_unknown" go by what was typed alone;
// fault.Conflict "address_known", "too_many_addresses" and "account_frozen" tell the owner of their own;
// fault.Forbidden "reauthentication_required"; fault.TooMany.
func (s *Service) BeginAddress(ctx context.Context, me session.Session, c signin.Client, typed string) (AddressFlow, error) {
	ident, err := s.addressable(typed)
	if err != nil {
		return AddressFlow{}, err
	}
	handle := secret.NewToken(FlowPrefix)
	f := flow{id: uuid.Must(uuid.NewV7()).String(), account: me.Account, session: me.ID, address: ident}
	var out AddressFlow
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f.expiresAt = tx.Now().Add(flowTTL)
		if err := s.may(ctx, tx, me); err != nil {
			return err
		}
		if err := s.newAddress(ctx, tx, me.Account, ident); err != nil {
			return err
		}
		if admitted, err = s.admitSend(ctx, tx, f, c); err != nil || !admitted {
			return err
		}
		owner, taken, err := s.Accounts.TakenFor(ctx, tx, me.Account, ident)
		if err != nil {
			return err
		}
		f.barred, f.owner = taken, owner.Language
		if err := put(ctx, tx, f, s.digest(handle), s.seal(f)); err != nil {
			return err
		}
		out, err = s.sendCode(ctx, tx, f, c)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	out.Handle = handle
	return out, err
}

// addressable reads what was typed. The outcome depends on nothing else.
func (s *Service) addressable(typed string) (account.Identifier, error) {
	ident, err := s.SignIn.Parser.Parse(typed)
	switch {
	case err != nil:
		return account.Identifier{}, err
	case ident.Kind() == account.Username:
		return account.Identifier{}, fault.New(fault.Invalid, "identifier_malformed", errors.New("nothing can be sent to a user name"))
	case !slices.Contains(s.SignIn.Ways, wayTo(ident)):
		return account.Identifier{}, fault.New(fault.Invalid, "way_unknown", errors.New("no provider for addresses of this kind"))
	}
	return ident, nil
}

func wayTo(ident account.Identifier) factor.Way {
	if ident.Kind() == account.Phone {
		return factor.SMS
	}
	return factor.Email
}

// newAddress refuses what the account has already, proved, or has no room for.
func (s *Service) newAddress(ctx context.Context, tx *sqldb.Tx, id account.ID, ident account.Identifier) error {
	own, err := s.Accounts.Addresses(ctx, tx, id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(own, func(a account.Address) bool { return a.Identifier() == ident })
	switch {
	case i >= 0 && own[i].Verified:
		return fault.New(fault.Conflict, "address_known", nil)
	case i < 0 && len(own) >= account.MaxAddresses:
		return fault.New(fault.Conflict, "too_many_addresses", nil)
	}
	return nil
}

// SendAddress sends a new code to the address of a flow; the old code is worthless from then on.
func (s *Service) SendAddress(ctx context.Context, me session.Session, c signin.Client, handle secret.Token) (out AddressFlow, err error) {
	admitted := true
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findFlow(ctx, tx, me, handle)
		if err != nil {
			return err
		}
		if out, err = s.at(ctx, tx, f); err != nil {
			return err
		}
		if out.ResendAt.IsZero() || tx.Now().Before(out.ResendAt) { // known before anything is counted
			out.TooSoon = true
			return nil
		}
		if admitted, err = s.admitSend(ctx, tx, f, c); err != nil || !admitted {
			return err
		}
		out, err = s.sendCode(ctx, tx, f, c)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	return out, err
}

// AddressAt says where a flow stands.
func (s *Service) AddressAt(ctx context.Context, me session.Session, handle secret.Token) (out AddressFlow, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findFlow(ctx, tx, me, handle)
		if err == nil {
			out, err = s.at(ctx, tx, f)
		}
		return err
	})
	return out, err
}

func (s *Service) at(ctx context.Context, tx *sqldb.Tx, f flow) (AddressFlow, error) {
	_, resend, _, err := s.SignIn.Codes.State(ctx, tx, f.id)
	return AddressFlow{Way: wayTo(f.address), ResendAt: resend, ExpiresAt: f.expiresAt}, err
}

// ProveAddress adds the address of a flow to the account, if the code is the one that was sent to it. A
// wrong, old or expired code is Refused; over the limit nothing is evaluated. Every address of the account
// is told. fault.Conflict "identifier_taken" says to whoever proved it that somebody else was faster.
func (s *Service) ProveAddress(ctx context.Context, me session.Session, c signin.Client, handle, code secret.Token) (out AddressFlow, err error) {
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findFlow(ctx, tx, me, handle)
		if err != nil {
			return err
		}
		may := s.may
		if me.ID == f.session { // it was fresh when it began this
			may = s.free
		}
		if err := may(ctx, tx, me); err != nil {
			return err
		}
		if admitted, err = s.admitCode(ctx, tx, f, c); err != nil || !admitted {
			return err
		}
		out, err = s.tryCode(ctx, tx, f, by{me, c}, code)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	return out, err
}

func (s *Service) tryCode(ctx context.Context, tx *sqldb.Tx, f flow, b by, code secret.Token) (AddressFlow, error) {
	_, right, err := s.SignIn.Codes.Spend(ctx, tx, f.id, code)
	if err != nil {
		return AddressFlow{}, err
	}
	if !right || f.barred {
		if err := s.recordFlow(ctx, tx, f, b.from, audit.CodeFailed); err != nil {
			return AddressFlow{}, err
		}
		out, err := s.at(ctx, tx, f)
		out.Refused = true
		return out, err // a value, not an error: the counted try must be committed
	}
	for _, l := range s.ladders(f) {
		if err := s.SignIn.Throttle.Clear(ctx, tx, l.Ladder, l.key); err != nil {
			return AddressFlow{}, err
		}
	}
	if ended, err := end(ctx, tx, f.id); err != nil || !ended {
		return AddressFlow{}, cmp.Or(err, gone())
	}
	if err := s.SignIn.CameBack(ctx, tx, f.id, f.address.Normal()); err != nil {
		return AddressFlow{}, err
	}
	if err := s.add(ctx, tx, f, b.me.ID); err != nil {
		return AddressFlow{}, err
	}
	return AddressFlow{Way: wayTo(f.address), Done: true}, s.tell(ctx, tx, b, told{audit.AddressAdded, string(f.address.Kind()), message.AddressAdded})
}

// add gives the account its new address, or marks one as proved that it had without.
func (s *Service) add(ctx context.Context, tx *sqldb.Tx, f flow, in session.ID) error {
	own, err := s.Accounts.Addresses(ctx, tx, f.account)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(own, func(a account.Address) bool { return a.Identifier() == f.address }); i >= 0 {
		err = s.Accounts.Prove(ctx, tx, f.account, own[i].ID)
	} else {
		err = s.Accounts.Add(ctx, tx, f.account, account.NewIdentifier{Identifier: f.address, Verified: true, SignsIn: true, Notices: true, Recovers: true})
	}
	if err != nil {
		return err
	}
	return s.SignIn.Rebound(ctx, tx, f.account, in, map[account.Kind]factor.Way{account.Email: factor.Email, account.Phone: factor.SMS}[f.address.Kind()])
}

// RemoveAddress takes an address from the account. It is told all the same, and may take that back for a
// while (account.Hold). fault.NotFound "not_found"; fault.Conflict "last_notice_address", "last_signin_address".
func (s *Service) RemoveAddress(ctx context.Context, me session.Session, c signin.Client, id string) error {
	return s.changeAddress(ctx, by{me, c}, id, func(tx *sqldb.Tx, _ account.Address) (told, error) {
		return told{audit.AddressRemoved, id, message.AddressRemoved}, s.Accounts.Remove(ctx, tx, me.Account, id)
	})
}

// SetAddressUses says what an address of the account is for. Errors are those of RemoveAddress and
// fault.Invalid "identifier_uses_invalid"; fault.Conflict "identifier_taken".
func (s *Service) SetAddressUses(ctx context.Context, me session.Session, c signin.Client, id string, u account.Uses) error {
	return s.changeAddress(ctx, by{me, c}, id, func(tx *sqldb.Tx, was account.Address) (told, error) {
		t := told{audit.AddressChanged, id, message.AddressAdded}
		switch {
		case was.SignsIn == u.SignsIn && was.Notices == u.Notices && was.Recovers == u.Recovers:
			return told{}, nil
		case was.SignsIn && !u.SignsIn || was.Notices && !u.Notices || was.Recovers && !u.Recovers:
			t.letter = message.AddressRemoved // it serves for less: whoever it belongs to must be told of that above all
		}
		return t, s.Accounts.SetUses(ctx, tx, me.Account, id, u)
	})
}

// changeAddress changes an address of the account's own; what is told says what was done, if anything was.
func (s *Service) changeAddress(ctx context.Context, b by, id string, do func(*sqldb.Tx, account.Address) (told, error)) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.may(ctx, tx, b.me); err != nil {
			return err
		}
		own, err := s.Accounts.Addresses(ctx, tx, b.me.Account)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(own, func(a account.Address) bool { return a.ID == id })
		if i < 0 {
			return fault.New(fault.NotFound, "not_found", errors.New("the account has no such address"))
		}
		t, err := do(tx, own[i])
		if err != nil || t.event == "" {
			return err
		}
		return s.tell(ctx, tx, b, t)
	})
}

// findFlow loads a flow of the account that is under way. Expired, finished, foreign, truncated and
// invented handles are all the same to the caller.
func (s *Service) findFlow(ctx context.Context, tx *sqldb.Tx, me session.Session, handle secret.Token) (flow, error) {
	if !handle.WellFormed(FlowPrefix) {
		return flow{}, gone()
	}
	f, ok, err := byHandle(ctx, tx, me.Account, s.SignIn.Ring.Digests("profile", handle))
	if err != nil || !ok {
		return flow{}, cmp.Or(err, gone())
	}
	return f, s.open(&f)
}

// admitSend takes one letter of each limit.
func (s *Service) admitSend(ctx context.Context, tx *sqldb.Tx, f flow, c signin.Client) (ok bool, err error) {
	t := s.SignIn.Throttle
	if ok, err = t.TakeSource(ctx, tx, sendSource, c.Source); err != nil || !ok {
		return false, err
	}
	if ok, err = t.Take(ctx, tx, sendOwner, string(f.account)); err != nil || !ok {
		return false, err
	}
	if ok, err = t.Take(ctx, tx, sendAddress, s.nameKey(f.address)); err != nil || !ok {
		return false, err
	}
	return t.Take(ctx, tx, sendAll, "")
}

// ladder is one that a try at a code climbs.
type ladder struct {
	throttle.Ladder

	key string
}

func (s *Service) ladders(f flow) []ladder {
	return []ladder{{codeOwner, string(f.account)}, {codeAddress, s.nameKey(f.address)}}
}

// admitCode counts a try before it is evaluated, across flows and codes.
func (s *Service) admitCode(ctx context.Context, tx *sqldb.Tx, f flow, c signin.Client) (bool, error) {
	for _, l := range s.ladders(f) {
		ok, err := s.SignIn.Throttle.Attempt(ctx, tx, l.Ladder, l.key)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, s.noteLimit(ctx, tx, f, c, l.Name)
		}
	}
	return true, nil
}

// noteLimit records that a limit held, at most once in ten minutes.
func (s *Service) noteLimit(ctx context.Context, tx *sqldb.Tx, f flow, c signin.Client, which string) error {
	once := throttle.Rate{Name: "audit/" + which, Burst: 1, Every: 10 * time.Minute}
	ok, err := s.SignIn.Throttle.Take(ctx, tx, once, string(f.account))
	if err != nil || !ok {
		return err
	}
	return s.recordFlow(ctx, tx, f, c, audit.Throttled)
}

func (s *Service) recordFlow(ctx context.Context, tx *sqldb.Tx, f flow, c signin.Client, kind audit.Kind) error {
	return s.Audit.Append(ctx, tx, audit.Event{
		Kind: kind, Account: string(f.account), Source: c.Source, Detail: map[string]string{"for": "address", "way": string(wayTo(f.address))},
	})
}

// sendCode writes the code and one of two letters. Both are put together each time, so that which of
// them goes takes no time to tell.
func (s *Service) sendCode(ctx context.Context, tx *sqldb.Tx, f flow, c signin.Client) (AddressFlow, error) {
	out := AddressFlow{Way: wayTo(f.address), ExpiresAt: f.expiresAt}
	code, err := s.SignIn.Codes.Issue(ctx, tx, onetime.Request{Flow: f.id, Account: string(f.account), Way: string(out.Way), FlowEnds: f.expiresAt})
	out.ResendAt, out.TooSoon = code.ResendAt, code.TooSoon
	if err != nil || code.TooSoon {
		return out, err
	}
	first, err := s.SignIn.Throttle.Take(ctx, tx, toldOwner, s.nameKey(f.address)) // for everybody, or its row would tell
	if err != nil {
		return out, err
	}
	if err := s.recordFlow(ctx, tx, f, c, audit.CodeSent); err != nil {
		return out, err
	}
	me, err := s.Accounts.Get(ctx, tx, f.account)
	if err != nil {
		return out, err
	}
	minutes := strconv.Itoa(max(1, int(code.ExpiresAt.Sub(tx.Now())/time.Minute)))
	proof := message.Letter{
		Kind: message.AddressCode, Channel: message.Channel(out.Way), To: f.address.Normal(), Language: me.Language,
		Params: map[string]string{"code": code.Code.Reveal(), "minutes": minutes, "site": s.SignIn.Site},
	}
	attempt := s.attempt(f, c, proof, tx.Now())
	err = s.SignIn.PutCode(ctx, tx, f.id, outbox.Letter{
		Letter: proof, Twin: &attempt, SendTwin: f.barred, Withhold: f.barred && !first, Account: string(f.account), ExpiresAt: code.ExpiresAt,
	})
	return out, err
}

// attempt tells whoever has the address already that somebody tried to have it, too.
func (s *Service) attempt(f flow, c signin.Client, l message.Letter, now time.Time) message.Letter {
	l.Kind = message.RegistrationAttempt
	if f.owner != "" {
		l.Language = f.owner
	}
	l.Params = map[string]string{"when": now.UTC().Format(time.RFC3339), "device": device.NameOf(c.UserAgent), "site": s.SignIn.Site}
	if where := s.SignIn.Notices.Where; where != nil {
		if place := where(c.Source, l.Language); place != "" {
			l.Params["place"] = place
		}
	}
	return l
}

func (s *Service) nameKey(ident account.Identifier) string {
	return string(s.SignIn.Ring.Stable("profile/name", string(ident.Kind())+"\x00"+ident.Normal()))
}

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.SignIn.Ring.Digested(digested()), s.SignIn.Ring.Sealed(sealed())}
}

func (s *Service) digest(t secret.Token) []byte { return s.SignIn.Ring.Digest("profile", t) }

func gone() error {
	return fault.New(fault.Gone, "flow_ended", errors.New("no such flow of this account, or it is over"))
}

func tooMany() error {
	return fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errors.New("over a limit"))
}
