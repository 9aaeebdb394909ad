package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

// This file reads and writes structs by the names of their JSON. The structs are those that other rooms
// keep (an app's settings, a theme, a profile, a protocol's own settings), so that a setting that one of
// them gains is in manifests at once.

// shape is what a struct type looks like in a file.
type shape struct {
	members []member
}

// member is one key of a shape.
type member struct {
	key    string
	index  int
	typ    reflect.Type
	of     []string // the only values there are; nil: the room that owns it says
	secret bool     // read from a file or the environment, never shown
}

// patch is what a file says of a struct: each function writes one member.
type patch []func(reflect.Value)

// on writes the patch into the struct that pointer points to.
func (p patch) on(pointer any) {
	v := reflect.ValueOf(pointer).Elem()
	for _, write := range p {
		write(v)
	}
}

// shapeOf makes the shape of a struct type. renamed gives keys other names than the JSON has; "" leaves a
// member out. Members with the tag `of` take those words alone.
func shapeOf(t reflect.Type, secret bool, renamed map[string]string) shape {
	var s shape
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" || !f.IsExported() {
			continue
		}
		if other, ok := renamed[key]; ok {
			key = other
		}
		if key == "" {
			continue
		}
		m := member{key: key, index: i, typ: f.Type, secret: secret}
		if of := f.Tag.Get("of"); of != "" {
			m.of = strings.Split(of, "|")
		}
		s.members = append(s.members, m)
	}
	return s
}

// fields puts the shape's keys among those of a map that is read; what they say goes into p.
func (s shape) fields(r *reader, known map[string]func(yamlfile.Value), p *patch) {
	for _, m := range s.members {
		known[m.key] = func(v yamlfile.Value) {
			if read := m.read(r, v); read.IsValid() {
				index := m.index // alone: the rest of m need not be kept for every line of a file
				*p = append(*p, func(target reflect.Value) { target.Field(index).Set(read) })
			} else if nested := m.nested(r, v); nested != nil {
				*p = append(*p, nested)
			}
		}
	}
}

