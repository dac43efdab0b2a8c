package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"countersign/internal/platform/secret"
)

const value = "hunter2-correct-horse"

// holder keeps a token where fmt and encoders find it, and where fmt may not call its methods.
type holder struct {
	Open   secret.Token
	closed secret.Token
	Many   []secret.Token
	Map    map[string]secret.Token
	Any    any
	Ptr    *secret.Token
}

// no way of printing or logging a secret prints it.
func TestNoWayOfPrintingShowsTheValue(t *testing.T) {
	tok := secret.Of(value)
	h := holder{tok, tok, []secret.Token{tok}, map[string]secret.Token{"k": tok}, tok, &tok}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%100v", "%-5s", "%.3s"} {
		for _, v := range []any{tok, &tok, h, &h, []any{h}, struct{ h holder }{h}, struct{ p *holder }{&h}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, tok, h, tok.String(), tok.GoString(), fmt.Errorf("refused: %v %w", tok, errors.New("x")))
	for _, v := range []any{tok, h, &h} {
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := xml.NewEncoder(&out).Encode(tok); err != nil {
		t.Fatal(err)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).InfoContext(t.Context(), "m", slog.Any("token", tok), slog.Any("holder", h), slog.Any("pointer", &h), slog.String("s", tok.String()))
	}
	for _, form := range []string{value, value[:7], fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprint([]byte(value))} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("the value shows as %q in …%s…", form, out.String()[max(0, i-40):i+len(form)])
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("nothing says that there is a secret")
	}
	if tok.Reveal() != value {
		t.Error("Reveal does not give the value")
	}
}

func TestEqualComparesValues(t *testing.T) {
	a, b, other := secret.Of(value), secret.Of(value), secret.Of(value+"x")
	if !a.Equal(b) || a.Equal(other) || a.Equal(secret.Token{}) || !(secret.Token{}).Equal(secret.Of("")) {
		t.Error("Equal is wrong")
	}
	if !secret.Of("").Empty() || !(secret.Token{}).Empty() || a.Empty() || (secret.Token{}).Reveal() != "" {
		t.Error("Empty is wrong")
	}
}

// at least 128 bits of randomness; ours have 256.
func TestTokensAreLongDistinctAndWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		tok := secret.NewToken("css")
		v := tok.Reveal()
		if len(v) != 53 || !strings.HasPrefix(v, "css_") || seen[v] {
			t.Fatalf("bad or repeated token of length %d", len(v))
		}
		seen[v] = true
		if !tok.WellFormed("css") || tok.WellFormed("csf") || tok.WellFormed("cs") || tok.WellFormed("") {
			t.Fatal("WellFormed is wrong about the prefix")
		}
	}
}

func TestAMistypedTokenIsNotWellFormed(t *testing.T) {
	v := secret.NewToken("css").Reveal()
	for i := range v {
		bad := v[:i] + string(v[i]^1) + v[i+1:]
		if secret.Of(bad).WellFormed("css") {
			t.Fatalf("changed at %d and still well formed", i)
		}
	}
	for _, bad := range []string{"", v[1:], v[:52], v + "A", "css_", strings.Repeat("css_", 13) + "A"} {
		if secret.Of(bad).WellFormed("css") {
			t.Errorf("%d characters are well formed", len(bad))
		}
	}
}

func TestDigitsAreDigitsAllUsedAndNeverShort(t *testing.T) {
	var count [10]int
	for range 2000 {
		v := secret.NewDigits(6).Reveal()
		if len(v) != 6 {
			t.Fatalf("%d digits", len(v)) // leading zeros are kept
		}
		for _, c := range v {
			if c < '0' || c > '9' {
				t.Fatal("not a digit")
			}
			count[c-'0']++
		}
	}
	for d, n := range count { // 1200 expected, deviation 33: 8 of those is one failure in 10^14
		if n < 930 || n > 1470 {
			t.Errorf("digit %d came %d times of 12000", d, n)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a code of 5 digits was made")
		}
	}()
	secret.NewDigits(5)
}
