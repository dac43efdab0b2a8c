package account_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
)

func TestParseNormalises(t *testing.T) {
	for _, c := range []struct {
		typed  string
		kind   account.Kind
		normal string
	}{
		{"ada@example.org", account.Email, "ada@example.org"},
		{"  Ada.Lovelace@EXAMPLE.org\t", account.Email, "ada.lovelace@example.org"},
		{"\u00a0ada@example.org\u3000", account.Email, "ada@example.org"},
		{"ada+news@example.org", account.Email, "ada+news@example.org"}, // no provider guessing
		{"a.d.a@gmail.com", account.Email, "a.d.a@gmail.com"},
		{"ada＠ｅｘａｍｐｌｅ.org", account.Email, "ada@example.org"}, // typed with an input method
		{"ada@bücher.example", account.Email, "ada@xn--bcher-kva.example"},
		{"ada@BÜCHER.example", account.Email, "ada@xn--bcher-kva.example"},
		{"ada@bu\u0308cher.example", account.Email, "ada@xn--bcher-kva.example"},
		{"ada@xn--bcher-kva.example", account.Email, "ada@xn--bcher-kva.example"},
		{"ada@例え。テスト", account.Email, "ada@xn--r8jz45g.xn--zckzah"},
		{"ada@straße.example", account.Email, "ada@xn--strae-oqa.example"}, // not strasse
		{"STRAUß@example.org", account.Email, "strauß@example.org"},        // another mailbox than strauss
		{"JOSE\u0301@example.org", account.Email, "josé@example.org"},
		{"+47 41 23 45 67", account.Phone, "+4741234567"},
		{"+1 (202) 555-0123", account.Phone, "+12025550123"},
		{"＋４７４１２３４５６７", account.Phone, "+4741234567"},
		{"+44 (0)20 7946 0958", account.Phone, "+442079460958"},
		{"Ada", account.Username, "ada"},
		{"ada_lovelace-1815.x", account.Username, "ada_lovelace-1815.x"},
		{"ＡＤＡ", account.Username, "ada"},
		{"Σωκράτης", account.Username, "σωκράτης"},
		{"Иван", account.Username, "иван"},
		{"山田taro", account.Username, "山田taro"},
		{"4ever", account.Username, "4ever"},
	} {
		got, err := account.Parse(c.typed)
		if err != nil || got.Kind() != c.kind || got.Normal() != c.normal {
			t.Errorf("Parse(%q) = %s %q, %v; want %s %q", c.typed, got.Kind(), got.Normal(), err, c.kind, c.normal)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for why, typed := range map[string]string{
		"nothing":                       "",
		"spaces only":                   " \t ",
		"invalid UTF-8":                 "ada\xff@example.org",
		"NUL":                           "ada\x00@example.org",
		"control character":             "ada\x1b[2J",
		"line break":                    "ada@example.org\r\nBcc: eve@example.org",
		"zero-width space":              "a\u200bda@example.org",
		"zero-width joiner":             "a\u200dda",
		"word joiner":                   "ada\u2060",
		"soft hyphen":                   "a\u00adda",
		"byte order mark":               "\ufeffada",
		"bidi override":                 "ada\u202egro.elpmaxe@example.org",
		"bidi isolate":                  "\u2066ada@example.org\u2069",
		"variation selector":            "ada\ufe0f",
		"tag characters":                "ada\U000e0061",
		"combining grapheme joiner":     "a\u034fda",
		"Hangul filler":                 "ada\u3164",
		"braille blank":                 "ada\u2800",
		"invisible mark in an e-mail":   "a\u034fda@example.org", // marks and letters by their class
		"invisible letter in an e-mail": "ada\u3164@example.org",
		"selector in an e-mail":         "ada\ufe0f@example.org",
		"no local part":                 "@example.org",
		"no domain":                     "ada@",
		"two ats":                       "ada@eve@example.org",
		"space inside":                  "ada lovelace@example.org",
		"quoted local part":             `"ada lovelace"@example.org`,
		"display name":                  "Ada <ada@example.org>",
		"two dots":                      "ada..l@example.org",
		"dot in front":                  ".ada@example.org",
		"dotless domain":                "ada@localhost",
		"address literal":               "ada@[192.0.2.1]",
		"IPv4 domain":                   "ada@192.0.2.1",
		"trailing dot":                  "ada@example.org.",
		"underscore in domain":          "ada@exa_mple.org",
		"hyphen in front of a label":    "ada@-example.org",
		"broken punycode":               "ada@xn--\u00fc.org",
		"e-mail of 255 octets":          strings.Repeat("a", 64) + "@" + strings.Repeat(strings.Repeat("b", 60)+".", 3) + "example",
		"local part of 65 octets":       strings.Repeat("a", 65) + "@example.org",
		"phone without +":               "41 23 45 67",
		"phone with 00":                 "0047 41234567",
		"phone too short":               "+47 1",
		"phone too long":                "+47 41234567 41234567",
		"phone with letters":            "+1 800 FLOWERS",
		"phone with an extension":       "+1 202 555 0123;ext=9",
		"two pluses":                    "+47+41234567",
		"no such country code":          "+999 123456789",
		"username of 65":                strings.Repeat("a", 65),
		"username with a space":         "ada lovelace",
		"username with a slash":         "ada/../root2",
		"username with markup":          "ada<b>",
		"username beginning with a dot": ".ada",
		"emoji":                         "ada🙂",
		"Latin and Cyrillic":            "pаypal", // the first a is Cyrillic
		"Greek and Latin":               "αda",
		"two sets of digits":            "ab1٢",
		"Hebrew and Latin":              "adaש",
		"ten thousand letters":          strings.Repeat("a", 10000),
	} {
		got, err := account.Parse(typed)
		if f := fault.Of(err); err == nil || f.Kind != fault.Invalid || f.Code != "identifier_malformed" {
			t.Errorf("%s: Parse = %s %q, %v; want identifier_malformed", why, got.Kind(), got.Normal(), err)
		}
		if err != nil && len(typed) > 3 && strings.Contains(err.Error(), strings.TrimSpace(typed)) {
			t.Errorf("%s: the error repeats the input: %v", why, err)
		}
	}
}

// no default accounts, and nobody who passes for one.
func TestParseRefusesReservedNamesAndTheirLookalikes(t *testing.T) {
	for _, name := range []string{
		"admin", "ADMIN", "Admin", "ad.min", "a-d-m-i-n_", "adm1n", "4dm1n", "admın", "ádmin", "adrnin", "aclmin",
		"root", "r00t", "r0ot", "support", "5upport", "security", "postmaster", "post.master", "no-reply", "no_reply",
		"ѕесυrіtу", // Cyrillic and Greek: mixed
		"гооt", "ѕуѕтем", "соυntersign", "countersign", "sa",
	} {
		if got, err := account.Parse(name); err == nil {
			t.Errorf("Parse(%q) = %q, want it refused", name, got.Normal())
		}
	}
	for _, name := range []string{"ada", "adminah", "rooter", "supporter1", "martin", "roswitha", "иван", "clara"} {
		if _, err := account.Parse(name); err != nil {
			t.Errorf("Parse(%q): %v, want it allowed", name, err)
		}
	}
}

func TestParserReadsNationalNumbersOfItsRegion(t *testing.T) {
	p := account.Parser{Region: "NO"}
	for _, typed := range []string{"41 23 45 67", "+47 41234567", "0047 41234567"} {
		if got, err := p.Parse(typed); err != nil || got.Normal() != "+4741234567" {
			t.Errorf("Parse(%q) = %q, %v", typed, got.Normal(), err)
		}
	}
	if got, err := p.Parse("+1 202 555 0123"); err != nil || got.Normal() != "+12025550123" {
		t.Errorf("an international number = %q, %v; want it unchanged by the region", got.Normal(), err)
	}
	if _, err := (account.Parser{Region: "ZZ"}).Parse("41234567"); err == nil {
		t.Error("an unknown region read a national number")
	}
}

func TestEqualIdentifiersCompareEqual(t *testing.T) {
	a, _ := account.Parse("ada@example.org")
	b, _ := account.Parse(" ADA@Example.ORG")
	if a != b {
		t.Error("two ways of typing one address differ")
	}
	if c, _ := account.Parse("eve@example.org"); a == c {
		t.Error("two addresses are equal")
	}
}

// P1: no log line has an address.
func TestIdentifierDoesNotPrintItself(t *testing.T) {
	ident, err := account.Parse("ada@example.org")
	if err != nil {
		t.Fatal(err)
	}
	address := account.Address{Kind: account.Email, Normal: ident.Normal()}
	type hidden struct {
		ident account.Identifier // unexported: fmt cannot ask its String method
	}
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	log.InfoContext(t.Context(), "x", slog.Any("ident", ident), slog.Any("address", address), slog.Any("list", []account.Address{address}),
		slog.Any("in a struct", struct{ I account.Identifier }{ident}))
	var js []byte
	if js, err = json.Marshal(map[string]any{"i": ident, "a": address, "s": struct{ A account.Address }{address}}); err != nil {
		t.Fatal(err)
	}
	out := []string{logged.String(), string(js), ident.String(), address.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		out = append(out, fmt.Sprintf(verb, ident), fmt.Sprintf(verb, hidden{ident}), fmt.Sprintf(verb, &hidden{ident}),
			fmt.Sprintf(verb, address), fmt.Sprintf(verb, []account.Address{address}),
			fmt.Sprintf(verb, account.NewIdentifier{Identifier: ident}))
	}
	for _, text := range out {
		if strings.Contains(text, "ada") || strings.Contains(text, "616461") || strings.Contains(text, "example") {
			t.Errorf("printed: %s", text)
		}
	}
	if (account.Identifier{}).Normal() != "" {
		t.Error("the zero identifier has a normal form")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ada@example.org", "ada@bücher.example", "+47 412 34 567", "+44 (0)20 7946 0958", "Σωκράτης", "İstanbul", "ǅ@ǆ.example",
		"K@K.org", "a\u0301\u0301@x.org", "＋１２０２５５５０１２３", "a@xn--a.org", "a@。org", "ﬁ@ﬁ.fi", "\u1e9e", "٠١٢a", "+٤٧٤١٢٣٤٥٦٧",
		"a@\u00df.de", "ﷺ", "+5491123456789", "+390612345678", "+52 1 55 1234 5678",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := account.Parse(s)
		if err != nil {
			if fe := fault.Of(err); fe.Kind != fault.Invalid || fe.Code != "identifier_malformed" || errors.Unwrap(fe) == nil {
				t.Fatalf("Parse(%q) = %v", s, err)
			}
			return
		}
		n := got.Normal()
		if n == "" || len(n) > 256 || !utf8.ValidString(n) {
			t.Fatalf("Parse(%q) has the normal form %q", s, n)
		}
		if got.Kind() == account.Email && len(n) > 254 {
			t.Fatalf("Parse(%q) has %d octets", s, len(n))
		}
		again, err := account.Parse(n)
		if err != nil || again != got {
			t.Fatalf("Parse(%q) = %q, and of that %q, %v", s, n, again.Normal(), err)
		}
		// Outer spaces never matter.
		if spaced, err := account.Parse("  " + s + "\t"); len(s) < 1000 && (err != nil || spaced != got) {
			t.Fatalf("Parse of %q with spaces around = %q, %v", s, spaced.Normal(), err)
		}
	})
}
