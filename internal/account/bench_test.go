package account_test

import (
	"testing"

	"countersign/internal/account"
)

// Parsing stands before every limit: it must cost next to nothing.
func BenchmarkParse(b *testing.B) {
	for _, typed := range []string{"ada.lovelace@example.org", "ada@bücher.example", "+47 41 23 45 67", "ada.lovelace", "Σωκράτης"} {
		b.Run(typed, func(b *testing.B) {
			for b.Loop() {
				_, _ = account.Parse(typed)
			}
		})
	}
}
