package policy

import (
	"fmt"
	"strings"
	"time"
)

// Provenance says where an effective value comes from.
type Provenance struct {
	Key   string
	Title string
	Value string // as people write it: "8h"
	// Level, Kind and ID name who decided: the level whose value this is, or the platform.
	Level string
	Kind  Kind
	ID    string
	// Set is false where the value is a default, which binds nobody.
	Set bool
	// Asked is what the last level with a value of its own asked for where that is not what holds:
	// it is over the limit. AskedBy is its name. Both are "" otherwise.
	Asked, AskedBy string
	// Limit is the loosest value that a level below could set, LimitBy who says so. Locked: no other
	// value is left.
	Limit, LimitBy string
	Locked         bool
	// Note is who wrote the value, when and why; LimitNote the same of the limit. Both are empty where nobody
	// wrote anything: a default that this binary came with.
	Note, LimitNote Note
	// Keep is what a level below must keep of a set, as people write it; "" is nothing.
	Keep string
}

// Why explains a setting's value. The zero Effective explains that nobody resolved it; a key that is
// no setting's has a Provenance without words.
func (e Effective) Why(key string) Provenance { return rules.why(e, key) }

func (t table) why(e Effective, key string) Provenance {
	for i, r := range t.rules {
		if r.key() != key {
			continue
		}
		if e.folded == nil {
			_, strictest := r.ends()
			v := r.show(strictest)
			return Provenance{Key: key, Title: r.title(), Value: v, Limit: v, Level: "nobody", LimitBy: "nobody", Set: true, Locked: true}
		}
		return e.folded.explain(r, e.folded.slots[i])
	}
	return Provenance{}
}

func (f *folded) explain(r rule, s slot) Provenance {
	by := f.chain[s.by]
	p := Provenance{
		Key: r.key(), Title: r.title(), Value: r.show(s.value), Set: s.set,
		Level: by.shown(), Kind: by.Kind, ID: by.ID, Note: f.valueNote(r, s),
		Limit: r.show(s.limit), LimitBy: f.chain[s.limitBy].shown(), LimitNote: f.limitNote(r, s), Locked: locked(r, s.limit),
	}
	var keep any
	for _, k := range s.keeps {
		if keep == nil {
			keep = k.members
		}
		keep = r.unite(keep, k.members)
	}
	if keep != nil && !r.empty(keep) {
		p.Keep = r.show(keep)
	}
	if s.asked != nil {
		p.Asked, p.AskedBy = r.show(s.asked), f.chain[s.askedBy].shown()
	}
	return p
}

// valueNote is what is known of the writing of the value: at the platform it is a default, a limit or a value.
func (f *folded) valueNote(r rule, s slot) Note {
	notes := f.chain[s.by].Notes
	if f.chain[s.by].Kind != Platform {
		return notes[r.key()]
	}
	if !s.set {
		return notes[NoteOf(Defaults, r.key())]
	}
	if n, ok := notes[r.key()]; ok {
		return n
	}
	return notes[NoteOf(Limits, r.key())]
}

func (f *folded) limitNote(r rule, s slot) Note {
	by := f.chain[s.limitBy]
	if n, ok := by.Notes[r.key()]; ok || by.Kind != Platform {
		return n
	}
	return by.Notes[NoteOf(Limits, r.key())]
}

// locked says whether the limit leaves one value to choose.
func locked(r rule, limit any) bool {
	if s, ok := limit.(Set); ok && r.empty(s.none()) {
		return s.Len() < 2 // an empty set cannot be written
	}
	_, strictest := r.ends()
	floor, has := r.floor()
	return limit == strictest || has && limit == floor
}

// Words is the whole story in a sentence or three.
func (p Provenance) Words() string {
	switch {
	case p.Key == "":
		return ""
	case p.Level == "nobody":
		return fmt.Sprintf("%s: %s, the strictest there is, because no policy was resolved.", p.Title, p.Value)
	}
	text := fmt.Sprintf("%s: %s, ", p.Title, p.Value)
	switch {
	case !p.Set:
		text += "the default"
	case p.Kind == Platform:
		text += "required by the platform"
	default:
		text += "required by " + p.Level
	}
	text += p.Note.words()
	if p.Asked != "" {
		text += fmt.Sprintf(" %s asked for %s.", upper(p.AskedBy), p.Asked)
	}
	if p.Limit != p.Value {
		text += fmt.Sprintf(" The loosest allowed is %s, by %s.", p.Limit, p.LimitBy)
	}
	if p.Keep != "" {
		text += fmt.Sprintf(" Whoever narrows it keeps %s.", p.Keep)
	}
	return text
}

// words end a sentence with who wrote something, when and why.
func (n Note) words() string {
	text := ""
	if n.By != "" {
		text = ", set by " + n.By
		if !n.At.IsZero() {
			text += " on " + n.At.UTC().Format(time.DateOnly)
		}
	}
	if text += "."; n.Reason != "" {
		text += " The reason given: " + strings.TrimRight(n.Reason, ". ") + "."
	}
	return text
}

func upper(name string) string {
	if name == "the platform" {
		return "The platform"
	}
	return name
}
