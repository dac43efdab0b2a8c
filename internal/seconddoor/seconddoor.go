// Package seconddoor is the second door alone, for applications that have accounts of their own: the application looks at the first proof, names
// the account by a reference of its own, and hears whether the device is recognised and what was proved. Of the account it knows the reference, and we
// the reference and where codes go; the application writes that and never reads it. An account is one of account's, which signs in nowhere
// here. It owns the tables door_former and door_call.
package seconddoor

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// Service is the second door. All fields are required.
type Service struct {
	Parts  signin.Parts
	SignIn *signin.Service
	Owner  *profile.Service
}

// Contact is where codes and notices go. What is empty stays as it is.
type Contact struct {
	Email, Phone string // as people write them; proved by the application
	Language     string // BCP 47
}

// Named is an account as an application names it. Two applications never name one account.
type Named struct{ App, Reference string }

// Put opens an account, or changes where its codes go; opened says which. Who changes that could have every code from then on, so it takes
// a flow of this account's that has ended well within its time: else it is fault.Forbidden "contact_proof_required". While the account is
// frozen it is fault.Conflict "account_frozen". Every address hears of it, the one that goes as well. An account that was erased lately
// opens under the addresses that it had, or later: fault.Conflict "reference_held".
func (s *Service) Put(ctx context.Context, n Named, c Contact, proof secret.Token) (opened bool, err error) {
	ident, err := account.NewReference(n.App, n.Reference)
	if err != nil {
		return false, err
	}
	reach, err := s.parse(c)
	if err != nil {
		return false, err
	}
	err = s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error {
		opened = false
		who, err := s.Parts.Accounts.ByIdentifier(ctx, tx, ident)
		if fault.Of(err).Code == "account_unknown" {
			opened = true
			if err := s.unheld(ctx, tx, ident, reach); err != nil {
				return err
			}
			return s.open(ctx, tx, ident, reach, c.Language)
		}
		if err != nil {
			return err
		}
		if c.Language != "" && c.Language != who.Language {
			if err := s.Parts.Accounts.SetLanguage(ctx, tx, who.ID, c.Language); err != nil {
				return err
			}
		}
		return s.move(ctx, tx, moving{n, who.ID, reach, proof})
	})
	return opened, err
}

func (s *Service) parse(c Contact) (reach []account.Identifier, err error) {
	for kind, text := range map[account.Kind]string{account.Email: c.Email, account.Phone: c.Phone} {
		if text == "" {
			continue
		}
		ident, err := s.SignIn.Parser.Parse(text)
		if err == nil && ident.Kind() != kind {
			err = fault.New(fault.Invalid, "identifier_malformed", errors.New("want an e-mail address and a number"))
		}
		if err != nil {
			return nil, err
		}
		reach = append(reach, ident)
	}
	return reach, nil
}

func (s *Service) open(ctx context.Context, tx *sqldb.Tx, ident account.Identifier, reach []account.Identifier, language string) error {
	if len(reach) == 0 {
		return fault.New(fault.Invalid, "contact_missing", errors.New("a new account needs an address that codes go to"))
	}
	n := account.New{Language: language, Identifiers: []account.NewIdentifier{{Identifier: ident, SignsIn: true}}}
	for _, one := range reach {
		n.Identifiers = append(n.Identifiers, reachable(one))
	}
	id, err := s.Parts.Accounts.Create(ctx, tx, n)
	if err != nil {
		return err
	}
	return s.record(ctx, tx, audit.AccountCreated, id, nil)
}

func reachable(ident account.Identifier) account.NewIdentifier {
	return account.NewIdentifier{Identifier: ident, Verified: true, Notices: true}
}

// moving is a change of where an account's codes go.
type moving struct {
	Named

	who   account.ID
	reach []account.Identifier
	proof secret.Token
}

func (s *Service) move(ctx context.Context, tx *sqldb.Tx, m moving) error {
	if err := s.Parts.Accounts.Alone(ctx, tx, m.who); err != nil { // nobody freezes it meanwhile
		return err
	}
	has, err := s.Parts.Accounts.Addresses(ctx, tx, m.who)
	if err != nil {
		return err
	}
	for _, want := range m.reach {
		if slices.ContainsFunc(has, func(a account.Address) bool { return a.Identifier() == want }) {
			continue
		}
		passed, err := s.SignIn.Passed(ctx, tx, signin.Ref{Flow: m.proof}, m.App, m.who)
		if err == nil && !passed {
			err = fault.New(fault.Forbidden, "contact_proof_required", errors.New("where codes go changes after the second door alone"))
		}
		if err != nil {
			return err
		}
		if err := s.unfrozen(ctx, tx, m.who); err != nil {
			return err
		}
		if err := s.Parts.Accounts.Add(ctx, tx, m.who, reachable(want)); err != nil {
			return err
		}
		for _, old := range has {
			if old.Kind == want.Kind() {
				if err := s.Parts.Accounts.Remove(ctx, tx, m.who, old.ID); err != nil {
					return err
				}
			}
		}
		if err := s.record(ctx, tx, audit.AddressChanged, m.who, map[string]string{"app": m.App, "kind": string(want.Kind())}); err != nil {
			return err
		}
		if err := s.Parts.Notices.Tell(ctx, tx, notice.Event{Kind: message.AddressAdded, Account: m.who, App: true}); err != nil {
			return err
		}
	}
	return nil
}

