package certificate

import (
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A distinguished name is a list of parts, each a set of attributes; most have one. Two are the same if they have the same attributes in the same order, with the same
// characters, however those were encoded: RFC 4517's distinguishedNameMatch, but that it knows capitals from small letters. Nothing is compared as text: in a value
// a comma is a character.
type (
	name      []part
	part      []attribute // sorted
	attribute struct{ kind, value string }
)

// kinds are the attributes that may be named otherwise than by number (RFC 4514 section 3, and those that authorities use).
func kinds() map[string]string {
	return map[string]string{
		"CN": "2.5.4.3", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8", "STREET": "2.5.4.9", "O": "2.5.4.10", "OU": "2.5.4.11",
		"DC": "0.9.2342.19200300.100.1.25", "UID": "0.9.2342.19200300.100.1.1",
		"SERIALNUMBER": "2.5.4.5", "BUSINESSCATEGORY": "2.5.4.15", "ORGANIZATIONIDENTIFIER": "2.5.4.97", "EMAILADDRESS": "1.2.840.113549.1.9.1",
	}
}

var (
	numeric = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]{0,9})){1,20}$`)
	errName = errors.New("tls_client_auth_subject_dn: want a name as RFC 4514 writes it, such as CN=shop,O=Example,C=DE: openssl x509 -noout -subject -nameopt RFC2253 prints it")
)

// parseName reads a name as RFC 4514 writes it: the last part first.
func parseName(text string) (n name, err error) {
	one := part{}
	for more := byte(','); more != 0; {
		var a attribute
		if a, more, text, err = readAttribute(text); err != nil {
			return nil, err
		}
		one = append(one, a)
		if more != '+' {
			n = append(n, one.sorted())
			one = part{}
		}
	}
	slices.Reverse(n)
	return n, nil
}

// readAttribute reads one attribute off a text. more is what stands behind it, a comma or a plus sign; 0 at the end.
func readAttribute(text string) (a attribute, more byte, rest string, err error) {
	kind, rest, ok := strings.Cut(text, "=")
	kind = strings.TrimSpace(kind)
	a.kind = cmp.Or(kinds()[strings.ToUpper(kind)], kind)
	if !ok || !numeric.MatchString(a.kind) {
		return a, 0, "", errName
	}
	rest = strings.TrimLeft(rest, " ")
	var value []byte
	meant, i := 0, 0 // up to where spaces are part of the value; how far it was read
	for ; i < len(rest) && rest[i] != ',' && rest[i] != '+'; i++ {
		switch c := rest[i]; {
		case c == '\\':
			b, n := unescape(rest[i+1:])
			if n == 0 {
				return a, 0, "", errName
			}
			value, i = append(value, b), i+n
			meant = len(value)
		case strings.IndexByte("\";<>", c) >= 0: // which have to be escaped
			return a, 0, "", errName
		default:
			if value = append(value, c); c != ' ' {
				meant = len(value)
			}
		}
	}
	a.value = string(value[:meant])
	if strings.HasPrefix(rest, "#") {
		a.value = fromHex(a.value[1:])
	}
	if a.value == "" || !utf8.ValidString(a.value) {
		return a, 0, "", errName
	}
	if i == len(rest) {
		return a, 0, "", nil
	}
	return a, rest[i], rest[i+1:], nil
}

// unescape reads what follows a backslash, and of how many characters it was; none if it is nothing that may.
func unescape(text string) (b byte, n int) {
	if text != "" && strings.IndexByte(` "#+,;<=>\`, text[0]) >= 0 {
		return text[0], 1
	}
	if len(text) >= 2 {
		if raw, err := hex.DecodeString(text[:2]); err == nil {
			return raw[0], 2
		}
	}
	return 0, 0
}

// fromHex is a value that is given as its encoding; empty if that is no text.
func fromHex(text string) string {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return ""
	}
	var v any
	if rest, err := asn1.Unmarshal(raw, &v); err != nil || len(rest) > 0 {
		return ""
	}
	value, _ := v.(string)
	return value
}

// Written is a name as it is compared, in the one way in which we write it: RFC 4514's, the last part first. ok is false if it is none.
func Written(dn string) (text string, ok bool) {
	n, err := parseName(dn)
	if err != nil {
		return "", false
	}
	short := map[string]string{}
	for word, number := range kinds() {
		short[number] = word
	}
	var parts []string
	for _, one := range slices.Backward(n) {
		var attributes []string
		for _, a := range one {
			attributes = append(attributes, cmp.Or(short[a.kind], a.kind)+"="+escape(a.value))
		}
		parts = append(parts, strings.Join(attributes, "+"))
	}
	return strings.Join(parts, ","), true
}

// escape writes a value so that unescape reads it, and so that nothing of it is unseen.
func escape(value string) string {
	var out strings.Builder
	for i, r := range value {
		switch edge := i == 0 || i == len(value)-1; {
		case strings.ContainsRune(",+\"\\<>;", r), r == ' ' && edge, r == '#' && i == 0:
			out.WriteString("\\" + string(r))
		case !unicode.IsPrint(r):
			for _, b := range []byte(string(r)) {
				out.WriteString("\\" + hex.EncodeToString([]byte{b}))
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func (p part) sorted() part {
	slices.SortFunc(p, func(a, b attribute) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.value, b.value)) })
	return p
}

// subjectOf is the name in a certificate; ok is false for one that has none, or one with a value that is no text. What is not UTF-8 is in no name that was registered.
func subjectOf(c *x509.Certificate) (n name, ok bool) {
	var raw pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &raw); err != nil || len(rest) > 0 {
		return nil, false
	}
	for _, set := range raw {
		one := part{}
		for _, a := range set {
			value, text := a.Value.(string)
			if !text {
				return nil, false
			}
			one = append(one, attribute{a.Type.String(), value})
		}
		n = append(n, one.sorted())
	}
	return n, len(n) > 0
}

func sameName(want string, c *x509.Certificate) bool {
	a, err := parseName(want)
	b, ok := subjectOf(c)
	return err == nil && ok && slices.EqualFunc(a, b, slices.Equal)
}
