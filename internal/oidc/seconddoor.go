package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

// What a request of the second door says besides, in what the application has signed and nowhere else.
const (
	loginHint   = "login_hint"   // what the application calls the account
	firstFactor = "first_factor" // what it has looked at, and when: {"amr": ["pwd"], "auth_time": …}
	// firstFor is how old that may be when the browser comes: somebody has typed a password, and was sent here at once.
	firstFor = 5 * time.Minute
)

var errUnsigned = oauth(invalidRequest, "first_factor counts in a request that is signed and pushed, and nowhere else")

// firstProof is what an application says of an account of its own, whose first factor it has looked at.
type firstProof struct {
	Account account.ID `json:"account"`
	At      int64      `json:"at"` // in seconds
}

// readDoor reads what a request says that comes to the second door. v is what the application has signed and pushed.
func (q *request) readDoor(c Client, v url.Values) error {
	if !v.Has(firstFactor) {
		return nil
	}
	if len(c.SecondDoor) == 0 {
		return oauth("unauthorized_client", "the client is not registered for the second door")
	}
	var first struct {
		AMR []string `json:"amr"`
		At  int64    `json:"auth_time"`
	}
	text := json.NewDecoder(bytes.NewReader([]byte(v.Get(firstFactor))))
	text.DisallowUnknownFields() // who says more than we read would rely on it
	switch err := text.Decode(&first); {
	case err != nil || text.More():
		return oauth(invalidRequest, "first_factor is no JSON object of amr and auth_time")
	case !slices.Equal(first.AMR, []string{"pwd"}):
		return oauth(invalidRequest, `amr in first_factor must be ["pwd"]: with what else a second proof makes two factors is not known here`)
	}
	at := time.Unix(first.At, 0)
	switch {
	case at.Before(q.created.Add(-firstFor)) || at.After(q.created.Add(ahead)):
		return oauth(invalidRequest, "auth_time in first_factor is missing, too long ago, or to come")
	case len(q.Prompt) > 0 && !q.prompts("none"):
		return oauth(invalidRequest, "at the second door prompt is none, or left out")
	case at.UnixMilli() < q.Since:
		return oauth("login_required", "the first factor is older than max_age")
	case !slices.Contains(q.Scopes, scopeOpenID):
		return oauth("invalid_scope", "the second door answers with an ID token: it takes openid")
	}
	q.Door = &firstProof{Account: account.ID(v.Get(loginHint)), At: min(first.At, q.created.Unix())} // by our clock nobody has proved anything yet
	q.Scopes = []string{scopeOpenID}                                                                 // what an address or a refresh token would be for is at our own door
	return nil
}

// pushedDoor is what is pushed, and the object that it stands in.
type pushedDoor struct {
	says   url.Values
	object object
}

// readPushedDoor judges a request of the second door where it is pushed: the application hears at once, and nobody else, whether there is such an account.
// What it calls the account is kept nowhere (P4): our id takes its place. An object without a name of its own could be pushed again.
func (s *Service) readPushedDoor(ctx context.Context, q *request, c Client, p pushedDoor) error {
	if err := q.readDoor(c, p.says); err != nil || q.Door == nil {
		return err
	}
	if p.object.name.Empty() {
		return oauth(invalidObject, "a request object with a first_factor needs a jti")
	}
	ident, err := account.NewReference(c.ID, p.says.Get(loginHint))
	if err != nil {
		return oauth(invalidRequest, "login_hint is missing, or no reference of an account")
	}
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		who, err := s.Accounts.ByIdentifier(ctx, tx, ident)
		if fault.Of(err).Code == "account_unknown" {
			return errNobody
		}
		if err != nil {
			return err
		}
		q.Door.Account = who.ID
		_, err = s.vouchedFor(ctx, tx, *q)
		return err
	})
	p.says.Set(loginHint, string(q.Door.Account))
	return err
}

var errNobody = oauth("unknown_user_id", "the application has no account of that reference here") // the word of OpenID Connect CIBA

// vouchedFor finds the account that a request names. What it says of one that there is not, or that is locked, is for the application.
func (s *Service) vouchedFor(ctx context.Context, tx *sqldb.Tx, q request) (signin.Vouched, error) {
	v := signin.Vouched{Account: q.Door.Account, App: q.Client, Request: q.id, Begin: signin.Begin{Browser: q.browser}}
	who, err := s.Accounts.Get(ctx, tx, v.Account)
	switch {
	case fault.Of(err).Code == "account_unknown":
		err = errNobody
	case err == nil && who.State != account.Active:
		err = oauth("access_denied", "the account is locked")
	}
	return v, err
}

// shut says what of an error is for the redirect URI. What became of an account since its request was pushed stands in no address bar.
func shut(err error) (no *Refusal, ok bool) {
	if _, ok = errors.AsType[*Refusal](err); !ok && fault.Of(err).Code != "account_locked" {
		return nil, false
	}
	return &Refusal{"access_denied", "the second door does not open"}, true
}

