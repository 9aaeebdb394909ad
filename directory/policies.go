package directory

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/policy"
)

// PolicyLevel names one level that policy folds over. Exactly the fields of its kind are set; the zero
// value is the platform.
type PolicyLevel struct {
	Realm RealmID
	Org   OrgID
	App   AppID
}

// PolicyDoc is what one level set: values by setting key, as policy.Rule reads them. Platform documents
// hold defaults and limits beside them.
type PolicyDoc struct {
	Values   map[string]json.RawMessage `json:"values,omitempty"`
	Defaults map[string]json.RawMessage `json:"defaults,omitempty"`
	Limits   map[string]json.RawMessage `json:"limits,omitempty"`
	Version  int64                      `json:"-"` // 0: nothing was ever set at this level
}

// Policies keeps the document of each level. Reading a level without one gives the zero PolicyDoc.
type Policies interface {
	PolicyDoc(ctx context.Context, at PolicyLevel) (PolicyDoc, error)
	// PutPolicyDoc is compare-and-swap on Version: ErrMoved.
	PutPolicyDoc(ctx context.Context, at PolicyLevel, d PolicyDoc) error
}

// Effective is the policy that holds for an organization's people in one app ("" is no app in
// particular), folded over the platform, the realm, the chain and the app. The same documents fold once: the result is kept until one changes.
func (s *Service) Effective(ctx context.Context, chain Chain, app AppID) (policy.Effective, error) {
	at := make([]PolicyLevel, 0, len(chain)+3)
	at = append(at, PolicyLevel{}, PolicyLevel{Realm: chain.Org().Realm})
	for _, o := range chain {
		at = append(at, PolicyLevel{Org: o.ID})
	}
	if app != "" {
		at = append(at, PolicyLevel{App: app})
	}
	docs := make([]PolicyDoc, len(at))
	seen := make([]int64, 0, 2*len(at))
	for i, level := range at {
		doc, err := s.PolicyDoc(ctx, level)
		if err != nil {
			return policy.Effective{}, err
		}
		docs[i] = doc
		seen = append(seen, doc.Version)
	}
	for _, o := range chain {
		seen = append(seen, o.Version) // a renamed organization is named anew in provenance
	}
	return s.folds.get(foldKey{chain.Org().ID, app}, seen, func() (policy.Effective, error) {
		return policy.Resolve(levels(at, docs, chain))
	})
}

func levels(at []PolicyLevel, docs []PolicyDoc, chain Chain) []policy.Level {
	out := make([]policy.Level, len(at))
	for i, l := range at {
		out[i] = policy.Level{Values: docs[i].Values, Defaults: docs[i].Defaults, Limits: docs[i].Limits}
		switch {
		case l.Org != "":
			out[i].Kind, out[i].ID, out[i].Name = policy.Org, string(l.Org), chain[i-2].Name
		case l.App != "":
			out[i].Kind, out[i].ID = policy.App, string(l.App)
		case l.Realm != "":
			out[i].Kind, out[i].ID = policy.Realm, string(l.Realm)
		default:
			out[i].Kind = policy.Platform
		}
	}
	return out
}

// SetPolicy changes what one level asks for. Each wish is checked against the levels above it; nothing
// is clamped in silence. A nil wish takes the level's own value away.
func (s *Service) SetPolicy(ctx context.Context, a Actor, org OrgID, wishes map[string]json.RawMessage) error {
	if err := Allow(a, org, ManageSignIn); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		chain, err := s.OrgChain(ctx, org)
		if err != nil {
			return err
		}
		at := []PolicyLevel{{}, {Realm: chain.Org().Realm}}
		for _, o := range chain {
			at = append(at, PolicyLevel{Org: o.ID})
		}
		docs := make([]PolicyDoc, len(at))
		for i, level := range at {
			if docs[i], err = s.PolicyDoc(ctx, level); err != nil {
				return err
			}
		}
		// The last level is the one that writes: Check leaves what it set before out.
		above := levels(at, docs, chain)
		own := docs[len(docs)-1]
		if own.Values, err = merged(above, own.Values, wishes); err != nil {
			return err
		}
		if err := s.PutPolicyDoc(ctx, PolicyLevel{Org: org}, own); err != nil {
			return err
		}
		detail := map[string]string{}
		for key, wish := range wishes {
			detail[key] = string(wish)
		}
		return s.record(ctx, a, org, audit.PolicyChanged, orgRef(org), detail)
	})
}

// PolicyWishes are changes of one level's document, by setting key; nil takes a value away. Only the
// platform has defaults and limits.
type PolicyWishes struct {
	Values, Defaults, Limits map[string]json.RawMessage
}

