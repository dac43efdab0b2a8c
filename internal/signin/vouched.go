package signin

import (
	"cmp"
	"context"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/throttle"
)

// Vouched is the beginning of a flow at the second door: an application has looked at the first proof itself, and names the account.
type Vouched struct {
	Account account.ID
	Named   account.Identifier // finds the account where Account is empty
	App     string             // that vouches; Client.App of each later call must be the same
	Site    string             // origin of the pages whose browsers sign; empty: ours
	// Request is the application's that the flow is for, where it goes on at our own pages, in the browser of Begin: then that browser's secret says whose
	// the flow is, and no call names the application.
	Request string
	Begin   // Identifier is not looked at
}

// Vouch starts a flow of an account whose first proof an application has looked at. It stands at the device's step if there are handles (in a browser of ours: of the account), and
// else at the second door, and ends without a session: Next.Methods says what was proved. Limits, tries, letters and the record are those of any
// sign-in. A locked account's flow leads nowhere.
func (s *Service) Vouch(ctx context.Context, v Vouched) (Started, Next, error) {
	return s.start(ctx, v.Begin, func(tx *sqldb.Tx) (flow, error) {
		who, err := s.vouchedFor(ctx, tx, v)
		if err != nil {
			return flow{}, err
		}
		step := StepSecond
		shows := len(v.Handles) > 0
		if shows && v.Request != "" { // of all that have an account in this browser; the application is not to see that others have one
			if shows, err = s.Devices.Met(ctx, tx, who.ID, v.Handles); err != nil {
				return flow{}, err
			}
		}
		if shows {
			step = StepDevice
		}
		if who.State == account.Locked {
			err = fault.New(fault.Forbidden, "account_locked", nil)
		}
		return flow{
			Account: who.ID, Barred: who.State != active, NameKey: s.againKey(who.ID), OwnerKey: s.ownerKey(who, account.Identifier{}),
			Step: step, errand: errand{App: v.App, Site: v.Site, Request: v.Request, Back: v.Back, Least: v.Least},
		}, err
	})
}

func (s *Service) vouchedFor(ctx context.Context, tx *sqldb.Tx, v Vouched) (account.Account, error) {
	if v.Account == "" {
		return s.Accounts.ByIdentifier(ctx, tx, v.Named)
	}
	return s.Accounts.Get(ctx, tx, v.Account)
}

// Passed reports whether a flow of the application's for the account has ended well lately.
func (s *Service) Passed(ctx context.Context, tx *sqldb.Tx, ref Ref, app string, who account.ID) (bool, error) {
	if app == "" || !ref.Flow.WellFormed(FlowPrefix) {
		return false, nil
	}
	f, ok, err := byHandle(ctx, tx, s.digests(ref.Flow), s.digests(ref.Browser))
	return ok && f.Step == StepDone && f.App == app && f.Account == who, err
}

// Proved returns what was proved in a flow that Vouch began with the same, if one has ended well lately.
func (s *Service) Proved(ctx context.Context, tx *sqldb.Tx, v Vouched) (methods []string, ok bool, err error) {
	text, ok, err := provedFor(ctx, tx, v, s.digests(v.Browser))
	return strings.Split(text, ","), ok, err
}

// sendAddress is how many codes of applications go to one address: its holder may have several accounts at several of them, and needs a code
// or two for each.
var sendAddress = throttle.Rate{Name: "send/address", Burst: 20, Every: 10 * time.Minute} //nolint:gochecknoglobals // a constant

// admitAddress bounds what is sent to one address for all references that applications make up: limits by account would not.
func (s *Service) admitAddress(ctx context.Context, tx *sqldb.Tx, f flow, to account.Address) error {
	if f.App == "" {
		return nil
	}
	ok, err := s.Throttle.Take(ctx, tx, sendAddress, string(s.nameKey(to.Identifier())))
	if err == nil && !ok {
		err = errLimited
	}
	return err
}

// hides reports whether strangers come as far as the second door of a flow. None comes to that of an application.
func (s *Service) hides(f flow) bool { return s.HidePasswordResult && f.App == "" }

// forApp says in the notes of a flow on our own pages for which application it is, and in which language its letters are.
func (s *Service) forApp(ctx context.Context, tx *sqldb.Tx, f flow, n *Notes) error {
	if f.Request == "" {
		return nil
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return err
	}
	params, err := s.Notices.From(ctx, tx, f.Account)
	n.App, n.Language = cmp.Or(params["app"], f.App), who.Language
	return err
}

// disavowed reports whether the account's holder has said, since a flow of an application's began, that it was not them (P7). At our own door the password that it
// proved is no more then. Whoever says so from here on waits, and then finds the device.
func (s *Service) disavowed(ctx context.Context, tx *sqldb.Tx, f flow) (bool, error) {
	if err := s.Accounts.Alone(ctx, tx, f.Account); err != nil {
		return false, err
	}
	st, err := s.Accounts.Standing(ctx, tx, f.Account)
	return st.FrozenSince(f.Begun), err
}

// vouch ends a flow at the second door: the application hears what was proved, and nobody is signed in here.
func (s *Service) vouch(ctx context.Context, tx *sqldb.Tx, f flow, d done) (Next, error) {
	if err := s.record(ctx, tx, f, audit.SecondDoorPassed, map[string]string{"app": f.App, "methods": listed(d.methods)}); err != nil {
		return Next{}, err
	}
	if d.stranger {
		if err := s.tell(ctx, tx, f, message.NewDevice); err != nil {
			return Next{}, err
		}
	}
	if f.Request != "" {
		if err := setMethods(ctx, tx, f.ID, listed(d.methods)); err != nil {
			return Next{}, err
		}
	}
	return Next{Step: StepDone, Device: d.kept, Back: f.Back, Notes: Notes{Methods: d.methods}}, nil
}
