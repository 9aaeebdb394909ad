package saml

import "context"

// One answer may cost milliseconds of CPU before it is known to be worthless, so one connection never
// has more than a few examined at once, and its queue is short.
const (
	atOnce  = 4
	waiting = 64
)

type turnstile struct {
	queue chan struct{} // who waits or is inside
	seats chan struct{} // who is inside
}

func newTurnstile() turnstile {
	return turnstile{queue: make(chan struct{}, atOnce+waiting), seats: make(chan struct{}, atOnce)}
}

func (t turnstile) enter(ctx context.Context) error {
	select {
	case t.queue <- struct{}{}:
	default:
		return ErrBusy
	}
	select {
	case t.seats <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-t.queue
		return ErrBusy.With(ctx.Err())
	}
}

func (t turnstile) leave() {
	<-t.seats
	<-t.queue
}
