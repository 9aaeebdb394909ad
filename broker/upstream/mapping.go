package upstream

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Mapping says from which claims or attributes a person's profile is read. Each field is a list of
// sources, and the first that has a value wins. A source is the name of a claim or attribute; one that
// starts with "=" is that text itself, for what a provider does not send. Empty lists mean the names
// that providers commonly use.
type Mapping struct {
	Email  []string `json:"email,omitempty"`
	Name   []string `json:"name,omitempty"`
	Given  []string `json:"given,omitempty"`
	Family []string `json:"family,omitempty"`
	Locale []string `json:"locale,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

const (
	claims2005 = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	claims2008 = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
	microsoft  = "http://schemas.microsoft.com/identity/claims/"
)

// common holds the names in use, ours first (providers.md). Names that only some providers vouch for,
// like preferred_username, are not among them: an administrator may choose them.
var common = Mapping{
	Email:  []string{"email", claims2005 + "emailaddress", "urn:oid:0.9.2342.19200300.100.1.3", "mail", "Email", "User.Email"},
	Name:   []string{"name", "displayName", microsoft + "displayname", "urn:oid:2.16.840.1.113730.3.1.241", "cn", "urn:oid:2.5.4.3"},
	Given:  []string{"firstName", "given_name", claims2005 + "givenname", "urn:oid:2.5.4.42", "givenName", "first_name", "firstname"},
	Family: []string{"lastName", "family_name", claims2005 + "surname", "urn:oid:2.5.4.4", "sn", "last_name", "lastname"},
	Locale: []string{"locale", "preferredLanguage", "urn:oid:2.16.840.1.113730.3.1.39"},
	Groups: []string{"groups", claims2008 + "groups", "Role", "roles"},
}

const (
	maxSources    = 16
	maxSourceName = 256
	maxField      = 256
	maxGroups     = 5000
	// MaxClaims and MaxClaimValue bound what an Assertion carries for showing its source.
	MaxClaims     = 64
	MaxClaimValue = 1024
)

// Check says whether the mapping can be used. An address written into the settings would make everybody
// the same person, so Email takes no constant.
func (m Mapping) Check() error {
	for _, list := range [][]string{m.Email, m.Name, m.Given, m.Family, m.Locale, m.Groups} {
		if len(list) > maxSources {
			return ErrConfig.Because(fmt.Sprintf("more than %d sources for one field", maxSources))
		}
		for _, source := range list {
			if source == "" || source == "=" || len(source) > maxSourceName || !Plain(source) {
				return ErrConfig.Because("a source that is empty, too long or not text")
			}
		}
	}
	for _, source := range m.Email {
		if strings.HasPrefix(source, "=") {
			return ErrConfig.Because("a constant e-mail address")
		}
	}
	return nil
}

// Fill reads the profile out of what was asserted. values gives the values of a claim or attribute by
// name. It returns the name that the address was read from: whether an address is vouched for depends
// on it.
func (m Mapping) Fill(a *Assertion, values func(name string) []string) (emailSource string) {
	a.Email, emailSource = first(m.Email, common.Email, values)
	a.Name, _ = first(m.Name, common.Name, values)
	a.Given, _ = first(m.Given, common.Given, values)
	a.Family, _ = first(m.Family, common.Family, values)
	a.Locale, _ = first(m.Locale, common.Locale, values)
	a.Groups = groups(m.Groups, values)
	return emailSource
}

func first(sources, otherwise []string, values func(string) []string) (value, source string) {
	if len(sources) == 0 {
		sources = otherwise
	}
	for _, source := range sources {
		for _, v := range resolve(source, values) {
			if v = strings.TrimSpace(v); v != "" {
				return cut(v, maxField), source
			}
		}
	}
	return "", ""
}

func groups(sources []string, values func(string) []string) []string {
	if len(sources) == 0 {
		sources = common.Groups
	}
	for _, source := range sources {
		if v := resolve(source, values); len(v) > 0 {
			return v[:min(len(v), maxGroups)]
		}
	}
	return nil
}

func resolve(source string, values func(string) []string) []string {
	if text, constant := strings.CutPrefix(source, "="); constant {
		return []string{text}
	}
	return values(source)
}

// cut shortens text to at most max bytes, at a rune's edge.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// CutClaim shortens a claim's value for Assertion.Claims.
func CutClaim(s string) string { return cut(s, MaxClaimValue) }

// Plain says whether s is valid UTF-8 without NUL: what every claim, attribute and parameter must be.
// A NUL ends a string for some readers and not for others, so that one name reads as two.
func Plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// Shown prepares a value that somebody sent for a Report: one line of printable text, cut. What cannot
// be shown becomes a dot.
func Shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError || r >= 0x80 && r < 0xa0 || isBidi(r) {
			return '·'
		}
		return r
	}, cut(s, 4*maxField))
	return cut(s, maxField)
}

// isBidi recognises the marks that turn text around: a doctor's line must read as it was sent.
func isBidi(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff
}
