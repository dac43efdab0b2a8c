package account

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The limits of RFC 5321, in octets of the normal form. 254 is what fits into a path with its brackets.
const (
	maxEmail = 254
	maxLocal = 64
)

// normalEmail takes NFKC text with an @. It folds the case of the whole address and maps the
// domain to its ASCII form. It does not guess what a provider does with dots or plus-tags.
func normalEmail(s string) (string, error) {
	at := strings.LastIndexByte(s, '@')
	local, domain := lower(s[:at]), s[at+1:]
	if !dotAtom(local) || len(local) > maxLocal {
		return "", errors.New("the part before the @ is not that of an e-mail address")
	}
	domain, err := asciiDomain(domain)
	if err != nil {
		return "", err
	}
	if len(local)+1+len(domain) > maxEmail {
		return "", errors.New("the e-mail address is too long")
	}
	return local + "@" + domain, nil
}

// asciiDomain follows UTS 46, non-transitional, as browsers do, and wants a name in the
// public DNS: at least two labels, the last not a number.
func asciiDomain(s string) (string, error) {
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
		idna.CheckJoiners(true), idna.StrictDomainName(true), idna.VerifyDNSLength(true))
	ascii, err := profile.ToASCII(s)
	if err != nil {
		return "", errors.New("the domain is not valid") // idna's own error quotes the domain
	}
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if !strings.Contains(ascii, ".") || last == "" || strings.Trim(last, "0123456789") == "" {
		return "", errors.New("the domain is not a public name")
	}
	return ascii, nil
}

// dotAtom is RFC 5322's dot-atom, with RFC 6532's letters beyond ASCII. Quoted local parts are refused.
func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for _, r := range atom {
			switch {
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9', strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r):
			case r >= utf8.RuneSelf && unicode.In(r, unicode.L, unicode.M, unicode.N):
			default:
				return false
			}
		}
	}
	return true
}

// lower maps letters to lower case one by one, not by full case folding: folding would
// turn ß into ss, which is another mailbox, and letters are sent to the normal form.
func lower(s string) string {
	return norm.NFKC.String(strings.Map(unicode.ToLower, s))
}
