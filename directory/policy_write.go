package directory

// This file changes policy: one level's document at a time, judged by the levels above it.

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/policy"
)

// PolicyWishes are changes of one level's document, by setting key; nil takes a value away. Only the
// platform has defaults and limits.
type PolicyWishes struct {
	Values, Defaults, Limits map[string]json.RawMessage
	// Keep are members of sets that the levels below are to keep; nil lets them go.
	Keep map[string]json.RawMessage
	// Reasons are why, by policy.NoteOf. A value that is written without one has none from then on.
	Reasons map[string]string
}

// SetPolicy changes what an organization asks for. Each wish is checked against the levels above it; nothing
// is clamped in silence. A nil wish takes the level's own value away.
func (s *Service) SetPolicy(ctx context.Context, a Actor, org OrgID, wishes map[string]json.RawMessage) error {
	return s.SetLevelPolicy(ctx, a, PolicyLevel{Org: org}, "", PolicyWishes{Values: wishes})
}

// SetLevelPolicy is SetPolicy for any level: the platform, a realm, an organization, an app, which is in a
// realm. An app's wishes are checked against the platform and its realm; at sign-in they fold after the
// organization's.
func (s *Service) SetLevelPolicy(ctx context.Context, a Actor, at PolicyLevel, app RealmID, w PolicyWishes) error {
	if err := allowPolicy(a, at); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		_, err := s.writePolicy(ctx, a, at, app, w)
		return err
	})
}

func allowPolicy(a Actor, at PolicyLevel) error {
	if at.Org != "" {
		return Allow(a, at.Org, ManageSignIn)
	}
	return Allow(a, "", ManageRealms)
}

// writePolicy is SetLevelPolicy within a transaction. It returns the document as it is now.
func (s *Service) writePolicy(ctx context.Context, a Actor, at PolicyLevel, app RealmID, w PolicyWishes) (PolicyDoc, error) {
	up, chain, err := s.levelsTo(ctx, at, app)
	if err != nil {
		return PolicyDoc{}, err
	}
	own, err := s.PolicyDoc(ctx, at)
	if err != nil {
		return PolicyDoc{}, err
	}
	levels, err := s.read(ctx, up, chain)
	if err != nil {
		return PolicyDoc{}, err
	}
	next, err := w.on(own, levels, policy.Note{By: a.words(), At: s.Now()})
	if err != nil {
		return PolicyDoc{}, err
	}
	if err := s.PutPolicyDoc(ctx, at, next); err != nil {
		return PolicyDoc{}, err
	}
	if own.Version > 0 { // what there was before there was a history
		if err := s.PutPolicyChange(ctx, at, PolicyChange{Version: own.Version, Doc: own}); err != nil {
			return PolicyDoc{}, err
		}
	}
	next.Version++
	if err := s.PutPolicyChange(ctx, at, PolicyChange{Version: next.Version, At: s.Now(), Actor: a, Doc: next}); err != nil {
		return PolicyDoc{}, err
	}
	return next, s.record(ctx, a, at.Org, audit.PolicyChanged, levelRef(at), w.detail())
}

// levelsTo are the levels that decide what a level may write, itself last, and its chain where it is an
// organization.
func (s *Service) levelsTo(ctx context.Context, at PolicyLevel, app RealmID) ([]PolicyLevel, Chain, error) {
	switch {
	case at.Org != "":
		chain, err := s.OrgChain(ctx, at.Org)
		if err != nil {
			return nil, nil, err
		}
		return levelsOf(chain, ""), chain, nil
	case at.App != "" && app != "":
		return []PolicyLevel{{}, {Realm: app}, at}, nil, nil
	case at == (PolicyLevel{}):
		return []PolicyLevel{at}, nil, nil
	}
	return []PolicyLevel{{}, at}, nil, nil
}

