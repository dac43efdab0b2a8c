package totp_test

import (
	"context"
	"encoding/base32"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/totp"
)

// desk is where authenticators are added and their codes typed.
type desk struct {
	*totp.Service

	t     *testing.T
	m     *testkit.Machine
	db    *sqldb.DB
	clock *dbtest.Clock
	ada   account.ID
}

func each(t *testing.T, f func(t *testing.T, d desk)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		clock.Advance(time.Unix(1_800_000_000, 0).Sub(clock.Now())) // the beginning of a step
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		f(t, desk{m.Authenticators, t, m, db, clock, m.Bare("ada@example.org")})
	})
}

// write runs f in a transaction, which f must not undo.
func (d desk) write(f func(ctx context.Context, tx *sqldb.Tx) error) {
	d.t.Helper()
	if err := d.db.Write(d.t.Context(), func(tx *sqldb.Tx) error { return f(d.t.Context(), tx) }); err != nil {
		d.t.Error(err)
	}
}

// refused is the code of the fault that f ends in.
func (d desk) refused(f func(ctx context.Context, tx *sqldb.Tx) error) string {
	d.t.Helper()
	err := d.db.Write(d.t.Context(), func(tx *sqldb.Tx) error { return f(d.t.Context(), tx) })
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

// app is somebody's app, or a token, with a clock of its own.
type app struct {
	id    totp.ID
	raw   []byte
	shape totp.Shape
	d     desk
	ahead int64 // steps
}

func (a app) step() int64 { return a.d.db.Now().Unix()/int64(a.shape.Period) + a.ahead }

// shows is what it shows now, or some steps later or earlier.
func (a app) shows(later int64) string { return totp.Code(a.shape, a.raw, a.step()+later) }

// beyond is what it shows more than ten minutes later, and not within them by chance.
func (a app) beyond() string {
	within := map[string]bool{}
	for later := range int64(41) {
		within[a.shows(later-20)] = true
	}
	later := int64(21)
	for within[a.shows(later)] {
		later++
	}
	return a.shows(later)
}

// press is what a token shows for a counter.
func (a app) press(counter int64) string { return totp.Code(a.shape, a.raw, counter) }

func (d desk) begin(who account.ID, shape totp.Shape) (a app, e totp.Enrolment) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		e, err = d.Begin(ctx, tx, who, totp.Label{Issuer: "Example: Site", Account: "ada@example.org", Shape: shape})
		return err
	})
	u, err := url.Parse(e.URL.Reveal())
	if err != nil {
		d.t.Fatal(err)
	}
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	if err != nil {
		d.t.Fatal(err)
	}
	if shape == (totp.Shape{}) {
		shape = totp.Default()
	}
	return app{e.ID, raw, shape, d, 0}, e
}

func (d desk) confirm(who account.ID, a app, code, name string) (ok bool) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		ok, err = d.Confirm(ctx, tx, who, totp.Confirmation{ID: a.id, Code: secret.Of(code), Name: name})
		return err
	})
	return ok
}

// app adds an app to Ada's account, and waits until its first code is over.
func (d desk) app() app {
	d.t.Helper()
	a, _ := d.begin(d.ada, totp.Shape{})
	if !d.confirm(d.ada, a, a.shows(0), "Phone") {
		d.t.Fatal("the first code does not confirm")
	}
	d.clock.Advance(5 * time.Minute)
	return a
}

func (d desk) verify(who account.ID, code string) (v totp.Verdict) {
	d.t.Helper()
	_, v = d.verifyID(who, code)
	return v
}

func (d desk) verifyID(who account.ID, code string) (id totp.ID, v totp.Verdict) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		id, v, err = d.Verify(ctx, tx, who, secret.Of(code))
		return err
	})
	return id, v
}

func (d desk) resync(who account.ID, first, second string) (v totp.Verdict) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		_, v, err = d.Resync(ctx, tx, who, secret.Of(first), secret.Of(second))
		return err
	})
	return v
}

func (d desk) list(who account.ID) (all []totp.Authenticator) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		all, err = d.List(ctx, tx, who)
		return err
	})
	return all
}

// bring imports a file that is well made.
func (d desk) bring(format totp.Format, file string, o totp.Import) (sum totp.Summary, refused []totp.Refused, err error) {
	d.t.Helper()
	o.Format = format
	o.Refused = func(r totp.Refused) error {
		refused = append(refused, r)
		return nil
	}
	sum, err = d.Import(d.t.Context(), strings.NewReader(file), o)
	return sum, refused, err
}

// token imports one and gives it to Ada.
func (d desk) token(shape totp.Shape, serial string, raw string) app {
	d.t.Helper()
	line := strings.Join([]string{serial, base32.StdEncoding.EncodeToString([]byte(raw)), string(shape.Kind), string('0' + rune(shape.Digits)), string(shape.Algorithm)}, ",")
	sum, _, err := d.bring(totp.CSV, "serial,secret,kind,digits,algorithm\n"+line+"\n", totp.Import{})
	if err != nil || sum.Imported != 1 {
		d.t.Fatalf("%+v, %v", sum, err)
	}
	d.write(func(ctx context.Context, tx *sqldb.Tx) error { return d.Assign(ctx, tx, serial, d.ada) })
	a := app{raw: []byte(raw), shape: shape, d: d}
	for _, one := range d.list(d.ada) {
		if one.Serial == serial {
			a.id = one.ID
		}
	}
	return a
}

// tool is a program that tests compare ours with: in CI it must be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and in CI it must be: scripts/install-test-tools", name)
	}
	if err != nil {
		t.Skipf("%s is not installed: scripts/install-test-tools", name)
	}
	return path
}
