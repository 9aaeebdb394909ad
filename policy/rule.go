package policy

// This file holds what a rule is; the rules themselves stand in the files of their groups.

import (
	"encoding/json"
	"fmt"
)

// Rule is one setting. Tighter makes its values a semilattice: associative, commutative, idempotent,
// with Loosest above and Strictest below everything; law_test.go proves it for every rule of the table,
// over the Samples. The laws cannot know which end you meant as strict: Loosest and Strictest are the
// two lines a reviewer reads twice.
type Rule[T comparable] struct {
	Key   string // stored, never renamed: "session.lifetime"
	Group string
	Title string // "Longest session"
	Help  string // one sentence for whoever sets it
	// When says from when on a change holds, where that is not the next request of every session.
	When string
	// Default holds where no level set anything; it binds nobody.
	Default T
	// Limit is the loosest value that anybody may reach where the operator set no other limit.
	Limit T
	// Loosest is the loosest value there is: no operator's limit goes beyond it.
	Loosest T
	// Strictest is what holds where no policy was resolved.
	Strictest T
	// NoApp says that the setting is about people or the organization as a whole: an app has no value.
	NoApp bool
	// Floor is the tightest value that a level below the platform may write; the zero value is none.
	Floor   T
	Tighter func(a, b T) T
	// Read and Show are the value's form in JSON and in sentences.
	Read func(json.RawMessage) (T, error)
	Show func(T) string
	// Empty says that a value allows nothing, and so nobody; nil where none does.
	Empty func(T) bool
	// Wild says that a value is so wide that it can be a limit and nobody's wish; nil where none is.
	Wild func(T) bool
	// Unite is all that either value allows, for what an ancestor wants kept (S13); nil where nothing can be.
	Unite func(a, b T) T
	// Strength ranks the strongest thing a value allows; nil where no order is meant. Narrowing that
	// lowers it is refused: fewer second factors are not tighter when only the weakest is left.
	Strength func(T) int
	// Samples are values for the laws: the ends, the default, and what lies between.
	Samples []T

	form form // how values are written, for manuals, schemas and pages
	slot int  // place in the table, from 1; see number
}

// form says how a kind of value is written.
type form struct {
	kind    Form
	words   string   // "a time such as 8h"
	tighter string   // "a shorter time is tighter"
	of      []string // the words to choose from, loosest first where they have an order
	from    int      // the numbers to choose from
	to      int
	besides string // a word that stands for no bound, "" for none
}

// In is the rule's value under a policy. A policy that nobody resolved, and a rule that is in no table,
// give the strictest value.
func (r *Rule[T]) In(e Effective) T {
	if e.folded == nil || r.slot == 0 {
		return r.Strictest
	}
	return e.folded.slots[r.slot-1].value.(T)
}

// LimitIn is the loosest value that a level below could set.
func (r *Rule[T]) LimitIn(e Effective) T {
	if e.folded == nil || r.slot == 0 {
		return r.Strictest
	}
	return e.folded.slots[r.slot-1].limit.(T)
}

// rule is a Rule whose type was put aside, for the table and the fold. Values given to it are T.
type rule interface {
	key() string
	title() string
	number(slot int)
	place() int // in the table, from 0
	read(json.RawMessage) (any, error)
	show(any) string
	tighter(a, b any) any
	defaults() (value, limit any)
	ends() (loosest, strictest any)
	floor() (any, bool)
	empty(any) bool
	wild(any) bool
	strength(any) int
	samples() []any
	unite(a, b any) any
	about() about
}

// about is what manuals and editors are told of a rule beside its values.
type about struct {
	group, help string
	when        string
	noApp       bool
	keeps       bool
	form        form
}

func (r *Rule[T]) key() string                    { return r.Key }
func (r *Rule[T]) title() string                  { return r.Title }
func (r *Rule[T]) number(slot int)                { r.slot = slot }
func (r *Rule[T]) place() int                     { return r.slot - 1 }
func (r *Rule[T]) show(v any) string              { return r.Show(v.(T)) }
func (r *Rule[T]) tighter(a, b any) any           { return r.Tighter(a.(T), b.(T)) }
func (r *Rule[T]) defaults() (value, limit any)   { return r.Default, r.Limit }
func (r *Rule[T]) ends() (loosest, strictest any) { return r.Loosest, r.Strictest }
func (r *Rule[T]) empty(v any) bool               { return r.Empty != nil && r.Empty(v.(T)) }

func (r *Rule[T]) wild(v any) bool    { return r.Wild != nil && r.Wild(v.(T)) }
func (r *Rule[T]) unite(a, b any) any { return r.Unite(a.(T), b.(T)) }

func (r *Rule[T]) about() about {
	return about{group: r.Group, help: r.Help, when: r.When, noApp: r.NoApp, keeps: r.Unite != nil, form: r.form}
}

func (r *Rule[T]) floor() (any, bool) {
	var none T
	return r.Floor, r.Floor != none
}

func (r *Rule[T]) strength(v any) int {
	if r.Strength == nil {
		return 0
	}
	return r.Strength(v.(T))
}

func (r *Rule[T]) samples() []any {
	out := make([]any, len(r.Samples))
	for i, v := range r.Samples {
		out[i] = v
	}
	return out
}

// read refuses what lies outside the ends: beyond them the order says nothing.
func (r *Rule[T]) read(raw json.RawMessage) (any, error) {
	v, err := r.Read(raw)
	if err != nil {
		return nil, err
	}
	if r.Tighter(v, r.Loosest) != v {
		return nil, fmt.Errorf("%s is looser than %s, the loosest there is", r.Show(v), r.Show(r.Loosest))
	}
	if r.Tighter(v, r.Strictest) != r.Strictest {
		return nil, fmt.Errorf("%s is tighter than %s, the tightest there is", r.Show(v), r.Show(r.Strictest))
	}
	return v, nil
}

// table is the rules that a fold runs over.
type table struct {
	rules []rule
	byKey map[string]rule
}

// tableOf numbers the rules, so that reading one from an Effective is an index and not a search.
func tableOf(rules ...rule) table {
	t := table{rules: rules, byKey: make(map[string]rule, len(rules))}
	for i, r := range rules {
		r.number(i + 1)
		t.byKey[r.key()] = r
	}
	return t
}
