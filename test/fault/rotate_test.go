package fault_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit/dbtest"
)

// A rotation is killed again and again while people sign in, and so is the server: nobody is ever nobody, the
// session stands, and the rotation goes on when it is run again.
func TestKilledRotationsLeaveNothingHalfDone(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			database := ""
			if engine == sqldb.Postgres {
				database = dbtest.EmptyURL(t, engine)
			}
			s := newSite(t, database, quick...)
			turn := &turnover{site: s, t: t, people: s.seed(600)}
			turn.server = s.start()
			first := s.app()
			first.signIn(s, turn.people[0])
			old, began := turn.current(), time.Now()
			stop := turn.crowd()
			next, _, _ := strings.Cut(turn.must("keys", "add"), "\n")
			turn.kill(time.Duration(1 + below(int(2*time.Second)))) // before it began, or while it begins
			turn.begun(next)
			total := turn.left()
			kills, inside := 1, 0
			for left := total; left > 0 && inside < 2 && kills < 6; kills++ {
				turn.kill(time.Duration(below(kills * int(500*time.Millisecond))))
				if left = turn.left(); 0 < left && left < total {
					total, inside = left, inside+1
					turn.must("keys") // the key file is whole, and fits
					turn.restart()
					first.want(200, "GET", "/session", "")
				}
			}
			turn.must("keys", "rotate")
			stop()
			t.Logf("%d kills in %s, %d in the middle; %d people came to the second door meanwhile",
				kills, time.Since(began).Round(time.Second), inside, turn.served.Load())
			first.want(200, "GET", "/session", "")
			turn.everybodyIsThere()
			turn.dropped(old)
			turn.everybodyIsThere()
			turn.server.stop()
		})
	}
}

type turnover struct {
	*site

	t      *testing.T
	people []person
	server *process
	mu     sync.RWMutex // held by whoever restarts the server
	served atomic.Int64
}

// command runs the program, and kills it after a while unless that is negative.
func (o *turnover) command(kill time.Duration, args ...string) (string, error) {
	o.t.Helper()
	bin, err := built()
	if err != nil {
		o.t.Fatal(err)
	}
	c := exec.CommandContext(o.t.Context(), bin, append([]string{"--config", o.file}, args...)...)
	c.Env = o.settings()
	text := &strings.Builder{}
	c.Stdout, c.Stderr = text, text
	if err := c.Start(); err != nil {
		o.t.Fatal(err)
	}
	if kill >= 0 {
		defer time.AfterFunc(kill, func() { _ = c.Process.Kill() }).Stop()
	}
	err = c.Wait()
	return text.String(), err
}

func (o *turnover) must(args ...string) string {
	o.t.Helper()
	out, err := o.command(-1, args...)
	if err != nil {
		o.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

func (o *turnover) kill(after time.Duration) {
	o.t.Helper()
	if out, err := o.command(after, "keys", "rotate"); err != nil && strings.Contains(out, "countersign:") {
		o.t.Fatalf("it was not killed but failed: %v\n%s", err, out)
	}
}

func (o *turnover) restart() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.server.kill()
	o.server = o.start()
}

// crowd has people come to the second door all the while. A password that is right must never be refused.
func (o *turnover) crowd() (stop func()) {
	ctx, cancel := context.WithCancel(o.t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			a := o.app()
			for ctx.Err() == nil {
				o.mu.RLock()
				o.comes(a, o.people[1+below(len(o.people)-1)])
				o.mu.RUnlock()
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func (o *turnover) comes(a *app, p person) {
	name := p.email
	if below(2) == 0 {
		name = p.phone
	}
	begun, err := a.try(o.t.Context(), "POST", "/signin", jsonOf("identifier", name))
	if err != nil || begun.status != 201 {
		if err != nil || begun.status != 503 {
			o.t.Errorf("begin: %d %s %v", begun.status, begun.text, err)
		}
		return
	}
	got, err := a.try(o.t.Context(), "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
	switch {
	case err != nil:
		o.t.Errorf("password: %v", err)
	case got.Step == "second":
		o.served.Add(1)
	case got.status != 503:
		o.t.Errorf("the right password of somebody who exists: %d %s", got.status, got.text)
	}
}

func (o *turnover) current() string {
	o.t.Helper()
	for line := range strings.Lines(o.must("keys")) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "current" {
			return f[0]
		}
	}
	o.t.Fatal("no key is the current one")
	return ""
}

// everybodyIsThere looks everybody up, and finds nothing left to make anew.
func (o *turnover) everybodyIsThere() {
	o.t.Helper()
	core := o.open()
	defer func() { _ = core.Close() }()
	if left, err := core.Rotation().Unfinished(o.t.Context()); err != nil || left != 0 {
		o.t.Errorf("%d rows are left, %v", left, err)
	}
	for _, p := range o.people {
		for _, name := range []string{p.email, p.phone} {
			if err := isThere(o.t.Context(), core, name); err != nil {
				o.t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func isThere(ctx context.Context, core *server.Core, name string) error {
	return core.DB.Read(ctx, func(tx *sqldb.Tx) error {
		ident, err := core.SignIn.Parser.Parse(name)
		if err != nil {
			return err
		}
		who, err := core.Accounts.ByIdentifier(ctx, tx, ident)
		if err != nil {
			return err
		}
		_, err = core.Accounts.Addresses(ctx, tx, who.ID)
		return err
	})
}

// begun makes the key the current one, as rotate does, and only waits less for transactions: here none takes long.
func (o *turnover) begun(next string) {
	o.t.Helper()
	core := o.open()
	defer func() { _ = core.Close() }()
	ro := core.Rotation()
	ro.Settle = ro.Hear
	all, err := ro.Keys(o.t.Context())
	if err == nil && !slices.ContainsFunc(all, func(k keyring.Key) bool { return k.ID == next && k.State == keyring.Current }) {
		err = ro.Begin(o.t.Context(), next)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// left is how many rows are to be made anew.
func (o *turnover) left() int64 {
	o.t.Helper()
	core := o.open()
	defer func() { _ = core.Close() }()
	n, err := core.Rotation().Unfinished(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

// dropped drops the old key, with all that is waited for. Whoever did it was killed before the key left the key file.
func (o *turnover) dropped(old string) {
	o.t.Helper()
	if out, err := o.command(-1, "keys", "drop", old); err == nil || !strings.Contains(out, "still needed by") {
		o.t.Errorf("dropped a key that passwords need: %v\n%s", err, out)
	}
	core := o.open()
	ro := core.Rotation()
	ro.Settle = ro.Hear
	needs, err := ro.Needs(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	var lose []string
	for _, n := range needs {
		if n.Rows[old] > 0 {
			lose = append(lose, n.Table)
		}
	}
	if needed, err := ro.Drop(o.t.Context(), old, lose); err != nil || len(needed) > 0 {
		o.t.Fatalf("%v, %v", needed, err)
	}
	if err := core.Close(); err != nil {
		o.t.Fatal(err)
	}
	if !strings.Contains(o.must("keys"), old) {
		o.t.Error("the key is in the key file no more: nobody was killed")
	}
	o.must("keys", "drop", old)
	if strings.Contains(o.must("keys"), old) {
		o.t.Error("the key is still there")
	}
}
