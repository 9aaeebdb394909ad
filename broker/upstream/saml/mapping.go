package saml

import (
	"slices"
	"strings"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

const (
	authnRefs = "http://schemas.microsoft.com/claims/authnmethodsreferences"

	// As many values of one attribute are kept for showing; groups are kept apart and whole.
	maxClaimValues = 64
)

type attribute struct {
	name   string
	values []string
}

type attributeList []attribute

// attributes reads all attribute statements. An attribute that comes twice has the values of both.
func attributes(e *etree.Element) (attributeList, error) {
	var out attributeList
	index := map[string]int{}
	for _, s := range all(e, nsAssertion, "AttributeStatement") {
		for _, a := range all(s, nsAssertion, "Attribute") {
			name := attr(a, "Name")
			if name == "" {
				return nil, upstream.ErrMalformed.Because("an attribute without a name")
			}
			i, again := index[name]
			if !again {
				i = len(out)
				index[name] = i
				out = append(out, attribute{name: name})
			}
			for _, v := range all(a, nsAssertion, "AttributeValue") {
				if text := strings.TrimSpace(plain(v)); text != "" {
					out[i].values = append(out[i].values, text)
				}
			}
		}
	}
	return out, nil
}

func (l attributeList) values(name string) []string {
	for _, a := range l {
		if a.name == name {
			return a.values
		}
	}
	return nil
}

// fill maps attributes to a profile.
func (l attributeList) fill(out *upstream.Assertion, m upstream.Mapping, n nameID) {
	m.Fill(out, l.values)
	if out.Email == "" && len(m.Email) == 0 {
		out.Email = n.email()
	}
	if out.Name == "" {
		out.Name = strings.TrimSpace(out.Given + " " + out.Family)
	}
	out.AMR = slices.Clone(l.values(authnRefs))
	out.Claims = l.claims()
}

// email is the name ID where it says that it is an address. Guests of Entra ID have a name that only
// looks like one.
func (n nameID) email() string {
	if n.format == formatEmail && strings.Contains(n.value, "@") && !strings.Contains(n.value, "#EXT#") {
		return n.value
	}
	return ""
}

func (l attributeList) claims() map[string][]string {
	out := make(map[string][]string, min(len(l), upstream.MaxClaims))
	for _, a := range l[:min(len(l), upstream.MaxClaims)] {
		vs := make([]string, 0, min(len(a.values), maxClaimValues))
		for _, v := range a.values[:min(len(a.values), maxClaimValues)] {
			vs = append(vs, upstream.CutClaim(v))
		}
		out[upstream.CutClaim(a.name)] = vs
	}
	return out
}
