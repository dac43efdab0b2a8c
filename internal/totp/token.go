package totp

import (
	"context"
	"errors"
	"strings"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// Token is a hardware token as its operator sees it.
type Token struct {
	ID      ID
	Serial  string
	Shape   Shape
	Account account.ID // empty: nobody's
}

// Tokens returns up to most hardware tokens after the one named, in the order in which they were imported.
func (s *Service) Tokens(ctx context.Context, after ID, most int) (all []Token, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err := tokensAfter(ctx, tx, after, most)
		all = nil
		for _, r := range rows {
			all = append(all, Token{r.id, s.open(r.id, "serial", r.serial), r.shape, r.account})
		}
		return err
	})
	return all, err
}

var (
	errNoToken  = errors.New("no token by that serial number: see countersign token list")
	errAssigned = errors.New("somebody has that token: unassign it first")
)

// Assign gives a hardware token to an account, where it counts from now on: the operator vouches that its
// holder has it. fault.NotFound "token_unknown"; fault.Conflict "token_assigned", "too_many_authenticators".
func (s *Service) Assign(ctx context.Context, tx *sqldb.Tx, serial string, who account.ID) error {
	r, found, err := bySerial(ctx, tx, s.serialKey(serial))
	switch {
	case err != nil:
		return err
	case !found:
		return fault.New(fault.NotFound, "token_unknown", errNoToken)
	case r.account != "":
		return fault.New(fault.Conflict, "token_assigned", errAssigned)
	}
	ok, err := assign(ctx, tx, s.serialKey(serial), who)
	if err != nil {
		return err
	}
	if !ok {
		return tooMany()
	}
	return s.record(ctx, tx, audit.TokenAssigned, who, r.id)
}

// Unassign takes a hardware token from whoever has it, and returns who that was. fault.NotFound "token_unknown";
// it is no error if nobody has it.
func (s *Service) Unassign(ctx context.Context, tx *sqldb.Tx, serial string) (was account.ID, err error) {
	r, found, err := bySerial(ctx, tx, s.serialKey(serial))
	if err == nil && !found {
		err = fault.New(fault.NotFound, "token_unknown", errNoToken)
	}
	if err != nil || r.account == "" {
		return "", err
	}
	ok, err := unassign(ctx, tx, r.account, r.id, s.seal(r.id, "name", nil))
	if err != nil || !ok {
		return "", err
	}
	return r.account, s.record(ctx, tx, audit.TokenUnassigned, r.account, r.id)
}

func (s *Service) record(ctx context.Context, tx *sqldb.Tx, kind audit.Kind, who account.ID, token ID) error {
	return s.Audit.Append(ctx, tx, audit.Event{Kind: kind, Account: string(who), Actor: "operator", Detail: map[string]string{"authenticator": string(token)}})
}

// serialKey is what a token is found by. Numbers are typed from the back of it: case and spaces do not count.
func (s *Service) serialKey(serial string) []byte {
	return s.Ring.Stable("totp/serial", strings.ToUpper(strings.Join(strings.Fields(serial), "")))
}

// found is a token of a file.
type found struct {
	line    int64
	serial  string
	shape   Shape
	secret  []byte
	counter int64
	why     Reason // empty: it can be taken
}

const (
	leastSecret = 14  // bytes: 112 bits (N-3.1.4.1-01)
	mostSecret  = 128 // bytes: no hash here takes in more at once
	mostSerial  = 64
)

// check fills in why.
func (f *found) check() {
	switch {
	case f.why != "":
	case f.serial == "" || len(f.serial) > mostSerial || printable(f.serial) != f.serial:
		f.why = SerialInvalid
	case len(f.secret) < leastSecret:
		f.why = SecretShort
	case len(f.secret) > mostSecret:
		f.why = SecretInvalid
	case f.counter < 0:
		f.why = CounterInvalid
	default:
		f.why = map[error]Reason{nil: "", errKind: KindUnknown, errAlgorithm: AlgorithmUnknown, errDigits: DigitsInvalid, errPeriod: PeriodInvalid}[f.shape.check()]
	}
}
