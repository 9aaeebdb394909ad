// Package brief is what the house remembers for minutes: logins in progress, one-time tickets,
// authorization codes, replay marks. Rooms wrap it in small typed interfaces of their own and choose
// keys under their own prefix ("login/", "code/"). Everything here may be forgotten by a crash, and is
// then refused, never accepted twice: what must survive is kept by the durable store.
package brief

import (
	"context"
	"errors"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrGone: there is nothing under that key: never put, over its time, or taken by somebody else.
	ErrGone = fault.New(fault.Expired, "brief.gone", "This has expired or was used already.")
	// ErrTaken: PutNew found the key in use, or Swap found another value than the one it was shown.
	ErrTaken = fault.New(fault.Conflict, "brief.taken", "This was used already.")
	// ErrUnavailable: the short-lived store cannot be reached. Callers fail closed.
	ErrUnavailable = fault.New(fault.Unavailable, "brief.unavailable", "A part of this service cannot be reached right now.")
)

// MaxKey and MaxValue are how long keys and values may be, in bytes.
const (
	MaxKey   = 200
	MaxValue = 1 << 20
)

var errSize = errors.New("brief: key or value too long, or no time to live")

// Fits says whether a store may be given that; ErrUnavailable when not, for it is a bug of the caller.
func Fits(key string, value []byte, ttl time.Duration) error {
	if key == "" || len(key) > MaxKey || len(value) > MaxValue || ttl < time.Millisecond {
		return ErrUnavailable.With(errSize)
	}
	return nil
}

// Store keeps values for a while. Every method is atomic, on all nodes. Keys are ASCII, at most MaxKey
// bytes; values any bytes, at most MaxValue. A ttl is at least a millisecond.
//
// A store joins no transaction: what a rollback would undo is not spent. An error of PutNew or Take other
// than ErrTaken and ErrGone leaves open whether it happened, and the caller must not try again (S17).
type Store interface {
	// Put writes value under key, whatever was there.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// PutNew writes value only when nothing is under key; else ErrTaken. Of many at once one wins.
	PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Get reads; ErrGone when nothing is there.
	Get(ctx context.Context, key string) ([]byte, error)
	// Take reads and deletes in one step; of many at once one gets the value, the others ErrGone.
	Take(ctx context.Context, key string) ([]byte, error)
	// Swap replaces old by next and keeps the time that was left; ErrTaken when another value is
	// there, ErrGone when none is.
	Swap(ctx context.Context, key string, old, next []byte) error
	// Delete removes; deleting nothing is no error.
	Delete(ctx context.Context, key string) error
}

// Counter counts in windows of time, for limits. A count may be lost by a restart; limits that guard
// secrets are counted durably elsewhere.
type Counter interface {
	// Incr adds one to key and returns the count in the current window, which starts at the first Incr.
	Incr(ctx context.Context, key string, window time.Duration) (int64, error)
}
