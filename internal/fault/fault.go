// Package fault is the one vocabulary in which this house says that something went wrong.
//
// A fault is declared once, as a package variable, next to the code that returns it. It says two
// things and hides a third: a stable dotted Code for programs and tests, one Public sentence that is
// safe to show to anybody, and the cause, which is for the log alone. Callers compare faults with
// errors.Is, which matches by code; whoever answers a request turns any error into a fault with Of.
package fault

import "errors"

// Kind says whose turn it is, and so which HTTP status an answer gets (see web.Status).
type Kind int

const (
	Internal        Kind = iota // ours: a bug or a broken part. The zero value, so a forgotten kind blames us.
	Invalid                     // the request can never work as it is
	Unauthenticated             // who asks is not known
	Denied                      // who asks is known and may not
	NotFound                    // it does not exist, or must not be seen to exist
	Conflict                    // it collides with what is there
	Expired                     // it was good once
	Throttled                   // too much, too fast
	Upstream                    // somebody we depend on answered wrongly or not at all
	Unavailable                 // a part of ours cannot be reached now; trying again soon may help
)

// Error is a fault. Its zero value is of no use; make one with New.
type Error struct {
	Kind   Kind
	Code   string // stable, dotted: "directory.domain_taken"
	Public string // one sentence, safe to show
	cause  error
}

// New declares a fault. code is stable, dotted and starts with the package's name; public is one
// sentence that is safe to show to anybody.
func New(kind Kind, code, public string) *Error {
	return &Error{Kind: kind, Code: code, Public: public}
}

// Error is for logs: it holds the cause, so it must never be shown.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Code + ": " + e.cause.Error()
	}
	return e.Code
}

// With returns a copy of e that remembers why it happened.
func (e *Error) With(cause error) *Error { c := *e; c.cause = cause; return &c }

// Because is With for a reason that exists only as a sentence.
func (e *Error) Because(reason string) *Error { return e.With(errors.New(reason)) }

// Unwrap gives the cause, so that errors.Is and errors.As see through a fault.
func (e *Error) Unwrap() error { return e.cause }

// Is matches by code, so a fault with a cause still equals its declaration.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

var errInternal = New(Internal, "internal", "Something broke on our side.")

// Of returns the outermost fault in err; any other error is internal and its text must not be shown.
// Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return errInternal.With(err)
}

// Innermost is the fault in err that is nearest to the cause; nil when there is none.
func Innermost(err error) (last *Error) {
	for e, ok := errors.AsType[*Error](err); ok; e, ok = errors.AsType[*Error](e.cause) {
		last = e
	}
	return last
}
