package server

import (
	"fmt"
	"testing"

	"countersign/internal/guard"
	"countersign/internal/platform/config"
)

// What numbers are counted by is named by the operator, and there is only so much of it.
func TestPrefixesAreTheOperatorsAndFew(t *testing.T) {
	c := config.Default()
	c.SMS.Routes, c.SMS.Senders = []string{"+33=twilio", "DE/code=twilio", "*/notice=twilio"}, []string{"+1=Example"}
	prices := guard.Prices{"+49": 1, "twilio+4915": 2, "+": 3}
	for n := range 200 {
		prices[fmt.Sprintf("+99%03d", n)] = 1
	}
	p := newPrefixes(c, prices)
	for number, want := range map[string]string{
		"+4930123456": "+49", "+4915112345678": "+4915", "+33612345678": "+33", "+15005550006": "+1", "+4741234567": "other", "ada@example.org": "", "": "",
	} {
		if got := p.of(number); got != want {
			t.Errorf("%q: %q, want %q", number, got, want)
		}
	}
	seen := map[string]bool{}
	for n := range 200 {
		seen[p.of(fmt.Sprintf("+99%03d1234567", n))] = true
	}
	if len(seen) != 97 || !seen["other"] { // four of a hundred were used before
		t.Errorf("%d", len(seen))
	}
	if got := p.of("+4930123456"); got != "+49" {
		t.Errorf("one that was used is %q now", got)
	}
}
