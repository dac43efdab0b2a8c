package foreign

import (
	"crypto/md5" //nolint:gosec // it is what was used
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strconv"
	"strings"

	"github.com/go-crypt/x/crypt"
)

const cryptLetters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// defaultSHACrypt is how many rounds there are where the hash does not say.
const defaultSHACrypt = 5000

func shaOf(family string) func() hash.Hash {
	if family == "sha256crypt" {
		return sha256.New
	}
	return sha512.New
}

// newCrypt makes a hash of crypt(3). The salt's length is part of the family: it decides how many
// blocks every round has. The sum is in crypt's letters, as it is written.
func newCrypt(family string, salt []byte, rounds int, sum []byte) Hash {
	derive := func(plain []byte) []byte { return crypt.KeyMD5Crypt(plain, salt) }
	if family != "md5crypt" {
		derive = func(plain []byte) []byte { return crypt.KeySHACrypt(shaOf(family), plain, salt, rounds) }
	}
	return Hash{
		kind: Kind{family + "/" + strconv.Itoa(len(salt)), int64(rounds)}, slow: true, sum: sum,
		digest: derive,
	}
}

// readSHACrypt reads $5$salt$sum and $6$rounds=10000$salt$sum.
func readSHACrypt(text string) (Hash, error) {
	family, size := "sha256crypt", 43
	if text[1] == '6' {
		family, size = "sha512crypt", 86
	}
	part := strings.Split(text[3:], "$")
	rounds := defaultSHACrypt
	if given, ok := strings.CutPrefix(part[0], "rounds="); ok {
		n, err := number(given)
		if err != nil || n < 1000 {
			return Hash{}, Malformed // crypt(3) would count 1000, and not write less
		}
		rounds, part = n, part[1:]
	}
	if len(part) != 2 || len(part[0]) > 16 || len(part[1]) != size || strings.Trim(part[1], cryptLetters) != "" {
		return Hash{}, Malformed
	}
	if rounds > mostSHACrypt {
		return Hash{}, TooCostly
	}
	h := newCrypt(family, []byte(part[0]), rounds, []byte(part[1]))
	h.text = text
	return h, nil
}

// moreSHACrypt does the rounds of sha-crypt, which hash the last round's sum with password and salt in turns.
func moreSHACrypt(family string, plain []byte, salt int, rounds int64) {
	h := shaOf(family)()
	sum, pad := make([]byte, h.Size()), make([]byte, salt)
	for i := range rounds {
		h.Reset()
		h.Write(sum)
		h.Write(plain)
		if i%3 != 0 {
			h.Write(pad)
		}
		if i%7 != 0 {
			h.Write(plain)
		}
		copy(sum, h.Sum(nil))
	}
}

// readMD5Crypt reads $1$salt$sum.
func readMD5Crypt(text string) (Hash, error) {
	part := strings.Split(text[3:], "$")
	if len(part) != 2 || len(part[0]) > 8 || len(part[1]) != 22 || strings.Trim(part[1], cryptLetters) != "" {
		return Hash{}, Malformed
	}
	h := newCrypt("md5crypt", []byte(part[0]), 1000, []byte(part[1]))
	h.text = text
	return h, nil
}

// stretchers are the hashes that phpass and Drupal 7 go over again and again.
func stretchers() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{"phpass": md5.New, "drupal": sha512.New}
}

// newStretched makes a hash of phpass's form. Of Drupal's sum 43 letters are kept.
func newStretched(family string, rounds int64, salt, sum []byte) Hash {
	return Hash{
		kind: Kind{family, rounds}, slow: true, sum: sum,
		digest: func(plain []byte) []byte {
			h := stretchers()[family]()
			h.Write(salt)
			h.Write(plain)
			letters := phpassLetters(stretch(h, h.Sum(nil), plain, rounds))
			return letters[:min(len(letters), 43)]
		},
	}
}

func stretch(h hash.Hash, sum, plain []byte, rounds int64) []byte {
	for range rounds {
		h.Reset()
		h.Write(sum)
		h.Write(plain)
		sum = h.Sum(sum[:0])
	}
	return sum
}

// phpassLetters writes three bytes as four letters, the lowest bits first.
func phpassLetters(in []byte) (out []byte) {
	for len(in) > 0 {
		var group [3]byte
		n := copy(group[:], in)
		in = in[n:]
		bits := int(group[0]) | int(group[1])<<8 | int(group[2])<<16
		for range n + 1 {
			out = append(out, cryptLetters[bits&63])
			bits >>= 6
		}
	}
	return out
}

// readPHPass reads $P$Bsalt....sum; phpBB writes $H$.
func readPHPass(text string) (Hash, error) { return parseStretched("phpass", text, 34) }

// readDrupal reads $S$Dsalt....sum.
func readDrupal(text string) (Hash, error) { return parseStretched("drupal", text, 55) }

func parseStretched(family, text string, length int) (Hash, error) {
	if len(text) != length || strings.Trim(text[3:], cryptLetters) != "" {
		return Hash{}, Malformed
	}
	log := strings.IndexByte(cryptLetters, text[3])
	if log < 7 || log > 30 {
		return Hash{}, Malformed
	}
	if log > mostStretched {
		return Hash{}, TooCostly
	}
	h := newStretched(family, 1<<log, []byte(text[4:12]), []byte(text[12:]))
	h.text = text
	return h, nil
}
