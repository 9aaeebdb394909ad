package directory

// This file tells who changed a policy, and takes changes back.

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

var (
	ErrNoVersion  = fault.New(fault.NotFound, "directory.policy_version", "There is no such version of this policy. Only the newest hundred can be gone back to.")
	ErrSamePolicy = fault.New(fault.Conflict, "directory.policy_same", "This is what holds already.")
)

// mostOfAHistory is how far back a history is told.
const mostOfAHistory = 100

// PolicyHistory is who changed what one level asks for, the newest first, at most a hundred changes.
func (s *Service) PolicyHistory(ctx context.Context, a Actor, at PolicyLevel) ([]PolicyChange, error) {
	if err := allowPolicy(a, at); err != nil {
		return nil, err
	}
	return s.PolicyChanges(ctx, at, mostOfAHistory)
}

// RevertWishes are the wishes that make a level's document again what it was in a version; 0 is the one
// before the newest. They are wishes like others: what was allowed then may be refused today (S51).
func (s *Service) RevertWishes(ctx context.Context, a Actor, at PolicyLevel, version int64) (PolicyWishes, int64, error) {
	list, err := s.PolicyHistory(ctx, a, at)
	if err != nil {
		return PolicyWishes{}, 0, err
	}
	now, err := s.PolicyDoc(ctx, at)
	if err != nil {
		return PolicyWishes{}, 0, err
	}
	var then *PolicyDoc
	for i := range list {
		if list[i].Version == version || version == 0 && list[i].Version < now.Version {
			then, version = &list[i].Doc, list[i].Version
			break
		}
	}
	if then == nil && version == 0 && now.Version == 1 {
		then = &PolicyDoc{} // before the first change there was nothing
	}
	if then == nil {
		return PolicyWishes{}, 0, ErrNoVersion
	}
	w := now.towards(*then)
	if len(w.Values)+len(w.Defaults)+len(w.Limits)+len(w.Keep) == 0 {
		return PolicyWishes{}, 0, ErrSamePolicy
	}
	return w, version, nil
}

// towards are the wishes that make d what other is.
func (d PolicyDoc) towards(other PolicyDoc) PolicyWishes {
	w := PolicyWishes{Reasons: map[string]string{}}
	for part, into := range map[policy.Part]*map[string]json.RawMessage{
		policy.OwnValues: &w.Values, policy.Defaults: &w.Defaults, policy.Limits: &w.Limits, policy.Kept: &w.Keep,
	} {
		have, want := d.part(part), other.part(part)
		all := maps.Clone(have)
		if all == nil {
			all = map[string]json.RawMessage{}
		}
		maps.Copy(all, want)
		for key := range all {
			if bytes.Equal(have[key], want[key]) {
				continue
			}
			if *into == nil {
				*into = map[string]json.RawMessage{}
			}
			(*into)[key] = want[key]
			if reason := other.Notes[policy.NoteOf(part, key)].Reason; reason != "" {
				w.Reasons[policy.NoteOf(part, key)] = reason
			}
		}
	}
	return w
}

// PolicyDifference is what a version of a document changed.
type PolicyDifference struct {
	Key           string          // by policy.NoteOf: "session.lifetime", "limit session.lifetime"
	Before, After json.RawMessage // nil: nothing was set
	Reason        string
}

// Differences are what makes d the other document, by key.
func (d PolicyDoc) Differences(other PolicyDoc) []PolicyDifference {
	var out []PolicyDifference
	w := d.towards(other)
	for part, wishes := range w.parts() {
		for key, after := range wishes {
			nk := policy.NoteOf(part, key)
			out = append(out, PolicyDifference{nk, d.part(part)[key], after, w.Reasons[nk]})
		}
	}
	slices.SortFunc(out, func(a, b PolicyDifference) int { return strings.Compare(a.Key, b.Key) })
	return out
}
