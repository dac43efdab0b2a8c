package fault

import (
	"errors"
	"log/slog"
)

// noted is an error with a note.
type noted struct {
	error

	note []slog.Attr
}

// Unwrap returns the error without its note.
func (n *noted) Unwrap() error { return n.error }

// Noted adds to a refusal what the log says of it beside its code: for operators alone, so that no answer has anything of it. A note is in our own words, and never
// what was sent.
func Noted(err error, note ...slog.Attr) error { return &noted{err, note} }

// NoteOf is the note of an error; nil for none.
func NoteOf(err error) []slog.Attr {
	if n, ok := errors.AsType[*noted](err); ok {
		return n.note
	}
	return nil
}
