package device

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/dbsc"
	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// A remembered device may have a second key, one that its browser binds to the machine (DBSC). The browser sends no
// signature with a request: it signs our challenge at a door of its own and gets a cookie for that. The cookie may be
// copied as any other. So it says which challenge it was got for, and recognises the device only where that was asked.

const (
	// bindFor is how long a device may take to make its key. Security chips need seconds.
	bindFor = 5 * time.Minute
	// challengeFor is how old a challenge may be that is answered. Browsers answer at once.
	challengeFor = 2 * time.Minute
	// ProofFor is for how long a proof stands for a session that is bound to the key, and so for how long a copy of its
	// cookies is of use. Browsers sign six times in nine minutes for a site: two for the session leave four for sign-ins.
	ProofFor = 5 * time.Minute
)

// Ask is what a returning device is asked to sign.
type Ask struct {
	Device    ID
	Challenge string
}

// Minted is what a browser gets at the door of bound keys. Without a valid proof there is no Cookie, but a Challenge to sign.
type Minted struct {
	Device    ID
	Cookie    secret.Token
	ExpiresAt time.Time
	Challenge string
	Ended     bool // there is no such device any more: the browser may drop its key
}

// Offer returns the challenge by which a device that was just remembered may bind a key, in the session that began with it.
// The caller has seen a full sign-in, second step included: a stolen session must not bind a thief's key.
func (s *Service) Offer(tx *sqldb.Tx, id ID, session string) string {
	return s.stamp(tx.Now(), stampOf{id, "offer"}, session)
}

// Bind gives a device of the account the key that the proof brings, once. ok is false if the proof does not answer the
// offer made to this session.
func (s *Service) Bind(ctx context.Context, tx *sqldb.Tx, who account.ID, a Binding) (m Minted, ok bool, err error) {
	challenge, key, err := dbsc.Enrolment(a.Proof)
	if err != nil {
		return Minted{}, false, nil //nolint:nilerr // anybody may send what is no proof
	}
	if session, fresh := s.read(tx.Now(), stampOf{a.Device, "offer"}, challenge, bindFor); !fresh || session != a.Session {
		return Minted{}, false, nil
	}
	expires, ok, err := bind(ctx, tx, who, a.Device, key)
	if err != nil || !ok {
		return Minted{}, false, err
	}
	return s.mint(tx, a.Device, expires, ""), true, nil
}

// Binding is what Bind needs: the session in which the device was remembered, and the proof that brings the key.
type Binding struct {
	Device         ID
	Session, Proof string
}

// Ask returns what a device must sign to be recognised by its bound key in the flow with this nonce, or nil: it is not
// bound, its browser has lost the key, or it has signed already.
func (s *Service) Ask(ctx context.Context, tx *sqldb.Tx, who account.ID, p Proof, nonce string) (*Ask, error) {
	for _, h := range p.Handles {
		f, ok, err := s.find(ctx, tx, who, h)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if len(f.boundKey) == 0 || !p.holdsBound(f.id) || s.signedFor(tx, f, p, nonce) || f.spent && tx.Now().Sub(f.spentAt) >= grace {
			return nil, nil
		}
		return &Ask{f.id, s.stamp(tx.Now(), stampOf{f.id, "challenge"}, nonce)}, nil
	}
	return nil, nil
}

// Shown is what the cookies of bound keys say of one device.
type Shown uint8

// What they say.
const (
	None  Shown = iota // nothing
	Old                // that its browser has proved the key once; it may be asked to do so anew
	Fresh              // that it has done so within ProofFor
)

// Shows says what the cookies that came with a request say of a device. It reads no database: every request of a
// session that is bound is judged by it. What the proof was asked for does not matter here.
func (s *Service) Shows(id ID, cookies []secret.Token) Shown {
	best := None
	for _, c := range cookies {
		stamp, ok := strings.CutPrefix(c.Reveal(), string(id)+".")
		if !ok {
			continue
		}
		if _, fresh := s.read(s.DB.Now(), stampOf{id, "cookie"}, stamp, ProofFor); fresh {
			return Fresh
		}
		best = Old
	}
	return best
}

// AskAnew returns what a device's browser is to sign for a session that is bound to its key.
func (s *Service) AskAnew(id ID) *Ask {
	return &Ask{id, s.stamp(s.DB.Now(), stampOf{id, "challenge"}, "")}
}

