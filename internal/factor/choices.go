package factor

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// Choices keeps what is chosen about the second door: by the operator, how much must be proved and whether people are asked to
// enrol something better; by each account's holder, in which order and by which ways they prove who they are. It owns
// the tables factor_choice and factor_stopped. Accounts is required.
type Choices struct {
	Accounts *account.Service
	Policy   Policy            // of everybody; "" is Unrecognised
	Groups   map[string]Policy // and stricter ones of groups of accounts
	Enrol    Enrolment
}

// Enrolment is how people are asked to enrol a passkey or an app.
type Enrolment struct {
	Ask      Ask
	Skips    int       // at so many sign-ins they may go on without
	Deadline time.Time // from then on they may not; zero: there is none
}

// Ask says whether people are asked.
type Ask string

// What Ask may be.
const (
	Never   Ask = "never"
	Suggest Ask = "suggest" // at so many sign-ins, and then not any more
	Require Ask = "require" // and then the session is good for nothing else before they have
)

// Choice is what was chosen for one account.
type Choice struct {
	Operator Policy // at least; "" is none
	Holder   Policy // of their own accord, stricter than they must
	Order    []Way
	Off      []Way

	asked int // sign-ins that asked to enrol something
}

// Check refuses what cannot be chosen: fault.Invalid "factor_choice_invalid".
func (c Choice) Check() error {
	set := func(ways []Way, fits func(Way) bool) bool {
		seen := map[Way]bool{}
		for _, w := range ways {
			if seen[w] || !fits(w) {
				return false
			}
			seen[w] = true
		}
		return true
	}
	known := func(p Policy) bool { return p == "" || p.Known() }
	// With a passkey of their own, whoever has a session would else shut the holder out, recognised devices and all.
	if !known(c.Operator) || !known(c.Holder) || c.Holder == PhishingResistant || !set(c.Order, func(w Way) bool { return slices.Contains(best, w) }) || !set(c.Off, Way.Sent) {
		return fault.New(fault.Invalid, "factor_choice_invalid", errors.New("a way or a policy that there is not, or one twice"))
	}
	return nil
}

// Of returns what was chosen for an account.
func (c *Choices) Of(ctx context.Context, tx *sqldb.Tx, id account.ID) (Choice, error) {
	return choice(ctx, tx, id)
}

// EnsureDummies writes a choice of nothing for each of the decoys, account.Last among them and the last: theirs are then looked for in as
// many places as anybody's, and whoever has chosen nothing has a row after them. It must have run before the first sign-in.
func (c *Choices) EnsureDummies(ctx context.Context, decoys []account.ID) error {
	const batch = 512 // keeps each transaction short
	there := false
	err := c.Accounts.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		there, err = hasChoice(ctx, tx, account.Last)
		return err
	})
	if err != nil || there {
		return err
	}
	for some := range slices.Chunk(decoys, batch) {
		if err := c.Accounts.DB.Write(ctx, func(tx *sqldb.Tx) error { return putDummies(ctx, tx, some) }); err != nil {
			return err
		}
	}
	return nil
}

// Choose keeps what an account's holder wants; Operator is not looked at. Errors are those of Check.
func (c *Choices) Choose(ctx context.Context, tx *sqldb.Tx, id account.ID, want Choice) error {
	if err := want.Check(); err != nil {
		return err
	}
	return putChoice(ctx, tx, id, want)
}

// Undo drops which way comes first and which are not wanted, whoever chose it, and brings back the wish to be asked at every sign-in if it was
// taken back since a time. It makes nothing less strict.
func (c *Choices) Undo(ctx context.Context, tx *sqldb.Tx, id account.ID, since time.Time) error {
	return undo(ctx, tx, id, since)
}

// Set keeps the operator's policy for an account; "" is none of its own. Errors are those of Check.
func (c *Choices) Set(ctx context.Context, tx *sqldb.Tx, id account.ID, p Policy) error {
	if err := (Choice{Operator: p}).Check(); err != nil {
		return err
	}
	return putPolicy(ctx, tx, id, p)
}

// Rule is a policy, and who wants it.
type Rule struct {
	Of     Maker
	Group  string // of OfGroup
	Policy Policy // "" is none
}

// Maker is who makes a rule about an account.
type Maker string

// The makers.
const (
	OfSettings Maker = "settings"
	OfGroup    Maker = "group"
	OfAccount  Maker = "account" // the operator, for this one
	OfHolder   Maker = "holder"
)