// read reads a map that is nothing but the shape.
func (s shape) read(r *reader, v yamlfile.Value) patch {
	var p patch
	known := map[string]func(yamlfile.Value){}
	s.fields(r, known, &p)
	r.Fields(v, known)
	return p
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

// isStruct says whether a member is a map of its own, of which a file may say a part.
func (m member) isStruct() bool {
	t := m.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// nested gives the function that writes the part of a struct that a file names.
func (m member) nested(r *reader, v yamlfile.Value) func(reflect.Value) {
	if !m.isStruct() || v.Null() {
		return nil
	}
	t := m.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	inner := shapeOf(t, m.secret, nil).read(r, v)
	return func(target reflect.Value) {
		field := target.Field(m.index)
		if field.Kind() == reflect.Pointer {
			// A copy: what was read from the store is shared.
			fresh := reflect.New(t)
			if !field.IsNil() {
				fresh.Elem().Set(field.Elem())
			}
			field.Set(fresh)
			field = fresh.Elem()
		}
		for _, write := range inner {
			write(field)
		}
	}
}

// read gives the member's new value; null is its zero value, which takes away what was set. The zero
// reflect.Value says that there is none: it was wrong, or it is a struct.
func (m member) read(r *reader, v yamlfile.Value) reflect.Value {
	if v.Null() {
		return reflect.Zero(m.typ)
	}
	if m.isStruct() {
		return reflect.Value{}
	}
	wrongs := len(r.Problems)
	out := m.value(r, v, m.typ)
	if len(r.Problems) > wrongs {
		return reflect.Value{}
	}
	return out
}

func (m member) value(r *reader, v yamlfile.Value, t reflect.Type) reflect.Value {
	out := reflect.New(t).Elem()
	switch {
	case t == durationType:
		out.SetInt(int64(r.duration(v)))
	case t == rawType:
		out.SetBytes(r.raw(v))
	case t.Kind() == reflect.Pointer:
		inner := m.value(r, v, t.Elem())
		out = reflect.New(t.Elem())
		out.Elem().Set(inner)
	case t.Kind() == reflect.String:
		out.SetString(m.text(r, v))
	case t.Kind() == reflect.Bool:
		out.SetBool(r.Bool(v))
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		out.SetInt(r.Int(v))
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		for _, text := range r.words(v, m.key) {
			out = reflect.Append(out, reflect.ValueOf(text).Convert(t.Elem()))
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		inner := shapeOf(t.Elem(), m.secret, nil)
		for _, item := range r.Items(v) {
			one := reflect.New(t.Elem())
			inner.read(r, item).on(one.Interface())
			out = reflect.Append(out, one.Elem())
		}
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String:
		out.Set(reflect.MakeMap(t))
		r.Each(v, func(key string, _, value yamlfile.Value) {
			out.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(r.Text(value)))
		})
	default:
		r.Say(v, "This setting cannot be written in a file.")
	}
	return out
}

func (m member) text(r *reader, v yamlfile.Value) string {
	switch {
	case m.secret:
		return r.secret(v)
	case m.of != nil:
		return r.Choice(v, m.of...)
	}
	return r.Text(v)
}

// plain is a struct as a file writes it: keys in the order of the type, what is zero left out.
func (s shape) plain(v reflect.Value) []pairOf {
	var out []pairOf
	for _, m := range s.members {
		f := v.Field(m.index)
		if f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 || f.Kind() == reflect.Map && f.Len() == 0 {
			continue
		}
		out = append(out, pairOf{m.key, plainOf(f, m.secret)})
	}
	return out
}

// pairOf is one key of a map that keeps its order.
type pairOf struct {
	key   string
	value any // string, bool, int64, []any, []pairOf or hidden
}

// hidden stands for a secret: only whether two are the same is ever said.
type hidden string

func plainOf(v reflect.Value, secret bool) any {
	switch {
	case v.Type() == durationType:
		return showDuration(time.Duration(v.Int()))
	case v.Type() == rawType:
		var any any
		if json.Unmarshal(v.Bytes(), &any) != nil {
			return string(v.Bytes())
		}
		return any
	}
	switch v.Kind() {
	case reflect.Pointer:
		return plainOf(v.Elem(), secret)
	case reflect.String:
		if secret {
			return hidden(v.String())
		}
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int64:
		return v.Int()
	case reflect.Struct:
		return shapeOf(v.Type(), secret, nil).plain(v)
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range v.Len() {
			out[i] = plainOf(v.Index(i), secret)
		}
		return out
	case reflect.Map:
		var out []pairOf
		for _, k := range v.MapKeys() {
			out = append(out, pairOf{k.String(), v.MapIndex(k).String()})
		}
		slices.SortFunc(out, func(a, b pairOf) int { return strings.Compare(a.key, b.key) })
		return out
	}
	return fmt.Sprint(v.Interface())
}

// differences are the fields in which two structs of the shape differ.
func (s shape) differences(prefix string, before, after reflect.Value) []Field {
	return differing(prefix, s.plain(before), s.plain(after))
}

func differing(prefix string, before, after []pairOf) []Field {
	var out []Field
	was := map[string]any{}
	for _, p := range before {
		was[p.key] = p.value
	}
	seen := map[string]bool{}
	compare := func(key string, a, b any) {
		x, xs := a.([]pairOf)
		y, ys := b.([]pairOf)
		if (xs || a == nil) && (ys || b == nil) && (xs || ys) {
			out = append(out, differing(prefix+key+".", x, y)...)
			return
		}
		if !reflect.DeepEqual(a, b) {
			out = append(out, Field{Name: prefix + key, Before: show(a), After: show(b), Secret: holdsSecret(a) || holdsSecret(b)})
		}
	}
	for _, p := range after {
		seen[p.key] = true
		compare(p.key, was[p.key], p.value)
	}
	for _, p := range before {
		if !seen[p.key] {
			compare(p.key, p.value, nil)
		}
	}
	return out
}

func holdsSecret(v any) bool {
	switch v := v.(type) {
	case hidden:
		return true
	case []any:
		return slices.ContainsFunc(v, holdsSecret)
	case []pairOf:
		return slices.ContainsFunc(v, func(p pairOf) bool { return holdsSecret(p.value) })
	}
	return false
}

// show writes a value on one line, for people; "" is none.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case hidden:
		return "(secret)"
	case string:
		return yamlfile.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i, one := range v {
			parts[i] = show(one)
		}
		return cut("[" + strings.Join(parts, ", ") + "]")
	case []pairOf:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = p.key + ": " + show(p.value)
		}
		return cut("{" + strings.Join(parts, ", ") + "}")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return cut(strings.TrimSpace(b.String()))
}

func cut(s string) string {
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return s
}

// showDuration writes a duration as policy does: 30d, 8h, 90s.
func showDuration(d time.Duration) string {
	for _, u := range []struct {
		unit string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d%u.of == 0 {
			return strconv.FormatInt(int64(d/u.of), 10) + u.unit
		}
	}
	return d.String()
}
