package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/assurance"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/throttle"
)

// How devices are let in (RFC 8628); docs/decisions/0030 has the reasons.
const (
	deviceFor    = 10 * time.Minute
	devicePause  = 5 * time.Second // between two questions, as the device is told
	deviceEarly  = time.Second     // how much too early a question may come, which waited for the one before to arrive
	deviceSlower = 5 * time.Second // by which the pause grows each time it is not kept

	deviceGrant  = "urn:ietf:params:oauth:grant-type:device_code"
	devicePrefix = "cse"

	devicePurpose = "oidc/device"
	typedPurpose  = "oidc/user"

	userCodeLen      = 8
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ" // no vowels, so no words; no digits, so nothing that looks like them (RFC 8628 section 6.1)
)

// The limits of codes that people type. There are 26,000 million, of which a few thousand may be good at once.
var (
	typedSource = throttle.Rate{Name: "oidc/typed-source", Burst: 20, Every: 30 * time.Second}      //nolint:gochecknoglobals // a constant
	typedPerson = throttle.Rate{Name: "oidc/typed-person", Burst: 10, Every: time.Minute}           //nolint:gochecknoglobals // a constant
	typedAll    = throttle.Rate{Name: "oidc/typed-all", Burst: 1000, Every: 100 * time.Millisecond} //nolint:gochecknoglobals // a constant
)

// Pairing is what a device is told that wants to be let in.
type Pairing struct {
	Device     secret.Token
	User       string // as the device shows it: BCDF-GHJK
	At, Whole  string // where to type it, and the same with the code in it
	For, Pause time.Duration
}

// deviceState is what became of a device that waits.
type deviceState string

const (
	deviceWaiting deviceState = "waiting"
	deviceAllowed deviceState = "allowed"
	deviceRefused deviceState = "refused"
	deviceUsed    deviceState = "used"
)

// waitingDevice is one that waits to be let in.
type waitingDevice struct {
	id, client string
	scopes     []string
	least      assurance.Level
	state      deviceState
	grant      string
	over       bool
}

func newUserCode() string {
	var b strings.Builder
	for b.Len() < userCodeLen {
		var one [1]byte
		_, _ = rand.Read(one[:])                               // never fails
		if n := len(userCodeAlphabet); int(one[0]) < 256/n*n { // or some letters came more often
			b.WriteByte(userCodeAlphabet[int(one[0])%n])
		}
	}
	return b.String()
}

// readUserCode is a code as it was meant, however it was typed; empty if it is none.
func readUserCode(typed string) string {
	if len(typed) > 4*userCodeLen {
		return ""
	}
	code := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -\u2010\u2011\u2013_.", r) {
			return -1
		}
		return r
	}, strings.ToUpper(typed))
	if len(code) != userCodeLen || strings.Trim(code, userCodeAlphabet) != "" {
		return ""
	}
	return code
}

// ShowUserCode is a code as people read it; empty if it is none.
func (s *Service) ShowUserCode(typed string) string {
	code := readUserCode(typed)
	if code == "" {
		return ""
	}
	return code[:userCodeLen/2] + "-" + code[userCodeLen/2:]
}

// Pair has a device wait, which a client asks for that has proved who it is.
func (s *Service) Pair(ctx context.Context, c Client, form url.Values, from netip.Addr) (Pairing, error) {
	if !c.Device {
		return Pairing{}, oauth("unauthorized_client", "the client is not registered for devices")
	}
	d := waitingDevice{id: uuid.Must(uuid.NewV7()).String(), client: c.ID, least: leastOf(form.Get("acr_values"))}
	for one := range strings.FieldsSeq(form.Get("scope")) {
		if slices.Contains(c.Scopes, one) && !slices.Contains(d.scopes, one) {
			d.scopes = append(d.scopes, one)
		}
	}
	if len(d.scopes) == 0 {
		return Pairing{}, oauth("invalid_scope", "no scope is asked for that the client may have")
	}
	p := Pairing{Device: secret.NewToken(devicePrefix), At: s.at(DevicePath), For: deviceFor, Pause: devicePause}
	within := false
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if within, err = s.Throttle.TakeSource(ctx, tx, beginSource, from); err == nil && within {
			within, err = s.Throttle.Take(ctx, tx, beginAll, "")
		}
		if err != nil || !within {
			return err
		}
		p.User = newUserCode()
		return putDevice(ctx, tx, d, s.Ring.Digest(devicePurpose, p.Device), s.Ring.Digest(typedPurpose, secret.Of(p.User)))
	})
	if err == nil && !within {
		err = tooMany()
	}
	p.User = s.ShowUserCode(p.User)
	p.Whole = p.At + "?" + url.Values{"code": {p.User}}.Encode()
	return p, err
}

// Typed finds the device of a code that somebody has typed, and keeps a request for it in their browser: who they are, what they have to prove and whether
// they agree is asked on the way of every request. There is no such code (fault.Invalid "device_code_unknown") also when it is over or used.
func (s *Service) Typed(ctx context.Context, a Asked) (b Begun, err error) {
	code := readUserCode(a.Query.Get("code"))
	q := request{Before: a.Session.ID, id: uuid.Must(uuid.NewV7()).String(), created: s.DB.Now()}
	within := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		b = Begun{}
		if within, err = s.Throttle.TakeSource(ctx, tx, typedSource, a.Source); err == nil && within {
			within, err = s.Throttle.Take(ctx, tx, typedAll, "")
		}
		if err == nil && within && a.Session.ID != "" {
			within, err = s.Throttle.Take(ctx, tx, typedPerson, string(a.Session.Account))
		}
		if err != nil || !within || code == "" {
			return err
		}
		d, ok, err := deviceTyped(ctx, tx, s.Ring.Digests(typedPurpose, secret.Of(code)))
		if err != nil || !ok {
			return err
		}
		q.Client, q.Scopes, q.Least = d.client, d.scopes, d.least
		q.Pair.Device, q.Pair.Typed = d.id, s.ShowUserCode(code)
		b.Request = q.id
		return putRequest(ctx, tx, q, s.Ring.Digest(browserPurpose, a.Browser))
	})
	switch {
	case err != nil:
	case !within:
		err = tooMany()
	case b.Request == "":
		err = fault.New(fault.Invalid, "device_code_unknown", errors.New("no device waits with that code"))
	}
	return b, err
}

// poll answers a device that asks whether it was let in (RFC 8628 section 3.5).
func (s *Service) poll(ctx context.Context, c Client, form url.Values, by Caller) (out issued, err error) {
	shown := secret.Of(form.Get("device_code"))
	if !c.Device || !shown.WellFormed(devicePrefix) {
		return issued{}, nil
	}
	var no error
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		out, no = issued{}, nil
		digests := s.Ring.Digests(devicePurpose, shown)
		d, patient, ok, err := askDevice(ctx, tx, c.ID, digests)
		switch {
		case err != nil || !ok:
			return err
		case d.state == deviceUsed:
			g, err := grantByID(ctx, tx, d.grant)
			if err != nil {
				return err
			}
			return s.replayed(ctx, tx, g, "device code", by.Source)
		case d.over:
			no = oauth("expired_token", "nobody has let the device in in time")
		case !patient:
			no = oauth("slow_down", "the device asks too often")
		case d.state == deviceRefused:
			no = oauth("access_denied", "the device was not let in")
		case d.state == deviceWaiting:
			no = oauth("authorization_pending", "nobody has let the device in yet")
		default:
			out, err = s.letIn(ctx, tx, d, by)
		}
		return err
	})
	if err == nil {
		err = no
	}
	return out, err
}

// letIn gives a device what somebody has let it have. Of any number of questions at once one gets it.
func (s *Service) letIn(ctx context.Context, tx *sqldb.Tx, d waitingDevice, by Caller) (issued, error) {
	if first, err := moveDevice(ctx, tx, d, deviceUsed); err != nil || !first {
		return issued{}, err
	}
	if err := markRedeemed(ctx, tx, d.grant); err != nil {
		return issued{}, err
	}
	g, err := grantByID(ctx, tx, d.grant)
	if err == nil && by.holder != "" {
		g.key, err = by.holder, bindGrant(ctx, tx, d.grant, by.holder)
	}
	if err != nil {
		return issued{}, err
	}
	return s.issue(ctx, tx, g, g.scopes)
}
