package leak_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"countersign/internal/outbox"
	passwords "countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const wrong = "a wrong password 123"

// each runs f on a fresh database of each engine.
func each(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			f(t, dbtest.NewURL(t, engine))
		})
	}
}

// courierWorks runs a node's background work until no letter waits.
func courierWorks(t *testing.T, n *servertest.Node) {
	t.Helper()
	ctx, rest := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Work(ctx); close(done) }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		depth, err := n.Core().Outbox.Depth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(depth, func(d outbox.Depth) bool { return d.Waiting > 0 }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("letters are left: %+v", depth)
		}
	}
	rest()
	<-done
}

// foreignHashes are of servertest.Password: one that is kept as it is, and one that is wrapped.
func foreignHashes(t testing.TB, n *servertest.Node) map[string]passwords.Hash {
	t.Helper()
	plain := []byte(servertest.Password)
	slow, err := bcrypt.GenerateFromPassword(plain, bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(plain)
	all := map[string]passwords.Hash{}
	for name, text := range map[string]string{"bcrypt": string(slow), "md5": "md5$$" + hex.EncodeToString(sum[:])} {
		h, err := foreign.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if h.Slow() {
			all[name], err = n.Core().Passwords.Keep(h)
		} else {
			all[name], err = n.Core().Passwords.Wrap(t.Context(), h)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// imported makes an account with such a hash.
func imported(t *testing.T, n *servertest.Node, name string, h passwords.Hash) {
	t.Helper()
	id := n.Bare(name)
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error { return n.Core().Passwords.SetHash(t.Context(), tx, id, h) })
	if err != nil {
		t.Fatal(err)
	}
}
