package message

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// One SMS holds 160 septets of GSM 03.38 (R-SMS-07); one character outside that alphabet and
// it holds 70 characters. A language of another alphabet gets two of those if it must, of 67 each,
// since each of two says which it is; no other letter may be cut, cost double, or lose its last line.
const (
	oneSMS   = 160
	oneUCS2  = 70
	twoUCS2  = 2 * 67
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "^{}\\[~]|€" // each costs two septets
)

// septets returns the length of s in GSM 03.38; ok is false if s needs another alphabet.
func septets(s string) (n int, ok bool) {
	for _, r := range s {
		switch {
		case strings.ContainsRune(gsmBasic, r):
			n++
		case strings.ContainsRune(gsmExtended, r):
			n += 2
		default:
			return 0, false
		}
	}
	return n, true
}

// sms renders one segment. Its last line is the origin-bound form that browsers read
// (R-SMS-01): nothing may follow it, and it alone says for which site the code is. When our
// name is too long or in another alphabet, the short form leaves it out and that line stands for it.
func (w words) sms(l Letter, host string) (string, error) {
	values := map[string]string{"site": l.Params["site"], "code": l.Params["code"], "minutes": l.Params["minutes"]}
	bound := "\n\n@" + host + " #" + l.Params["code"]
	long, short := w.say("sms."+string(l.Kind), values)+bound, w.say("sms."+string(l.Kind)+".short", values)+bound
	_, gsm := septets(short)
	for _, text := range []string{long, short} {
		if n, ok := septets(text); ok && n <= oneSMS || !gsm && len(utf16.Encode([]rune(text))) <= oneUCS2 {
			return text, nil
		}
	}
	if !gsm && len(utf16.Encode([]rune(short))) <= twoUCS2 {
		return short, nil
	}
	return "", fmt.Errorf("letter %s does not fit into one SMS", l.Kind)
}

// roomFor reports whether the shortest form with the longest code fits beside the host.
func (w words) roomFor(host string) error {
	_, err := w.sms(Letter{Kind: SigninCode, Params: map[string]string{
		"site": strings.Repeat("x", oneSMS), "code": strings.Repeat("0", maxCode), "minutes": "999",
	}}, host)
	if err != nil {
		return fmt.Errorf("host %q is too long: a code and its host must fit into one SMS (%s)", host, w.tag)
	}
	return nil
}
