// Package foreign reads the password hashes that other systems made, and checks passwords
// against them until their owners sign in and get one of ours.
//
// It says how much work a check is, and can do as much for whoever has no such hash: a
// check that some pay for and others do not would tell who has an account.
package foreign

import (
	"bytes"
	"crypto/subtle"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Refusal says why a hash is not taken: the stable code of a line's report. It is never about a password.
type Refusal string

// The refusals.
const (
	Unsupported Refusal = "hash_unsupported"
	Malformed   Refusal = "hash_malformed"
	TooCostly   Refusal = "hash_too_costly" // checking it could stop the server
	TooWeak     Refusal = "hash_too_weak"
)

// Error implements error.
func (r Refusal) Error() string { return string(r) }

// Kind is what the time of a check depends on.
type Kind struct {
	Family string // the algorithm, and of those whose work is no simple sum the parameters
	Work   int64  // rounds
}

// Hash is a hash that another system made.
type Hash struct {
	text   string
	kind   Kind
	slow   bool
	sum    []byte
	digest func(plain []byte) []byte // what has to give sum; nil if only check can tell
	check  func(plain []byte) bool
}

// Text is what Parse reads again.
func (h Hash) Text() string { return h.text }

// Kind returns the work of a check.
func (h Hash) Kind() Kind { return h.kind }

// Slow reports whether guessing costs whoever has the hash. One that is not slow must not be
// kept as it is: it is wrapped.
func (h Hash) Slow() bool { return h.slow }

// longest is the most bytes of a password that are hashed. Some of the formats go over all of it in every round.
const longest = 512

// Matches reports whether the hash is the password's, as it was typed. Its time does not depend on the answer.
func (h Hash) Matches(plain string) bool {
	typed, whole := short(plain)
	if h.digest == nil {
		return h.check(typed) && whole
	}
	return subtle.ConstantTimeCompare(h.digest(typed), h.sum) == 1 && whole
}

// Sum is what Digest gives for the right password. Only for hashes that are not slow.
func (h Hash) Sum() []byte { return h.sum }

// Digest hashes a password as the other system did, for what was wrapped. ok is false for a
// password that no hash of this kind is checked with.
func (h Hash) Digest(plain string) (sum []byte, ok bool) {
	typed, whole := short(plain)
	return h.digest(typed), whole
}

// Recipe is Text without the sum: all that Digest needs.
func (h Hash) Recipe() string {
	at := strings.LastIndexByte(h.text, '$') + 1
	return h.text[:at] + b64(make([]byte, len(h.sum)))
}

func short(plain string) (typed []byte, whole bool) {
	return []byte(plain[:min(len(plain), longest)]), len(plain) <= longest
}

// Parse reads a hash that says itself what it is.
func Parse(text string) (Hash, error) {
	text = strings.TrimPrefix(text, "{CRYPT}")
	if len(text) > 1024 || strings.ContainsAny(text, " \t\r\n\x00") {
		return Hash{}, Malformed
	}
	for _, f := range formats() {
		if strings.HasPrefix(text, f.prefix) {
			return f.read(text)
		}
	}
	return Hash{}, Unsupported
}

type format struct {
	prefix string
	read   func(text string) (Hash, error)
}

func formats() []format {
	return []format{
		{"$2a$", readBcrypt},
		{"$2b$", readBcrypt},
		{"$2y$", readBcrypt},
		{"$wp$2", readWordPress},
		{"bcrypt$", readDjangoBcrypt},
		{"bcrypt_sha256$", readDjangoBcrypt},
		{"$argon2id$", readArgon2},
		{"$argon2i$", readArgon2},
		{"argon2$", func(text string) (Hash, error) { return readArgon2(strings.TrimPrefix(text, "argon2")) }},
		{"$scrypt$", readScrypt},
		{"scrypt$", readDjangoScrypt},
		{"$fbscrypt$", readFirebase},
		{"$pbkdf2$", readPBKDF2},
		{"$pbkdf2-sha1$", readPBKDF2},
		{"$pbkdf2-sha256$", readPBKDF2},
		{"$pbkdf2-sha512$", readPBKDF2},
		{"pbkdf2_sha256$", readDjangoPBKDF2},
		{"pbkdf2_sha1$", readDjangoPBKDF2},
		{"$5$", readSHACrypt},
		{"$6$", readSHACrypt},
		{"$1$", readMD5Crypt},
		{"$P$", readPHPass},
		{"$H$", readPHPass},
		{"$S$", readDrupal},
		{"md5$", readDjangoDigest},
		{"sha1$", readDjangoDigest},
		{"$digest$", readDigest},
		{"{", readLDAP},
	}
}

// Stand returns a hash of a kind that no password opens, whose check is as much work as any of that kind.
func Stand(k Kind) Hash {
	family, cost, _ := strings.Cut(k.Family, "/")
	zeros := func(n int) []byte { return make([]byte, n) }
	var n [4]int
	for i, text := range strings.Split(cost, "/") {
		n[min(i, 3)], _ = strconv.Atoi(text)
	}
	switch family {
	case "bcrypt":
		return newBcrypt("", "$2b$"+twoDigits(log2(k.Work))+"$"+strings.Repeat(".", 53), as)
	case "scrypt":
		return newScrypt(scryptCost{n[0], n[1], n[2]}, zeros(16), zeros(32))
	case "argon2id", "argon2i":
		return newArgon2(argon2Cost{family, n[0], n[1], n[2]}, zeros(16), zeros(32))
	case "sha256crypt", "sha512crypt", "md5crypt":
		return newCrypt(family, bytes.Repeat([]byte{'.'}, n[0]), int(k.Work), nil)
	case "phpass", "drupal":
		return newStretched(family, k.Work, zeros(8), nil)
	case "digest":
		return newDigest("sha256", saltFirst, zeros(16), zeros(32))
	}
	return newPBKDF2(family, int(k.Work), zeros(16), zeros(pbkdf2Sizes()[family])) // every other family
}

// Rest does so many rounds more of a family's work, for a hash that has fewer than others have.
func Rest(family, plain string, rounds int64) {
	if rounds <= 0 {
		return
	}
	typed, _ := short(plain)
	name, cost, _ := strings.Cut(family, "/")
	switch name {
	case "bcrypt":
		moreBcrypt(typed, rounds)
	case "sha256crypt", "sha512crypt":
		salt, _ := strconv.Atoi(cost)
		moreSHACrypt(name, typed, salt, rounds)
	case "phpass", "drupal":
		h := stretchers()[name]()
		stretch(h, make([]byte, h.Size()), typed, rounds)
	case "pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512":
		_ = newPBKDF2(name, int(rounds), nil, make([]byte, pbkdf2Sizes()[name])).digest(typed)
	}
}

func log2(n int64) (log int) {
	for ; n > 1; n >>= 1 {
		log++
	}
	return log
}

func twoDigits(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

const (
	cheapestBcrypt, dearestBcrypt = bcrypt.MinCost, 14 // 14 takes a second

	fewestPBKDF2, mostPBKDF2 = 10_000, 2_000_000 // below it is wrapped; Django is at 1,200,000
	mostSHACrypt             = 1_000_000         // passlib had 656,000
	mostStretched            = 20                // powers of two
	mostMemory               = 128 << 20         // bytes, of scrypt and argon2
	mostMemoryPasses         = 512 << 20         // that times passes and lanes
	leastMemoryPasses        = 1 << 20
)
