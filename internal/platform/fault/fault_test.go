package fault_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"countersign/internal/platform/fault"
)

func TestOfFindsTheClassUnderAnyWrapping(t *testing.T) {
	f := fault.New(fault.Conflict, "identifier_taken", io.EOF)
	for _, err := range []error{f, fmt.Errorf("create account: %w", f), errors.Join(errors.New("and"), fmt.Errorf("x: %w", f))} {
		if got := fault.Of(err); got.Kind != fault.Conflict || got.Code != "identifier_taken" {
			t.Errorf("Of(%v) = %v %q", err, got.Kind, got.Code)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%v lost its cause", err)
		}
	}
}

// What nobody classified must never be taken for the caller's fault.
func TestAnUnclassifiedErrorIsInternal(t *testing.T) {
	cause := errors.New("disk on fire")
	got := fault.Of(fmt.Errorf("read: %w", cause))
	if got.Kind != fault.Internal || got.Code != "internal" || !errors.Is(got, cause) {
		t.Errorf("Of = %+v", got)
	}
	if (&fault.Error{}).Kind != fault.Internal {
		t.Error("the zero kind is not Internal")
	}
}

func TestTheOuterClassWins(t *testing.T) {
	inner := fault.Later(fault.Unavailable, "database_unavailable", time.Second, io.EOF)
	outer := fault.New(fault.Unauthenticated, "session_ended", inner)
	if got := fault.Of(outer); got.Code != "session_ended" || got.RetryAfter != 0 {
		t.Errorf("Of = %+v", got)
	}
}

func TestTheTextIsCodeThenCause(t *testing.T) {
	if got := fault.New(fault.Gone, "flow_ended", nil).Error(); got != "flow_ended" {
		t.Error(got)
	}
	if got := fault.New(fault.Gone, "flow_ended", io.EOF).Error(); got != "flow_ended: EOF" {
		t.Error(got)
	}
}

// A note is found by the log, and changes neither what the error is nor what it says.
func TestANoteIsBesideTheError(t *testing.T) {
	inner := fault.New(fault.Unauthenticated, "client_unproved", io.EOF)
	err := fmt.Errorf("call: %w", fault.Noted(inner, slog.String("why", "no jti")))
	if f := fault.Of(err); f.Code != "client_unproved" || !errors.Is(err, io.EOF) || err.Error() != "call: "+inner.Error() {
		t.Errorf("%v: %+v", err, f)
	}
	if note := fault.NoteOf(err); len(note) != 1 || note[0].Value.String() != "no jti" || fault.NoteOf(inner) != nil || fault.NoteOf(nil) != nil {
		t.Error(note)
	}
}
