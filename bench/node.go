package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// node is the served binary.
type node struct {
	cmd   *exec.Cmd
	addr  string
	log   *os.File
	ready time.Duration // from exec until it said that it was
}

// start runs the binary and waits until it tells the service manager, which we play, that it is ready.
func (b *bench) start(p *place) (n *node, err error) {
	dir, err := os.MkdirTemp(b.temp, "node")
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer func() { _ = socket.Close() }()
	n = &node{addr: p.config.HTTP.Listen}
	if n.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	n.cmd = exec.CommandContext(b.ctx, b.Binary, "serve", "--config", p.settings)
	n.cmd.Env = []string{"NOTIFY_SOCKET=" + socket.LocalAddr().String()}
	for _, pair := range os.Environ() {
		if strings.HasPrefix(pair, "GO") { // GOGC, GODEBUG: to try what they would do
			n.cmd.Env = append(n.cmd.Env, pair)
		}
	}
	n.cmd.Stderr = n.log
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) }
	began := b.now()
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	if err := socket.SetReadDeadline(began.Add(30 * time.Second)); err != nil {
		return nil, err
	}
	said := make([]byte, 64)
	k, err := socket.Read(said)
	n.ready = b.now().Sub(began)
	if err != nil || string(said[:k]) != "READY=1" {
		return nil, errors.Join(fmt.Errorf("the server does not become ready: %q %w; its log: %s", said[:k], err, n.lastWords()), n.stop())
	}
	return n, nil
}

func (n *node) lastWords() string {
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-1000):]))
}

// stop ends it as a service manager does, and throws its log away.
func (n *node) stop() error {
	err := n.cmd.Process.Signal(syscall.SIGTERM)
	if wait := n.cmd.Wait(); err == nil {
		err = wait
	}
	return errors.Join(err, n.log.Close(), os.Remove(n.log.Name()))
}

// memory reads a line such as VmHWM (the most it ever had) or VmRSS (what it has), in MiB.
func (n *node) memory(line string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no " + line + " in the process's status")
}

// processor returns the processor time that a process has had, which neighbours disturb less than
// they disturb the clock on the wall.
func processor(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	p, err := parseProcess(string(text))
	return time.Duration(p.ticks) * tick, err
}

func (b *bench) build() error {
	if b.Binary != "" {
		return nil
	}
	b.Binary = filepath.Join(b.temp, "countersign")
	return b.command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.Binary, "./cmd/countersign")
}

func (b *bench) command(name string, args ...string) error {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