// unfrozen refuses a change after "this wasn't me" (P7): whoever had passed the second door before that has a flow that is good still.
func (s *Service) unfrozen(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	st, err := s.Parts.Accounts.Standing(ctx, tx, who)
	if err == nil && !st.FrozenUntil.IsZero() {
		err = fault.New(fault.Conflict, "account_frozen", errors.New("where codes go stays as it is for now"))
	}
	return err
}

func (s *Service) record(ctx context.Context, tx *sqldb.Tx, kind audit.Kind, who account.ID, detail map[string]string) error {
	return s.Parts.Audit.Append(ctx, tx, audit.Event{Kind: kind, Account: string(who), Actor: "application", Detail: detail})
}

// find returns the account that an application names: fault.NotFound "account_unknown" says that there is none.
func (s *Service) find(ctx context.Context, n Named) (who account.Account, err error) {
	ident, err := account.NewReference(n.App, n.Reference)
	if err != nil {
		return account.Account{}, err
	}
	err = s.Parts.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		who, err = s.Parts.Accounts.ByIdentifier(ctx, tx, ident)
		return err
	})
	return who, err
}

// Begin starts a flow of an account whose first proof the application has just looked at: see signin.Vouch. site is the origin of the page that
// the person is at.
func (s *Service) Begin(ctx context.Context, n Named, site string, b signin.Begin) (signin.Started, signin.Next, error) {
	ident, err := account.NewReference(n.App, n.Reference)
	if err != nil {
		return signin.Started{}, signin.Next{}, err
	}
	b.Client.App = n.App // the account is found in the transaction that writes the flow
	return s.SignIn.Vouch(ctx, signin.Vouched{Named: ident, App: n.App, Site: site, Begin: b})
}

// Devices lists the devices that are remembered.
func (s *Service) Devices(ctx context.Context, n Named) ([]device.Device, error) {
	who, err := s.find(ctx, n)
	if err != nil {
		return nil, err
	}
	return s.Parts.Devices.List(ctx, who.ID)
}

// Forget forgets a device; ok is false if the account has no such one. An empty id forgets all.
func (s *Service) Forget(ctx context.Context, n Named, id device.ID) (ok bool, err error) {
	who, err := s.find(ctx, n)
	if err != nil {
		return false, err
	}
	err = s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if ok = true; id == "" {
			err = s.Parts.Devices.ForgetAll(ctx, tx, who.ID)
		} else {
			ok, err = s.Parts.Devices.Forget(ctx, tx, who.ID, id)
		}
		if err != nil || !ok {
			return err
		}
		return s.record(ctx, tx, audit.DeviceForgotten, who.ID, map[string]string{"app": n.App, "target": string(id)})
	})
	return ok, err
}

// farewells is how many accounts' ends an application may have one address told of: a person has one or two, and an application that opens and erases
// them over and over must not fill somebody's mailbox.
var farewells = throttle.Rate{Name: "door/farewell", Burst: 5, Every: 6 * time.Hour} //nolint:gochecknoglobals // a constant

// Remove erases an account and all that is kept of it. Every address hears of it, and for a time the account opens under no other: erased
// and opened anew it would have its codes go elsewhere without a proof.
func (s *Service) Remove(ctx context.Context, n Named) error {
	ident, err := account.NewReference(n.App, n.Reference)
	if err != nil {
		return err
	}
	return s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error {
		who, err := s.Parts.Accounts.ByIdentifier(ctx, tx, ident)
		if err != nil {
			return err
		}
		letters, err := s.Parts.Notices.Last(ctx, tx, notice.Event{Kind: message.DoorClosed, Account: who.ID, App: true})
		if err != nil {
			return err
		}
		if err := s.hold(ctx, tx, ident, who.ID); err != nil {
			return err
		}
		if err := s.Owner.EraseNow(ctx, tx, who, "application"); err != nil {
			return err
		}
		for _, l := range letters {
			within, err := s.Parts.Throttle.Take(ctx, tx, farewells, n.App+"\x00"+l.To)
			if err != nil {
				return err
			}
			l.Withhold = !within // who is told no more has been told of the same, by the same application, several times
			if _, err := s.Parts.Outbox.Put(ctx, tx, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// hold keeps digests of the addresses that are the holder's beyond doubt.
func (s *Service) hold(ctx context.Context, tx *sqldb.Tx, name account.Identifier, who account.ID) error {
	reaches, err := s.Parts.Accounts.Reaches(ctx, tx, who)
	if err != nil {
		return err
	}
	for _, r := range reaches {
		if !r.Undoes {
			continue
		}
		if err := putFormer(ctx, tx, s.digest("name", name), s.digest("contact", r.Identifier()), tx.Now().Add(account.Hold)); err != nil {
			return err
		}
	}
	return nil
}

// unheld refuses to open an account that was erased lately under another address than it had.
func (s *Service) unheld(ctx context.Context, tx *sqldb.Tx, name account.Identifier, reach []account.Identifier) error {
	contacts := make([][]byte, len(reach))
	for i, one := range reach {
		contacts[i] = s.digest("contact", one)
	}
	until, err := heldUntil(ctx, tx, s.digest("name", name), contacts)
	if err == nil && !until.IsZero() {
		err = fault.Later(fault.Conflict, "reference_held", until.Sub(tx.Now()), errors.New("erased lately, and its codes went elsewhere"))
	}
	return err
}

// digest stays the same when keys change.
func (s *Service) digest(what string, of account.Identifier) []byte {
	return s.Parts.Ring.Stable("seconddoor/"+what, string(of.Kind())+"\x00"+of.Normal())
}

// Prune deletes a bounded number of rows whose time is over and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }
