package signin

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

const active = account.Active

// Sent says that a code was accepted for sending, or with TooSoon that one was lately and when
// another may be asked for (zero: this flow gets no more).
type Sent struct {
	Way       factor.Way
	TooSoon   bool
	ResendAt  time.Time
	ExpiresAt time.Time
}

// errLimited rolls a transaction back whose work turned out to be over a limit.
var errLimited = errors.New("over a limit")

// Send sends a new code by one of the flow's ways; the old code is worthless from then on. In a
// barred flow everything is the same but that the courier withholds the letter.
func (s *Service) Send(ctx context.Context, ref Ref, c Client, w factor.Way) (sent Sent, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepSecond)
		if err != nil {
			return err
		}
		sent, err = s.send(ctx, tx, f, w)
		return err
	})
	if errors.Is(err, errLimited) {
		return Sent{}, tooMany()
	}
	return sent, err
}

func (s *Service) send(ctx context.Context, tx *sqldb.Tx, f flow, w factor.Way) (Sent, error) {
	d, err := s.doorOf(ctx, tx, f)
	if err != nil {
		return Sent{}, err
	}
	if !slices.Contains(s.Ways, w) || !slices.Contains(d.offered(), w) {
		return Sent{}, fault.New(fault.Invalid, "way_unknown", errors.New("not among the ways offered"))
	}
	code, err := s.Codes.Issue(ctx, tx, onetime.Request{Flow: f.ID, Account: string(f.Account), Way: string(w), FlowEnds: f.ExpiresAt})
	if err != nil || code.TooSoon {
		return Sent{Way: w, TooSoon: true, ResendAt: code.ResendAt}, err
	}
	shut, err := s.admitSend(ctx, tx, f)
	if err != nil {
		return Sent{}, err
	}
	if err := s.record(ctx, tx, f, audit.CodeSent, map[string]string{"way": string(w)}); err != nil {
		return Sent{}, err
	}
	to, reachable := factor.Destination(d.addresses, w)
	if err := s.admitAddress(ctx, tx, f, to); err != nil {
		return Sent{}, err
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return Sent{}, err
	}
	params, err := s.Notices.From(ctx, tx, f.Account)
	if err != nil {
		return Sent{}, err
	}
	if f.Request != "" { // typed on our own page, which the browser and the letter have to name
		params["app_site"] = s.Notices.Base
	}
	params["code"], params["minutes"] = code.Code.Reveal(), minutes(code.ExpiresAt.Sub(tx.Now()))
	err = s.PutCode(ctx, tx, f.ID, outbox.Letter{
		Letter:  message.Letter{Kind: message.SigninCode, Channel: message.Channel(w), To: to.Normal, Language: who.Language, Params: params},
		Account: string(f.Account), Withhold: f.Barred || shut || !reachable || !d.Opens(w), ExpiresAt: code.ExpiresAt,
	})
	return Sent{Way: w, ResendAt: code.ResendAt, ExpiresAt: code.ExpiresAt}, err
}

func minutes(d time.Duration) string { return strconv.Itoa(max(1, int(d/time.Minute))) }

// admitSend takes one send of each limit. The account's may be silent (shut): then the letter is withheld.
func (s *Service) admitSend(ctx context.Context, tx *sqldb.Tx, f flow) (shut bool, err error) {
	name, owner := string(f.NameKey), string(f.OwnerKey)
	if f.Device != "" { // as in codeCounts
		name, owner = string(f.Device), string(f.Device)
	}
	ok, err := s.Throttle.TakeSource(ctx, tx, s.Limits.SendSource, f.From.Source)
	if err == nil && ok {
		ok, err = s.Throttle.Take(ctx, tx, s.Limits.SendName, name)
	}
	if err == nil && ok {
		var within bool
		within, err = s.Throttle.Take(ctx, tx, s.Limits.SendAccount, owner)
		shut = !within && s.hides(f)
		ok = within || shut
	}
	if err == nil && ok {
		ok, err = s.Throttle.Take(ctx, tx, s.Limits.SendAll, "")
	}
	if err == nil && !ok {
		err = errLimited
	}
	return shut, err
}

// CodeProof is the second proof, and with Remember the wish to be recognised from now on.
// Handles are those the browser holds already: what it holds for this account is replaced.
type CodeProof struct {
	// Way is where the code is from, if the holder had it already: see factor.Way.Typed. Any other is one that was sent.
	Way      factor.Way
	Code     secret.Token
	Remember *device.Enrolment
	Handles  []secret.Token
}

// Code proves the second factor. A wrong, old, foreign or expired code is
// Next{Step: StepSecond, Refused: true}; over the limit nothing is evaluated.
func (s *Service) Code(ctx context.Context, ref Ref, c Client, p CodeProof) (next Next, err error) {
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepSecond)
		if err != nil {
			return err
		}
		if p.Remember != nil {
			p.Remember.Site = f.Site
		}
		if p.Remember != nil { // before the code is spent: a mistake of the app must not cost a try
			if err := s.Devices.Check(p.Remember, f.Nonce); err != nil {
				return err
			}
		}
		var shut bool
		if admitted, shut, err = s.admitCode(ctx, tx, f); err != nil || !admitted {
			return err
		}
		try := p
		if shut {
			try.Code = secret.Token{} // the same work, and it fits nothing
		}
		next, err = s.tryCode(ctx, tx, f, try)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	return next, err
}

// admitCode counts a try. The account's limit is silent only where strangers come this far.
func (s *Service) admitCode(ctx context.Context, tx *sqldb.Tx, f flow) (ok, shut bool, err error) {
	if ok, err := s.admitStep(ctx, tx, f.From); err != nil || !ok {
		return false, false, err
	}
	ok, within, err := s.attempt(ctx, tx, s.codeCounts(f))
	shut = ok && !within && s.hides(f)
	if err != nil || ok && (within || shut) {
		return ok, shut, err
	}
	return false, false, s.noteLimit(ctx, tx, f, s.Limits.Code.Name)
}

func (s *Service) tryCode(ctx context.Context, tx *sqldb.Tx, f flow, p CodeProof) (Next, error) {
	way, ok, err := s.countFactor(ctx, tx, f, p)
	if err != nil {
		return Next{}, err
	}
	if !ok {
		p.Code = secret.Token{} // the same work, and it fits nothing
	}
	right, err := s.judgeCode(ctx, tx, f, p)
	if err != nil {
		return Next{}, err
	}
	if !right || f.Barred {
		if err := s.record(ctx, tx, f, audit.CodeFailed, nil); err != nil {
			return Next{}, err
		}
		if err := s.noteFailed(ctx, tx, f); err != nil { // in barred flows too, for the work
			return Next{}, err
		}
		n, err := s.next(ctx, tx, f)
		n.Refused = true
		return n, err // a value, not an error: the counted try must be committed
	}
	if err := s.Throttle.Clear(ctx, tx, s.Limits.Factor, factorKey(f, way)); err != nil {
		return Next{}, err
	}
	if err := s.converted(ctx, tx, f, way); err != nil {
		return Next{}, err
	}
	if way == factor.Backup {
		if err := s.tell(ctx, tx, f, message.BackupUsed); err != nil {
			return Next{}, err
		}
	}
	return s.enter(ctx, tx, f, p, assurance.Method(way))
}

// converted notes a code that came back by text message.
func (s *Service) converted(ctx context.Context, tx *sqldb.Tx, f flow, way factor.Way) error {
	if way != factor.SMS {
		return nil
	}
	addresses, err := s.Accounts.Addresses(ctx, tx, f.Account)
	if err != nil {
		return err
	}
	to, _ := factor.Destination(addresses, way)
	return s.CameBack(ctx, tx, f.ID, to.Normal)
}

// enter finishes a flow whose second proof was right, and remembers the device if that is wished.
func (s *Service) enter(ctx context.Context, tx *sqldb.Tx, f flow, p CodeProof, method assurance.Method) (Next, error) {
	if err := s.clear(ctx, tx, s.codeCounts(f)); err != nil {
		return Next{}, err
	}
	if err := s.Throttle.GiveSource(ctx, tx, s.Limits.Source, f.From.Source); err != nil {
		return Next{}, err
	}
	l, err := s.laneOf(ctx, tx, f, p.Handles)
	if err != nil {
		return Next{}, err
	}
	d := done{methods: []assurance.Method{assurance.Password, method}, device: f.Device, stranger: f.Device == "", lane: l}
	if p.Remember != nil && d.stranger {
		if err := s.remember(ctx, tx, f, &d, remembering{*p.Remember, p.Handles}); err != nil {
			return Next{}, err
		}
	}
	return s.finish(ctx, tx, f, d)
}

// remembering is a device that wants to be recognised from now on, and the handles it has already.
type remembering struct {
	device.Enrolment

	handles []secret.Token
}

// remember has the device be recognised from now on.
func (s *Service) remember(ctx context.Context, tx *sqldb.Tx, f flow, d *done, r remembering) (err error) {
	if r.Name == "" {
		r.Name = device.NameOf(f.From.UserAgent)
	}
	r.Source = f.From.Source
	if d.kept, err = s.Devices.Remember(ctx, tx, f.Account, r.Enrolment, r.handles); err != nil {
		return err
	}
	d.device = d.kept.ID
	return s.record(ctx, tx, f, audit.DeviceRemembered, map[string]string{"device": string(d.device)})
}

// judgeCode uses a code up and says whether it was right. A barred flow uses up nothing that its owner still
// needs, and does the work of an account that has nothing.
func (s *Service) judgeCode(ctx context.Context, tx *sqldb.Tx, f flow, p CodeProof) (right bool, err error) {
	if !p.Way.Typed() {
		_, right, err = s.Codes.Spend(ctx, tx, f.ID, p.Code)
		return right, err
	}
	who := f.Account
	if f.Barred {
		who = account.Last
	}
	return s.Spend(ctx, tx, who, p.Way, p.Code)
}

// countFactor says which factor a code is of, and counts the try in advance. ok is false if it opens nothing: it is none
// that the door takes, or has failed too often.
func (s *Service) countFactor(ctx context.Context, tx *sqldb.Tx, f flow, p CodeProof) (way factor.Way, ok bool, err error) {
	if way = p.Way; !way.Typed() {
		sent, _, was, err := s.Codes.State(ctx, tx, f.ID)
		if err != nil || !was {
			return "", true, err
		}
		way = factor.Way(sent)
	}
	d, err := s.doorOf(ctx, tx, f)
	if err != nil {
		return "", false, err
	}
	if ok, err = s.Throttle.Attempt(ctx, tx, s.Limits.Factor, factorKey(f, way)); err != nil || ok || f.Barred {
		return way, ok && d.Opens(way), err
	}
	return way, false, s.stopFactor(ctx, tx, f, way)
}

// factorKey is what tries of a factor are counted by. Strangers' are counted apart, for the work it takes: they must not stop anything.
func factorKey(f flow, way factor.Way) string {
	key := string(f.OwnerKey) + "/" + string(way)
	if f.Barred {
		key += "/barred"
	}
	return key
}

// stopFactor stops a factor that has failed too often, and tells its holder.
func (s *Service) stopFactor(ctx context.Context, tx *sqldb.Tx, f flow, way factor.Way) error {
	if stopped, err := s.Choices.Stop(ctx, tx, f.Account, way); err != nil || !stopped {
		return err
	}
	if err := s.record(ctx, tx, f, audit.FactorStopped, map[string]string{"way": string(way)}); err != nil {
		return err
	}
	return s.tell(ctx, tx, f, message.FactorStopped)
}

// done is what a finished sign-in proved.
type done struct {
	methods  []assurance.Method
	device   device.ID
	kept     *device.Remembered
	stranger bool // a device not recognised: the holder is told (P7)
	lane     lane // what the password was counted by
}

func (s *Service) finish(ctx context.Context, tx *sqldb.Tx, f flow, d done) (Next, error) {
	if err := s.keyed(ctx, tx, f); err != nil {
		return Next{}, err
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return Next{}, err
	}
	var over bool
	if f.App == "" {
		over, err = s.Passwords.Changed(ctx, tx, f.Account, f.Proved)
	} else { // what an application has looked at is not ours to know of
		over, err = s.disavowed(ctx, tx, f)
	}
	if err != nil {
		return Next{}, err
	}
	if who.State != active || over { // locked since the flow began, or the password it proved is no more
		return Next{}, gone()
	}
	if s.hides(f) {
		if err := s.credit(ctx, tx, &f, d.lane); err != nil {
			return Next{}, err
		}
	}
	if err := s.renew(ctx, tx, &f); err != nil {
		return Next{}, err
	}
	if err := s.advance(ctx, tx, &f, StepDone); err != nil {
		return Next{}, err
	}
	if err := s.replace(ctx, tx, f); err != nil {
		return Next{}, err
	}
	if f.Device != "" && d.device == f.Device { // recognised some minutes ago, at the device's step
		still, err := s.Devices.Still(ctx, tx, f.Device, f.From.Source)
		if err != nil {
			return Next{}, err
		}
		if !still {
			d.device, d.stranger = "", true
		}
	}
	if f.App != "" {
		return s.vouch(ctx, tx, f, d)
	}
	return s.open(ctx, tx, f, d)
}

