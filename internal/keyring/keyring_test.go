package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
)

func root(id string, fill byte) keyring.Root {
	return keyring.Root{ID: id, Key: bytes.Repeat([]byte{fill}, 32)}
}

func ring(t *testing.T, roots ...keyring.Root) *keyring.Ring {
	t.Helper()
	r, err := keyring.New(roots)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var here = keyring.Place{Table: "account_identifier", Row: "r1", Column: "sealed"}

func TestSealOpensAtItsPlaceOnly(t *testing.T) {
	r := ring(t, root("kaaaaaaa", 1))
	plain := []byte("ada@example.org")
	sealed := r.Seal(plain, here)
	if got, err := r.Open(sealed, here); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	for name, place := range map[string]keyring.Place{
		"another table":   {"session", "r1", "sealed"},
		"another row":     {"account_identifier", "r2", "sealed"},
		"another column":  {"account_identifier", "r1", "lookup"},
		"shifted borders": {"account_identifierr", "1", "sealed"},
		"nowhere":         {},
	} {
		if _, err := r.Open(sealed, place); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
}

func TestSealHidesAndNeverRepeats(t *testing.T) {
	r := ring(t, root("kaaaaaaa", 1))
	plain := []byte("ada@example.org")
	a, b := r.Seal(plain, here), r.Seal(plain, here)
	if bytes.Equal(a, b) || bytes.Contains(a, []byte("ada")) {
		t.Error("two seals of one value are equal, or show it")
	}
	if len(a) != len(r.Seal([]byte("eva@example.org"), here)) {
		t.Error("equal lengths give unequal seals")
	}
}

func TestADamagedSealDoesNotOpen(t *testing.T) {
	r := ring(t, root("kaaaaaaa", 1))
	sealed := r.Seal([]byte("ada@example.org"), here)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open(bad, here); !errors.Is(err, keyring.ErrSealed) {
			t.Fatalf("bit changed in byte %d: %v, want ErrSealed", i, err)
		}
		if _, err := r.Open(sealed[:i], here); !errors.Is(err, keyring.ErrSealed) {
			t.Fatalf("cut to %d bytes: %v, want ErrSealed", i, err)
		}
	}
	if _, err := r.Open(nil, here); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("nothing: %v", err)
	}
}

func TestAnotherKeyOpensNothing(t *testing.T) {
	sealed := ring(t, root("kaaaaaaa", 1)).Seal([]byte("x"), here)
	for name, other := range map[string]*keyring.Ring{
		"another id":          ring(t, root("kbbbbbbb", 1)),
		"another key, one id": ring(t, root("kaaaaaaa", 2)),
	} {
		if _, err := other.Open(sealed, here); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
}

// A key in the file does nothing until the database says so: nodes get it one after the other.
func TestAnAddedKeyOpensAndNothingElse(t *testing.T) {
	before := ring(t, root("kaaaaaaa", 1))
	after := ring(t, root("kaaaaaaa", 1), root("kbbbbbbb", 2))
	if _, err := before.Open(after.Seal([]byte("x"), here), here); err != nil {
		t.Errorf("sealed by the key that was added: %v", err)
	}
	if _, err := after.Open(ring(t, root("kbbbbbbb", 2)).Seal([]byte("x"), here), here); err != nil {
		t.Errorf("the key that was added does not open: %v", err)
	}
	if after.Several() || len(after.Digests("session", secret.NewToken("css"))) != 1 {
		t.Error("looked for under a key that nobody uses")
	}
	if !bytes.Equal(before.Index("email", "a"), after.Index("email", "a")) {
		t.Error("the index changed with the new key: nobody would be found")
	}
	tok := secret.NewToken("css")
	if !bytes.Equal(before.Digest("session", tok), after.Digest("session", tok)) {
		t.Error("the digest changed with the new key: everybody would be signed out")
	}
	peppered, id := before.Pepper([]byte("pw"))
	got, ok := after.PepperWith(id, []byte("pw"))
	if !ok || !bytes.Equal(got, peppered) {
		t.Error("a password from before the new key does not verify")
	}
	if _, ok := before.PepperWith("kzzzzzzz", []byte("pw")); ok {
		t.Error("peppered with a key that is not there")
	}
}

// What one purpose's key makes says nothing about another purpose's.
func TestEveryPurposeHasItsOwnValues(t *testing.T) {
	r := ring(t, root("kaaaaaaa", 1))
	tok := secret.Of("value")
	peppered, _ := r.Pepper([]byte("value"))
	seen := map[string]string{}
	for name, v := range map[string][]byte{
		"index email":   r.Index("email", "value"),
		"index phone":   r.Index("phone", "value"),
		"digest email":  r.Digest("email", tok),
		"digest flow 1": r.Digest("code/1", tok),
		"digest flow 2": r.Digest("code/2", tok),
		"mac email":     r.MAC("email", []byte("value")),
		"pepper":        peppered,
		"mac password":  r.MAC("password", []byte("value")),
		"shifted":       r.Index("emailv", "alue"),
		"other key":     ring(t, root("kaaaaaaa", 2)).Index("email", "value"),
	} {
		if len(v) != 32 {
			t.Errorf("%s: %d bytes", name, len(v))
		}
		if other, dup := seen[string(v)]; dup {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[string(v)] = name
	}
}

func TestKeysAreNeverPrinted(t *testing.T) {
	k := keyring.Root{ID: "kaaaaaaa", Key: []byte("0123456789abcdef0123456789abcdef")}
	r := ring(t, k)
	service := struct{ ring *keyring.Ring }{r}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, v := range []any{r, k, &k, []keyring.Root{k}, service, &service, map[string]any{"ring": r}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).InfoContext(t.Context(), "m", slog.Any("ring", r), slog.Any("root", k), slog.Any("roots", []keyring.Root{k}))
	}
	if err := json.NewEncoder(&out).Encode([]any{r, k}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"01234567", "3031323334", "48 49 50 51", "0x30, 0x31", base64.StdEncoding.EncodeToString(k.Key)[:12], "hmac", "aes"} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("a key shows as %q in …%s…", form, out.String()[max(0, i-60):i+len(form)])
		}
	}
}

func TestNewRefusesWhatIsNoKeyAndDoesNotPrintIt(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("K"), 32))
	for name, roots := range map[string][]keyring.Root{
		"none":      nil,
		"short key": {{ID: "kaaaaaaa", Key: []byte(key[:16])}},
		"swapped":   {{ID: key, Key: []byte("kaaaaaaa")}},
	} {
		_, err := keyring.New(roots)
		if err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), key[:8]) {
			t.Errorf("%s: the error prints the key: %v", name, err)
		}
	}
}
