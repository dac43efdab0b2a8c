package assurance_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"countersign/internal/assurance"
)

// enough is NIST SP 800-63B-4 read once more, in another shape than the rules have: a level is reached by whoever
// proved all of one line. Every line is a line of section 2.1.1, 2.2.1 or 2.3.1.
func enough() map[assurance.Level][][]assurance.Method {
	return map[assurance.Level][][]assurance.Method{
		assurance.AAL3: { // a multi-factor cryptographic authenticator in hardware
			{"passkey_attested_verified"},
		},
		assurance.AAL2: {
			{"passkey_verified"},             // multi-factor cryptographic
			{"passkey_bound_verified"},       // the same
			{"password", "sms"},              // out of band, by telephone
			{"password", "otp"},              // a single-factor OTP authenticator
			{"password", "backup"},           // a look-up secret
			{"password", "passkey"},          // single-factor cryptographic
			{"password", "app_key_attested"}, // the same
			{"passkey_attested_verified"},    // whatever is enough for more
		},
		assurance.AAL1: {
			{"password"},
			{"sms"},
			{"otp"},
			{"backup"},
			{"passkey"},
			{"app_key_attested"},
			{"passkey_verified"},
			{"passkey_bound_verified"},
			{"passkey_attested_verified"},
		},
	}
}

// said is RFC 8176 read once more: the words of each method, but mfa.
func said() map[string][]string {
	return map[string][]string{
		"password": {"pwd"}, "sms": {"sms", "mca"}, "email": {}, "otp": {"otp"}, "backup": {"otp"}, "device": {"swk"},
		"passkey": {"pop", "user"}, "passkey_verified": {"swk", "user"}, "passkey_bound_verified": {"pop", "user"},
		"passkey_attested_verified": {"hwk", "user"}, "dbsc": {"pop"}, "app_key": {"pop"}, "app_key_attested": {"hwk"}, "approved": {},
	}
}

// declared are the methods as the source declares them: one that is added is tested or fails.
func declared(t *testing.T) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "assurance.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		kind, ok := v.Type.(*ast.Ident)
		if ok && kind.Name == "Method" {
			word, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, word)
		}
		return true
	})
	return all
}

// oracle answers from the two tables.
type oracle struct {
	enough map[assurance.Level][][]assurance.Method
	said   map[string][]string
}

func (o oracle) level(methods []string) assurance.Level {
	for _, level := range []assurance.Level{assurance.AAL3, assurance.AAL2, assurance.AAL1} {
		for _, line := range o.enough[level] {
			if !slices.ContainsFunc(line, func(m assurance.Method) bool { return !slices.Contains(methods, string(m)) }) {
				return level
			}
		}
	}
	return assurance.None
}

func (o oracle) words(methods []string) []string {
	words := map[string]bool{"mfa": o.level(methods) >= assurance.AAL2}
	for _, m := range methods {
		for _, w := range o.said[m] {
			words[w] = true
		}
	}
	return slices.DeleteFunc([]string{"pwd", "otp", "sms", "mca", "swk", "hwk", "pop", "user", "mfa"}, func(w string) bool { return !words[w] })
}

// Every combination there is, in two orders, and with words of other releases among them.
func TestEveryCombinationOfMethods(t *testing.T) {
	all, want := declared(t), oracle{enough(), said()}
	if len(all) != len(want.said) {
		t.Fatalf("the source declares %d methods, this table has %d", len(all), len(want.said))
	}
	for set := range 1 << len(all) {
		var methods []string
		for i, m := range all {
			if set&(1<<i) != 0 {
				methods = append(methods, m)
			}
		}
		level, words := want.level(methods), want.words(methods)
		backwards := slices.Clone(methods)
		slices.Reverse(backwards)
		for _, row := range [][]string{methods, backwards, slices.Concat([]string{"", "retina", "passkey_verified2", "PASSKEY_VERIFIED", "mfa"}, methods, methods)} {
			got := assurance.Of(row)
			if amr := slices.Collect(got.AMR()); got.Level != level || !slices.Equal(amr, words) {
				t.Fatalf("%q: %s %v, want %s %v", row, got.Level, amr, level, words)
			}
		}
	}
}

// What is easily taken for more than it is, one line each.
func TestNothingReadsStrongerThanItIs(t *testing.T) {
	for _, c := range []struct {
		methods []string
		level   assurance.Level
		why     string
	}{
		{nil, assurance.None, "nothing"},
		{[]string{"email"}, assurance.None, "e-mail is no authenticator"},
		{[]string{"password", "email"}, assurance.AAL1, "e-mail is no authenticator"},
		{[]string{"password", "device"}, assurance.AAL1, "recognition spares a step and is none"},
		{[]string{"password", "device", "email", "approved", "dbsc", "app_key"}, assurance.AAL1, "many times nothing is nothing"},
		{[]string{"otp", "sms", "backup", "passkey"}, assurance.AAL1, "things somebody has are one factor, however many"},
		{[]string{"password", "passkey"}, assurance.AAL2, "one factor and another"},
		{[]string{"password", "passkey_verified", "app_key_attested"}, assurance.AAL2, "the key of the passkey is copied, the other is bound to no name"},
		{[]string{"password", "otp", "passkey_bound_verified"}, assurance.AAL2, "nobody attested the key"},
	} {
		if got := assurance.Of(c.methods).Level; got != c.level {
			t.Errorf("%v: %s, want %s: %s", c.methods, got, c.level, c.why)
		}
	}
}
