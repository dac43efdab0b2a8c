package foreign

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // it is what was used
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/scrypt"
)

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// unb64 reads base64 as any of these systems writes it: with and without padding, with - and _,
// and with passlib's dot for plus.
func unb64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/", ".", "+").Replace(strings.TrimRight(text, "="))
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, Malformed
	}
	return b, nil
}

// fields reads "m=65536,t=3,p=4"; all of them must be there, and nothing else.
func fields(text string, names ...string) ([]int, error) {
	parts := strings.Split(text, ",")
	if len(parts) != len(names) {
		return nil, Malformed
	}
	out := make([]int, len(names))
	for i, name := range names {
		value, ok := strings.CutPrefix(parts[i], name+"=")
		n, err := number(value)
		if !ok || err != nil {
			return nil, Malformed
		}
		out[i] = n
	}
	return out, nil
}

// number reads a positive decimal number.
func number(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != text {
		return 0, Malformed
	}
	return int(n), nil
}

// saltAndSum reads the last two parts.
func saltAndSum(salt, sum string) (s, h []byte, err error) {
	if s, err = unb64(salt); err != nil {
		return nil, nil, err
	}
	if h, err = unb64(sum); err != nil {
		return nil, nil, err
	}
	if len(h) < 16 || len(h) > 128 || len(s) > 128 {
		return nil, nil, Malformed
	}
	return s, h, nil
}

func pbkdf2Sizes() map[string]int {
	return map[string]int{"pbkdf2-sha1": sha1.Size, "pbkdf2-sha256": sha256.Size, "pbkdf2-sha512": sha512.Size}
}

func newPBKDF2(family string, rounds int, salt, sum []byte) Hash {
	h := map[string]func() hash.Hash{"pbkdf2-sha1": sha1.New, "pbkdf2-sha256": sha256.New, "pbkdf2-sha512": sha512.New}[family]
	size := pbkdf2Sizes()[family]
	blocks := (len(sum) + size - 1) / size
	return Hash{
		text: fmt.Sprintf("$%s$i=%d$%s$%s", family, rounds, b64(salt), b64(sum)),
		kind: Kind{family, int64(rounds) * int64(blocks)}, slow: rounds >= fewestPBKDF2, sum: sum,
		digest: func(plain []byte) []byte {
			key, _ := pbkdf2.Key(h, string(plain), salt, rounds, len(sum)) // fails in FIPS mode only, and then nothing matches
			return key
		},
	}
}

func parsePBKDF2(family, rounds string, salt, sum []byte) (Hash, error) {
	n, err := number(rounds)
	if err != nil {
		return Hash{}, err
	}
	h := newPBKDF2(family, n, salt, sum)
	if h.kind.Work > mostPBKDF2 {
		return Hash{}, TooCostly
	}
	return h, nil
}

// readPBKDF2 reads passlib's form, $pbkdf2-sha256$29000$salt$sum, and that of the PHC,
// $pbkdf2-sha256$i=29000,l=32$salt$sum.
func readPBKDF2(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 {
		return Hash{}, Malformed
	}
	salt, sum, err := saltAndSum(part[3], part[4])
	if err != nil {
		return Hash{}, err
	}
	rounds, length, hasLength := strings.Cut(strings.TrimPrefix(part[2], "i="), ",l=")
	if hasLength && length != strconv.Itoa(len(sum)) {
		return Hash{}, Malformed
	}
	family := part[1]
	if family == "pbkdf2" {
		family = "pbkdf2-sha1"
	}
	return parsePBKDF2(family, rounds, salt, sum)
}

// readDjangoPBKDF2 reads pbkdf2_sha256$600000$salt$sum, whose salt is text.
func readDjangoPBKDF2(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 4 {
		return Hash{}, Malformed
	}
	salt, sum, err := saltAndSum(b64([]byte(part[2])), part[3])
	if err != nil {
		return Hash{}, err
	}
	return parsePBKDF2(strings.Replace(part[0], "_", "-", 1), part[1], salt, sum)
}

// scryptCost is N, r and p. How long it takes depends on more than their product: it is what
// fits into the processor's caches as well, so each is a family of its own.
type scryptCost struct{ n, r, p int }

func (c scryptCost) check() error {
	memory := int64(c.n) * int64(c.r) * 128
	switch {
	case c.n < 2 || bits.OnesCount(uint(c.n)) != 1 || c.r > 64 || c.p > 64:
		return Malformed
	case memory > mostMemory || memory*int64(c.p) > mostMemoryPasses:
		return TooCostly
	case memory*int64(c.p) < leastMemoryPasses:
		return TooWeak
	}
	return nil
}

func (c scryptCost) family() string { return fmt.Sprintf("scrypt/%d/%d/%d", c.n, c.r, c.p) }

func (c scryptCost) key(plain, salt []byte, size int) []byte {
	key, _ := scrypt.Key(plain, salt, c.n, c.r, c.p, size) // the cost was checked
	return key
}

func newScrypt(c scryptCost, salt, sum []byte) Hash {
	return Hash{
		text: fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", log2(int64(c.n)), c.r, c.p, b64(salt), b64(sum)),
		kind: Kind{c.family(), 1}, slow: true, sum: sum,
		digest: func(plain []byte) []byte { return c.key(plain, salt, len(sum)) },
	}
}