// Refresh judges what a browser signed with a device's bound key. Each challenge is answered once. admit refuses proofs that are too many: its
// error is Refresh's.
func (s *Service) Refresh(ctx context.Context, id ID, proof string, admit func(*sqldb.Tx) error) (m Minted, err error) {
	if uuid.Validate(string(id)) != nil {
		return Minted{Ended: true}, nil //nolint:nilerr // whatever stood in the header
	}
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error { // whoever makes ids up must not hold SQLite's one writer up
		_, _, live, err := boundKey(ctx, tx, id)
		m = Minted{Device: id, Ended: !live}
		if live {
			m.Challenge = s.stamp(tx.Now(), stampOf{id, "challenge"}, "")
		}
		return err
	})
	if err != nil || m.Ended || proof == "" {
		return m, err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		key, expires, live, err := boundKey(ctx, tx, id)
		if err != nil || !live {
			m = Minted{Device: id, Ended: true}
			return err
		}
		if err := admit(tx); err != nil {
			return err
		}
		m = Minted{Device: id, Challenge: s.stamp(tx.Now(), stampOf{id, "challenge"}, "")}
		challenge, err := dbsc.Challenge(proof, key)
		if err != nil {
			return nil //nolint:nilerr // as in Bind
		}
		about, fresh := s.read(tx.Now(), stampOf{id, "challenge"}, challenge, challengeFor)
		if !fresh {
			return nil
		}
		sum := sha256.Sum256([]byte(challenge))
		first, err := spendChallenge(ctx, tx, sum[:], tx.Now().Add(challengeFor))
		if err == nil && first {
			m = s.mint(tx, id, expires, about)
		}
		return err
	})
	return m, err
}

// mint makes the cookie for a proof. It begins with the device's id, which is seen without a key.
func (s *Service) mint(tx *sqldb.Tx, id ID, expires time.Time, about string) Minted {
	value := string(id) + "." + s.stamp(tx.Now(), stampOf{id, "cookie"}, about)
	return Minted{Device: id, Cookie: secret.Of(value), ExpiresAt: expires}
}

// holdsBound reports whether a bound cookie of the device is there, which may be a copy.
func (p Proof) holdsBound(id ID) bool {
	for _, c := range p.Bound {
		if strings.HasPrefix(c.Reveal(), string(id)+".") {
			return true
		}
	}
	return false
}

// signedFor reports whether one of the cookies was got for signing a challenge that was made for this nonce. One for
// another nonce may be a copy, or of a refresh that the browser had begun before.
func (s *Service) signedFor(tx *sqldb.Tx, f found, p Proof, nonce string) bool {
	if len(f.boundKey) == 0 || nonce == "" {
		return false
	}
	for _, c := range p.Bound {
		stamp, ok := strings.CutPrefix(c.Reveal(), string(f.id)+".")
		if !ok {
			continue
		}
		if about, fresh := s.read(tx.Now(), stampOf{f.id, "cookie"}, stamp, challengeFor); fresh && about == nonce {
			return true
		}
	}
	return false
}

// stampOf says what a stamp is for. It is the place of the seal, so that none passes for another's.
type stampOf struct {
	device ID
	use    string // offer, challenge, cookie
}

func (o stampOf) place() keyring.Place {
	return keyring.Place{Table: "device_challenge", Row: string(o.device), Column: o.use}
}

// stamp seals the time, and what else is to be known when it comes back. Nothing is written: strangers may ask for many.
func (s *Service) stamp(now time.Time, of stampOf, about string) string {
	plain := strconv.FormatInt(now.UnixMilli(), 10) + " " + about
	return base64.RawURLEncoding.EncodeToString(s.Ring.Seal([]byte(plain), of.place()))
}

// read opens a stamp that is no older than most. One from the future was made before the clock was put back.
func (s *Service) read(now time.Time, of stampOf, stamp string, most time.Duration) (about string, fresh bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(stamp)
	if err != nil {
		return "", false
	}
	plain, err := s.Ring.Open(sealed, of.place())
	if err != nil {
		return "", false
	}
	at, about, _ := strings.Cut(string(plain), " ")
	ms, err := strconv.ParseInt(at, 10, 64)
	age := now.Sub(time.UnixMilli(ms))
	return about, err == nil && age >= -sqldb.Skew && age <= most
}