// on is the document after the wishes. levels end with the one that writes, as it was.
func (w PolicyWishes) on(own PolicyDoc, levels []policy.Level, note policy.Note) (PolicyDoc, error) {
	for _, reason := range w.Reasons {
		if err := policy.CheckReason(reason); err != nil {
			return own, err
		}
	}
	next := PolicyDoc{
		Values: overlaid(own.Values, w.Values), Defaults: overlaid(own.Defaults, w.Defaults), Limits: overlaid(own.Limits, w.Limits),
		Keep: overlaid(own.Keep, w.Keep), Version: own.Version,
	}
	next.Notes = w.notes(own, next, note)
	last := len(levels) - 1
	if last == 0 {
		platform := next.level()
		platform.Kind = policy.Platform
		return next, policy.CheckPlatform(platform)
	}
	if len(w.Defaults)+len(w.Limits) > 0 {
		return own, policy.ErrUnknown.Because("defaults and limits are the platform's")
	}
	for _, key := range slices.Sorted(maps.Keys(w.Values)) {
		if wish := w.Values[key]; wish != nil {
			if err := policy.Check(levels, key, wish); err != nil {
				return own, err
			}
		}
	}
	after := slices.Clone(levels)
	after[last].Values, after[last].Keep = next.Values, nil
	for _, key := range slices.Sorted(maps.Keys(next.Keep)) {
		_, keeps := w.Keep[key]
		_, sets := w.Values[key]
		if keeps || sets {
			if err := policy.CheckKeep(after, key, next.Keep[key]); err != nil {
				return own, err
			}
		}
	}
	return next, nil
}

// notes are who wrote what of the next document: now, what is wished for; the rest as it was.
func (w PolicyWishes) notes(own, next PolicyDoc, note policy.Note) map[string]policy.Note {
	out := map[string]policy.Note{}
	maps.Copy(out, own.Notes)
	for part, wishes := range w.parts() {
		has := next.part(part)
		for key := range wishes {
			out[policy.NoteOf(part, key)] = note
		}
		for key := range has {
			nk := policy.NoteOf(part, key)
			_, written := wishes[key]
			if reason, given := w.Reasons[nk]; given && (written || reason != own.Notes[nk].Reason) {
				n := note
				n.Reason = reason
				out[nk] = n
			}
		}
		for key := range wishes {
			if _, there := has[key]; !there {
				delete(out, policy.NoteOf(part, key))
			}
		}
	}
	return out
}

func (w PolicyWishes) parts() map[policy.Part]map[string]json.RawMessage {
	return map[policy.Part]map[string]json.RawMessage{
		policy.OwnValues: w.Values, policy.Defaults: w.Defaults, policy.Limits: w.Limits, policy.Kept: w.Keep,
	}
}

func (d PolicyDoc) part(p policy.Part) map[string]json.RawMessage {
	switch p {
	case policy.Defaults:
		return d.Defaults
	case policy.Limits:
		return d.Limits
	case policy.Kept:
		return d.Keep
	}
	return d.Values
}

func overlaid(before, wishes map[string]json.RawMessage) map[string]json.RawMessage {
	after := map[string]json.RawMessage{}
	maps.Copy(after, before)
	for key, wish := range wishes {
		if after[key] = wish; wish == nil {
			delete(after, key)
		}
	}
	if len(after) == 0 {
		return nil // a chain has no empty maps where it may have none
	}
	return after
}

func (w PolicyWishes) detail() map[string]string {
	out := map[string]string{}
	for part, wishes := range w.parts() {
		for key, wish := range wishes {
			out[policy.NoteOf(part, key)] = string(wish)
		}
	}
	for key, reason := range w.Reasons {
		if reason != "" {
			out["reason "+key] = reason
		}
	}
	return out
}

func levelRef(at PolicyLevel) audit.Ref {
	switch {
	case at.Org != "":
		return orgRef(at.Org)
	case at.Realm != "":
		return audit.Ref{Kind: "realm", ID: string(at.Realm)}
	case at.App != "":
		return audit.Ref{Kind: "app", ID: string(at.App)}
	}
	return audit.Ref{Kind: "platform"}
}
