package simswap_test

import (
	"strconv"
	"testing"

	"countersign/internal/courier/simswap"
)

// What an operator says of some numbers alone (here: who holds them did not consent) must not have another's new card go unnoticed.
func TestNumbersThatAreRefusedHideNoSwap(t *testing.T) {
	s, o, _, _ := checker(t, func(*simswap.Config) {})
	o.says(403, `{"status": 403, "code": "PERMISSION_DENIED"}`)
	for i := range 5 {
		s.Of(t.Context(), "+491521234567"+strconv.Itoa(i))
	}
	o.says(200, `{"swapped": true}`)
	if got := s.Of(t.Context(), number); got != simswap.Swapped {
		t.Errorf("the swapped number is %q", got)
	}
}
