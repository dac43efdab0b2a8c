package account

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"countersign/internal/platform/sqldb"
)

// DefaultDecoys is how many accounts stand in for all who do not exist. With a handful, their rows
// would lie in every cache of the machine, and looking at an account's would take longer (15 µs of
// 800 with 16). They take a megabyte.
const DefaultDecoys = 2048

func (s *Service) decoys() int {
	if s.Decoys == 0 {
		return DefaultDecoys
	}
	return s.Decoys
}

// shape is what a decoy can be reached by. There is one for everything a real account may be
// offered: a shape that no decoy has would be known for an account's.
type shape uint8

const (
	emailOnly shape = iota
	emailAndPhone
	phoneOnly
)

func shapeOf(n int) shape {
	return [...]shape{emailOnly, emailAndPhone, phoneOnly, emailOnly, emailAndPhone, phoneOnly, emailOnly, emailAndPhone}[n%8]
}

// common reports whether people with such an identifier often have such an account. The others
// exist too (an address that was never verified), so they are chosen too, but seldom.
func (d shape) common(k Kind) bool {
	return k == Username || k == Email && d != phoneOnly || k == Phone && d != emailOnly
}

// Find is the sign-in look-up. It always returns an account: whoever does not exist is
// stood in for by a decoy, the same one every time for the same identifier. One query
// fetches two accounts, and its work is the same for a hit and a miss. An error means the server
// is in trouble, never that there is no such account.
//
// A caller that treats State Decoy differently from Locked or Closed breaks the promise.
func (s *Service) Find(ctx context.Context, tx *sqldb.Tx, ident Identifier) (Account, error) {
	if ident.Kind() == "" {
		return Account{}, errors.New("find account: the identifier is empty")
	}
	standIn, err := decoyEmail(s.decoyMAC(s.choose(ident)))
	if err != nil {
		return Account{}, err
	}
	found, err := byLookup(ctx, tx, s.lookups(ident), s.lookups(standIn))
	if err != nil {
		return Account{}, fmt.Errorf("look up account: %w", err)
	}
	if found.other.ID == "" { // checked on hits too: a start without decoys must not stay hidden until a miss
		return Account{}, errors.New("look up account: the decoy accounts are missing; EnsureDecoys makes them")
	}
	if found.asked.ID == "" {
		return found.other, nil
	}
	return found.asked, nil
}

// choose picks a decoy by a keyed digest, so nobody outside can compute which names share one.
// It draws twice, and the second time holds if the first is uncommon for the kind of identifier.
func (s *Service) choose(ident Identifier) int {
	mac := s.Ring.Stable("account/decoy-choice", string(ident.Kind())+"\x00"+ident.Normal())
	n := uint64(s.decoys())                             //nolint:gosec // a small positive number
	first := int(binary.BigEndian.Uint64(mac) % n)      //nolint:gosec // smaller than n
	second := int(binary.BigEndian.Uint64(mac[8:]) % n) //nolint:gosec // smaller than n
	if shapeOf(first).common(ident.Kind()) {
		return first
	}
	return second
}

type decoyAccount struct {
	id           ID
	shape        shape
	email, phone Identifier // phone is zero with emailOnly
}

// decoy derives the n-th decoy from the ring alone: every node derives the same, and
// nobody without the key can name its address.
func (s *Service) decoy(n int) (decoyAccount, error) {
	mac := s.decoyMAC(n)
	d := decoyAccount{id: decoyID(mac), shape: shapeOf(n)}
	var err error
	if d.email, err = decoyEmail(mac); err != nil {
		return decoyAccount{}, fmt.Errorf("derive decoy %d: %w", n, err)
	}
	if d.shape != emailOnly {
		// 555-0100 to 555-0199 are set aside for fiction in North America.
		if d.phone, err = Parse(fmt.Sprintf("+1202555%04d", 100+int(mac[26])%100)); err != nil {
			return decoyAccount{}, fmt.Errorf("derive decoy %d: %w", n, err)
		}
	}
	return d, nil
}

func decoyID(mac []byte) ID { return ID(derivedID(mac[:16])) }

