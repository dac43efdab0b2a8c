package client

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// Version is an application's version: one to four numbers with dots between them, and perhaps a
// hyphen and a name of what comes before it ("4.2.0-beta.3"). 4.2 is 4.2.0; 4.2.0-beta.3 comes
// before 4.2.0, after 4.2.0-beta.2 and after 4.2.0-alpha (the order of Semantic Versioning, without
// its build metadata). The zero Version is no version.
type Version struct {
	text    string
	numbers [4]uint32
	before  string
}

// The most bytes a name and a version may have.
const (
	maxName    = 32
	maxVersion = 48
)

// ParseVersion reads a version.
func ParseVersion(text string) (Version, error) {
	v := Version{text: text}
	numbers, before, early := strings.Cut(text, "-")
	count := 0
	for part := range strings.SplitSeq(numbers, ".") {
		n, ok := number(part)
		if !ok || count == len(v.numbers) {
			return Version{}, errVersion
		}
		v.numbers[count] = n
		count++
	}
	if len(text) > maxVersion || early && !wellFormed(before) {
		return Version{}, errVersion
	}
	v.before = before
	return v, nil
}

var errVersion = errors.New(`want a version such as 4.2.1 or 4.2.0-beta.3: one to four numbers without leading zeros`)

// number reads up to nine digits. A leading zero is refused, so that a number is written in one way.
func number(s string) (uint32, bool) {
	if s == "" || len(s) > 9 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// wellFormed reports whether a pre-release is letters, digits and hyphens, with dots between them.
func wellFormed(before string) bool {
	for part := range strings.SplitSeq(before, ".") {
		if part == "" {
			return false
		}
		for _, c := range []byte(part) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
				return false
			}
		}
	}
	return true
}

// String is the version as it was written.
func (v Version) String() string { return v.text }

// Compare is negative if v comes before w, positive if it comes after.
func (v Version) Compare(w Version) int {
	for i, n := range v.numbers {
		if c := cmp.Compare(n, w.numbers[i]); c != 0 {
			return c
		}
	}
	switch {
	case v.before == w.before:
		return 0
	case v.before == "":
		return 1
	case w.before == "":
		return -1
	}
	return compareBefore(v.before, w.before)
}

// compareBefore compares part by part: numbers by their value and before words, words by their
// letters, and what ends first comes first.
func compareBefore(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		if c := comparePart(x, y); c != 0 {
			return c
		}
		switch {
		case !moreA && !moreB:
			return 0
		case !moreA:
			return -1
		case !moreB:
			return 1
		}
		a, b = restA, restB
	}
}

func comparePart(x, y string) int {
	m, xIs := number(x)
	n, yIs := number(y)
	switch {
	case xIs && yIs:
		return cmp.Compare(m, n)
	case xIs:
		return -1
	case yIs:
		return 1
	}
	return cmp.Compare(x, y)
}

// Bound is where versions begin to be accepted: all below it are not. The zero Bound is below nothing.
type Bound struct {
	all   bool
	least Version
}

// All is above every version, and above who names none.
func All() Bound { return Bound{all: true} }

// ParseBound reads a version, "all", or "none".
func ParseBound(text string) (Bound, error) {
	switch text {
	case "all":
		return All(), nil
	case "none", "":
		return Bound{}, nil
	}
	v, err := ParseVersion(text)
	return Bound{least: v}, err
}

// Set reports whether anything is below it.
func (b Bound) Set() bool { return b != Bound{} }

// String is the version, "all", or "".
func (b Bound) String() string {
	if b.all {
		return "all"
	}
	return b.least.text
}

// over reports whether v is below the bound. No version is below no version.
func (b Bound) over(v Version) bool {
	return b.all || b.least.text != "" && v.text != "" && v.Compare(b.least) < 0
}

// Named is what an application calls itself.
type Named struct {
	Name    string
	Version Version
}

// parse reads a header's lines: one line, a name of letters, digits and hyphens that begins with a
// letter, a slash, a version. Upper case in the name is lower case.
func parse(lines []string) (n Named, ok bool) {
	if len(lines) != 1 || len(lines[0]) > maxName+1+maxVersion {
		return Named{}, false
	}
	name, text, _ := strings.Cut(lines[0], "/")
	if strings.ContainsFunc(name, func(r rune) bool { return r > 'z' }) { // some other letters fold to ours
		return Named{}, false
	}
	if name = strings.ToLower(name); !validName(name) {
		return Named{}, false
	}
	v, err := ParseVersion(text)
	return Named{name, v}, err == nil
}

func validName(name string) bool {
	if name == "" || len(name) > maxName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
