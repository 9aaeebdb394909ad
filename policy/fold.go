package policy

// This file holds the fold, the one place where levels meet.

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Effective is what holds at the end of a chain. It never changes, so it may be shared and cached by
// the revisions of its levels. The zero value holds the strictest value of every rule.
type Effective struct{ folded *folded }

type folded struct {
	slots []slot  // by a rule's place in the table
	chain []Level // without documents: who they are, for provenance
}

// slot is one setting's way down the chain. by and limitBy index the chain.
type slot struct {
	value, limit any
	by, limitBy  int
	set          bool // a level set the value; else it is the platform's default
	asked        any  // what the last level with a value of its own asked for and did not get; nil: nothing
	askedBy      int
	keeps        []kept
}

// kept is what one level wants all below it to keep (S13). It is asked when they write, and never folded:
// what must be kept loosens nothing.
type kept struct {
	members any
	by      int
}

// Resolve folds the levels, the platform first and an app last. An error comes with an Effective that
// holds the strictest of everything.
func Resolve(chain []Level) (Effective, error) { return rules.resolve(chain) }

func (t table) resolve(chain []Level) (Effective, error) {
	f, err := t.fold(chain)
	if err != nil {
		return Effective{}, err
	}
	for i, r := range t.rules {
		s := &f.slots[i]
		// A default may be looser than the limit an operator set; the limit holds.
		if v := r.tighter(s.value, s.limit); v != s.value {
			s.value, s.by, s.set = v, s.limitBy, true
		}
	}
	return Effective{f}, nil
}

func (t table) fold(chain []Level) (*folded, error) {
	if err := inOrder(chain); err != nil {
		return nil, err
	}
	f := &folded{slots: make([]slot, len(t.rules)), chain: make([]Level, len(chain))}
	if err := t.begin(f.slots, chain[0]); err != nil {
		return nil, err
	}
	for i, l := range chain {
		f.chain[i] = Level{Kind: l.Kind, ID: l.ID, Name: l.Name, Notes: l.Notes}
		if err := t.narrow(f.slots, i, l); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// inOrder refuses a chain that forgot the platform, whose limits then would not bind.
func inOrder(chain []Level) error {
	if len(chain) == 0 || chain[0].Kind != Platform {
		return ErrChain.Because("the chain does not begin with the platform")
	}
	for i, l := range chain[1:] {
		above := chain[i].Kind
		if depth[l.Kind] < depth[above] || l.Kind == above && l.Kind != Org {
			return ErrChain.Because(fmt.Sprintf("%q stands below %q", l.Kind, above))
		}
		if l.Defaults != nil || l.Limits != nil || l.Kind == App && l.Keep != nil {
			return ErrChain.Because("a level below the platform has defaults or limits, or an app keeps something: " + l.ID)
		}
	}
	return nil
}

// begin starts every setting with the platform's default and limit.
func (t table) begin(slots []slot, platform Level) error {
	for _, doc := range []map[string]json.RawMessage{platform.Defaults, platform.Limits} {
		if err := t.knows(doc); err != nil {
			return platform.unreadable(err)
		}
	}
	for i, r := range t.rules {
		value, limit := r.defaults()
		var err error
		if value, err = or(r, platform.Defaults, value); err != nil {
			return platform.unreadable(err)
		}
		if limit, err = or(r, platform.Limits, limit); err != nil {
			return platform.unreadable(err)
		}
		slots[i] = slot{value: value, limit: limit}
	}
	return nil
}

// narrow takes one level's own values in.
func (t table) narrow(slots []slot, at int, l Level) error {
	for key, raw := range l.Values {
		r, own, err := t.value(key, raw)
		if err != nil {
			return l.unreadable(err)
		}
		slots[r.place()].take(r, own, at)
	}
	for key, raw := range l.Keep {
		r, members, err := t.value(key, raw)
		if err == nil && !r.about().keeps {
			err = fmt.Errorf("%s: nothing can be kept", key)
		}
		if err != nil {
			return l.unreadable(err)
		}
		slots[r.place()].keeps = append(slots[r.place()].keeps, kept{members, at})
	}
	return nil
}

// value reads one setting of a document.
func (t table) value(key string, raw json.RawMessage) (rule, any, error) {
	r, ok := t.byKey[key]
	if !ok {
		return nil, nil, fmt.Errorf("no rule is called %q", key)
	}
	v, err := r.read(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", key, err)
	}
	return r, v, nil
}

// take is the fold's one step: limit = value = Tighter(limit, own).
func (s *slot) take(r rule, own any, at int) {
	next := r.tighter(s.limit, own)
	s.value, s.set, s.asked, s.by = next, true, nil, at
	if next != own {
		s.asked, s.askedBy = own, at
	}
	if next == s.limit {
		if next != own {
			s.by = s.limitBy
		}
		return
	}
	s.limit, s.limitBy = next, at
}

func (t table) knows(doc map[string]json.RawMessage) error {
	for key := range doc {
		if _, ok := t.byKey[key]; !ok {
			return fmt.Errorf("no rule is called %q", key)
		}
	}
	return nil
}

func or(r rule, doc map[string]json.RawMessage, otherwise any) (any, error) {
	raw, ok := doc[r.key()]
	if !ok {
		return otherwise, nil
	}
	v, err := r.read(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.key(), err)
	}
	return v, nil
}

func (l Level) unreadable(err error) error {
	return ErrUnreadable.With(errors.Join(fmt.Errorf("level %s %s", l.Kind, l.ID), err))
}
