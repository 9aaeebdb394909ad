package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

// This file carries out what the directory orders: sessions and tokens of somebody, or of a whole
// organization, are over. Every node follows the log of orders; one claims each, and what it does can be
// done again by another after a crash without anybody noticing.

// Orders is the log of revocations.
type Orders interface {
	// ClaimRevocations takes orders that nobody is carrying out; a claim that is not kept is over at until.
	ClaimRevocations(ctx context.Context, until time.Time, most int) ([]directory.Revocation, error)
	KeepRevocation(ctx context.Context, seq int64, until time.Time) error
	FinishRevocation(ctx context.Context, seq int64, at time.Time) error
	// OrgsBelow lists an organization and all below it.
	OrgsBelow(ctx context.Context, org directory.OrgID) ([]directory.OrgID, error)
}

const (
	followEvery = time.Second
	claimFor    = 20 * time.Second
	claimMost   = 8
	endBatch    = 50  // sessions ended in one transaction
	revokeBatch = 500 // grants revoked in one
)

// work is an order that is being carried out, a batch at a time, so that a large one holds up no other.
type work struct {
	directory.Revocation
	until time.Time // of the claim
	steps []step    // what is left, in order
}

// step ends one batch of something and says whether there is none left.
type step func(ctx context.Context) (bool, error)

// Follow carries out revocations until ctx ends. woken tells of one that this node wrote.
func (b *Broker) Follow(ctx context.Context, woken <-chan struct{}) {
	var open []*work
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		open = b.claim(ctx, open)
		if open = b.carryOut(ctx, open); len(open) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-woken:
		}
	}
}

func (b *Broker) claim(ctx context.Context, open []*work) []*work {
	if len(open) >= claimMost {
		return open
	}
	until := b.Now().Add(claimFor)
	list, err := b.Orders.ClaimRevocations(ctx, until, claimMost-len(open))
	if err != nil {
		b.followFailed(ctx, 0, err)
		return open
	}
	for _, v := range list {
		w := &work{Revocation: v, until: until}
		if w.steps, err = b.stepsOf(ctx, v); err != nil {
			b.followFailed(ctx, v.Seq, err)
			continue
		}
		open = append(open, w)
	}
	return open
}

// followFailed: what failed is claimed again, here or elsewhere, when the claim is over.
func (b *Broker) followFailed(ctx context.Context, seq int64, err error) {
	if ctx.Err() == nil {
		b.Log.ErrorContext(ctx, "revocations cannot be carried out", "revocation", seq, "error", err)
	}
}

// carryOut does one batch of each order and keeps those that are not done.
func (b *Broker) carryOut(ctx context.Context, open []*work) []*work {
	return slices.DeleteFunc(open, func(w *work) bool {
		over, err := b.advance(ctx, w)
		if err != nil {
			b.followFailed(ctx, w.Seq, err)
		}
		return over || err != nil
	})
}

func (b *Broker) advance(ctx context.Context, w *work) (over bool, err error) {
	if len(w.steps) > 0 {
		done, err := w.steps[0](ctx)
		if err != nil {
			return false, err
		}
		if done {
			w.steps = w.steps[1:]
		}
	}
	if len(w.steps) == 0 {
		return true, b.Orders.FinishRevocation(ctx, w.Seq, b.Now())
	}
	if now := b.Now(); w.until.Sub(now) < claimFor/2 {
		w.until = now.Add(claimFor)
		return false, b.Orders.KeepRevocation(ctx, w.Seq, w.until)
	}
	return false, nil
}

// stepsOf says what an order means.
func (b *Broker) stepsOf(ctx context.Context, v directory.Revocation) ([]step, error) {
	part := Part{Before: v.At, At: v.At, Reason: v.Reason}
	switch v.Kind {
	case directory.RevokeOrg:
		return b.stepsOfOrg(ctx, v, part)
	case directory.RevokeApp:
		part.App = directory.AppID(v.Ref)
		return []step{b.endEach(part, func(ctx context.Context, after SessionRef) ([]SessionRef, error) {
			return b.Endings.SessionsWith(ctx, part.App, after.ID, endBatch)
		}), func(ctx context.Context) (bool, error) {
			n, err := b.Endings.RevokeTokensFor(ctx, part.App, part, revokeBatch)
			return n < revokeBatch, err
		}}, nil
	case directory.RevokeEntitlement:
		part.App = directory.AppID(v.Ref)
		return b.stepsOfEntitlement(ctx, v, part)
	case directory.RevokeConnection:
		return b.stepsOfConnection(ctx, v, part)
	case directory.RevokePerson, directory.RevokeMembership:
		return b.stepsOfPerson(ctx, v, part)
	}
	b.Log.WarnContext(ctx, "a revocation of a kind that this release does not know", "kind", v.Kind)
	return nil, errors.New("unknown kind of revocation: " + string(v.Kind)) // another node may know it
}

func (b *Broker) stepsOfOrg(ctx context.Context, v directory.Revocation, part Part) ([]step, error) {
	orgs, err := b.Orders.OrgsBelow(ctx, v.Org)
	if err != nil {
		return nil, err
	}
	var out []step
	for _, org := range orgs {
		here := part
		here.Org = org
		out = append(out,
			b.endEach(part, func(ctx context.Context, after SessionRef) ([]SessionRef, error) {
				return b.Endings.SessionsFrom(ctx, org, after, endBatch)
			}),
			b.endEach(here, func(ctx context.Context, after SessionRef) ([]SessionRef, error) {
				return b.Endings.SessionsIn(ctx, org, after.ID, endBatch)
			}),
			b.revokeIn(org, "", part))
	}
	return out, nil
}

