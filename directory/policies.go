package directory

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

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
	// Keep are members of sets that the levels below must keep (S13).
	Keep map[string]json.RawMessage `json:"keep,omitempty"`
	// Notes say who wrote what, when and why, by policy.NoteOf.
	Notes   map[string]policy.Note `json:"notes,omitempty"`
	Version int64                  `json:"-"` // 0: nothing was ever set at this level
}

// Policies keeps the document of each level. Reading a level without one gives the zero PolicyDoc.
type Policies interface {
	PolicyDoc(ctx context.Context, at PolicyLevel) (PolicyDoc, error)
	// PutPolicyDoc is compare-and-swap on Version: ErrMoved.
	PutPolicyDoc(ctx context.Context, at PolicyLevel, d PolicyDoc) error
	// PutPolicyChange adds to the history of a level; a version that is there already stays as it is.
	PutPolicyChange(ctx context.Context, at PolicyLevel, c PolicyChange) error
	// PolicyChanges is the history of a level, the newest first, at most so many.
	PolicyChanges(ctx context.Context, at PolicyLevel, most int) ([]PolicyChange, error)
}

// PolicyChange is one version of a level's document, and who made it.
type PolicyChange struct {
	Version int64
	At      time.Time // zero: it was written before there was a history
	Actor   Actor
	Doc     PolicyDoc
}

// Effective is the policy that holds for an organization's people in one app ("" is no app in
// particular), folded over the platform, the realm, the chain and the app. The same documents fold once: the result is kept until one changes.
func (s *Service) Effective(ctx context.Context, chain Chain, app AppID) (policy.Effective, error) {
	at := levelsOf(chain, app)
	seen := make([]int64, 0, len(at)+len(chain))
	for _, level := range at {
		doc, err := s.PolicyDoc(ctx, level)
		if err != nil {
			return policy.Effective{}, err
		}
		seen = append(seen, doc.Version)
	}
	for _, o := range chain {
		seen = append(seen, o.Version) // a renamed organization is named anew in provenance
	}
	return s.folds.get(foldKey{chain.Org().ID, app}, seen, func() (policy.Effective, error) {
		levels, err := s.read(ctx, at, chain) // what is newer than what was seen is folded anew next time
		if err != nil {
			return policy.Effective{}, err
		}
		return policy.Resolve(levels)
	})
}

// PolicyLevels are the levels that Effective folds, for whoever shows them or tries others.
func (s *Service) PolicyLevels(ctx context.Context, chain Chain, app AppID) ([]policy.Level, error) {
	return s.read(ctx, levelsOf(chain, app), chain)
}

func levelsOf(chain Chain, app AppID) []PolicyLevel {
	at := make([]PolicyLevel, 0, len(chain)+3)
	at = append(at, PolicyLevel{}, PolicyLevel{Realm: chain.Org().Realm})
	for _, o := range chain {
		at = append(at, PolicyLevel{Org: o.ID})
	}
	if app != "" {
		at = append(at, PolicyLevel{App: app})
	}
	return at
}

func (s *Service) read(ctx context.Context, at []PolicyLevel, chain Chain) ([]policy.Level, error) {
	docs := make([]PolicyDoc, len(at))
	for i, level := range at {
		var err error
		if docs[i], err = s.PolicyDoc(ctx, level); err != nil {
			return nil, err
		}
	}
	return s.levels(ctx, at, docs, chain), nil
}

func (s *Service) levels(ctx context.Context, at []PolicyLevel, docs []PolicyDoc, chain Chain) []policy.Level {
	out := make([]policy.Level, len(at))
	for i, l := range at {
		out[i] = docs[i].level()
		switch {
		case l.Org != "":
			out[i].Kind, out[i].ID, out[i].Name = policy.Org, string(l.Org), chain[i-2].Name
		case l.App != "":
			out[i].Kind, out[i].ID = policy.App, string(l.App)
			if s.AppName != nil {
				out[i].Name = s.AppName(ctx, l.App)
			}
		case l.Realm != "":
			out[i].Kind, out[i].ID = policy.Realm, string(l.Realm)
			if r, err := s.Realm(ctx, l.Realm); err == nil { // a name is only for people to read
				out[i].Name = "the realm " + r.Handle
			}
		default:
			out[i].Kind = policy.Platform
		}
	}
	return out
}

func (d PolicyDoc) level() policy.Level {
	return policy.Level{Values: d.Values, Defaults: d.Defaults, Limits: d.Limits, Keep: d.Keep, Notes: d.Notes}
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

// RealmPolicy is what holds in a realm before an organization is known: platform and realm alone.
func (s *Service) RealmPolicy(ctx context.Context, realm RealmID) (policy.Effective, error) {
	levels, err := s.read(ctx, []PolicyLevel{{}, {Realm: realm}}, nil)
	if err != nil {
		return policy.Effective{}, err
	}
	return policy.Resolve(levels)
}
