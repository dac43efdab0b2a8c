package foreign

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/blowfish" //nolint:staticcheck // deprecated for encryption; it is what bcrypt does
)

// as is for systems that give bcrypt the password itself.
func as(plain []byte) []byte { return plain }

// newBcrypt makes a hash whose text is prefix and a bcrypt hash of what first makes of a password.
func newBcrypt(prefix, text string, first func([]byte) []byte) Hash {
	cost, _ := bcrypt.Cost([]byte(text))
	return Hash{
		text: prefix + text, kind: Kind{"bcrypt", 1 << cost}, slow: true,
		check: func(plain []byte) bool { return bcrypt.CompareHashAndPassword([]byte(text), first(plain)) == nil },
	}
}

func parseBcrypt(prefix, text string, first func([]byte) []byte) (Hash, error) {
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	cost, err := bcrypt.Cost([]byte(text))
	switch {
	case err != nil || len(text) != 60 || strings.Trim(text[7:], letters) != "":
		return Hash{}, Malformed
	case cost < cheapestBcrypt:
		return Hash{}, Malformed
	case cost > dearestBcrypt:
		return Hash{}, TooCostly
	}
	return newBcrypt(prefix, text, first), nil
}

func readBcrypt(text string) (Hash, error) { return parseBcrypt("", text, as) }

// readWordPress reads what WordPress has made since 6.8.
func readWordPress(text string) (Hash, error) {
	return parseBcrypt("$wp", strings.TrimPrefix(text, "$wp"), func(plain []byte) []byte {
		mac := hmac.New(sha512.New384, []byte("wp-sha384"))
		mac.Write([]byte(strings.Trim(string(plain), " \t\n\r\x00\x0b")))
		return base64.StdEncoding.AppendEncode(nil, mac.Sum(nil))
	})
}

func readDjangoBcrypt(text string) (Hash, error) {
	name, hash, _ := strings.Cut(text, "$")
	if name == "bcrypt" {
		return parseBcrypt(name+"$", hash, as)
	}
	return parseBcrypt(name+"$", hash, func(plain []byte) []byte {
		sum := sha256.Sum256(plain)
		return hex.AppendEncode(nil, sum[:])
	})
}

// moreBcrypt does the inner loop of bcrypt, whose rounds are all the same.
func moreBcrypt(plain []byte, rounds int64) {
	key := slices.Concat(plain, []byte{0})
	salt := make([]byte, 16)
	c, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		return // the key has at least one byte
	}
	for range rounds {
		blowfish.ExpandKey(key, c)
		blowfish.ExpandKey(salt, c)
	}
}
