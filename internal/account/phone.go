package account

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// normalPhone takes NFKC text and returns E.164. It asks only whether the length is possible
// for the country: which ranges are in use changes faster than this program is updated.
func (p Parser) normalPhone(s string) (string, error) {
	region := p.Region
	if strings.HasPrefix(s, "+") {
		region = "" // an international number means the same everywhere
	} else if region == "" {
		return "", errors.New("a phone number must begin with + and the country code")
	}
	digits, ok := dialled(s)
	if !ok {
		return "", errors.New("the phone number has a character that is not dialled")
	}
	n, err := phonenumbers.Parse(digits, region)
	if err != nil || phonenumbers.IsPossibleNumberWithReason(n) != phonenumbers.IS_POSSIBLE {
		return "", errors.New("that is not a possible phone number") // the library's error may quote it
	}
	e164 := phonenumbers.Format(n, phonenumbers.E164)
	if len(e164) < 6 || len(e164) > 16 {
		return "", errors.New("the phone number does not fit E.164")
	}
	return e164, nil
}

// Region returns the two-letter country of a phone number, and "" for whatever else: other
// identifiers, and numbers of no country, such as +800, or of which of several is not known. It is where the number is from, and says
// nothing of where its owner is.
func (i Identifier) Region() string {
	if i.kind != Phone {
		return ""
	}
	n, err := phonenumbers.Parse(i.normal.Value(), "")
	if err != nil {
		return ""
	}
	if region := phonenumbers.GetRegionCodeForNumber(n); len(region) == 2 { // "001" is the whole world
		return region
	}
	return ""
}

// dialled drops the punctuation people write between digits. Letters, extensions and
// parameters are refused, not guessed at.
func dialled(s string) (string, bool) {
	var b strings.Builder
	for i, r := range s {
		switch {
		case '0' <= r && r <= '9', r == '+' && i == 0:
			b.WriteRune(r)
		case strings.ContainsRune(" -.()/‐‑‒–—―−·", r):
		default:
			return "", false
		}
	}
	return b.String(), true
}
