package upstream

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func filled(m Mapping, claims map[string][]string) (Assertion, string) {
	var a Assertion
	source := m.Fill(&a, func(name string) []string { return claims[name] })
	return a, source
}

func TestCommonNamesAreFoundInOrder(t *testing.T) {
	a, source := filled(Mapping{}, map[string][]string{
		"urn:oid:0.9.2342.19200300.100.1.3": {"oid@acme.example"}, "mail": {"mail@acme.example"},
		claims2005 + "givenname": {"Alice"}, "lastName": {"Example"}, "sn": {"Wrong"},
		microsoft + "displayname": {"Alice Example"}, claims2008 + "groups": {"g1", "g2"},
	})
	want := Assertion{Email: "oid@acme.example", Name: "Alice Example", Given: "Alice", Family: "Example", Groups: []string{"g1", "g2"}}
	if !reflect.DeepEqual(a, want) || source != "urn:oid:0.9.2342.19200300.100.1.3" {
		t.Errorf("%+v from %s", a, source)
	}
}

func TestTheFirstSourceWithAValueWins(t *testing.T) {
	m := Mapping{Name: []string{"a", "b", "=nobody"}, Groups: []string{"x", "=everyone"}}
	for _, test := range []struct {
		claims map[string][]string
		name   string
		groups []string
	}{
		{map[string][]string{"a": {"A"}, "b": {"B"}}, "A", []string{"everyone"}},
		{map[string][]string{"a": {"", "  "}, "b": {" B "}}, "B", []string{"everyone"}},
		{map[string][]string{"name": {"N"}, "x": {"1"}}, "nobody", []string{"1"}},
	} {
		if a, _ := filled(m, test.claims); a.Name != test.name || !slices.Equal(a.Groups, test.groups) {
			t.Errorf("%v: %q %v", test.claims, a.Name, a.Groups)
		}
	}
}

func TestMappedValuesAreBounded(t *testing.T) {
	a, _ := filled(Mapping{}, map[string][]string{"name": {strings.Repeat("ü", 1000)}, "groups": make([]string, 2*maxGroups)})
	if len(a.Name) > maxField || !strings.HasSuffix(a.Name, "ü") || len(a.Groups) != maxGroups {
		t.Errorf("%d bytes, %d groups", len(a.Name), len(a.Groups))
	}
}

func TestMappingsThatAreRefused(t *testing.T) {
	for name, m := range map[string]Mapping{
		"a constant address": {Email: []string{"=ceo@acme.example"}},
		"an empty source":    {Name: []string{""}},
		"an empty constant":  {Name: []string{"="}},
		"a long source":      {Name: []string{strings.Repeat("x", 300)}},
		"NUL":                {Groups: []string{"a\x00"}},
		"too many":           {Given: slices.Repeat([]string{"x"}, 17)},
	} {
		if err := m.Check(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Mapping{Email: []string{"upn", "mail"}, Locale: []string{"=de"}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestS23WhatIsShownIsOneLineOfText(t *testing.T) {
	for in, want := range map[string]string{
		"https://idp.example": "https://idp.example", "Ü ß": "Ü ß", "a\r\nb": "a··b", "a\x00b\x7f": "a·b·", "\xff": "·",
		"a\u202eb": "a·b", "\u200b": "·", "\u2028": "·", "\ufeff": "·", "\u0085": "·",
	} {
		if got := Shown(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, long := range []string{strings.Repeat("x", 1<<20), strings.Repeat("ü", 1<<20), strings.Repeat("\x00", 1<<20)} {
		if got := Shown(long); len(got) > maxField || Shown(got) != got {
			t.Errorf("%d bytes", len(got))
		}
	}
}
