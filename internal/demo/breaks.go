package demo

import (
	"net/url"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// stunt is one button of "Break it on purpose": a sign-in whose provider answers wrongly. Somebody whom
// the provider lists nowhere is asked for by address, so that the button needs no page of the provider's.
type stunt struct {
	trick   fakeidp.Trick
	company string // handle
}

// stunts gives every misbehavior one button, at the company whose protocol shows it best.
func stunts() []stunt {
	var out []stunt
	for _, t := range fakeidp.Tricks(fakeidp.SAML) {
		if showsBetter[t.Misbehavior] == fakeidp.SAML {
			out = append(out, stunt{t, "globalretail"})
		}
	}
	for _, t := range fakeidp.Tricks(fakeidp.OIDC) {
		if showsBetter[t.Misbehavior] != fakeidp.SAML {
			out = append(out, stunt{t, "techcorp"})
		}
	}
	return out
}

// showsBetter is where a misbehavior is shown; what is not listed is shown with OpenID Connect.
var showsBetter = map[fakeidp.Misbehavior]fakeidp.Kind{
	fakeidp.UnknownKey: fakeidp.SAML, fakeidp.WrongAudience: fakeidp.SAML, fakeidp.WrongRecipient: fakeidp.SAML,
	fakeidp.Old: fakeidp.SAML, fakeidp.FastClock: fakeidp.SAML, fakeidp.Unsigned: fakeidp.SAML,
	fakeidp.OtherTenant: fakeidp.SAML, fakeidp.ForeignEmail: fakeidp.SAML,
}

// double is who answers wrongly in that way.
func (s stunt) double(domain string) fakeidp.Person {
	p := person("robin."+string(s.trick.Misbehavior), "Robin Wrong", domain)
	p.Misbehavior, p.Unlisted = s.trick.Misbehavior, true
	return p
}

// url begins the sign-in at the app.
func (s stunt) url(w *World) string {
	c := w.company(s.company)
	q := url.Values{"organization": {c.asked()}, "login_hint": {s.double(c.domain).Email}}
	return w.apps[payments].base + "/login?" + q.Encode()
}
