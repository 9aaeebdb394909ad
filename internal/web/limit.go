package web

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
)

// Limit allows Most events per Per for each key. The zero Limit allows everything.
type Limit struct {
	Name string
	Most int64
	Per  time.Duration
}

// Check counts one event and says whether it is one too many.
func (l Limit) Check(ctx context.Context, c brief.Counter, key string) error {
	if l.Most == 0 {
		return nil
	}
	n, err := c.Incr(ctx, "limit/"+l.Name+"/"+key, l.Per)
	if err != nil {
		return err
	}
	if n > l.Most {
		return exceeded{l.Per}
	}
	return nil
}

// exceeded is ErrTooMany with the length of the window: by then the count has begun anew.
type exceeded struct{ per time.Duration }

func (e exceeded) Error() string             { return ErrTooMany.Error() }
func (e exceeded) Unwrap() error             { return ErrTooMany }
func (e exceeded) RetryAfter() time.Duration { return e.per }
