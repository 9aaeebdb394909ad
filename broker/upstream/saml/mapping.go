package saml

import (
	"slices"
	"strings"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Mapping names the attributes that hold a profile; an empty name means that the usual ones are tried.
type Mapping struct {
	Email  string `json:"email,omitempty"`
	Name   string `json:"name,omitempty"`
	Given  string `json:"given,omitempty"`
	Family string `json:"family,omitempty"`
	Locale string `json:"locale,omitempty"`
	Groups string `json:"groups,omitempty"`
}

const (
	soap      = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	microsoft = "http://schemas.microsoft.com/identity/claims/"
	authnRefs = "http://schemas.microsoft.com/claims/authnmethodsreferences"
)

// What products call things, the likeliest first.
var (
	emailNames  = []string{"email", soap + "emailaddress", "urn:oid:0.9.2342.19200300.100.1.3", "mail", "Email", "User.Email", "emailAddress", "emailaddress"}
	givenNames  = []string{"firstName", soap + "givenname", "urn:oid:2.5.4.42", "first_name", "givenName", "given_name", "firstname", "FirstName", "User.FirstName"}
	familyNames = []string{"lastName", soap + "surname", "urn:oid:2.5.4.4", "last_name", "sn", "surname", "family_name", "lastname", "LastName", "User.LastName"}
	fullNames   = []string{"displayName", microsoft + "displayname", "urn:oid:2.16.840.1.113730.3.1.241", "display_name", "cn", "urn:oid:2.5.4.3"}
	groupNames  = []string{"groups", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "http://schemas.xmlsoap.org/claims/Group", "memberOf", "Groups", "group", "Role"}
	localeNames = []string{"locale", "preferredLanguage", "urn:oid:2.16.840.1.113730.3.1.39"}
)

const (
	maxClaims      = 64
	maxClaimValues = 64
	maxClaimBytes  = 1024
	maxGroups      = 5000
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

// first finds the first of the names that has a value; wish stands before and instead of them.
func (l attributeList) first(wish string, names []string) []string {
	if wish != "" {
		return l.values(wish)
	}
	for _, n := range names {
		if v := l.values(n); len(v) > 0 {
			return v
		}
	}
	return nil
}

func (l attributeList) text(wish string, names []string) string {
	if v := l.first(wish, names); len(v) > 0 {
		return cut(v[0])
	}
	return ""
}

// fill maps attributes to a profile.
func (m Mapping) fill(out *upstream.Assertion, l attributeList, n nameID) {
	out.Email = m.email(l, n)
	out.Given = l.text(m.Given, givenNames)
	out.Family = l.text(m.Family, familyNames)
	out.Name = l.text(m.Name, fullNames)
	if out.Name == "" {
		out.Name = strings.TrimSpace(out.Given + " " + out.Family)
	}
	out.Locale = l.text(m.Locale, localeNames)
	out.Groups = groups(l.first(m.Groups, groupNames))
	out.AMR = slices.Clone(l.values(authnRefs))
	out.Claims = l.claims()
}

// email falls back to a name ID that says it is an address. Guests of Entra ID have a name that only
// looks like one.
func (m Mapping) email(l attributeList, n nameID) string {
	if v := l.text(m.Email, emailNames); v != "" || m.Email != "" {
		return v
	}
	if n.format == formatEmail && strings.Contains(n.value, "@") && !strings.Contains(n.value, "#EXT#") {
		return cut(n.value)
	}
	return ""
}

func groups(values []string) []string {
	return slices.Clone(values[:min(len(values), maxGroups)])
}

func (l attributeList) claims() map[string][]string {
	out := make(map[string][]string, min(len(l), maxClaims))
	for _, a := range l[:min(len(l), maxClaims)] {
		vs := make([]string, 0, min(len(a.values), maxClaimValues))
		for _, v := range a.values[:min(len(a.values), maxClaimValues)] {
			vs = append(vs, cut(v))
		}
		out[cut(a.name)] = vs
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxClaimBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxClaimBytes], "")
}
