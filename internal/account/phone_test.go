package account_test

import (
	"slices"
	"testing"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func TestRegionOfANumber(t *testing.T) {
	for typed, want := range map[string]string{
		"+4915123456789":   "DE",
		"+43316123456":     "AT",
		"+12025550123":     "US",
		"+14165550123":     "CA", // the same country code as the US
		"+77012345678":     "KZ",
		"+79261234567":     "RU",
		"+393331234567":    "IT",
		"+447400123456":    "GB", // not of Jersey, which has +44 too
		"+49999999999":     "DE", // in no range in use, and its country code is one country's
		"+80012345678":     "",   // a number of no country
		"+15550100100":     "",   // in no range in use, of one of many countries
		"ada@example.org":  "",
		"ada":              "",
		"+49151@gmail.com": "",
	} {
		ident, err := account.Parse(typed)
		if err != nil {
			t.Fatalf("%s: %v", typed, err)
		}
		if got := ident.Region(); got != want {
			t.Errorf("%s is of %q, want %q", typed, got, want)
		}
	}
	if got := (account.Identifier{}).Region(); got != "" {
		t.Errorf("no identifier is of %q", got)
	}
}

// Decoys' numbers are nobody's, and say nothing of where people are.
func TestPhoneRegionsAreThoseOfPeople(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		of := func(want ...string) {
			t.Helper()
			got, err := s.PhoneRegions(t.Context())
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		}
		of()
		create(t, s, "ada@example.org")
		of()
		create(t, s, "+4915123456789")
		create(t, s, "+393331234567", "+12025550123")
		create(t, s, "+4915123456788")
		of("DE", "IT", "US")
	})
}
