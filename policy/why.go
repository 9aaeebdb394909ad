package policy

import "fmt"

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
		Level: by.shown(), Kind: by.Kind, ID: by.ID,
		Limit: r.show(s.limit), LimitBy: f.chain[s.limitBy].shown(), Locked: locked(r, s.limit),
	}
	if s.asked != nil {
		p.Asked, p.AskedBy = r.show(s.asked), f.chain[s.askedBy].shown()
	}
	return p
}

// locked says whether the limit leaves one value to choose.
func locked(r rule, limit any) bool {
	if s, ok := limit.(Set); ok {
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
		text += "the default."
	case p.Kind == Platform:
		text += "required by the platform."
	default:
		text += "required by " + p.Level + "."
	}
	if p.Asked != "" {
		text += fmt.Sprintf(" %s asked for %s.", upper(p.AskedBy), p.Asked)
	}
	if p.Limit != p.Value {
		text += fmt.Sprintf(" The loosest allowed is %s, by %s.", p.Limit, p.LimitBy)
	}
	return text
}

func upper(name string) string {
	if name == "the platform" {
		return "The platform"
	}
	return name
}
