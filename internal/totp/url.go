package totp

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"rsc.io/qr"
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

// quiet is the white border that ISO 18004 wants around a QR code, in modules.
const quiet = 4

// Drawing is a QR code: a square of Side by Side modules, its border included, and the dark ones as the data of
// an SVG path.
type Drawing struct {
	Side int
	Path string
}

// QR draws the URL, to be shown dark on white in any theme. The key must stand beside it as text: not
// everybody sees it, or has a camera.
func (e Enrolment) QR() (Drawing, error) {
	c, err := qr.Encode(e.URL.Reveal(), qr.M)
	if err != nil {
		return Drawing{}, fmt.Errorf("draw a QR code: %w", err)
	}
	var b strings.Builder
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			from := x
			for c.Black(x, y) { // false outside
				x++
			}
			if x > from {
				_, _ = fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+quiet, y+quiet, x-from, x-from)
			}
		}
	}
	return Drawing{c.Size + 2*quiet, b.String()}, nil
}
