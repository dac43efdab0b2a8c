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
	partSMS  = 153
	partUCS2 = 67
	mostSMS  = 4

	linkSecret = 53 // characters of a secret.Token
	longHolder = 30 // of a name in an SMS: it costs as much as the rest
	gsmBasic   = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
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

// sms renders a text message. A code is one segment, and its last line is the origin-bound form that
// browsers read (R-SMS-01): nothing may follow it, and it alone says for which site the code is. When our
// name is too long or in another alphabet, the short form leaves it out and that line stands for it.
// Anything else says our name first, or our host where that takes fewer segments, and may take as many as its link
// needs: four.
func (w words) sms(l Letter, host string) (string, error) {
	key := "sms." + string(l.Kind)
	values := w.values(l, host)
	values["code"], values["minutes"] = l.Params["code"], l.Params["minutes"]
	if w.app { // the code is typed there
		host = values["host"]
		values["site"] = cut(values["site"], longHolder)
	}
	if !l.Kind.Typed() {
		if name, ok := values["holder"]; ok {
			values["holder"] = cut(name, longHolder)
		}
		text := w.say(key, values)
		values["site"] = host
		if short := w.say(key, values); segments(short) < segments(text) {
			text = short
		}
		if segments(text) <= mostSMS {
			return text, nil
		}
		return "", fmt.Errorf("letter %s does not fit into %d SMS", l.Kind, mostSMS)
	}
	bound := "\n\n@" + hostname(host) + " #" + l.Params["code"]
	long, short := w.say(key, values)+bound, w.say(key+".short", values)+bound
	_, gsm := septets(short)
	for _, text := range []string{long, short} {
		if n, ok := septets(text); ok && n <= oneSMS || !gsm && units(text) <= oneUCS2 {
			return text, nil
		}
	}
	if !gsm && units(short) <= twoUCS2 {
		return short, nil
	}
	if w.app { // whose host nobody has measured: the code is worth more than the line
		return w.say(key+".short", values), nil
	}
	return "", fmt.Errorf("letter %s does not fit into one SMS", l.Kind)
}

// units is the length of s in an SMS that is not in GSM 03.38.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

// hostname is a host without its port.
func hostname(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

// Segments is how many messages a text is sent and paid as.
func Segments(text string) int { return segments(text) }

// GSM reports whether a text can be written in GSM 03.38; another is sent in UCS-2.
func GSM(text string) bool {
	_, ok := septets(text)
	return ok
}

func segments(s string) int {
	n, gsm := septets(s)
	one, part := oneSMS, partSMS
	if !gsm {
		n, one, part = units(s), oneUCS2, partUCS2
	}
	if n <= one {
		return 1
	}
	return (n + part - 1) / part
}

// cut shortens a name to n characters of an SMS.
func cut(name string, n int) string {
	if units(name) <= n {
		return name
	}
	out := []rune(name)
	for units(string(out)) >= n {
		out = out[:len(out)-1]
	}
	return string(out) + "…"
}

// roomFor reports whether the shortest form with the longest code fits beside the host, and whether
// everything else fits with its link or the longest name.
func (w words) roomFor(host string) error {
	values := map[string]string{
		"site": strings.Repeat("x", oneSMS), "code": strings.Repeat("0", maxCode), "minutes": "999", "ends": "2026-09-30T23:59:00+00:00",
		"link": "https://" + hostname(host) + ":65535/notme#" + strings.Repeat("x", linkSecret), "holder": strings.Repeat("ё", longHolder),
	}
	for key := range w.text {
		name, _ := strings.CutPrefix(key, "sms.")
		kind := Kind(name)
		need, ok := kind.form()
		if !ok {
			continue
		}
		params := map[string]string{}
		for _, name := range need {
			params[name] = values[name]
		}
		if _, err := w.sms(Letter{Kind: kind, Params: params}, host); err != nil {
			return fmt.Errorf("host %q is too long: %w (%s)", host, err, w.tag)
		}
	}
	return nil
}
