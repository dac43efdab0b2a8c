package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/platform/config"
)

// NewLog returns the log and what must be called before the program ends. Lines are gathered and
// written at least ten times a second, so that a request costs no system call; an error is
// written at once, so that the reason of a crash is not lost with the buffer.
func NewLog(c config.Log, w io.Writer) (log *slog.Logger, done func()) {
	b := &buffered{w: bufio.NewWriterSize(w, 64<<10), stop: make(chan struct{})}
	go b.flushing()
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // validated
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(b, options)
	if c.Format == "text" {
		h = slog.NewTextHandler(b, options)
	}
	return slog.New(urgent{h, b}), b.close
}

// buffered gathers lines.
type buffered struct {
	mu   sync.Mutex
	w    *bufio.Writer
	stop chan struct{}
	once sync.Once
}

// Write keeps a line.
func (b *buffered) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Write(line)
}

func (b *buffered) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.w.Flush() // there is nowhere to say that the log cannot be written
}

func (b *buffered) flushing() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.flush()
		case <-b.stop:
			return
		}
	}
}

func (b *buffered) close() {
	b.once.Do(func() { close(b.stop) })
	b.flush()
}

// urgent flushes after an error.
type urgent struct {
	slog.Handler

	b *buffered
}

// Handle writes a record.
func (u urgent) Handle(ctx context.Context, r slog.Record) error {
	err := u.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelError {
		u.b.flush()
	}
	return err
}

// WithAttrs keeps the flushing.
func (u urgent) WithAttrs(attrs []slog.Attr) slog.Handler {
	return urgent{u.Handler.WithAttrs(attrs), u.b}
}

// WithGroup keeps the flushing.
func (u urgent) WithGroup(name string) slog.Handler { return urgent{u.Handler.WithGroup(name), u.b} }

// quiet takes what net/http has to say of broken connections. Its words hold the client's
// address, so only the fact is kept.
type quiet struct{ slog.Handler }

// Handle writes that something happened.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, slog.LevelDebug, "connection dropped", r.PC))
}