// SetLevelPolicy is SetPolicy for any level: the platform, a realm, an organization, an app. An app's
// wishes are checked against the platform and its realm; at sign-in they fold after the organization's.
func (s *Service) SetLevelPolicy(ctx context.Context, a Actor, at PolicyLevel, app RealmID, w PolicyWishes) error {
	if at.Org != "" {
		if len(w.Defaults)+len(w.Limits) > 0 {
			return policy.ErrUnknown.Because("defaults and limits are the platform's")
		}
		return s.SetPolicy(ctx, a, at.Org, w.Values)
	}
	if err := Allow(a, "", ManageRealms); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		own, err := s.PolicyDoc(ctx, at)
		if err != nil {
			return err
		}
		if at == (PolicyLevel{}) {
			own, err = platformWishes(own, w)
		} else {
			own.Values, err = s.wishesBelow(ctx, at, app, own.Values, w)
		}
		if err != nil {
			return err
		}
		if err := s.PutPolicyDoc(ctx, at, own); err != nil {
			return err
		}
		return s.record(ctx, a, "", audit.PolicyChanged, levelRef(at), w.detail())
	})
}

// platformWishes are checked as a whole: a default must lie within its limit.
func platformWishes(own PolicyDoc, w PolicyWishes) (PolicyDoc, error) {
	own.Values, own.Defaults, own.Limits = overlaid(own.Values, w.Values), overlaid(own.Defaults, w.Defaults), overlaid(own.Limits, w.Limits)
	err := policy.CheckPlatform(policy.Level{Kind: policy.Platform, Values: own.Values, Defaults: own.Defaults, Limits: own.Limits})
	return own, err
}

// wishesBelow checks a realm's or an app's wishes against what stands above them.
func (s *Service) wishesBelow(ctx context.Context, at PolicyLevel, realm RealmID, before map[string]json.RawMessage, w PolicyWishes) (map[string]json.RawMessage, error) {
	if len(w.Defaults)+len(w.Limits) > 0 {
		return nil, policy.ErrUnknown.Because("defaults and limits are the platform's")
	}
	up := []PolicyLevel{{}}
	if at.App != "" {
		up = append(up, PolicyLevel{Realm: realm})
	}
	up = append(up, at)
	docs := make([]PolicyDoc, len(up))
	for i, level := range up[:len(up)-1] {
		var err error
		if docs[i], err = s.PolicyDoc(ctx, level); err != nil {
			return nil, err
		}
	}
	return merged(levels(up, docs, nil), before, w.Values)
}

func overlaid(before, wishes map[string]json.RawMessage) map[string]json.RawMessage {
	after := map[string]json.RawMessage{}
	maps.Copy(after, before)
	for key, wish := range wishes {
		if after[key] = wish; wish == nil {
			delete(after, key)
		}
	}
	return after
}

func (w PolicyWishes) detail() map[string]string {
	out := map[string]string{}
	for prefix, wishes := range map[string]map[string]json.RawMessage{"": w.Values, "default ": w.Defaults, "limit ": w.Limits} {
		for key, wish := range wishes {
			out[prefix+key] = string(wish)
		}
	}
	return out
}

func levelRef(at PolicyLevel) audit.Ref {
	switch {
	case at.Realm != "":
		return audit.Ref{Kind: "realm", ID: string(at.Realm)}
	case at.App != "":
		return audit.Ref{Kind: "app", ID: string(at.App)}
	}
	return audit.Ref{Kind: "platform"}
}

func merged(above []policy.Level, before, wishes map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	after := maps.Clone(before)
	if after == nil {
		after = map[string]json.RawMessage{}
	}
	for key, wish := range wishes {
		if wish == nil {
			delete(after, key)
			continue
		}
		if err := policy.Check(above, key, wish); err != nil {
			return nil, err
		}
		after[key] = wish
	}
	return after, nil
}

type foldKey struct {
	org OrgID
	app AppID
}

type fold struct {
	seen []int64
	eff  policy.Effective
}

// maxFolds bounds the memory of folded policies, about a kilobyte each.
const maxFolds = 16384

// folds keeps what was folded, by the versions it was folded from.
type folds struct {
	mu sync.RWMutex
	by map[foldKey]fold
}

func (f *folds) get(key foldKey, seen []int64, build func() (policy.Effective, error)) (policy.Effective, error) {
	f.mu.RLock()
	have, ok := f.by[key]
	f.mu.RUnlock()
	if ok && slices.Equal(have.seen, seen) {
		return have.eff, nil
	}
	eff, err := build()
	if err != nil {
		return policy.Effective{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil || len(f.by) >= maxFolds {
		f.by = map[foldKey]fold{}
	}
	f.by[key] = fold{seen: seen, eff: eff}
	return eff, nil
}
