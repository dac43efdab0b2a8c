package bounce_test

import (
	"strings"
	"testing"

	"countersign/internal/courier/bounce"
)

// Anybody may write to the mailbox. A Message-ID that PostgreSQL cannot take as text fails every time, and holds up all that comes after.
func TestAForgedMessageIDIsNoLetter(t *testing.T) {
	for _, forged := range []string{"\xff"} {
		if got, err := bounce.Parse(strings.NewReader(notification("Message-ID: <"+id+">", "Message-ID: <"+forged+"@example.org>"))); err == nil && got.Letter == forged {
			t.Errorf("%q is taken for a letter", got.Letter)
		}
	}
}
