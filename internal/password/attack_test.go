package password_test

import (
	"strings"
	"testing"

	"countersign/internal/password"
)

// The costs of other systems' hashes are bounded on import; those of a line that says it is one of ours are not.
// A line with the id of our pepper and m=4194304,t=1000 is taken, and whoever knows the name then has the server do
// 4 GiB and an hour of work for each try at it.
func TestAnImportedHashOfOursIsBounded(t *testing.T) {
	s := newService(t, nil)
	mine, err := s.Hash(t.Context(), "a password of anybody's")
	if err != nil {
		t.Fatal(err)
	}
	part := strings.Split(mine.PHC, "$")
	part[3] = "m=4194304,t=1000,p=1"
	if _, err := s.Read(password.Written{Hash: strings.Join(part, "$"), Pepper: mine.KeyID}); err == nil {
		t.Error("a hash of 4 GiB and a thousand passes is taken")
	}
}
