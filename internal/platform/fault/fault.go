// Package fault classes errors for the outside: a kind, a stable code, and nothing else.
//
// The program asks errors.Is and errors.As. The operator reads the wrapped text,
// once, in the log. The caller gets the kind's status and the code from
// docs/errors.md. Whatever depends on whether an account exists is never an error.
package fault

import (
	"errors"
	"time"
)

// Kind is the class of a failure. The zero Kind is Internal: an error nobody
// classified is our fault, not the caller's.
type Kind uint8

// The kinds, each with the HTTP status it is answered with.
const (
	Internal        Kind = iota // 500
	Invalid                     // 422
	Unauthenticated             // 401
	Forbidden                   // 403
	NotFound                    // 404
	Conflict                    // 409
	Gone                        // 410
	TooMany                     // 429
	Unavailable                 // 503
)

// Error is a classified failure.
type Error struct {
	Kind       Kind
	Code       string        // stable, snake_case, listed in docs/errors.md
	RetryAfter time.Duration // for TooMany and Unavailable; zero means unknown
	cause      error
}

// New classes cause. Neither code nor kind may depend on whether an account exists.
func New(kind Kind, code string, cause error) *Error {
	return &Error{Kind: kind, Code: code, cause: cause}
}

// Later classes cause and says when another try makes sense.
func Later(kind Kind, code string, after time.Duration, cause error) *Error {
	return &Error{Kind: kind, Code: code, RetryAfter: after, cause: cause}
}

// Error returns the code and the cause, for the log only.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Code
	}
	return e.Code + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Of finds the classified error in err, or reports it as Internal with the code "internal".
func Of(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Code: "internal", cause: err}
}