// Rules lists what applies to an account, the groups by name: the strictest counts.
func (c *Choices) Rules(ctx context.Context, tx *sqldb.Tx, id account.ID, chosen Choice) ([]Rule, error) {
	rules := []Rule{{Of: OfSettings, Policy: c.Policy}}
	if len(c.Groups) > 0 {
		groups, err := c.Accounts.Groups(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			rules = append(rules, Rule{OfGroup, g, c.Groups[g]})
		}
	}
	return append(rules, Rule{Of: OfAccount, Policy: chosen.Operator}, Rule{Of: OfHolder, Policy: chosen.Holder}), nil
}

// PolicyOf is the strictest policy that applies to an account. least is that without its holder's own wish.
func (c *Choices) PolicyOf(ctx context.Context, tx *sqldb.Tx, id account.ID, chosen Choice) (p, least Policy, err error) {
	rules, err := c.Rules(ctx, tx, id, chosen)
	for _, r := range rules {
		if p = p.or(r.Policy); r.Of != OfHolder {
			least = least.or(r.Policy)
		}
	}
	return p, least, err
}

// Fill completes an account's door by what was chosen for it.
func (c *Choices) Fill(ctx context.Context, tx *sqldb.Tx, id account.ID, d Door) (Door, error) {
	chosen, err := choice(ctx, tx, id)
	if err != nil {
		return Door{}, err
	}
	if d.Policy, _, err = c.PolicyOf(ctx, tx, id, chosen); err != nil {
		return Door{}, err
	}
	d.Order, d.Off = chosen.Order, chosen.Off
	d.Stopped, err = stopped(ctx, tx, id)
	return d, err
}

// Nudge says whether somebody who has just signed in is asked to enrol a passkey or an app.
type Nudge struct {
	Wanted   bool
	Must     bool // before anything else
	Passkey  bool // nothing else will do
	Required bool // some day: after Left more sign-ins, or from Deadline on
	Left     int  // sign-ins to come at which they may go on without
	Deadline time.Time
}

// Nudge says whether to ask, without counting it.
func (c *Choices) Nudge(ctx context.Context, tx *sqldb.Tx, id account.ID, enrolled map[Way]bool) (Nudge, error) {
	if enrolled[Passkey] {
		return Nudge{}, nil
	}
	chosen, err := choice(ctx, tx, id)
	if err != nil {
		return Nudge{}, err
	}
	p, _, err := c.PolicyOf(ctx, tx, id, chosen)
	switch ask, late := c.Enrol.Ask, !c.Enrol.Deadline.IsZero() && !tx.Now().Before(c.Enrol.Deadline); {
	case err != nil:
		return Nudge{}, err
	case p == PhishingResistant:
		return Nudge{Wanted: true, Must: true, Required: true, Passkey: true}, nil
	case ask != Suggest && ask != Require || enrolled[OTP]:
		return Nudge{}, nil
	case chosen.asked < c.Enrol.Skips && !late:
		return Nudge{Wanted: true, Required: ask == Require, Left: c.Enrol.Skips - chosen.asked, Deadline: c.Enrol.Deadline}, nil
	case ask == Require:
		return Nudge{Wanted: true, Must: true, Required: true}, nil
	}
	return Nudge{}, nil
}

// Count counts a sign-in that asked, so that nobody can put it off for ever by not answering.
func (c *Choices) Count(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return countAsked(ctx, tx, id)
}

// MaxFailures is how many wrong codes in a row a factor is good for (NIST SP 800-63B-4 section 3.2.2: at most 100).
const MaxFailures = 100

// Stop stops a factor that has failed too often: it opens nothing before Start. stopped is false if it was stopped before.
func (c *Choices) Stop(ctx context.Context, tx *sqldb.Tx, id account.ID, w Way) (stopped bool, err error) {
	return stop(ctx, tx, id, w)
}

// Start takes back Stop.
func (c *Choices) Start(ctx context.Context, tx *sqldb.Tx, id account.ID, w Way) error {
	return start(ctx, tx, id, w)
}

// Stopped lists the factors that Stop has stopped.
func (c *Choices) Stopped(ctx context.Context, tx *sqldb.Tx, id account.ID) ([]Way, error) {
	return stopped(ctx, tx, id)
}

// Erase deletes what was chosen for an account.
func (c *Choices) Erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return erase(ctx, tx, id)
}
