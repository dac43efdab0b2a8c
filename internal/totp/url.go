package totp

import (
	"net/url"
	"strconv"
	"strings"

	"countersign/internal/platform/qrcode"
)

// url is the key in the form that apps read, in links and QR codes (Key Uri Format, as Google Authenticator
// brought it in).
func (l Label) url(raw []byte) string {
	q := url.Values{"secret": {encoding.EncodeToString(raw)}, "algorithm": {string(l.Shape.Algorithm)}, "digits": {strconv.Itoa(l.Shape.Digits)}}
	if l.Issuer != "" {
		q.Set("issuer", l.Issuer)
	}
	if l.Shape.Kind == HOTP {
		q.Set("counter", "0")
	} else {
		q.Set("period", strconv.Itoa(l.Shape.Period))
	}
	label := segment(l.Account)
	if l.Issuer != "" {
		label = segment(l.Issuer) + ":" + label
	}
	// Values.Encode writes a space as +, which some apps show.
	return "otpauth://" + string(l.Shape.Kind) + "/" + label + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// segment escapes colons as well: an unescaped one separates issuer and account.
func segment(s string) string { return strings.ReplaceAll(url.PathEscape(s), ":", "%3A") }

// QR draws the URL.
func (e Enrolment) QR() (qrcode.Drawing, error) { return qrcode.Draw(e.URL.Reveal()) }
