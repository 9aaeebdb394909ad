package upstream

import (
	"context"
	"net/http"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// Opener opens connections, each version once, and keeps them open while they are used. What it gives
// is fenced: a provider that is slow or gone costs its own people an error and nobody else anything
// (capabilities.md row 141). All fields are required but Distrusts, and Fence, whose zero value has sensible numbers.
type Opener struct {
	Protocols Protocols
	// Client gives the guarded client for a connection's Private targets.
	Client     func(private []string) *http.Client
	Now        func() time.Time
	Base       string
	Spend      func(ctx context.Context, c Connection, kind, key string, until time.Time) error
	Algorithms func(ctx context.Context, c Connection) []string
	Distrusts  func(kid string, cert []byte) bool // see Env; may be nil
	Fence      Fence

	open Cache[directory.ConnectionID, *Opened]
}

// Opened is an open connection behind its fence.
type Opened struct {
	Connection Connection
	inner      Upstream
	fence      *fence
}

// Open gives the connection's upstream, which is an *Opened. It does no I/O. Whether the connection is
// switched on is for the caller to judge: test logins open drafts.
func (o *Opener) Open(_ context.Context, c Connection) (Upstream, error) {
	opened, err := o.Opened(c)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Opened is Open for who wants to probe or describe the connection as well.
func (o *Opener) Opened(c Connection) (*Opened, error) {
	have, ok := o.open.Get(c.ID)
	if ok && have.Connection.Version == c.Version {
		return have, nil
	}
	opened, err := o.build(c)
	if err != nil {
		return nil, err
	}
	// A node that still reads the version before must not push the newer one out.
	if !ok || have.Connection.Version < c.Version {
		o.open.Put(c.ID, opened)
	}
	return opened, nil
}

func (o *Opener) build(c Connection) (*Opened, error) {
	protocol, ok := o.Protocols[c.Type]
	if !ok {
		return nil, ErrConfig.Because("unknown connection type " + string(c.Type))
	}
	inner, err := protocol.Open(c, Env{
		Client: o.Client(c.Private), Now: o.Now, Base: o.Base, Spend: o.Spend, Algorithms: o.Algorithms, Distrusts: o.Distrusts,
	})
	if err != nil {
		return nil, err
	}
	return &Opened{Connection: c, inner: inner, fence: newFence(o.Fence, o.Now)}, nil
}

// Depart is Upstream's, behind the fence.
func (o *Opened) Depart(ctx context.Context, a Attempt) (d Departure, err error) {
	err = o.fence.depart(ctx, func(ctx context.Context) error {
		d, err = o.inner.Depart(ctx, a)
		return err
	})
	return d, err
}

// Arrive is Upstream's, behind the fence.
func (o *Opened) Arrive(ctx context.Context, a Attempt, in Arrival) (as Assertion, r Report, err error) {
	err = o.fence.arrive(ctx, func(ctx context.Context) error {
		as, r, err = o.inner.Arrive(ctx, a, in)
		return err
	})
	if err != nil {
		return Assertion{}, r, err
	}
	return as, r, nil
}

// Probe tests the connection; ok is false when its protocol has no probe.
func (o *Opened) Probe(ctx context.Context) (r Report, ok bool, err error) {
	p, ok := o.inner.(Prober)
	if !ok {
		return nil, false, nil
	}
	// Somebody who just repaired a provider asks, so an open circuit is no reason not to look.
	err = o.fence.bounded(ctx, func(ctx context.Context) error {
		r, err = p.Probe(ctx)
		return err
	})
	return r, true, err
}

// SignOut says where the browser ends the person's session at the provider; ok is false when the provider
// or its protocol has no such place.
func (o *Opened) SignOut(ctx context.Context, s SignOut) (d Departure, ok bool, err error) {
	out, ok := o.inner.(SignOuter)
	if !ok {
		return Departure{}, false, nil
	}
	err = o.fence.depart(ctx, func(ctx context.Context) error {
		d, err = out.SignOut(ctx, s)
		return err
	})
	return d, err == nil && d.URL != "", err
}

// Describe gives the connection's document about us; ok is false when its protocol has none.
func (o *Opened) Describe() (contentType string, doc []byte, ok bool, err error) {
	d, ok := o.inner.(Describer)
	if !ok {
		return "", nil, false, nil
	}
	contentType, doc, err = d.Describe()
	return contentType, doc, true, err
}
