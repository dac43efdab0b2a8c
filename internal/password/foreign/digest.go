package foreign

import (
	"crypto/md5"  //nolint:gosec // it is what was used
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// order is what a plain digest is of.
type order string

const (
	noSalt    order = "password"
	saltFirst order = "salt+password"
	saltLast  order = "password+salt"
)

func digestOf(name string) (func() hash.Hash, bool) {
	f, ok := map[string]func() hash.Hash{
		"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	}[name]
	return f, ok
}

// newDigest makes a hash that takes a moment to check and so to guess: it must be wrapped.
func newDigest(name string, o order, salt, sum []byte) Hash {
	f, _ := digestOf(name)
	return Hash{
		text: fmt.Sprintf("$digest$%s,%s$%s$%s", name, o, b64(salt), b64(sum)),
		kind: Kind{"digest", 1}, sum: sum,
		digest: func(plain []byte) []byte {
			h := f()
			if o == saltFirst {
				h.Write(salt)
			}
			h.Write(plain)
			if o == saltLast {
				h.Write(salt)
			}
			return h.Sum(nil)
		},
	}
}

func parseDigest(name string, o order, salt, sum []byte) (Hash, error) {
	f, ok := digestOf(name)
	switch {
	case !ok || !slices.Contains([]order{noSalt, saltFirst, saltLast}, o):
		return Hash{}, Unsupported
	case len(sum) != f().Size() || len(salt) > 128 || (o == noSalt) != (len(salt) == 0):
		return Hash{}, Malformed
	}
	return newDigest(name, o, salt, sum), nil
}

// Digest reads a digest that does not say what it is. Its format is the function and what it is of,
// as in "sha256(salt+password)", "sha1(password+salt)" or "md5(password)"; the sum is hexadecimal or base64.
func Digest(format, sum string, salt []byte) (Hash, error) {
	name, rest, _ := strings.Cut(format, "(")
	f, ok := digestOf(name)
	if !ok {
		return Hash{}, Unsupported
	}
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != f().Size() {
		if b, err = unb64(sum); err != nil {
			return Hash{}, err
		}
	}
	return parseDigest(name, order(strings.TrimSuffix(rest, ")")), salt, b)
}

// KnownDigest reports whether Digest knows a format.
func KnownDigest(format string) bool {
	name, rest, open := strings.Cut(format, "(")
	_, ok := digestOf(name)
	o, closed := strings.CutSuffix(rest, ")")
	return ok && open && closed && slices.Contains([]order{noSalt, saltFirst, saltLast}, order(o))
}

// readDigest reads what Text gives.
func readDigest(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 {
		return Hash{}, Malformed
	}
	salt, sum, err := saltAndSum(part[3], part[4])
	if err != nil {
		return Hash{}, err
	}
	name, o, _ := strings.Cut(part[2], ",")
	return parseDigest(name, order(o), salt, sum)
}

// readDjangoDigest reads sha1$salt$sum; without a salt it has none.
func readDjangoDigest(text string) (Hash, error) {
	part := strings.Split(text, "$")
	if len(part) != 3 {
		return Hash{}, Malformed
	}
	sum, err := hex.DecodeString(part[2])
	if err != nil {
		return Hash{}, Malformed
	}
	if part[1] == "" {
		return parseDigest(part[0], noSalt, nil, sum)
	}
	return parseDigest(part[0], saltFirst, []byte(part[1]), sum)
}

// readLDAP reads {SSHA}…, which is base64 of the sum and, behind it, the salt.
func readLDAP(text string) (Hash, error) {
	scheme, rest, ok := strings.Cut(text[1:], "}")
	names := map[string]string{
		"MD5": "md5", "SMD5": "md5", "SHA": "sha1", "SSHA": "sha1", "SHA256": "sha256", "SSHA256": "sha256",
		"SHA384": "sha384", "SSHA384": "sha384", "SHA512": "sha512", "SSHA512": "sha512",
	}
	name, known := names[strings.ToUpper(scheme)]
	if !ok || !known {
		return Hash{}, Unsupported
	}
	b, err := unb64(rest)
	f, _ := digestOf(name)
	if err != nil || len(b) < f().Size() {
		return Hash{}, Malformed
	}
	size := f().Size()
	if len(b) == size {
		return parseDigest(name, noSalt, nil, b)
	}
	return parseDigest(name, saltLast, b[size:], b[:size])
}
