package yamlfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Reader takes values apart and gathers what is wrong with them. The zero Reader is ready.
type Reader struct{ Problems Problems }

// Say notes that something is wrong with v.
func (r *Reader) Say(v Placed, format string, args ...any) {
	r.Problems = append(r.Problems, v.problem(fmt.Sprintf(format, args...)))
}

// Err is the Problems, nil when there are none.
func (r *Reader) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return r.Problems
}

// Fields reads a map: each key's function gets its value. Keys that are not known are refused with the
// nearest one that is, and so are keys that stand twice. It says whether v is a map at all.
func (r *Reader) Fields(v Value, known map[string]func(Value)) bool {
	return r.Each(v, func(key string, at, value Value) {
		read, ok := known[key]
		if !ok {
			r.Say(at, "%s", Unknown("key", key, slices.Sorted(maps.Keys(known))))
			return
		}
		read(value)
	})
}

// Each gives every key of a map with its place and its value, in the order of the file.
func (r *Reader) Each(v Value, read func(key string, at, value Value)) bool {
	if v.node.Kind != yaml.MappingNode {
		r.Say(v, "A map (key: value) is expected here, not %s.", kindOf(v.node))
		return false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k, val := v.node.Content[i], v.node.Content[i+1]
		at := Value{File: v.File, Path: v.Path, node: k}
		if k.Kind != yaml.ScalarNode {
			r.Say(at, "A key is a plain word.")
			continue
		}
		if at.Path = k.Value; v.Path != "" {
			at.Path = v.Path + "." + k.Value
		}
		if seen[k.Value] {
			r.Say(at, "This key stands here twice.")
			continue
		}
		seen[k.Value] = true
		read(k.Value, at, Value{File: v.File, Path: at.Path, node: val})
	}
	return true
}

// Items are the values of a list.
func (r *Reader) Items(v Value) []Value {
	if v.node.Kind != yaml.SequenceNode {
		r.Say(v, "A list (lines that begin with -) is expected here, not %s.", kindOf(v.node))
		return nil
	}
	out := make([]Value, len(v.node.Content))
	for i, n := range v.node.Content {
		out[i] = Value{File: v.File, Path: v.Path + "[" + strconv.Itoa(i) + "]", node: n}
	}
	return out
}

// Text is a scalar as it is written: `1990-01-02` and `007` stay what they look like.
func (r *Reader) Text(v Value) string {
	switch {
	case v.node.Kind != yaml.ScalarNode:
		r.Say(v, "A text is expected here, not %s.", kindOf(v.node))
		return ""
	case nothing(v.node):
		r.Say(v, "There is no value here. Write one, or leave the key out.")
		return ""
	}
	return v.node.Value
}

// Texts is a list of texts; one text alone is a list of one.
func (r *Reader) Texts(v Value) []string {
	if v.node.Kind == yaml.ScalarNode {
		return []string{r.Text(v)}
	}
	out := []string{}
	for _, item := range r.Items(v) {
		out = append(out, r.Text(item))
	}
	return out
}

// Choice is one of some words.
func (r *Reader) Choice(v Value, of ...string) string {
	said := len(r.Problems)
	s := r.Text(v)
	if len(r.Problems) == said && !slices.Contains(of, s) {
		r.Say(v, "%s", Unknown("value", s, of))
	}
	return s
}

// Bool is true or false.
func (r *Reader) Bool(v Value) bool {
	if v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!bool" {
		return strings.EqualFold(v.node.Value, "true")
	}
	r.Say(v, "true or false is expected here, not %s.", kindOf(v.node))
	return false
}

// Int is a whole number.
func (r *Reader) Int(v Value) int64 {
	if v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!int" {
		if n, err := strconv.ParseInt(v.node.Value, 10, 64); err == nil {
			return n
		}
	}
	r.Say(v, "A whole number is expected here, not %s.", kindOf(v.node))
	return 0
}

// IsScalar, IsList and IsMap say what a value is; Null that nothing is written.
func (v Value) IsScalar() bool { return v.node.Kind == yaml.ScalarNode }
func (v Value) IsList() bool   { return v.node.Kind == yaml.SequenceNode }
func (v Value) IsMap() bool    { return v.node.Kind == yaml.MappingNode }
func (v Value) Null() bool     { return nothing(v.node) }

// Plain is the value as Go has it: string, int64, float64, bool, nil, []any or map[string]any.
func (r *Reader) Plain(v Value) any {
	switch v.node.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		r.Each(v, func(key string, _, value Value) { out[key] = r.Plain(value) })
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, item := range r.Items(v) {
			out = append(out, r.Plain(item))
		}
		return out
	}
	switch v.node.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(v.node.Value, "true")
	case "!!int":
		if n, err := strconv.ParseInt(v.node.Value, 10, 64); err == nil {
			return n
		}
	case "!!float":
		if f, err := strconv.ParseFloat(v.node.Value, 64); err == nil {
			return f
		}
	}
	return v.node.Value
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	if nothing(n) {
		return "nothing"
	}
	return Quote(n.Value)
}

// Quote shows what somebody wrote in a line of an error: cut short, and without control characters.
func Quote(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
	if runes := []rune(s); len(runes) > 60 {
		s = string(runes[:60]) + "…"
	}
	return strconv.Quote(s)
}

// Unknown is the sentence for a word that is none of those that are known, with the nearest of them.
func Unknown(what, word string, known []string) string {
	said := fmt.Sprintf("There is no %s %s here.", what, Quote(word))
	if near := Nearest(word, known); near != "" {
		return said + " Did you mean " + near + "?"
	}
	if len(known) > 0 && len(known) <= 24 {
		return said + " Known: " + strings.Join(known, ", ") + "."
	}
	return said
}

// Nearest is the known word that somebody most likely meant; "" where none is near.
func Nearest(word string, known []string) string {
	word = strings.ToLower(word)
	if len(word) > 100 {
		return ""
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := distance(word, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out, changed or swapped.
func distance(a, b string) int {
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		older, old, row := rows[(i+2)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
