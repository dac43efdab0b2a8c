// Package device recognises a returning device, remembers and forgets it. It owns the tables
// device, device_handle and device_challenge.
//
// A remembered device is one browser or app for one account. It holds two things: a handle
// (a random token in a cookie, changed at each use) and a key, P-256 or Ed25519, that it cannot
// export and that signs the sign-in's nonce. The handle alone recognises nothing: a copied cookie is
// worth nothing without the key. A handle that comes back after it was changed means that two
// parties hold the device's state, and ends the remembering. Where the browser can, it binds a
// second key to the machine, which then proves the device in the place of the first: see Bind.
//
// Recognition replaces the second step only, never the first, and adds nothing to the
// assurance level.
package device

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/appkey"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/label"
	"countersign/internal/platform/pubkey"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// ID names a remembered device. It is not a secret.
type ID string

// HandlePrefix begins every handle.
const HandlePrefix = "csd"

// MaxPerAccount is how many devices an account may have remembered; one more ends the one
// longest unseen. People have fewer; a list longer than this is not read.
const MaxPerAccount = 20

// Service remembers devices. All fields but the last two are required.
type Service struct {
	DB          *sqldb.DB
	Ring        *keyring.Ring
	Origin      string        // scheme and host of the site, part of every signed statement
	RememberFor time.Duration // from the second step on; recognition does not extend it

	Attestations       appkey.Policy
	RequireAttestation bool // of every key but a browser's
}

// Strength says what a device proves itself with, and so how hard it is to copy.
type Strength string

// The strengths. Keys that a phone vouches for have those of appkey.Kind.
const (
	// SoftwareKey is a key that the browser or app keeps and gives to nobody, its own pages included.
	// Whoever has the whole disk may have it.
	SoftwareKey Strength = "software_key"
	// Bound is a key that the browser binds to the machine (DBSC): in its security chip, where it has one.
	Bound Strength = "dbsc"
)

// Device is a remembered device as its owner sees it.
type Device struct {
	ID                               ID
	Name                             string
	Strength                         Strength
	Source                           netip.Addr // whence it was last seen; invalid if that is not known
	CreatedAt, LastSeenAt, ExpiresAt time.Time
	EndedAt                          time.Time // All alone fills it in; zero for one that did not end, or ended by its time
}

// Proof is what a returning device shows: its handle (a browser shares one cookie among
// accounts, so there may be several) and a signature over Statement("recognise", …), of 64 bytes:
// see pubkey.Key.Verify.
type Proof struct {
	Handles   []secret.Token
	Signature []byte
	Bound     []secret.Token // cookies that browsers get for proofs of bound keys
	Source    netip.Addr     // whence it comes; it proves nothing, and is kept for the owner's memory
	Site      string         // the origin of the page that signed; empty: ours
}

// Enrolment is what a device shows to be remembered: its public key (SubjectPublicKeyInfo in
// DER, P-256 or Ed25519) and a signature with it over Statement("remember", …).
type Enrolment struct {
	PublicKey []byte
	Signature []byte
	Name      string
	Source    netip.Addr // as in a Proof
	Site      string     // as in a Proof

	Attestation *appkey.Attestation // for Statement("attest", …); nil: nobody vouches for the key
	Browser     bool                // it is a browser's on our own pages, which has nobody to vouch for it

	attested Strength // as Check found it
}

// Remembered tells the device what to keep. Replaces, if not empty, is the handle it must drop.
type Remembered struct {
	ID        ID
	Handle    secret.Token
	Replaces  secret.Token
	ExpiresAt time.Time
}

// Verdict is what a proof was worth.
type Verdict uint8

// The verdicts.
const (
	Unknown    Verdict = iota // no handle of this account
	Unproved                  // a handle, but no valid signature over this nonce
	Replayed                  // a handle changed long ago: the remembering has been ended
	Recognised                // a handle and a key
)

// Judged is a verdict, and whatever goes with it.
type Judged struct {
	Verdict

	Device ID
	By     Strength    // on Recognised: the key that was proved
	Kept   *Remembered // on Recognised: what the device must keep now; nil within the grace of a change just made
}

// grace is how long a changed handle is still taken with a valid signature: two tabs sign in
// at once, and the second sent its cookie before the first answer came.
const grace = time.Minute

// Statement is the text a device signs. purpose is "remember",
// "recognise" or "approve", or "attest" for what its phone vouches for; origin is scheme and host of the site; nonce is the flow's, or the
// id of the sign-in that is approved.
func Statement(purpose, origin, nonce string) []byte {
	return []byte("countersign-device-v1\n" + purpose + "\n" + origin + "\n" + nonce)
}

