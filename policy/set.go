package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// words is a closed vocabulary that sets choose from: at most 64, in the order in which they are shown.
type words []string

// Set is a choice of words. It is a plain value: sets of the same words are ==, and nobody can change
// one that is shared. The zero Set is empty and of no vocabulary; sets of a rule always have one.
type Set struct {
	of   *words
	bits uint64
}

func (w *words) none() Set { return Set{of: w} }

func (w *words) all() Set { return Set{of: w, bits: 1<<len(*w) - 1} }

// set is for tables written by hand, and panics on a word that is none.
func (w *words) set(members ...string) Set {
	s, err := w.choose(members)
	if err != nil {
		panic(err)
	}
	return s
}

func (w *words) choose(members []string) (Set, error) {
	s := w.none()
	for _, m := range members {
		i := slices.Index(*w, m)
		if i < 0 {
			return Set{}, fmt.Errorf("%q is none of %s", m, strings.Join(*w, ", "))
		}
		s.bits |= 1 << i
	}
	return s, nil
}

// read reads a JSON list. A list is the only form: null is not "everything" and a string is no list.
func (w *words) read(raw json.RawMessage) (Set, error) {
	var members []string
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return Set{}, errors.New("a list is wanted, such as [\"" + (*w)[0] + "\"]")
	}
	return w.choose(members)
}

// common is what both sets have: the order of every allow-list.
func common(a, b Set) Set { return Set{of: a.of, bits: a.bits & b.bits} }

// union is all that either set has.
func union(a, b Set) Set { return Set{of: a.of, bits: a.bits | b.bits} }

func (s Set) none() Set { return Set{of: s.of} }

// Allows says whether a method is in the set.
func (s Set) Allows(m Method) bool { return s.Has(string(m)) }

// Methods are the members of a set of methods, in the vocabulary's order. The caller may keep the slice.
func (s Set) Methods() []Method {
	out := make([]Method, 0, s.Len())
	for _, w := range s.Words() {
		out = append(out, Method(w))
	}
	return out
}

// Has says whether a word is in the set.
func (s Set) Has(word string) bool {
	if s.of == nil {
		return false
	}
	i := slices.Index(*s.of, word)
	return i >= 0 && s.bits&(1<<i) != 0
}

// Words are the members, in the vocabulary's order. The caller may keep the slice.
func (s Set) Words() []string {
	out := make([]string, 0, s.Len())
	for i := 0; s.of != nil && i < len(*s.of); i++ {
		if s.bits&(1<<i) != 0 {
			out = append(out, (*s.of)[i])
		}
	}
	return out
}

// Len is how many words are in the set.
func (s Set) Len() int { return bits.OnesCount64(s.bits) }

// Empty says that nothing is in the set, which allows nobody.
func (s Set) Empty() bool { return s.bits == 0 }

// MarshalJSON writes the list that read reads.
func (s Set) MarshalJSON() ([]byte, error) { return json.Marshal(s.Words()) }

// String is the set in a sentence.
func (s Set) String() string {
	if s.Empty() {
		return "none"
	}
	return strings.Join(s.Words(), ", ")
}
