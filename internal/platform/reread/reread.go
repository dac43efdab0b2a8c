// Package reread keeps what a file says in memory, and reads it anew when an operator has put another in its place.
package reread

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
)

// File is a file's newest good state. Path and Parse are required. A nil File says nothing.
type File[T any] struct {
	Path  string
	Parse func(text []byte) (T, error)

	current atomic.Pointer[T]
	seen    fs.FileInfo // of what was last read, good or bad; Load alone touches it, and failed
	failed  bool        // it could not be read, and that was said
}

// Get is what the file said when it was last good; the zero T before that.
func (f *File[T]) Get() (v T) {
	if f != nil {
		if p := f.current.Load(); p != nil {
			return *p
		}
	}
	return v
}

var errUnsettled = errors.New("somebody is writing it")

// Load reads the file if it has changed; fresh says that it did and that the file is good. One that is missing or damaged leaves in use what was read before, and its
// error is told once. Only one Load may run at a time.
func (f *File[T]) Load() (fresh bool, err error) {
	if f == nil {
		return false, nil
	}
	before, text, err := f.read()
	switch {
	case errors.Is(err, errUnsettled) && f.current.Load() != nil:
		return false, nil // next time
	case errors.Is(err, errUnsettled):
		return false, err
	case err != nil:
		told := f.failed
		f.failed, f.seen = true, nil
		if told {
			return false, nil
		}
		return false, err
	}
	f.failed = false
	if text == nil {
		return false, nil
	}
	f.seen = before
	v, err := f.Parse(text)
	if err != nil {
		return false, err
	}
	f.current.Store(&v)
	return true, nil
}

// read returns no text for a file that was seen before. It reads the whole file: with one that is mapped into memory, whoever copies a new one
// over it in place ends the process.
func (f *File[T]) read() (before fs.FileInfo, text []byte, err error) {
	if before, err = os.Stat(f.Path); err != nil || f.seen != nil && same(f.seen, before) {
		return before, nil, err
	}
	if text, err = os.ReadFile(f.Path); err != nil {
		return nil, nil, err
	}
	if after, err := os.Stat(f.Path); err != nil || !same(before, after) {
		return nil, nil, errUnsettled
	}
	return before, text, nil
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
