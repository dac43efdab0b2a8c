package testkit

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net"
	"testing"
)

// FreeAddress is an address that nothing listens at, for a program that is to. It is below those that the system gives to
// whoever connects somewhere (32768 to 60999 on Linux): of these, one can be taken before the program has it.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		n, err := rand.Int(rand.Reader, big.NewInt(12000))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+n.Int64()))
		if err == nil {
			defer func() { _ = l.Close() }()
			return l.Addr().String()
		}
	}
	t.Fatal("no address is free")
	return ""
}
