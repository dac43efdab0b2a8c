package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
)

// output gathers what a command prints while it runs.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// shell is an operator in an empty directory.
type shell struct {
	t       *testing.T
	environ []string
	stdin   string
}

func newShell(t *testing.T) *shell {
	t.Chdir(t.TempDir())
	return &shell{t: t, environ: []string{
		"COUNTERSIGN_HTTP_LISTEN=127.0.0.1:0", "COUNTERSIGN_METRICS_LISTEN=",
	}}
}

func (s *shell) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs output
	code = s.start(s.t.Context(), &out, &errs, args...)
	return code, out.String(), errs.String()
}

func (s *shell) start(ctx context.Context, out, errs io.Writer, args ...string) int {
	return run(ctx, world{
		args: args, environ: s.environ, getenv: func(string) string { return "" },
		stdin: strings.NewReader(s.stdin), stdout: out, stderr: errs, now: time.Now,
	})
}

// ok runs a command that must succeed.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	code, out, errs := s.run(args...)
	if code != 0 {
		s.t.Fatalf("%v: exit %d: %s", args, code, errs)
	}
	return out
}

// fails runs a command that must exit with code and say words, in one line and without a secret.
func (s *shell) fails(code int, words string, args ...string) {
	s.t.Helper()
	got, _, errs := s.run(args...)
	first, rest, _ := strings.Cut(errs, "\n")
	if got != code || !strings.Contains(first, words) || rest != "" && code != exitUsage || strings.Contains(errs, "hunter2") {
		s.t.Errorf("%v: exit %d, stderr:\n%s\nwant exit %d and %q in one line (settings: a line a problem)", args, got, errs, code, words)
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	s := newShell(t)
	s.fails(exitUsage, "see countersign --help", "sevre")
	s.fails(exitUsage, "see countersign serve --help", "serve", "--prot", "1")
	s.fails(exitUsage, "missing flags: --name=STRING; see countersign oidc add --help", "oidc", "add", "shop")
	s.fails(exitUsage, "see countersign oidc --help", "oidc", "ad")
	s.fails(exitUsage, "cannot read the configuration file nowhere.toml: no such file", "--config", "nowhere.toml", "serve")
	s.fails(exitUsage, "site.public_url: want https", "serve", "--public-url", "http://id.example.org")
	s.fails(exitUsage, "database.url: want sqlite:PATH or postgres://", "serve", "--database", "mysql://u:hunter2@h/d")
	s.fails(exitFailed, "does not exist: make it", "serve", "--database", "sqlite:/nowhere/at/all.db")
	s.fails(exitFailed, "database", "serve", "--database", "postgres://u:hunter2@127.0.0.1:1/d")
	s.fails(exitUsage, "--password-stdin", "account", "create", "ada@example.org")
	s.ok("migrate")
	s.fails(exitFailed, "account_unknown: There is no such account", "account", "show", "nobody@example.org")
	s.fails(exitFailed, "identifier 1 is no e-mail address", "account", "create", "--no-password", "a b c")
	s.fails(exitUsage, "--yes", "account", "close", "ada@example.org")
	s.environ = append(s.environ, "COUNTERSIGN_SITE_PUBLIC_URL=http://[::1]:8080") // valid, and no name for a text message to bind to
	s.fails(exitUsage, "site.public_url: host", "config", "check")
	s.environ = s.environ[:len(s.environ)-1]
	if err := os.Remove("countersign.key"); err != nil {
		t.Fatal(err)
	}
	s.fails(exitMisfit, "countersign.key", "serve")
	s.environ = append(s.environ, "COUNTERSIGN_SIET_NAME=x")
	s.fails(exitUsage, "COUNTERSIGN_SIET_NAME: there is no such setting", "config", "check")
}

// Run in the wrong folder, a command leaves nothing there.
func TestOnlyWhatBeginsMakesADatabase(t *testing.T) {
	s := newShell(t)
	for _, command := range []string{
		"account show ada@example.org", "account lock ada@example.org", "account unlock ada@example.org", "account close ada@example.org --yes",
		"account erase ada@example.org --yes", "account export all.jsonl", "account hashes",
		"client", "client set ios", "client clear ios", "client usage", "api", "api retire v1 --now", "api unretire v1",
		"invite create", "invite list", "invite revoke x", "courier", "courier dead list", "courier dead retry x", "courier dead drop x", "courier pause sms --why x", "courier resume sms", "courier drain",
		"keys", "keys rotate", "keys drop kaaaaaaa", "audit verify",
	} {
		s.fails(exitFailed, "countersign.db: go to its folder", strings.Fields(command)...)
	}
	s.fails(exitFailed, "countersign.db", "backup", "copy.db")
	if files, _ := filepath.Glob("*"); len(files) != 0 {
		t.Errorf("they wrote %v", files)
	}
	s.ok("account", "create", "ada@example.org", "--no-password")
	s.ok("account", "show", "ada@example.org")
}

func TestPendingMigrationsAreRefusedAndApplied(t *testing.T) {
	s := newShell(t)
	if out := s.ok("migrate", "--dry-run"); strings.HasPrefix(out, "0 ") {
		t.Error(out)
	}
	if files, _ := filepath.Glob("*"); len(files) != 0 {
		t.Errorf("a dry run wrote %v", files)
	}
	s.environ = append(s.environ, "COUNTERSIGN_DATABASE_MIGRATE_AT_START=false")
	s.fails(exitMisfit, "run countersign migrate", "serve")
	if out := s.ok("migrate", "--dry-run"); strings.HasPrefix(out, "0 ") {
		t.Error(out)
	}
	s.ok("migrate")
	if out := s.ok("migrate", "--dry-run"); !strings.HasPrefix(out, "0 ") {
		t.Error(out)
	}
}

func TestAnOperatorKeepsAccounts(t *testing.T) {
	s := newShell(t)
	s.stdin = "violet harbour engine 7\nsecond line"
	id := strings.TrimSpace(s.ok("account", "create", "ada@example.org", "+4915123456789", "--password-stdin"))
	s.fails(exitFailed, "identifier_taken", "account", "create", "ada@example.org", "--no-password")
	s.stdin = "short"
	s.fails(exitFailed, "password_too_short", "account", "create", "bob@example.org", "--password-stdin")
	s.fails(exitFailed, "account_unknown", "account", "show", "bob@example.org")

	hidden, shown := s.ok("account", "show", "ada@example.org"), s.ok("account", "show", id, "--reveal")
	if strings.Contains(hidden, "ada@example.org") || strings.Contains(hidden, "4915123456789") || !strings.Contains(hidden, id) || strings.Count(hidden, "[hidden]") != 2 {
		t.Errorf("shown without --reveal:\n%s", hidden)
	}
	if !strings.Contains(shown, "ada@example.org") || !strings.Contains(shown, "+4915123456789") {
		t.Errorf("shown with --reveal:\n%s", shown)
	}
	if out := s.ok("account", "lock", "ada@example.org"); !strings.Contains(out, id+" is locked: its sessions are ended") {
		t.Error(out)
	}
	if out := s.ok("account", "show", id); !strings.Contains(out, "locked") {
		t.Error(out)
	}
	if out := s.ok("account", "unlock", id); !strings.Contains(out, id+" is unlocked: its holder can sign in") {
		t.Error(out)
	}
	if out := s.ok("account", "close", id, "--yes"); !strings.Contains(out, id+" is closed for good: its sessions are ended") {
		t.Error(out)
	}
	s.fails(exitFailed, "account_closed", "account", "unlock", id)
}

// P12: an operator sees that a record was changed.
func TestAChangedRecordShows(t *testing.T) {
	s := newShell(t)
	s.ok("account", "create", "ada@example.org", "--no-password")
	if out := s.ok("audit", "verify"); !strings.Contains(out, "1 events, 0 changed") {
		t.Error(out)
	}
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:countersign.db", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE audit_event SET actor = 'person'")
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := s.run("audit", "verify"); code != exitFinding || !strings.Contains(out, "1 events, 1 changed") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestDeadLettersAreListedSentAgainAndDeleted(t *testing.T) {
	s := newShell(t)
	s.ok("migrate")
	if out := s.ok("courier", "dead"); strings.Count(out, "\n") != 1 {
		t.Errorf("of no letters: %s", out)
	}
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:countersign.db", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), `
			INSERT INTO outbox_letter (id, kind, channel, sealed, state, attempts, next_at, expires_at, created_at, done_at, last_error)
			VALUES ('letter-1', 'new_device', 'email', 'x', 'dead', 24, 0, $1, 0, 0, 'smtp_550')`, time.Now().Add(time.Hour).UnixMilli())
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if out := s.ok("courier", "dead"); !strings.Contains(out, "letter-1") || !strings.Contains(out, "smtp_550") {
		t.Error(out)
	}
	if out := s.ok("courier"); !strings.Contains(out, "email") || !strings.Contains(out, "leaving") {
		t.Error(out)
	}
	if out := s.ok("courier", "dead", "retry", "letter-1"); !strings.Contains(out, "letter letter-1 is due again") {
		t.Error(out)
	}
	s.fails(exitFailed, "no dead letter", "courier", "dead", "retry", "letter-1")
	s.fails(exitFailed, "no dead letter", "courier", "dead", "drop", "letter-1")
	s.fails(exitUsage, "name one letter", "courier", "dead", "drop")
	s.fails(exitUsage, "name one letter", "courier", "dead", "drop", "letter-1", "--all")
	s.fails(exitFailed, "not all has left (1 letters) after 20ms", "courier", "drain", "--within", "20ms")
	if out := s.ok("courier", "pause", "email", "--why", "the relay is full"); !strings.Contains(out, "nothing leaves any more") {
		t.Error(out)
	}
	var all []outbox.Status
	if err := json.Unmarshal([]byte(s.ok("courier", "status", "--json")), &all); err != nil || len(all) != 1 || all[0].Waiting != 1 || all[0].PausedWhy != "the relay is full" {
		t.Errorf("%+v, %v", all, err)
	}
	s.fails(exitFailed, "email is paused", "courier", "drain")
	if out := s.ok("courier", "resume", "email"); !strings.Contains(out, "leave again") {
		t.Error(out)
	}
	s.fails(exitFailed, "email is not paused", "courier", "resume", "email")
	if out := s.ok("courier", "dead", "drop", "--all"); !strings.Contains(out, "dead letters deleted: 0") {
		t.Error(out)
	}
}

func TestARevokedInvitationIsSaidToOpenNothing(t *testing.T) {
	s := newShell(t)
	s.ok("migrate")
	_, _, made := s.run("invite", "create")
	id := strings.TrimSuffix(strings.Fields(made)[1], ",")
	if out := s.ok("invite", "revoke", id); !strings.Contains(out, "invitation "+id+" is revoked: it opens no account any more") {
		t.Error(out)
	}
	s.fails(exitFailed, "no invitation by that id", "invite", "revoke", id)
}

func TestTheDoctorChangesNothing(t *testing.T) {
	s := newShell(t)
	var all []server.Finding
	if err := json.Unmarshal([]byte(s.ok("doctor", "--json")), &all); err != nil || len(all) < 6 {
		t.Fatalf("%v %v", all, err)
	}
	if files, _ := filepath.Glob("*"); len(files) != 0 {
		t.Errorf("it wrote %v", files)
	}
	s.ok("migrate")
	if err := os.Chmod("countersign.key", 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, _ := s.run("doctor")
	if code != exitFinding || !strings.Contains(out, "chmod 600") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if err := os.WriteFile("countersign.key", []byte(keyring.Generate()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("countersign.key", 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := s.run("doctor"); code != exitFinding || !strings.Contains(out, "does not fit the database") {
		t.Errorf("with another key: exit %d:\n%s", code, out)
	}
}

func TestEveryCommandHelps(t *testing.T) {
	s := newShell(t)
	for _, command := range []string{"serve", "demo", "migrate", "doctor", "account create", "account show", "courier dead list", "audit verify", "pages"} {
		if out := s.ok(append(strings.Fields(command), "--help")...); !strings.Contains(out, "  countersign "+command) {
			t.Errorf("%s --help has no example:\n%s", command, out)
		}
	}
	if out := s.ok("version"); !strings.HasPrefix(out, "countersign ") {
		t.Error(out)
	}
	if out := s.ok("config", "print"); !strings.Contains(out, "[site]") || !strings.Contains(out, `url = "[secret]"`) {
		t.Error(out)
	}
}

// The demonstration: ready, nobody configured anything, and nothing is left of it.
func TestTheDemoRunsAndIsGone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := newShell(t)
	client := &http.Client{Timeout: 10 * time.Second}
	ctx, stop := context.WithCancel(t.Context())
	var out, errs output
	done := make(chan int)
	go func() { done <- s.start(ctx, &out, &errs, "demo", "--port", "18400") }()
	url := ""
	for range 500 {
		if _, rest, ok := strings.Cut(out.String(), "ready: "); ok {
			url = strings.Fields(rest)[0]
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, path := range []string{"/signin", "/demo", "/demo/inbox", "/healthz", "/api/v1/openapi.json"} {
		res, err := client.Get(url + path)
		if err != nil {
			t.Fatalf("%v; stderr: %s", err, errs.String())
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res, err := client.Get(url + "/metrics"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("metrics on the public listener: %v %v", res, err)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "countersign-demo-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
