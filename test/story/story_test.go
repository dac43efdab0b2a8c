// Package story_test plays what an operator does at the command line, end to end, with the real
// binary: each *.txtar is one story.
package story_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestStories(t *testing.T) {
	bin := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", filepath.Join(bin, "countersign"), "countersign/cmd/countersign").CombinedOutput()
	if err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[postKey{}] = &post{}
			env.Values[heardKey{}] = &heard{types: map[string]int{}}
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			for _, name := range []string{"LISTEN", "WATCH", "OTHER"} {
				address, err := free()
				if err != nil {
					return err
				}
				env.Setenv(name, address)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"replay": replay, "mailboxes": mailboxes, "letters": letters, "delivered": delivered,
			"code": code, "answers": answers, "calls": calls, "mode": mode, "settings": settings, "same": same,
			"receiver": receiver, "webhook": webhook, "received": received,
		},
	})
}

// free is an address that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// code runs the program and demands its exit code: "code 2 countersign …". stdout and stderr are
// then what it said.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// answers waits until a URL answers with a status: "answers URL STATUS [WORDS]".
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: answers URL STATUS [WORDS]")
	}
	await(ts, args[0], "-", args[1], strings.Join(args[2:], " "))
}

// calls is answers for an application that names itself, or with "-" does not: "calls URL NAME/VERSION STATUS [WORDS]".
func calls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: calls URL NAME/VERSION STATUS [WORDS]")
	}
	await(ts, args[0], args[1], args[2], strings.Join(args[3:], " "))
}

func await(ts *testscript.TestScript, url, app, status, words string) {
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		ts.Check(err)
		if app != "-" {
			r.Header.Set("Countersign-Client", app)
		}
		res, err := client.Do(r)
		if err != nil {
			last = err.Error()
			continue
		}
		text := &strings.Builder{}
		_ = res.Write(text)
		_ = res.Body.Close()
		last = text.String()
		if fmt.Sprint(res.StatusCode) == status && strings.Contains(last, words) {
			return
		}
	}
	ts.Fatalf("%s does not answer %s with %s %s:\n%s", url, app, status, words, last)
}

// mode demands a file's permissions: "mode 600 FILE".
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode MODE FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// settings writes a file of settings for $LISTEN: "settings FILE".
func settings(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: settings FILE")
	}
	text := fmt.Sprintf(`[site]
name = "Example"
public_url = "http://%s"
[http]
listen = %[1]q
[metrics]
listen = %[2]q
`, ts.Getenv("LISTEN"), ts.Getenv("WATCH"))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// same demands that two files have the same bytes: cmp would print them, and databases are not for reading.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same FILE FILE")
	}
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if (string(a) == string(b)) == neg {
		ts.Fatalf("%s and %s: the same is %t", args[0], args[1], neg)
	}
}