// Recognise judges a proof for one account. On Recognised the handle has been changed.
func (s *Service) Recognise(ctx context.Context, tx *sqldb.Tx, who account.ID, p Proof, nonce string) (Judged, error) {
	for _, h := range p.Handles {
		f, ok, err := s.find(ctx, tx, who, h)
		if err != nil {
			return Judged{}, err
		}
		if !ok {
			continue
		}
		j := Judged{Device: f.id, By: s.proved(tx, f, p, nonce)}
		switch {
		case f.spent && (j.By == "" || tx.Now().Sub(f.spentAt) >= grace):
			j.Verdict = Replayed
			_, err := end(ctx, tx, who, f.id, "handle replayed")
			return j, err
		case j.By == "":
			j.Verdict = Unproved
			return j, nil
		}
		if live, err := s.Still(ctx, tx, f.id, p.Source); err != nil || !live { // forgotten since it was read
			return Judged{}, err
		}
		j.Verdict = Recognised
		if !f.spent {
			j.Kept, err = s.rotate(ctx, tx, f, h)
		}
		return j, err
	}
	return Judged{}, nil
}

// Still reports whether a device that was recognised is remembered still, and notes whence it was seen. From here on whoever forgets it
// waits, and then finds the session.
func (s *Service) Still(ctx context.Context, tx *sqldb.Tx, id ID, source netip.Addr) (bool, error) {
	return touch(ctx, tx, id, s.seal(id, source))
}

// proved says which of a device's keys is proved, or none.
func (s *Service) proved(tx *sqldb.Tx, f found, p Proof, nonce string) Strength {
	switch {
	case s.signedFor(tx, f, p, nonce):
		return Bound
	case verify(f.publicKey, Statement("recognise", cmp.Or(p.Site, s.Origin), nonce), p.Signature):
		return cmp.Or(f.attested, SoftwareKey)
	}
	return ""
}

// Approves returns the device of the account that proves, with its current handle and a signature over
// Statement("approve", …), that it is the one to let another device in. Nothing changes: the handle stays.
func (s *Service) Approves(ctx context.Context, tx *sqldb.Tx, who account.ID, p Proof, nonce string) (ID, bool, error) {
	for _, h := range p.Handles {
		f, ok, err := s.find(ctx, tx, who, h)
		if err != nil || ok && !f.spent && verify(f.publicKey, Statement("approve", s.Origin, nonce), p.Signature) {
			return f.id, ok, err
		}
	}
	return "", false, nil
}

// Holds returns the device of the account whose current handle is among handles. It proves
// nothing about the key; it only gives the device a limit of its own, so that a stranger's
// wrong passwords do not lock out the owner's device.
func (s *Service) Holds(ctx context.Context, tx *sqldb.Tx, who account.ID, handles []secret.Token) (ID, bool, error) {
	for _, h := range handles {
		f, ok, err := s.find(ctx, tx, who, h)
		if err != nil || ok && !f.spent {
			return f.id, ok, err
		}
	}
	return "", false, nil
}

// Met reports whether one of handles is the account's, or was until it was changed: Recognise has something to judge.
func (s *Service) Met(ctx context.Context, tx *sqldb.Tx, who account.ID, handles []secret.Token) (bool, error) {
	for _, h := range handles {
		if _, ok, err := s.find(ctx, tx, who, h); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func (s *Service) find(ctx context.Context, tx *sqldb.Tx, who account.ID, h secret.Token) (found, bool, error) {
	if !h.WellFormed(HandlePrefix) {
		return found{}, false, nil
	}
	return byHandle(ctx, tx, who, s.digests(h))
}

func (s *Service) rotate(ctx context.Context, tx *sqldb.Tx, f found, old secret.Token) (*Remembered, error) {
	won, err := spendHandle(ctx, tx, s.digests(old))
	if err != nil || !won { // lost to a tab a moment ahead: the same as coming within the grace
		return nil, err
	}
	h := secret.NewToken(HandlePrefix)
	if err := putHandle(ctx, tx, s.digest(h), f.id); err != nil {
		return nil, err
	}
	return &Remembered{ID: f.id, Handle: h, Replaces: old, ExpiresAt: f.expiresAt}, nil
}

var errSignature = errors.New("want a 64-byte signature over the remember statement")

// Check refuses an enrolment that does not prove its key, or whose attestation is wrong or missing. It is called before a
// code is spent on it, and Remember then knows what was attested.
func (s *Service) Check(e *Enrolment, nonce string) error {
	key, err := pubkey.Parse(e.PublicKey)
	switch {
	case errors.Is(err, pubkey.ErrUnsupported):
		return fault.New(fault.Invalid, "device_key_unsupported", err)
	case err == nil && !key.Verify(Statement("remember", cmp.Or(e.Site, s.Origin), nonce), e.Signature):
		err = errSignature
	}
	if err != nil {
		return fault.New(fault.Invalid, "device_key_malformed", err)
	}
	return s.judge(e, nonce)
}

// Remember remembers the device for the account. The caller has called Check and seen a full
// sign-in, second step included. Handles the device still holds for this account are ended.
func (s *Service) Remember(ctx context.Context, tx *sqldb.Tx, who account.ID, e Enrolment, held []secret.Token) (*Remembered, error) {
	var replaces secret.Token
	for _, h := range held {
		f, ok, err := s.find(ctx, tx, who, h)
		if err != nil {
			return nil, err
		}
		if ok {
			replaces = h
			if _, err := end(ctx, tx, who, f.id, "remembered anew"); err != nil {
				return nil, err
			}
		}
	}
	d := kept{
		Device: Device{ID: ID(uuid.Must(uuid.NewV7()).String()), Name: clean(e.Name), ExpiresAt: tx.Now().Add(s.RememberFor)},
		owner:  who, publicKey: e.PublicKey, attested: e.attested,
	}
	d.source = s.seal(d.ID, e.Source)
	h := secret.NewToken(HandlePrefix)
	if err := put(ctx, tx, d); err != nil {
		return nil, err
	}
	if err := putHandle(ctx, tx, s.digest(h), d.ID); err != nil {
		return nil, err
	}
	if err := endBeyond(ctx, tx, who, MaxPerAccount); err != nil {
		return nil, err
	}
	return &Remembered{ID: d.ID, Handle: h, Replaces: replaces, ExpiresAt: d.ExpiresAt}, nil
}

// List returns the account's remembered devices, the one last seen first.
func (s *Service) List(ctx context.Context, who account.ID) (all []Device, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = s.Live(ctx, tx, who)
		return err
	})
	return all, err
}

