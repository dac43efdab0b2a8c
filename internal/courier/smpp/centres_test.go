package smpp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/smpp"
	"countersign/internal/platform/secret"
)

// centre is the other end of the wire: ours, or one that knows nothing of our code or its libraries.
type centre interface {
	Set(m couriertest.Mood)
	Got() []courier.Message
	Parts() []couriertest.Part
	Most() (most, unbound, told int)
	Cut()
	Receipt(text, id string, state byte)
}

// centres runs a test against each kind of centre.
func centres(t *testing.T, run func(t *testing.T, open func(t *testing.T) (centre, smpp.Config))) {
	t.Helper()
	config := func(address string) smpp.Config {
		return smpp.Config{Address: address, SystemID: couriertest.SystemID, Password: secret.Of(couriertest.CentrePassword), Now: time.Now}
	}
	ours := func(secure bool) func(t *testing.T) (centre, smpp.Config) {
		return func(t *testing.T) (centre, smpp.Config) {
			c := &couriertest.Centre{}
			c.Serve(t, secure)
			conf := config(c.Address)
			conf.TLS, conf.Roots = secure, c.Roots
			return c, conf
		}
	}
	t.Parallel() // most of the time is pauses
	t.Run("ours", func(t *testing.T) { t.Parallel(); run(t, ours(false)) })
	t.Run("ours with TLS", func(t *testing.T) { t.Parallel(); run(t, ours(true)) })
	for name, start := range map[string]func(t *testing.T) *foreign{"npm's smpp": npms, "Perl's Net::SMPP": perls} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, func(t *testing.T) (centre, smpp.Config) {
				n := start(t)
				return n, config(fmt.Sprintf("127.0.0.1:%d", n.port))
			})
		})
	}
}

func open(t *testing.T, c smpp.Config) *smpp.Provider {
	t.Helper()
	p, err := smpp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// foreign is a centre in test/smsc.
type foreign struct {
	t    *testing.T
	port int
	in   io.WriteCloser
	done chan struct{} // one command

	mu            sync.Mutex
	parts         []couriertest.Part
	unbound, told int
}

const foreignDir = "../../../test/smsc"

func npms(t *testing.T) *foreign {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(foreignDir + "/node_modules/smpp")
	}
	need(t, err)
	return start(t, "node", "smsc.js")
}

func perls(t *testing.T) *foreign {
	t.Helper()
	need(t, exec.CommandContext(t.Context(), "perl", "-MNet::SMPP", "-e1").Run())
	return start(t, "perl", "smsc.pl")
}

// need skips a test for which something is missing.
func need(t *testing.T, err error) {
	t.Helper()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%v: run scripts/install-test-tools", err)
	case err != nil:
		t.Skipf("%v: scripts/install-test-tools installs it", err)
	}
}

func start(t *testing.T, program, script string) *foreign {
	t.Helper()
	cmd := exec.Command(program, script, couriertest.SystemID, couriertest.CentrePassword)
	cmd.Dir, cmd.Stderr = foreignDir, os.Stderr
	n := &foreign{t: t, done: make(chan struct{})}
	var err error
	n.in, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n.hear(lines.Bytes(), listening)
		}
	}()
	t.Cleanup(func() { _ = n.in.Close(); <-over; _ = cmd.Wait() })
	select {
	case <-listening:
	case <-over:
		t.Fatal("the centre did not start")
	}
	return n
}

func (n *foreign) hear(line []byte, listening chan struct{}) {
	var told struct {
		Port, Unbound, Told, Done int
		Part                      *couriertest.Part
	}
	if err := json.Unmarshal(line, &told); err != nil {
		n.t.Errorf("%s: %v", line, err)
	}
	n.mu.Lock()
	n.unbound += told.Unbound
	n.told += told.Told
	if told.Part != nil {
		n.parts = append(n.parts, *told.Part)
	}
	n.mu.Unlock()
	if told.Port != 0 {
		n.port = told.Port
		close(listening)
	}
	if told.Done != 0 {
		n.done <- struct{}{}
	}
}

func (n *foreign) command(c map[string]any) {
	line, _ := json.Marshal(c)
	_, _ = n.in.Write(append(line, '\n'))
	<-n.done // and so everything that it said before was heard
}

func (n *foreign) Set(m couriertest.Mood) {
	n.command(map[string]any{"mood": []string{"accept", "bad", "busy", "hang", "cut"}[m]})
}

func (n *foreign) Parts() []couriertest.Part {
	n.command(map[string]any{})
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]couriertest.Part(nil), n.parts...)
}

func (n *foreign) Got() []courier.Message { return couriertest.Letters(n.Parts()) }

func (n *foreign) Most() (most, unbound, told int) {
	n.command(map[string]any{})
	n.mu.Lock()
	defer n.mu.Unlock()
	return 0, n.unbound, n.told
}

func (n *foreign) Cut() { n.command(map[string]any{"cut": true}) }

func (n *foreign) Receipt(text, id string, state byte) {
	n.command(map[string]any{"receipt": map[string]any{"text": text, "id": id, "state": state}})
}
