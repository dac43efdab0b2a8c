package main

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/server"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		q    float64
		want float64
	}{
		{[]float64{7}, .5, 7},
		{[]float64{3, 1, 2}, .5, 2},
		{[]float64{4, 1, 2, 3}, .5, 2.5},
		{[]float64{1, 2, 3, 4, 5}, .25, 2},
		{[]float64{1, 2, 3, 4, 5}, 1, 5},
	} {
		before := slices.Clone(c.of)
		if got := quantile(c.of, c.q); got != c.want || !slices.Equal(c.of, before) {
			t.Errorf("quantile(%v, %v) = %v and leaves %v, want %v", before, c.q, got, c.of, c.want)
		}
	}
}

// A machine that halves its speed for a round changes both of its numbers and not their ratio.
func TestCompareTakesRoundForRound(t *testing.T) {
	got := compare([]float64{80, 40, 80}, []float64{100, 50, 100})
	if want := (compared{80, 100, .8, .8, .8}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTurnsGoBackAndForth(t *testing.T) {
	b := &bench{world: quietWorld(t.Context())}
	var order string
	by := func(name string, done int) contender {
		return contender{name, os.Getpid(), func(time.Duration) (outcome, error) {
			order += name
			return outcome{Done: done, Seconds: 2}, nil
		}}
	}
	got, err := b.turns(3, time.Second, []contender{by("a", 2), by("b", 8)})
	if err != nil || order != "abbaab" {
		t.Fatalf("order %q, %v", order, err)
	}
	if !slices.Equal(got[0].rates, []float64{1, 1, 1}) || !slices.Equal(got[1].rates, []float64{4, 4, 4}) {
		t.Errorf("rates %v and %v", got[0].rates, got[1].rates)
	}
}

func TestTableSaysWhatWasMissed(t *testing.T) {
	var all table
	all.rate("checks", "/s", compare([]float64{7000}, []float64{10000}), .7)
	all.rate("no target", "/s", compare([]float64{1}, []float64{100}), 0)
	all.below("memory", "MiB", 39, 40)
	if all.missed() {
		t.Fatal("nothing was missed")
	}
	all.below("memory", "MiB", 40, 40)
	all.rate("checks", "/s", compare([]float64{69}, []float64{100}), .7)
	var text strings.Builder
	if err := all.write(&text); err != nil || !all.missed() {
		t.Fatal(all.missed(), err)
	}
	var verdicts []string
	for line := range strings.Lines(text.String()) {
		field := strings.Split(line, "|")
		verdicts = append(verdicts, strings.TrimSpace(field[len(field)-2]))
	}
	if want := []string{"verdict", "---", "met", "", "met", "missed", "missed"}; !slices.Equal(verdicts, want) {
		t.Errorf("verdicts %q, want %q", verdicts, want)
	}
	all.disturbed() // takes back what was said of rates, and only that
	verdicts = nil
	for _, r := range all.rows {
		verdicts = append(verdicts, r.verdict)
	}
	if want := []string{"disturbed", "", "met", "missed", "disturbed"}; !slices.Equal(verdicts, want) {
		t.Errorf("verdicts %q, want %q", verdicts, want)
	}
}

func TestProcessorTime(t *testing.T) {
	busy, err := busyTicks("cpu  100 10 50 9999 8888 3 2 1 7 7\ncpu0 1 1 1 1\n")
	if err != nil || busy != 166 {
		t.Errorf("busy %d, %v; want 166: neither idle nor waiting, and no guest twice", busy, err)
	}
	got, err := parseProcess("42 (a ) name) S 1 77 77 0 -1 4194560 5 0 0 0 30 12 0 0 20 0 9 0 5 6 7")
	if want := (process{"77", 42}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// What fill writes is what the domain would have written: people sign in with it. And each kind of
// load does what its name says.
func TestTheLoadSignsPeopleIn(t *testing.T) {
	ctx := t.Context()
	l := &load{now: time.Now, letters: newLetters(), client: newClient()}
	mail := httptest.NewServer(l.letters)
	defer mail.Close()
	p := &place{accounts: 60, config: settingsFor(t, mail.Listener.Addr().String())}
	b := &bench{world: quietWorld(ctx), people: 12}
	people, err := b.populate(p)
	if err != nil {
		t.Fatal(err)
	}
	serveIn(t, p.config)
	l.mustDo(t, job{Kind: kindPeople, People: people})

	here := job{Addr: p.config.HTTP.Listen, Clients: 2, For: 300 * time.Millisecond}
	for _, k := range []kind{kindCheck, kindSignIn, kindDoor, kindHash} {
		j := here
		j.Kind = k
		if o := l.mustDo(t, j); o.Done == 0 || o.Seconds <= 0 {
			t.Errorf("%s: %+v", k, o)
		}
	}
	cookie := here
	cookie.Kind, cookie.Cookie = kindCheck, true
	l.mustDo(t, cookie)
	proxy := here
	proxy.Kind, proxy.Gate = kindGate, p.config.Forward.Listen
	l.mustDo(t, proxy)

	core, err := open(ctx, p.config, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = core.Close() }()
	app := here
	if app.Proof, app.People, err = applied(ctx, core); err != nil {
		t.Fatal(err)
	}
	for _, k := range []kind{kindUserInfo, kindExchange, kindSignature, kindBegin} {
		if app.Kind = k; l.mustDo(t, app).Done == 0 {
			t.Errorf("%s: nothing", k)
		}
	}
	app.Rate = 50
	if o := l.mustDo(t, app); o.Done != 15 || o.P99 <= 0 {
		t.Errorf("begin, 50 a second: %+v", o)
	}

	burst := job{Kind: kindBurst, Addr: here.Addr, Clients: 12, Wrong: 3, Again: 12}
	o := l.mustDo(t, burst)
	if o.Odd != 0 || o.Done+o.Denied+o.Told != 12 || o.Done > 9 || o.Denied > 3 {
		t.Errorf("%+v", o)
	}
}

func (l *load) mustDo(t *testing.T, j job) outcome {
	t.Helper()
	o, err := l.do(t.Context(), j)
	if err != nil {
		t.Fatalf("%s: %v", j.Kind, err)
	}
	return o
}

func quietWorld(ctx context.Context) *world {
	return &world{ctx: ctx, progress: io.Discard, now: time.Now}
}

func settingsFor(t *testing.T, letters string) config.Config {
	t.Helper()
	public, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gate, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := strings.NewReplacer("PUBLIC", public, "GATE", gate, "SITE", siteHost, "WATCH", "127.0.0.1:0", "LETTERS", letters,
		"DATABASE", "sqlite:"+filepath.Join(dir, "db"), "KEYS", filepath.Join(dir, "key")).Replace(settings)
	c, err := config.Load(config.Source{File: "here", ReadFile: func(string) ([]byte, error) { return []byte(text), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serveIn(t *testing.T, c config.Config) {
	t.Helper()
	s, err := server.New(t.Context(), c, server.Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := server.Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
