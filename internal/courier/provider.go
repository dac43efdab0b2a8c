package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"countersign/internal/message"
)

// Provider takes letters to the world. The suite in couriertest says what each must do.
type Provider interface {
	// Name is what the outbox and the log call it.
	Name() string
	// Send hands one letter over. It returns when the provider has taken it, has refused
	// it, or ctx ends, and soon after ctx ends. An error is an *Error and holds neither
	// address nor words; whatever the outcome of a failed call, the letter may have gone.
	Send(ctx context.Context, m Message) (Receipt, error)
}

// Limited is a provider that can have so many letters under way and no more: a relay's connections, a message centre's window.
type Limited interface{ AtOnce() int }

// Particular is a provider that does not carry every letter.
type Particular interface {
	// Carries reports whether it may be asked to.
	Carries(m Message) bool
}

// Chooser is a provider that sends by others.
type Chooser interface {
	// First is by which a message would go if all of them worked: the same however often it is asked, on every node.
	First(m Message) string
}

// Message is a letter in words. It holds an address and perhaps a code: it prints as its id.
type Message struct {
	// ID is the same however often a letter is sent: the idempotency key.
	ID      string
	Channel message.Channel
	To      string
	From    string
	Subject string
	Text    string
	HTML    string
	// Expires is when nobody wants the letter any more. Zero if it does not matter.
	Expires time.Time
	// Code says that somebody sits there and waits for the code in it.
	Code bool
	// Digits are that code and Language what the words are in, for providers that say it in words of their own.
	Digits, Language string
	// Speech is what a voice says around them.
	Speech message.Speech
	// Tried are the providers by which letters went before this one that were asked for because those had not arrived: the latest
	// first, with commas between.
	Tried string
}

// String returns the id.
func (m Message) String() string { return "letter " + m.ID }

// Format writes the id, whatever the verb.
func (m Message) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(m.String())) }

// LogValue returns the id.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.ID) }

// Receipt is what a provider says of a letter it took.
type Receipt struct {
	ID       string // the provider's own id; may be empty
	Provider string // which took it, if the one that was asked has several

	withheld bool // by us: no provider has seen it
	// Before is what providers said that were asked before that one, with their names; no address is in it.
	Before []string
}

// Error says why a letter was not taken. Code is short and stable enough to be counted
// ("smtp_550_5.1.1"). A provider's own words are never in an Error: they quote the address.
type Error struct {
	Code      string
	Permanent bool          // another try cannot succeed
	NotTaken  bool          // it is certain that the letter did not go; otherwise it may have
	After     time.Duration // how long the provider wants to be left alone; zero if it did not say
	Turn      bool          // nobody was asked: the letter's turn comes After that
	cause     error
}

// Permanent is the error for a letter that no further try can deliver.
func Permanent(code string) *Error { return &Error{Code: code, Permanent: true, NotTaken: true} }

// Turn is the error for a letter that nobody was asked to take yet.
func Turn(after time.Duration) *Error {
	return &Error{Code: "waits_its_turn", After: after, NotTaken: true, Turn: true}
}

// Temporary is the error for a failure that may pass. cause may be nil; it must come from
// the transport (a dial, a handshake, a timeout), never from what a provider wrote.
func Temporary(code string, cause error) *Error { return &Error{Code: code, cause: cause} }

// Error returns the code and the transport's failure.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Code
	}
	return e.Code + ": " + e.cause.Error()
}

// Unwrap returns the transport's failure.
func (e *Error) Unwrap() error { return e.cause }

// failure makes an *Error of whatever a provider returned.
func failure(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Temporary("timeout", nil)
	}
	return Temporary("unclassified", nil) // its text is not ours to log
}
