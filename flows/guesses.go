package flows

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// Guesses counts guesses durably, on all nodes together (S32). who is whom a guess is about and from what
// kind of device; it is kept as it is, so it holds nothing of the person but an id or a hash.
type Guesses interface {
	// Guess adds one. wait is how long it is until one fits in again: zero when this one did. One that does
	// not fit is not counted.
	Guess(ctx context.Context, realm directory.RealmID, who string, now time.Time, b Bucket) (wait time.Duration, err error)
	// Forgive takes one back, for it was right.
	Forgive(ctx context.Context, realm directory.RealmID, who string, now time.Time, b Bucket) error
}

// Bucket is how many guesses are taken at once, and in what time all of them are forgotten. It leaks
// evenly: whoever fills it is slowed to Most guesses in For, and never shut out for longer than one takes
// to leak.
type Bucket struct {
	Most int
	For  time.Duration
}

// Step is how long one guess takes to leak.
func (b Bucket) Step() time.Duration { return b.For / time.Duration(max(b.Most, 1)) }

// Add is when a bucket is empty that is empty at a time and gets one guess more now. The guess fits when
// that is no later than For from now.
func (b Bucket) Add(empty, now time.Time) time.Time {
	if empty.Before(now) {
		empty = now
	}
	if full := now.Add(b.For); empty.After(full) {
		empty = full
	}
	return empty.Add(b.Step())
}