// readScrypt reads $scrypt$ln=16,r=8,p=1$salt$sum.
func readScrypt(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 {
		return Hash{}, Malformed
	}
	cost, err := fields(part[2], "ln", "r", "p")
	if err != nil {
		return Hash{}, err
	}
	salt, sum, err := saltAndSum(part[3], part[4])
	if err != nil {
		return Hash{}, err
	}
	if cost[0] > 30 {
		return Hash{}, TooCostly
	}
	c := scryptCost{1 << cost[0], cost[1], cost[2]}
	return newScrypt(c, salt, sum), c.check()
}

// readDjangoScrypt reads scrypt$16384$salt$8$1$sum, whose salt is text.
func readDjangoScrypt(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 6 {
		return Hash{}, Malformed
	}
	var cost [3]int
	for i, at := range []int{1, 3, 4} {
		n, err := number(part[at])
		if err != nil {
			return Hash{}, err
		}
		cost[i] = n
	}
	salt, sum, err := saltAndSum(b64([]byte(part[2])), part[5])
	if err != nil {
		return Hash{}, err
	}
	c := scryptCost{cost[0], cost[1], cost[2]}
	return newScrypt(c, salt, sum), c.check()
}

// Firebase is what a Firebase project's console says about its hashes (Authentication, Users,
// Password hash parameters).
type Firebase struct {
	SignerKey, SaltSeparator string // base64
	Rounds, MemCost          int
}

// Hash reads a user's passwordHash and salt.
func (f Firebase) Hash(sum, salt string) (Hash, error) {
	return readFirebase(fmt.Sprintf("$fbscrypt$v=1,n=%d,r=%d,p=1,ss=%s,sk=%s$%s$%s", f.MemCost, f.Rounds, f.SaltSeparator, f.SignerKey, salt, sum))
}

// Check says whether these can be a project's.
func (f Firebase) Check() error {
	key, err := unb64(f.SignerKey)
	if err != nil {
		return err
	}
	_, err = f.Hash(b64(key), "")
	return err
}

// readFirebase reads the same in one text. The sum is the project's signer key, encrypted with what
// scrypt makes of the password.
func readFirebase(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 {
		return Hash{}, Malformed
	}
	numbers, keys, _ := strings.Cut(part[2], ",ss=")
	cost, err := fields(numbers, "v", "n", "r", "p")
	if err != nil || cost[0] != 1 || cost[3] != 1 {
		return Hash{}, Malformed
	}
	if cost[1] > 30 {
		return Hash{}, TooCostly
	}
	separator, signer, _ := strings.Cut(keys, ",sk=")
	between, err := unb64(separator)
	if err != nil {
		return Hash{}, err
	}
	secret, err := unb64(signer)
	if err != nil || len(secret) == 0 {
		return Hash{}, Malformed
	}
	salt, sum, err := saltAndSum(part[3], part[4])
	if err != nil || len(sum) != len(secret) {
		return Hash{}, Malformed
	}
	c := scryptCost{1 << cost[1], cost[2], 1}
	salt = append(salt, between...)
	return Hash{
		text: text, kind: Kind{c.family(), 1}, slow: true, sum: sum,
		digest: func(plain []byte) []byte {
			block, err := aes.NewCipher(c.key(plain, salt, 32))
			if err != nil {
				return nil // a key of 32 bytes is one
			}
			out := make([]byte, len(secret))
			cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(out, secret) //nolint:gosec // G407: so does Firebase
			return out
		},
	}, c.check()
}

type argon2Cost struct {
	variant          string
	memory, time, by int // KiB, passes, lanes
}

func newArgon2(c argon2Cost, salt, sum []byte) Hash {
	derive := argon2.IDKey
	if c.variant == "argon2i" {
		derive = argon2.Key
	}
	return Hash{
		text: fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", c.variant, c.memory, c.time, c.by, b64(salt), b64(sum)),
		kind: Kind{fmt.Sprintf("%s/%d/%d/%d", c.variant, c.memory, c.time, c.by), 1}, slow: true, sum: sum,
		digest: func(plain []byte) []byte {
			return derive(plain, salt, uint32(c.time), uint32(c.memory), uint8(c.by), uint32(len(sum))) //nolint:gosec // checked
		},
	}
}

// readArgon2 reads $argon2id$v=19$m=65536,t=3,p=4$salt$sum, and argon2i.
func readArgon2(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 6 {
		return Hash{}, Malformed
	}
	if part[2] != "v=19" {
		return Hash{}, Unsupported
	}
	cost, err := fields(part[3], "m", "t", "p")
	if err != nil {
		return Hash{}, err
	}
	salt, sum, err := saltAndSum(part[4], part[5])
	if err != nil {
		return Hash{}, err
	}
	memory := int64(cost[0]) << 10
	switch {
	case len(salt) < 8 || cost[2] > 64 || cost[0] < 8*cost[2]:
		return Hash{}, Malformed
	case memory > mostMemory || memory*int64(cost[1]) > mostMemoryPasses:
		return Hash{}, TooCostly
	case memory*int64(cost[1]) < leastMemoryPasses:
		return Hash{}, TooWeak
	}
	return newArgon2(argon2Cost{part[1], cost[0], cost[1], cost[2]}, salt, sum), nil
}
