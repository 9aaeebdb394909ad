package broker

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

// KeyReport is a signing key as an operator sees it.
type KeyReport struct {
	Key   // without its private part
	State KeyState
}

// Report lists the keys with their states now, by the database's clock, oldest first.
func (k *Keyring) Report(ctx context.Context, a directory.Actor) ([]KeyReport, time.Time, error) {
	if err := directory.Allow(a, "", directory.ManageKeys); err != nil {
		return nil, time.Time{}, err
	}
	now, err := k.Nodes.Clock(ctx)
	if err != nil {
		return nil, now, err
	}
	list, err := k.Store.Keys(ctx, k.use())
	if err != nil {
		return nil, now, err
	}
	out := make([]KeyReport, len(list))
	for i, key := range list {
		key.Private = nil
		out[i] = KeyReport{key, stateOf(list, i, now)}
	}
	return out, now, nil
}

// Rotate publishes a new key of an algorithm, which signs when apps have had time to read it, or brings
// forward one that is published already. It returns the key and when it is to sign.
func (k *Keyring) Rotate(ctx context.Context, a directory.Actor, alg string) (Key, error) {
	if err := directory.Allow(a, "", directory.ManageKeys); err != nil {
		return Key{}, err
	}
	if !slices.Contains(k.algs(), alg) {
		return Key{}, ErrKeyAlg.Because(alg)
	}
	now, err := k.Nodes.Clock(ctx)
	if err != nil {
		return Key{}, err
	}
	made, err := k.newKey(alg, now, now.Add(keyLead+keyMargin))
	if err != nil {
		return Key{}, err
	}
	next := Key{}
	err = k.change(ctx, a, now, func(list []Key) ([]Key, error) {
		list, next, err = rotateKey(list, made, now)
		return list, err
	})
	if err != nil {
		return Key{}, err
	}
	next.Private = nil
	return next, nil
}

// rotateKey gives the list with a successor on its way, and that successor.
func rotateKey(list []Key, made Key, now time.Time) ([]Key, Key, error) {
	current, next := signing(list, made.Alg, now), waiting(list, made.Alg, now)
	if next < 0 {
		if current < 0 {
			made.ActiveAt = now
		}
		list = addKey(list, made, now)
		return list, list[len(list)-1], nil
	}
	p := keyPlan{list: slices.Clone(list)}
	soon := later(p.list[next].CreatedAt.Add(keyLead+keyMargin), now.Add(keyMargin))
	if current < 0 || !soon.Before(p.list[next].ActiveAt) {
		return nil, Key{}, ErrKeyWaiting.Because(p.list[next].KID)
	}
	p.switchAt(current, next, soon)
	return p.list, p.list[next], nil
}

// GrantEnder ends what was signed with a key that leaked.
type GrantEnder interface {
	// EndTokensOf revokes the grants of which a token may have been signed within signed, that hang on a
	// session, and that belong to an app that affected says yes to. It returns how many of which app.
	EndTokensOf(ctx context.Context, signed Span, at time.Time, reason string, affected func(directory.AppID) (bool, error)) (map[directory.AppID]int, error)
}

// Span is from a time on, until another; zero Until is open.
type Span struct{ Since, Until time.Time }

// Meets says whether something that began and went on until last was within the span.
func (s Span) Meets(began, last time.Time) bool {
	return !last.Before(s.Since) && (s.Until.IsZero() || !began.After(s.Until))
}

// Revocation is what revoking a key did.
type Revocation struct {
	Key   Key
	Apps  []App // whose tokens the key may have signed
	Ended map[directory.AppID]int
}

// Revoke takes a key out of the key set at once, on all nodes, and ends the grants of sessions of which it
// may have signed a token from since on: the first one, or a refreshed one. Zero since is when the key
// began to sign; what was granted when its successor signed already is left alone. The successor of a key
// that signs now signs as soon as every live node has it.
func (k *Keyring) Revoke(ctx context.Context, a directory.Actor, kid string, since time.Time, apps Apps, grants GrantEnder) (Revocation, error) {
	if err := directory.Allow(a, "", directory.ManageKeys); err != nil {
		return Revocation{}, err
	}
	now, err := k.Nodes.Clock(ctx)
	if err != nil {
		return Revocation{}, err
	}
	var gone Key
	var signed Span
	err = k.change(ctx, a, now, func(list []Key) ([]Key, error) {
		signed = signedIn(list, kid, now)
		list, gone, err = revokeKey(list, kid, now)
		return list, err
	})
	if err != nil {
		return Revocation{}, err
	}
	gone.Private = nil
	out := Revocation{Key: gone}
	if k.use() != keyUse {
		return out, nil
	}
	if !since.IsZero() {
		signed.Since = since
	}
	seen := map[directory.AppID]bool{}
	out.Ended, err = grants.EndTokensOf(ctx, signed, now, "key_revoked", func(id directory.AppID) (bool, error) {
		yes, known := seen[id]
		if known {
			return yes, nil
		}
		app, err := apps.AppByID(ctx, id)
		if err != nil {
			return false, err
		}
		// Access tokens are signed with ES256 for every app.
		seen[id] = gone.Alg == "ES256" || app.IDTokenAlg == gone.Alg
		if seen[id] {
			out.Apps = append(out.Apps, app)
		}
		return seen[id], nil
	})
	if err != nil {
		return out, err
	}
	ended := 0
	for _, n := range out.Ended {
		ended += n
	}
	return out, k.Audit.Record(ctx, audit.Entry{
		ID: string(directory.NewEntryID(now)), At: now, Actor: a.Ref(), Action: audit.GrantsEnded, Target: audit.Ref{Kind: "key", ID: kid},
		Detail: map[string]string{"since": signed.Since.UTC().Format(time.RFC3339), "count": strconv.Itoa(ended), "apps": strconv.Itoa(len(out.Apps))},
	})
}