// decoyMAC is what a decoy is derived from. It outlives every key: a name whose decoy changed would be
// known for nobody's, because what an account is offered does not change.
func (s *Service) decoyMAC(n int) []byte { return s.Ring.Stable("account/decoy", strconv.Itoa(n)) }

// decoyEmail is what a decoy is found by. Find derives nothing else of it, because a telephone
// number takes longer, and then the time would tell what shape a name's decoy has.
func decoyEmail(mac []byte) (Identifier, error) {
	name := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(mac[16:26]))
	return Parse(name + "@decoy.invalid") // RFC 2606: .invalid is never delegated
}

// EnsureDecoys writes the decoy accounts that are missing and returns the ids of all, Last among
// them. Any number of nodes may do so at once, and as often as they like. It must have run before
// the first Find.
func (s *Service) EnsureDecoys(ctx context.Context) ([]ID, error) {
	const batch = 64 // keeps each transaction short
	all := make([]ID, 0, s.decoys()+1)
	for n := range s.decoys() {
		all = append(all, decoyID(s.decoyMAC(n)))
	}
	all = append(all, Last)
	there := false
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		_, there, err = get(ctx, tx, Last) // it is written last
		return err
	})
	if err != nil || there {
		return all, err
	}
	for from := 0; from < s.decoys(); from += batch {
		err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for n := from; n < min(from+batch, s.decoys()); n++ {
				d, err := s.decoy(n)
				if err != nil {
					return err
				}
				if err := s.putDecoy(ctx, tx, d); err != nil {
					return fmt.Errorf("write decoy %d: %w", n, err)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, s.DB.Write(ctx, func(tx *sqldb.Tx) error { return s.putLast(ctx, tx) })
}

// Last is the account that comes after all others wherever accounts are sorted by id, so that every
// id has a next one. It is a decoy that stands in for nobody (RFC 9562 section 5.10: the Max UUID).
const Last ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

// putLast writes Last, and the last row of the index by which people are found, so that every name
// has a next one there, too.
func (s *Service) putLast(ctx context.Context, tx *sqldb.Tx) error {
	mac := s.Ring.Stable("account/decoy-last", "")
	ident, err := Parse("last@decoy.invalid")
	if err != nil {
		return err
	}
	fresh, err := putAccount(ctx, tx, Account{ID: Last, State: Decoy, Language: s.language()})
	if err != nil || !fresh {
		return err
	}
	row := s.row(derivedID(mac[:16]), Last, NewIdentifier{Identifier: ident, SignsIn: true})
	row.lookup, row.names = lastLookup(), [][]byte{lastLookup()}
	_, err = s.put(ctx, tx, row)
	return err
}

// lastLookup comes after every index of every key, whose id begins with a letter, and is of none: it stays when keys change.
func lastLookup() []byte { return bytes.Repeat([]byte{0xff}, 40) }

func (s *Service) putDecoy(ctx context.Context, tx *sqldb.Tx, d decoyAccount) error {
	fresh, err := putAccount(ctx, tx, Account{ID: d.id, State: Decoy, Language: s.language()})
	if err != nil || !fresh {
		return err // the account and its addresses are written in one transaction: all there or none
	}
	// Every decoy is found by its e-mail address; with phoneOnly it was never verified, so nothing goes there.
	reached := d.shape != phoneOnly
	rows := []NewIdentifier{{Identifier: d.email, Verified: reached, SignsIn: true, Notices: reached, Recovers: reached}}
	if d.phone.Kind() != "" {
		rows = append(rows, NewIdentifier{Identifier: d.phone, Verified: true, Notices: true, Recovers: true})
	}
	for i, ident := range rows {
		mac := s.Ring.Stable("account/decoy-address", string(d.id)+"/"+strconv.Itoa(i))
		if _, err := s.put(ctx, tx, s.row(derivedID(mac[:16]), d.id, ident)); err != nil {
			return err
		}
	}
	return nil
}

// derivedID is a UUID of version 8, which RFC 9562 leaves to whoever derives it.
func derivedID(b []byte) string {
	id := uuid.UUID(b)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}