// open starts the session, records it, and tells the holder if the device is a new one.
func (s *Service) open(ctx context.Context, tx *sqldb.Tx, f flow, d done) (Next, error) {
	name := device.NameOf(f.From.UserAgent)
	nudge, err := s.nudge(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	origin, err := s.origin(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	started, err := s.Sessions.Start(ctx, tx, session.New{
		Account: f.Account, Device: d.device, Key: f.From.Proof.Key, Name: name, Methods: d.methods, Source: f.From.Source, Enrol: nudge.Must, Origin: origin,
		Bound: slices.Contains(d.methods, assurance.DBSC),
	})
	if err != nil {
		return Next{}, err
	}
	detail := map[string]string{"session": string(started.ID), "methods": listed(d.methods)}
	if f.Replaces != "" {
		detail["replaces"] = string(f.Replaces)
	}
	if err := s.record(ctx, tx, f, audit.LoginSuccess, detail); err != nil {
		return Next{}, err
	}
	if d.stranger {
		if err := s.tell(ctx, tx, f, message.NewDevice); err != nil {
			return Next{}, err
		}
	}
	next := Next{Step: StepDone, Session: &started, Device: d.kept, ExpiresAt: started.ExpiresAt, Again: f.Replaces != "", Back: f.Back, Nudge: nudge}
	if d.stranger && d.kept != nil { // remembered after a full sign-in, and never because it was recognised
		next.Offer = s.Devices.Offer(tx, d.device, string(started.ID))
	}
	return next, nil
}

// nudge says whether to ask for something better than what can be sent. Who only proves again who they are is not asked, so that no skip is
// counted either: they are about to do something else, and a skip is for a sign-in that could have been used to enrol. Where enrolling cannot be
// put off any more they are asked all the same.
func (s *Service) nudge(ctx context.Context, tx *sqldb.Tx, f flow) (factor.Nudge, error) {
	enrolled, err := s.Enrolled(ctx, tx, f.Account)
	if err != nil {
		return factor.Nudge{}, err
	}
	n, err := s.Choices.Nudge(ctx, tx, f.Account, enrolled)
	if err != nil || !n.Wanted || n.Must {
		return n, err
	}
	if f.Replaces != "" {
		return factor.Nudge{}, nil
	}
	n.Left--
	return n, s.Choices.Count(ctx, tx, f.Account)
}

// listed is what was proved, as the record keeps it.
func listed(methods []assurance.Method) string {
	words := make([]string, len(methods))
	for i, m := range methods {
		words[i] = string(m)
	}
	return strings.Join(words, ",")
}

// replayed records that a remembered device's old handle came back, and tells its owner.
func (s *Service) replayed(ctx context.Context, tx *sqldb.Tx, f flow, id device.ID) error {
	if err := s.record(ctx, tx, f, audit.DeviceReplayed, map[string]string{"device": string(id)}); err != nil {
		return err
	}
	// Even if barred: who has a remembered device exists, and it has happened.
	return s.tell(ctx, tx, f, message.DeviceEnded)
}

func (s *Service) tell(ctx context.Context, tx *sqldb.Tx, f flow, kind message.Kind) error {
	return s.Notices.Tell(ctx, tx, notice.Event{Kind: kind, Account: f.Account, Source: f.From.Source, Device: device.NameOf(f.From.UserAgent)})
}

// record names the flow, so that what belongs to one sign-in can be shown as one.
func (s *Service) record(ctx context.Context, tx *sqldb.Tx, f flow, kind audit.Kind, detail map[string]string) error {
	if detail == nil {
		detail = map[string]string{}
	}
	detail["flow"] = f.ID
	return s.Audit.Append(ctx, tx, audit.Event{Kind: kind, Account: string(f.Account), Source: f.From.Source, Detail: detail})
}