// judgeDoor says what a request of the second door lacks. Whoever is signed in here is nobody to it.
func (s *Service) judgeDoor(ctx context.Context, tx *sqldb.Tx, q request, c Client) (Next, error) {
	answered := func(no *Refusal) (Next, error) { return Next{Step: StepAnswer, Answer: s.refused(q, no)}, nil }
	v, err := s.vouchedFor(ctx, tx, q)
	if no, ok := shut(err); ok {
		return answered(no)
	}
	if err != nil {
		return Next{}, err
	}
	methods, passed, err := s.SignIn.Proved(ctx, tx, v)
	switch {
	case err != nil:
		return Next{}, err
	case q.Subject != "" && q.Subject != s.subject(c, v.Account):
		return answered(&Refusal{"login_required", "the request is about somebody else"})
	case !passed:
		return Next{Step: StepDoor, Locales: q.Locales}, nil
	case assurance.Of(methods).Level < q.Least:
		return answered(&Refusal{unmet, "the account has no proof of that strength"})
	}
	return Next{Step: StepAnswer}, nil
}

// Vouch begins a flow at the second door for a request that stands at StepDoor: see signin.Vouch. Of b its Client, Handles and Back count. If answer is set,
// the browser goes there instead.
func (s *Service) Vouch(ctx context.Context, ref Ref, b signin.Begin) (started signin.Started, next signin.Next, answer string, err error) {
	var q request
	var v signin.Vouched
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		if q, _, err = s.pending(ctx, tx, ref); err != nil || q.Door == nil {
			return errors.Join(err, absent(q.Door != nil))
		}
		v, err = s.vouchedFor(ctx, tx, q)
		return err
	})
	if err == nil {
		b.Browser, b.Least, b.Client.App = ref.Browser, q.Least, q.Client
		v.Begin = b
		started, next, err = s.SignIn.Vouch(ctx, v)
	}
	no, ok := shut(err)
	if err == nil && next.Step == signin.StepSecond && q.prompts("none") {
		no, ok = errAsked(), true
	}
	if !ok {
		return started, next, "", err
	}
	return started, next, s.refused(q, no), s.drop(ctx, q)
}

func errAsked() *Refusal { return &Refusal{"login_required", "the device is not recognised"} }

// MayAsk ends a request whose prompt is none, now that somebody would have to be asked, and returns where its browser goes, sealed. Of any other it
// returns nothing.
func (s *Service) MayAsk(ctx context.Context, ref Ref) (sealed string, err error) {
	var q request
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		q, _, err = s.pending(ctx, tx, ref)
		return err
	})
	if err != nil || !q.prompts("none") {
		return "", err
	}
	return s.Seal(s.refused(q, errAsked())), s.drop(ctx, q)
}

// giveDoor ends a request whose second door was passed with a code. It is given in no session.
func (s *Service) giveDoor(ctx context.Context, q request, from netip.Addr) (answer string, err error) {
	code := secret.NewToken(codePrefix)
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		v, err := s.vouchedFor(ctx, tx, q)
		if _, ok := shut(err); ok { // a moment ago
			return absent(false)
		}
		if err != nil {
			return err
		}
		methods, passed, err := s.SignIn.Proved(ctx, tx, v)
		if err == nil && passed {
			passed, err = finishRequest(ctx, tx, q.id)
		}
		if err != nil || !passed {
			return errors.Join(err, absent(passed))
		}
		g := grant{
			id: uuid.Must(uuid.NewV7()).String(), client: q.Client, account: v.Account, scopes: q.Scopes,
			challenge: q.Challenge, nonce: q.Nonce, key: confirmation(q.Key), redirect: q.Redirect, methods: methods,
			authenticated: time.Unix(q.Door.At, 0), // the older of the two proofs
			expires:       tx.Now().Add(accessFor),
		}
		if err := putGrant(ctx, tx, g, s.Ring.Digest(codePurpose, code)); err != nil {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{
			Kind: audit.ApplicationAllowed, Account: string(v.Account), Source: from, Detail: map[string]string{"client": q.Client, "scopes": scopeOpenID},
		})
	})
	if err != nil {
		return "", err
	}
	return s.answer(q, "code", code.Reveal()), nil
}

// ofDoor reports whether a grant is one of the second door's: none of our sessions holds it.
func (g grant) ofDoor() bool { return g.session == "" }

// doorGood is good for a grant of the second door. It ends when the account is locked (which good has seen) or erased, when its holder says that it was not them,
// and when the client is taken away or may not come to the door any more; else within minutes.
func (s *Service) doorGood(ctx context.Context, tx *sqldb.Tx, g grant) (bool, error) {
	c, known, err := s.find(ctx, tx, g.client)
	if err != nil || !known || len(c.SecondDoor) == 0 {
		return false, err
	}
	st, err := s.Accounts.Standing(ctx, tx, g.account)
	return !st.FrozenSince(g.authenticated), err
}
