package password_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	pool "github.com/minio/argon2"
	"golang.org/x/crypto/argon2"
)

// What works in memory used before computes what the original does, after other passwords and beside them.
func TestPooledArgon2IsArgon2(t *testing.T) {
	for _, c := range []struct {
		time, memory uint32
		lanes        uint8
	}{{1, 8, 1}, {2, 64, 1}, {3, 32, 4}, {2, 1000, 3}, {2, 19 * 1024, 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			hash := pool.NewIDKey(c.time, c.memory, c.lanes)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for n := range 5 {
						password, salt := make([]byte, 32*n), make([]byte, 16)
						_, _ = rand.Read(password)
						_, _ = rand.Read(salt)
						want := argon2.IDKey(password, salt, c.time, c.memory, c.lanes, 32)
						if got := hash(password, salt, nil, nil, 32); !bytes.Equal(got, want) {
							t.Errorf("%x of %x with %x, want %x", got, password, salt, want)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
