package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// NameSet is a set of ids that others give, such as those of connections. It is a plain value: sets of the
// same ids are ==. The zero value holds none.
type NameSet struct {
	all    bool
	sorted string // the ids, in order, each followed by a line feed
}

// everyName holds every id there is and will be. A limit can be that; nobody can ask for it.
var everyName = NameSet{all: true}

// anyName is how everyName is written.
const anyName = "any"

// mostNames bounds what one level can write.
const mostNames = 100

// readNames reads a list of ids that begin with a prefix.
func readNames(prefix string, raw json.RawMessage) (NameSet, error) {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil || list == nil || len(list) > mostNames {
		return NameSet{}, fmt.Errorf("a list of at most %d ids is wanted, such as [\"%s…\"]", mostNames, prefix)
	}
	for _, id := range list {
		if !isName(prefix, id) {
			return NameSet{}, fmt.Errorf("%q is no id that begins with %s", id, prefix)
		}
	}
	return nameSet(list), nil
}

func isName(prefix, id string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	return ok && rest != "" && len(id) <= 64 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func nameSet(list []string) NameSet {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	var b strings.Builder
	for _, id := range list {
		b.WriteString(id)
		b.WriteByte('\n')
	}
	return NameSet{sorted: b.String()}
}

// Has says whether an id is in the set.
func (n NameSet) Has(id string) bool {
	if n.all {
		return id != ""
	}
	for rest := n.sorted; rest != ""; {
		var one string
		if one, rest, _ = strings.Cut(rest, "\n"); one == id {
			return true
		}
	}
	return false
}

// Names are the ids, in order; nil for the set of all. The caller may keep the slice.
func (n NameSet) Names() []string {
	if n.sorted == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Split(n.sorted, "\n"), func(s string) bool { return s == "" })
}

// All says that every id is in the set.
func (n NameSet) All() bool { return n.all }

func commonNames(a, b NameSet) NameSet {
	switch {
	case a.all:
		return b
	case b.all || a == b:
		return a
	}
	return nameSet(slices.DeleteFunc(a.Names(), func(id string) bool { return !b.Has(id) }))
}

// MarshalJSON writes the list that readNames reads; the set of all is no list and cannot be written.
func (n NameSet) MarshalJSON() ([]byte, error) {
	if n.all {
		return json.Marshal(anyName)
	}
	return json.Marshal(append([]string{}, n.Names()...))
}

// String is the set in a sentence.
func (n NameSet) String() string {
	switch {
	case n.all:
		return anyName
	case n.sorted == "":
		return "none"
	}
	return strings.Join(n.Names(), ", ")
}

// named is a list of ids that begin with a prefix, of which fewer are tighter.
func named(prefix string, r Rule[NameSet]) *Rule[NameSet] {
	r.Wild = NameSet.All
	r.Loosest, r.Tighter, r.Show = everyName, commonNames, NameSet.String
	r.Read = func(raw json.RawMessage) (NameSet, error) {
		if string(raw) == `"`+anyName+`"` {
			return everyName, nil
		}
		return readNames(prefix, raw)
	}
	r.form = form{kind: Names, words: "a list of ids such as `" + prefix + "01k9…`", tighter: "fewer are tighter"}
	r.Samples = append(r.Samples, nameSet([]string{prefix + "a"}), nameSet([]string{prefix + "a", prefix + "b"}), nameSet([]string{prefix + "c", prefix + "b"}))
	return sampled(&r)
}
