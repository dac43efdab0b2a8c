package account

import (
	_ "embed"
	"errors"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

const maxUsername = 64 // code points, and four bytes each

// normalUsername takes NFKC text. It applies RFC 8265's UsernameCaseMapped and narrows it
// to letters, marks, digits and . _ - so that a name is safe in any page, path or log.
func normalUsername(s string) (string, error) {
	name, err := precis.UsernameCaseMapped.String(s)
	if err != nil {
		return "", errors.New("the username has a character that is not allowed")
	}
	name = norm.NFKC.String(name)
	if utf8.RuneCountInString(name) > maxUsername {
		return "", errors.New("the username is too long")
	}
	for i, r := range name {
		wordy := unicode.In(r, unicode.L, unicode.Nd) || i > 0 && unicode.In(r, unicode.M)
		if !wordy && (i == 0 || !strings.ContainsRune("._-", r)) {
			return "", errors.New("the username has a character that is not allowed")
		}
	}
	if !oneWriting(name) {
		return "", errors.New("the username mixes scripts")
	}
	if reserved(name) {
		return "", errors.New("the username is reserved")
	}
	return name, nil
}

// oneWriting reports whether all letters are of one writing system and all digits of one
// set: UTS 39's "highly restrictive" level, where only Chinese, Japanese and Korean may
// stand beside Latin.
func oneWriting(s string) bool {
	var digits rune
	scripts := map[string]bool{}
	for _, r := range s {
		if unicode.Is(unicode.Nd, r) {
			zero := zeroOf(r)
			if digits != 0 && zero != digits {
				return false
			}
			digits = zero
		}
		if name := scriptOf(r); name != "" {
			scripts[name] = true
		}
	}
	if len(scripts) <= 1 {
		return true
	}
	for _, together := range [][]string{
		{"Latin", "Han", "Hiragana", "Katakana"}, {"Latin", "Han", "Bopomofo"}, {"Latin", "Han", "Hangul"},
	} {
		if within(scripts, together) {
			return true
		}
	}
	return false
}

func within(scripts map[string]bool, allowed []string) bool {
	n := 0
	for _, name := range allowed {
		if scripts[name] {
			n++
		}
	}
	return n == len(scripts)
}

// scriptOf returns "" for what all scripts share: ASCII digits, punctuation, combining marks.
func scriptOf(r rune) string {
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	if unicode.Is(unicode.Latin, r) {
		return "Latin"
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "unknown"
}

// zeroOf returns the zero of r's set of digits; sets are runs of ten from a zero.
func zeroOf(r rune) rune {
	for z := r; z > r-10; z-- {
		if !unicode.Is(unicode.Nd, z-1) {
			return z
		}
	}
	return r - (r-'0')%10
}

//go:embed reserved.txt
var reservedNames string

// reservedSkeletons is made on first use: one set a process, of what is compiled in.
//
//nolint:gochecknoglobals // constant once made
var reservedSkeletons = sync.OnceValue(func() map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(reservedNames) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			set[skeleton(line)] = true
		}
	}
	return set
})

// reserved reports whether a person could take name for one of the reserved names: they
// have the same skeleton.
func reserved(name string) bool { return reservedSkeletons()[skeleton(name)] }

// skeleton maps a lower-case name to what the eye makes of it: no accents, no separators,
// look-alikes of other scripts and digits replaced by the Latin letter. It is far smaller
// than UTS 39's table, which is enough because a name is of one script already, and it is
// only ever compared with the skeletons of the reserved names.
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(name) {
		switch {
		case unicode.Is(unicode.M, r), strings.ContainsRune("._-", r):
		default:
			b.WriteRune(lookalike(r))
		}
	}
	look := b.String()
	for _, pair := range [][2]string{{"rn", "m"}, {"vv", "w"}, {"cl", "d"}} {
		look = strings.ReplaceAll(look, pair[0], pair[1])
	}
	return look
}

func lookalike(r rune) rune {
	for _, group := range []struct {
		to   rune
		from string
	}{
		{'o', "0оοօσөø"},
		{'l', "1iıɩιіӏłɪ|"},
		{'e', "3еεєɛ"},
		{'a', "4аαɑ"},
		{'s', "5ѕꜱ"},
		{'b', "68вβьʙ"},
		{'t', "7тτŧᴛ"},
		{'g', "9ɡԍ"},
		{'c', "сϲᴄ"},
		{'d', "ԁđɖ"},
		{'h', "һнħʜ"},
		{'j', "јϳ"},
		{'k', "кκĸᴋ"},
		{'m', "мϻᴍ"},
		{'n', "пηոɴ"},
		{'p', "рρ"},
		{'q', "ԛզ"},
		{'r', "гʀ"},
		{'u', "υսц"},
		{'v', "ѵνᴠ"},
		{'w', "ԝѡωшᴡ"},
		{'x', "хχ"},
		{'y', "уүγʏ"},
		{'z', "ᴢ"},
		{'f', "ƒ"},
	} {
		if strings.ContainsRune(group.from, r) {
			return group.to
		}
	}
	return r
}