// stepsOfEntitlement ends an app's part of what people have in each organization that may not use it now.
func (b *Broker) stepsOfEntitlement(ctx context.Context, v directory.Revocation, part Part) ([]step, error) {
	orgs, err := b.Orders.OrgsBelow(ctx, v.Org)
	if err != nil {
		return nil, err
	}
	var out []step
	for _, org := range orgs {
		entitled, err := b.Directory.Entitled(ctx, org, part.App)
		if err != nil {
			return nil, err
		}
		if entitled {
			continue
		}
		here := part
		here.Org = org
		out = append(out, b.endEach(here, func(ctx context.Context, after SessionRef) ([]SessionRef, error) {
			return b.Endings.SessionsIn(ctx, org, after.ID, endBatch)
		}), b.revokeIn(org, "", here))
	}
	return out, nil
}

// stepsOfConnection ends the sessions that rest on a connection alone, and of those that were proved otherwise
// too the parts of the organizations that it is for. What it proved counts at no door any more, so grants with
// offline access end without being touched.
func (b *Broker) stepsOfConnection(ctx context.Context, v directory.Revocation, part Part) ([]step, error) {
	orgs, err := b.Orders.OrgsBelow(ctx, v.Org)
	if err != nil {
		return nil, err
	}
	var out []step
	for _, org := range orgs {
		var after directory.SessionID
		out = append(out, func(ctx context.Context) (bool, error) {
			refs, err := b.Endings.SessionsIn(ctx, org, after, endBatch)
			if err != nil || len(refs) == 0 {
				return true, err
			}
			if err := b.endProved(ctx, refs, org, directory.ConnectionID(v.Ref), part); err != nil {
				return false, err
			}
			after = refs[len(refs)-1].ID
			return len(refs) < endBatch, nil
		})
	}
	return out, nil
}

// endProved ends what rests on a connection of some sessions that were used for an organization.
func (b *Broker) endProved(ctx context.Context, refs []SessionRef, org directory.OrgID, id directory.ConnectionID, part Part) error {
	var whole, parts []SessionRef
	for _, ref := range refs {
		s, err := b.Sessions.Session(ctx, ref.Home, ref.ID)
		if errors.Is(err, ErrSessionNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		by, otherwise := 0, 0
		for _, p := range s.Proofs {
			if p.Connection == id && !p.Seen.After(part.Before) {
				by++
			} else {
				otherwise++
			}
		}
		switch {
		case by > 0 && otherwise == 0:
			whole = append(whole, ref)
		case by > 0:
			parts = append(parts, ref)
		}
	}
	if err := b.endAll(ctx, whole, part); err != nil {
		return err
	}
	part.Org = org
	return b.endAll(ctx, parts, part)
}

func (b *Broker) stepsOfPerson(ctx context.Context, v directory.Revocation, part Part) ([]step, error) {
	id := directory.PersonID(v.Ref)
	chain, err := b.Directory.OrgChain(ctx, v.Org)
	if err != nil {
		return nil, err
	}
	realm := chain.Org().Realm
	p, err := b.Directory.PersonInRealm(ctx, realm, id)
	if errors.Is(err, directory.ErrPersonNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	where := []directory.OrgID{v.Org}
	if v.Kind == directory.RevokePerson {
		members, err := b.Directory.MembershipsOf(ctx, realm, id)
		if err != nil {
			return nil, err
		}
		where = where[:0]
		for _, m := range members {
			where = append(where, m.Org)
		}
	} else {
		part.Org = v.Org
	}
	out := []step{func(ctx context.Context) (bool, error) { return true, b.endThePersons(ctx, p, part) }}
	for _, org := range where {
		out = append(out, b.revokeIn(org, id, part))
	}
	return out, nil
}

// endThePersons ends the sessions of one person, who has few.
func (b *Broker) endThePersons(ctx context.Context, p directory.Person, part Part) error {
	list, err := b.Viewer.SessionsOf(ctx, p.Home, p.ID)
	if err != nil {
		return err
	}
	refs := make([]SessionRef, 0, len(list))
	for _, v := range list {
		if part.Org == "" || v.usedIn(part.Org) {
			refs = append(refs, v.ref())
		}
	}
	return b.endAll(ctx, refs, part)
}

// endEach ends page after page of sessions.
func (b *Broker) endEach(part Part, page func(ctx context.Context, after SessionRef) ([]SessionRef, error)) step {
	var after SessionRef
	return func(ctx context.Context) (bool, error) {
		refs, err := page(ctx, after)
		if err != nil || len(refs) == 0 {
			return true, err
		}
		if err := b.endAll(ctx, refs, part); err != nil {
			return false, err
		}
		after = refs[len(refs)-1]
		return len(refs) < endBatch, nil
	}
}

func (b *Broker) endAll(ctx context.Context, refs []SessionRef, part Part) error {
	if len(refs) == 0 {
		return nil
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		known := apps{}
		for _, s := range refs {
			if err := b.end(ctx, s, part, audit.Ref{Kind: string(directory.Engine)}, known); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *Broker) revokeIn(org directory.OrgID, person directory.PersonID, part Part) step {
	return func(ctx context.Context) (bool, error) {
		n, err := b.Endings.RevokeTokensIn(ctx, org, person, part, revokeBatch)
		return n < revokeBatch, err
	}
}
