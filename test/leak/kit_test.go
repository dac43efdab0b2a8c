package leak_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/outbox"
	"countersign/internal/passkey"
	passwords "countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
	apps "countersign/internal/totp"
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

// withApp enrols an app and a list of backup codes.
func withApp(t *testing.T, n *servertest.Node, id account.ID) {
	t.Helper()
	own := n.Core().Own
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		e, err := own.Authenticators.Begin(t.Context(), tx, id, apps.Label{Issuer: "Example", Account: "Example"})
		if err != nil {
			return err
		}
		shown, err := totp.GenerateCode(strings.ReplaceAll(e.Key.Reveal(), " ", ""), n.Clock.Now())
		if err != nil {
			return err
		}
		if ok, err := own.Authenticators.Confirm(t.Context(), tx, id, apps.Confirmation{ID: e.ID, Code: secret.Of(shown), Name: "My phone"}); err != nil || !ok {
			return fmt.Errorf("the app was not enrolled: %w", err)
		}
		_, err = own.BackupCodes.Reissue(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// withPasskey gives an account a passkey.
func withPasskey(t *testing.T, n *servertest.Node, id account.ID) {
	t.Helper()
	own := n.Core().Own.Passkeys
	key := testkit.NewPasskey(t, own.RPID, own.Origins[0], virtualwebauthn.KeyTypeEC2)
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		begun, _, err := own.BeginEnrol(t.Context(), tx, passkey.Enrol{Bound: "test", Account: id})
		if err != nil {
			return err
		}
		_, refused, err := own.FinishEnrol(t.Context(), tx, passkey.Answer{Bound: "test", State: begun.State, Response: key.Create(begun.Options)}, "Phone")
		if err == nil && refused != "" {
			err = fmt.Errorf("the passkey was not enrolled: %s", refused)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// atHome signs an account in on a device that is remembered, which could let another in.
func atHome(t *testing.T, n *servertest.Node, id account.ID) {
	t.Helper()
	key := testkit.NewKey(t)
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		kept, err := n.Core().Devices.Remember(t.Context(), tx, id, device.Enrolment{PublicKey: key.Public(), Name: "Desk"}, nil)
		if err != nil {
			return err
		}
		_, err = n.Core().Sessions.Start(t.Context(), tx, session.New{Account: id, Device: kept.ID, Name: "Desk"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// chosen has an account's holder choose what is offered first, and be asked at every sign-in.
func chosen(t *testing.T, n *servertest.Node, id account.ID) {
	t.Helper()
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		return n.Core().Choices.Choose(t.Context(), tx, id, factor.Choice{Holder: factor.Always, Order: []factor.Way{factor.Email, factor.SMS}})
	})
	if err != nil {
		t.Fatal(err)
	}
}
