package dpop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

const (
	// nonceFor is how long a nonce is taken: as long as whoever had the key for a moment can use what they had it sign. An app
	// that waits longer between two calls pays with one more round trip.
	nonceFor = 2 * time.Minute
	// renewAfter is when an answer brings the next one: an app that goes on calling never waits for one.
	renewAfter = nonceFor / 2
	// maxSeen bounds what a node remembers: about 100 bytes each, twice 50 MB at the worst. What comes beyond goes to the
	// database.
	maxSeen = 500_000
)

// Service gives nonces out, and takes each proof that answers one once. All fields are required.
//
// A node gives out nonces of its own, and remembers the proofs that answer them: a proof is taken by that node alone, and
// costs it no database. An app whose next call a balancer takes to another node gets a nonce there that every node takes,
// and its proofs are kept in the database from then on.
type Service struct {
	DB   *sqldb.DB
	Ring *keyring.Ring
	Node string // random, and another at each start: what was remembered is gone then

	mu          sync.Mutex
	seen, older map[[sha256.Size]byte]struct{}
	turned      time.Time // when seen was begun
}

// Nonce is one for the next call, which is expected at this node.
func (s *Service) Nonce() string { return s.nonce(s.Node) }

// nonce makes one that is good at a node, or with none named at each.
func (s *Service) nonce(node string) string {
	plain := strconv.FormatInt(s.DB.Now().UnixMilli(), 10) + " " + node
	return base64.RawURLEncoding.EncodeToString(s.Ring.Seal([]byte(plain), place()))
}

func place() keyring.Place { return keyring.Place{Table: "dpop_proof", Column: "nonce"} }

// Spend uses a proof up. Of any number of calls with one proof, at any nodes, one succeeds; the others are
// fault.Unauthenticated "dpop_proof_refused". With an old nonce, another node's or none it is "dpop_nonce_needed", and nothing
// is used up. next, unless it is empty, is what the next proof should answer.
func (s *Service) Spend(ctx context.Context, p Proof) (next string, err error) {
	made, node, ok := s.open(p.Nonce)
	now := s.DB.Now()
	age := now.Sub(made)
	if !ok || age < -sqldb.Skew || age > nonceFor {
		return s.Nonce(), wanted()
	}
	id := sha256.Sum256([]byte(string(p.Key) + " " + p.id)) // not of its bytes: anybody can write a signature in another way
	first := false
	switch node {
	case s.Node:
		var full bool
		if first, full = s.remember(id, now); full {
			return s.nonce(""), wanted()
		}
	case "":
		err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			first, err = put(ctx, tx, id[:], made.Add(nonceFor+sqldb.Skew))
			return err
		})
	default:
		return s.nonce(""), wanted()
	}
	if err == nil && !first {
		err = fault.New(fault.Unauthenticated, "dpop_proof_refused", errors.New("the proof was used before"))
	}
	if age > renewAfter {
		next = s.nonce(node)
	}
	return next, err
}

func wanted() error {
	return fault.New(fault.Unauthenticated, "dpop_nonce_needed", errors.New("no nonce, an old one, or another node's"))
}

// open says when and for which node a nonce was made.
func (s *Service) open(nonce string) (made time.Time, node string, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil {
		return time.Time{}, "", false
	}
	plain, err := s.Ring.Open(sealed, place())
	if err != nil {
		return time.Time{}, "", false
	}
	at, node, _ := strings.Cut(string(plain), " ")
	ms, err := strconv.ParseInt(at, 10, 64)
	return time.UnixMilli(ms), node, err == nil
}

// remember reports whether a proof is seen for the first time. What was seen is forgotten in two turns, each as long as a
// nonce is taken.
func (s *Service) remember(id [sha256.Size]byte, now time.Time) (first, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := now.Sub(s.turned); since > nonceFor+sqldb.Skew {
		s.seen, s.older, s.turned = map[[sha256.Size]byte]struct{}{}, s.seen, now
	}
	if _, known := s.seen[id]; known {
		return false, false
	}
	if _, known := s.older[id]; known {
		return false, false
	}
	if len(s.seen) >= maxSeen {
		return false, true
	}
	s.seen[id] = struct{}{}
	return true, false
}

// Prune deletes a bounded number of proofs that no nonce is good for any more, and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }
