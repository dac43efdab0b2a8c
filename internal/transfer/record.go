package transfer

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/language"

	"countersign/internal/account"
	"countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/fault"
)

// candidate is a line on its way into the database.
type candidate struct {
	line   int64
	id     string // for the report
	why    Reason // not taken
	digest []byte
	ready  account.Prepared
	reach  bool

	// The password: one of these, and setting once it is ready.
	plain   string
	quick   foreign.Hash // to be wrapped
	kind    foreign.Kind
	hash    password.Hash
	has     bool // a password
	setAt   moment
	already bool // by an earlier run
	taken   bool // by somebody else
}

// slow reports whether the candidate has to be hashed here.
func (c *candidate) slow() bool {
	return c.why == "" && !c.already && (c.plain != "" || c.quick.Text() != "")
}

// candidate makes one of a line. What is wrong with it is in why; an error is the server's trouble.
func (im *importer) candidate(line rawLine) (c candidate, err error) {
	c.line = line.number
	r, err := im.parser.parse(line)
	if c.id = string(r.ExternalID); c.id == "" {
		c.id = r.ID
	}
	if err == nil {
		err = im.fill(&c, r)
	}
	c.why, err = reason(err)
	return c, err
}

// reason sorts what is the line's fault from what is not.
func reason(err error) (Reason, error) {
	if err == nil {
		return "", nil
	}
	if why, ok := errors.AsType[Reason](err); ok {
		return why, nil
	}
	if why, ok := errors.AsType[foreign.Refusal](err); ok {
		return Reason(why), nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Invalid {
		return Reason(f.Code), nil
	}
	return "", err
}

func (im *importer) fill(c *candidate, r record) error {
	w := account.Whole{Claims: r.Claims}
	var err error
	if w.Addresses, err = im.addresses(r); err != nil {
		return err
	}
	if err := standing(&w, r, im.began); err != nil {
		return err
	}
	if err := claims(&w, r); err != nil {
		return err
	}
	for _, a := range w.Addresses {
		c.reach = c.reach || a.Verified && a.Notices
	}
	c.digest, err = im.digest(c.line, r)
	if err != nil {
		return err
	}
	if c.ready, err = im.s.Accounts.Prepare(w); err != nil {
		return err
	}
	return im.password(c, r)
}

// digest is what a line is known by when the import is run again, also under other keys: its number and all it says but
// the password, which would be quick to guess by it for whoever has the keys. The number stands first, so that
// the digests come in their order: the pages of a random index would be most of what an import writes.
func (im *importer) digest(number int64, r record) ([]byte, error) {
	r.Password, r.PasswordHash, r.PasswordSalt, r.PasswordPepper, r.PasswordInner = "", "", "", "", ""
	b, err := json.Marshal(r) //nolint:gosec // G117: there is none in it
	if err != nil {
		return nil, err
	}
	said := im.s.Ring.Stable("transfer/line", string(b))[:16]
	return append(binary.BigEndian.AppendUint64(nil, uint64(number)), said...), nil //nolint:gosec // not negative
}

func (im *importer) addresses(r record) (all []account.Address, err error) {
	add := func(kind account.Kind, value string, uses account.Address) error {
		ident, err := im.o.Parser.Parse(value)
		if err != nil || ident.Kind() != kind {
			return IdentifierMalformed
		}
		uses.Kind, uses.Normal = kind, ident.Normal()
		all = append(all, uses)
		return nil
	}
	for _, plain := range []struct {
		kind     account.Kind
		value    string
		verified *yes
	}{{account.Email, r.Email, r.EmailVerified}, {account.Phone, r.Phone, r.PhoneVerified}, {account.Username, r.Username, nil}} {
		if plain.value == "" {
			continue
		}
		reachable := plain.kind != account.Username
		verified := reachable && (plain.verified == nil && im.o.Vouch || plain.verified != nil && bool(*plain.verified))
		if err := add(plain.kind, plain.value, account.Address{Verified: verified, SignsIn: true, Notices: reachable, Recovers: verified}); err != nil {
			return nil, err
		}
	}
	for _, i := range r.Identifiers {
		uses := account.Address{Verified: i.Verified, SignsIn: i.SignsIn, Notices: i.Notices, Recovers: i.Recovers, AddedAt: i.AddedAt.Time}
		if err := add(account.Kind(i.Kind), i.Value, uses); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 && r.State != string(account.Closed) {
		return nil, IdentifierMissing
	}
	return all, nil
}

func standing(w *account.Whole, r record, now time.Time) error {
	if r.ID != "" {
		id, err := uuid.Parse(r.ID)
		if err != nil || id.String() != r.ID || account.ID(r.ID) == account.Last {
			return IDInvalid
		}
		w.ID = account.ID(r.ID)
	}
	if r.Language != "" {
		tag, err := language.Parse(r.Language)
		if err != nil {
			return LanguageInvalid
		}
		w.Language = tag.String()
	}
	w.State = account.State(r.State)
	switch w.State {
	case "", account.Active, account.Locked, account.Closed:
	default:
		return StateInvalid
	}
	past := []moment{r.CreatedAt, r.PasswordSetAt}
	for _, i := range r.Identifiers {
		past = append(past, i.AddedAt)
	}
	for _, t := range past {
		if t.After(now.Add(24 * time.Hour)) { // a day for clocks and time zones; more is another unit or a mistake
			return TimeInvalid
		}
	}
	w.CreatedAt = r.CreatedAt.Time
	w.Standing = account.Standing{FrozenUntil: r.FrozenUntil.Time, EraseAt: r.EraseAt.Time}
	return nil
}

// externalID is the claim that keeps what the other system called an account.
const externalID = "external_id"

func claims(w *account.Whole, r record) error {
	const most, longestName, longest = 50, 64, 4096
	if r.ExternalID != "" {
		if w.Claims == nil {
			w.Claims = map[string]string{}
		}
		w.Claims[externalID] = string(r.ExternalID)
	}
	if len(w.Claims) > most {
		return ClaimInvalid
	}
	for name, value := range w.Claims {
		if name == "" || len(name) > longestName || value == "" || len(value) > longest || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return ClaimInvalid
		}
	}
	return nil
}

func (im *importer) password(c *candidate, r record) (err error) {
	c.setAt = r.PasswordSetAt
	hash := r.PasswordHash
	if strings.HasPrefix(hash, "!") || hash == "*" { // so Django and Unix say that there is none
		hash = ""
	}
	switch {
	case r.Password != "" && r.PasswordHash != "", len(r.Password) > longestPlain, !utf8.ValidString(r.Password):
		return PasswordInvalid
	case r.Password != "":
		c.plain, c.has = r.Password, true
	case hash == "":
	case r.PasswordPepper != "":
		c.has = true
		c.hash, err = im.s.Passwords.Read(password.Written{Hash: hash, Pepper: r.PasswordPepper, Inner: r.PasswordInner})
		if errors.Is(err, password.ErrPepper) {
			err = PepperUnknown
		}
		c.kind = c.hash.Kind()
	default:
		c.has = true
		return im.foreign(c, hash, r.PasswordSalt)
	}
	return err
}

// longestPlain is more than anybody's password, in bytes.
const longestPlain = 1024

func (im *importer) foreign(c *candidate, hash, salt string) error {
	h, err := im.readHash(hash, salt)
	if err != nil {
		return err
	}
	c.kind = h.Kind()
	if !h.Slow() {
		c.quick = h
		return nil
	}
	c.hash, err = im.s.Passwords.Keep(h)
	return err
}

func (im *importer) readHash(hash, salt string) (foreign.Hash, error) {
	switch im.o.Hash {
	case "":
		return foreign.Parse(hash)
	case "firebase":
		return im.o.Firebase.Hash(hash, salt)
	}
	b := []byte(salt)
	var err error
	switch im.o.Salt {
	case "hex":
		b, err = hex.DecodeString(salt)
	case "base64":
		b, err = base64.StdEncoding.DecodeString(salt)
	}
	if err != nil {
		return foreign.Hash{}, foreign.Malformed
	}
	return foreign.Digest(im.o.Hash, hash, b)
}
