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
	t.Run("npm's smpp", func(t *testing.T) {
		t.Parallel()
		run(t, func(t *testing.T) (centre, smpp.Config) {
			n := startNode(t)
			return n, config(fmt.Sprintf("127.0.0.1:%d", n.port))
		})
	})
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

// node is the centre in test/smsc.
type node struct {
	t    *testing.T
	port int
	in   io.WriteCloser
	done chan struct{} // one command

	mu            sync.Mutex
	parts         []couriertest.Part
	unbound, told int
}

const nodeDir = "../../../test/smsc"

func startNode(t *testing.T) *node {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(nodeDir + "/node_modules/smpp")
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%v: run scripts/install-test-tools", err)
	case err != nil:
		t.Skipf("%v: scripts/install-test-tools installs it", err)
	}
	cmd := exec.Command("node", "smsc.js", couriertest.SystemID, couriertest.CentrePassword)
	cmd.Dir, cmd.Stderr = nodeDir, os.Stderr
	n := &node{t: t, done: make(chan struct{})}
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

func (n *node) hear(line []byte, listening chan struct{}) {
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

func (n *node) command(c map[string]any) {
	line, _ := json.Marshal(c)
	_, _ = n.in.Write(append(line, '\n'))
	<-n.done // and so everything that it said before was heard
}

func (n *node) Set(m couriertest.Mood) {
	n.command(map[string]any{"mood": []string{"accept", "bad", "busy", "hang", "cut"}[m]})
}

func (n *node) Parts() []couriertest.Part {
	n.command(map[string]any{})
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]couriertest.Part(nil), n.parts...)
}

func (n *node) Got() []courier.Message { return couriertest.Letters(n.Parts()) }

func (n *node) Most() (most, unbound, told int) {
	n.command(map[string]any{})
	n.mu.Lock()
	defer n.mu.Unlock()
	return 0, n.unbound, n.told
}

func (n *node) Cut() { n.command(map[string]any{"cut": true}) }

func (n *node) Receipt(text, id string, state byte) {
	n.command(map[string]any{"receipt": map[string]any{"text": text, "id": id, "state": state}})
}
