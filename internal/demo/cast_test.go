package demo

import (
	"slices"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/themes"
)

func TestTheCastIsMadeUpAndComplete(t *testing.T) {
	seen, domains := map[string]bool{}, map[string]bool{}
	for _, c := range cast() {
		if seen[c.handle] || domains[c.domain] {
			t.Errorf("%s: its handle or domain is another's too", c.handle)
		}
		if c.parent != "" && !seen[c.parent] {
			t.Errorf("%s: its parent comes after it", c.handle)
		}
		seen[c.handle], domains[c.domain] = true, true
		if _, err := themes.ShippedTheme(c.handle); err != nil {
			t.Errorf("%s: %v", c.handle, err)
		}
		// RFC 2606 section 3: what ends so is nobody's.
		if !strings.HasSuffix(c.domain, ".example") || !strings.Contains(c.contact, ".example") {
			t.Errorf("%s: %s and %s may be somebody's", c.handle, c.domain, c.contact)
		}
		for _, p := range c.people {
			if !strings.HasSuffix(p.Email, "@"+c.domain) || p.Misbehavior != fakeidp.None || p.Unlisted {
				t.Errorf("%s: %+v", c.handle, p)
			}
		}
		if len(c.people) == 0 || c.facts[0] == "" || c.facts[1] == "" || c.idp == "" && c.kind != "" {
			t.Errorf("%s: its card is not complete", c.handle)
		}
	}
}

// Every way in which a provider can be wrong has one button on the first page, at a company whose
// protocol has that way.
func TestEveryMisbehaviorHasOneButton(t *testing.T) {
	kinds := map[string]fakeidp.Kind{}
	for _, c := range cast() {
		kinds[c.handle] = c.kind
	}
	buttons := map[fakeidp.Misbehavior]int{}
	for _, s := range stunts() {
		buttons[s.trick.Misbehavior]++
		if !slices.Contains(s.trick.Kinds, kinds[s.company]) {
			t.Errorf("%s cannot be shown at %s", s.trick.Misbehavior, s.company)
		}
		p := s.double("x.example")
		if !p.Unlisted || p.Misbehavior != s.trick.Misbehavior {
			t.Errorf("%s is asked of %+v", s.trick.Misbehavior, p)
		}
	}
	for _, kind := range []fakeidp.Kind{fakeidp.OIDC, fakeidp.SAML} {
		for _, trick := range fakeidp.Tricks(kind) {
			if n := buttons[trick.Misbehavior]; n != 1 {
				t.Errorf("%s has %d buttons", trick.Misbehavior, n)
			}
		}
	}
}
