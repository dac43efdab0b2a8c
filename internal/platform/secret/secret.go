// Package secret holds values that must not be printed: tokens, codes, passwords.
package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"strings"
)

// Token is a secret string. Every way of printing or logging it gives "[secret]";
// only Reveal gives the value. Store a keyed digest of it, never the value.
//
// The value is behind a pointer because fmt does not ask unexported fields how they want to
// be printed: of a Token in somebody's unexported field it shows an address. For the
// same reason two Tokens must be compared with Equal, and == does not compile.
type Token struct {
	_ [0]func()
	v *string
}

const hidden = "[secret]"

// Of wraps a value that came from outside.
func Of(v string) Token {
	if v == "" {
		return Token{}
	}
	return Token{v: &v}
}

// NewToken returns "<prefix>_" followed by 43 characters (256 bits from crypto/rand,
// base64url) and a 6-character CRC-32 of prefix and body. The prefix lets secret scanners
// recognise a leaked token; the checksum lets WellFormed refuse a mistyped one without a look-up.
func NewToken(prefix string) Token {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails (crypto/rand since Go 1.24)
	body := prefix + "_" + base64.RawURLEncoding.EncodeToString(raw)
	return Of(body + checksum(body))
}

// NewDigits returns n random decimal digits (n at least 6).
func NewDigits(n int) Token {
	if n < 6 {
		panic("secret: a code has at least 6 digits")
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	v, err := rand.Int(rand.Reader, limit)
	if err != nil {
		panic(err) // crypto/rand.Reader never fails
	}
	return Of(fmt.Sprintf("%0*d", n, v))
}

// WellFormed reports whether t could have come from NewToken(prefix). It proves nothing else.
func (t Token) WellFormed(prefix string) bool {
	v := t.Reveal()
	if len(v) != len(prefix)+1+43+6 || !strings.HasPrefix(v, prefix+"_") {
		return false
	}
	body, sum := v[:len(v)-6], v[len(v)-6:]
	return checksum(body) == sum
}

// Reveal returns the value. Every call of it is a place to review.
func (t Token) Reveal() string {
	if t.v == nil {
		return ""
	}
	return *t.v
}

// Empty reports whether there is no value.
func (t Token) Empty() bool { return t.v == nil }

// Equal compares in constant time.
func (t Token) Equal(o Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(o.Reveal())) == 1
}

// String returns "[secret]".
func (t Token) String() string { return hidden }

// GoString returns "[secret]".
func (t Token) GoString() string { return hidden }

// Format writes "[secret]" whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue returns "[secret]".
func (t Token) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns "[secret]": revealing a token in JSON takes an explicit Reveal.
func (t Token) MarshalText() ([]byte, error) { return []byte(hidden), nil }

func checksum(body string) string {
	raw := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body)))
	return base64.RawURLEncoding.EncodeToString(raw) // 4 bytes, 6 characters
}