// Live is List within the caller's transaction.
func (s *Service) Live(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]Device, error) {
	rows, err := list(ctx, tx, who)
	return s.shown(rows), err
}

// All returns every device that is kept of an account, those over for up to a month too, the newest first.
func (s *Service) All(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]Device, error) {
	rows, err := listAll(ctx, tx, who)
	return s.shown(rows), err
}

func (s *Service) shown(rows []kept) []Device {
	all := make([]Device, 0, len(rows))
	for _, r := range rows {
		r.Strength, r.Source = cmp.Or(r.attested, SoftwareKey), s.open(r.ID, r.source)
		if r.bound {
			r.Strength = Bound
		}
		all = append(all, r.Device)
	}
	return all
}

var errNameless = errors.New("nothing that prints is in the name")

// Rename gives a device of the account the name that its owner knows it by. ok is false if the account
// has no such device. A name in which nothing prints is fault.Invalid "device_name_empty".
func (s *Service) Rename(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name string) (ok bool, err error) {
	if name = label.Clean(name); name == "" {
		return false, fault.New(fault.Invalid, "device_name_empty", errNameless)
	}
	return rename(ctx, tx, who, id, name)
}

// Forget ends the remembering of one device of the account. ok is false if it has no such device.
func (s *Service) Forget(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (ok bool, err error) {
	return end(ctx, tx, who, id, "forgotten by its owner")
}

// ForgetAll ends the remembering of every device of the account.
func (s *Service) ForgetAll(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	return s.ForgetOthers(ctx, tx, who, "")
}

// ForgetOthers ends the remembering of every device of the account but one.
func (s *Service) ForgetOthers(ctx context.Context, tx *sqldb.Tx, who account.ID, keep ID) error {
	return endOthers(ctx, tx, who, keep, "forgotten by its owner")
}

// KnownBefore reports whether a device that is remembered for the account had been so before a time,
// under whatever name: a browser keeps its key when it is forgotten and remembered anew.
func (s *Service) KnownBefore(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, before time.Time) (bool, error) {
	return knownBefore(ctx, tx, who, id, before)
}

// Erase deletes every device of an account for good.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	return erase(ctx, tx, who)
}

// Prune deletes a bounded number of devices whose time was over a month ago, with their handles,
// and of challenges that nobody may answer any more, and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

func (s *Service) digest(h secret.Token) []byte { return s.Ring.Digest("device", h) }

func (s *Service) digests(h secret.Token) [][]byte { return s.Ring.Digests("device", h) }

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.Ring.Digested(digested()), s.Ring.Sealed(sealed())}
}

func (s *Service) seal(id ID, source netip.Addr) []byte {
	if !source.IsValid() {
		return nil
	}
	return s.Ring.Seal([]byte(source.Unmap().String()), place(id))
}

// open returns the zero Addr for one that cannot be opened: where a device was is a help for its owner's
// memory, and a list of devices must not fail for it.
func (s *Service) open(id ID, sealed []byte) netip.Addr {
	plain, err := s.Ring.Open(sealed, place(id))
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(string(plain))
	return a
}

func place(id ID) keyring.Place {
	return keyring.Place{Table: "device", Row: string(id), Column: "source"}
}

// verify checks a signature by a key that is stored, or sent to be.
func verify(spki, statement, signature []byte) bool {
	key, err := pubkey.Parse(spki)
	return err == nil && key.Verify(statement, signature)
}
