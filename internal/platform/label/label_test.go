package label_test

import (
	"strings"
	"testing"

	"countersign/internal/platform/label"
)

func TestCleanLeavesWhatPrints(t *testing.T) {
	for name, want := range map[string]string{
		"My phone":                 "My phone",
		"  هاتف \n":                "هاتف",
		"a\u202eb\u200bc\x00\r\n":  "abc",
		"\u200b\n\xff":             "",
		strings.Repeat("é", 61):    strings.Repeat("é", 60),
		strings.Repeat("a ", 5000): strings.TrimSpace(strings.Repeat("a ", 30)),
	} {
		if got := label.Clean(name); got != want {
			t.Errorf("%.20q: %q, want %q", name, got, want)
		}
	}
}
