package demo

import (
	"testing"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

func TestEveryClaimSaysWhereItCameFrom(t *testing.T) {
	s := &signedIn{Claims: map[string]any{"email": "mei@globalretail.example"}}
	rules := []rule{{Key: "tokens.access_lifetime", Title: "Life of access tokens", Value: "5 minutes", By: "Set by MexBanco"}}
	okta := &company{kind: fakeidp.OIDC, idp: "TechCorp ID"}
	entra := &company{kind: fakeidp.SAML, idp: "GlobalRetail ID"}
	for _, c := range []struct {
		claim     string
		origin    origin
		from, why string
	}{
		{"email", origin{through: okta}, "company", "Claim email of the provider’s answer."},
		{"email", origin{through: entra}, "company", "Attribute " + claimXMLSoap + "emailaddress of the provider’s answer."},
		{"email", origin{through: okta, entered: true}, "house", "As an administrator entered it. A provider changes only the accounts that it made."},
		{"email", origin{}, "house", "As kept from an earlier sign-in."},
		{"amr", origin{through: okta, entered: true}, "company", "Claim amr of the provider’s answer."},
		{"auth_time", origin{through: entra}, "company", "AuthnInstant of the assertion."},
		{"email_verified", origin{through: okta}, "house", "True because globalretail.example is verified for the person’s company, not because a provider says so."},
		{"exp", origin{through: okta, rules: rules}, "policy", "Life of access tokens: 5 minutes. Set by MexBanco."},
		{"sub", origin{through: okta}, "house", fixed["sub"][1]},
		{"nonce", origin{through: okta}, "app", fixed["nonce"][1]},
	} {
		if from, why := c.origin.of(c.claim, s); from != c.from || why != c.why {
			t.Errorf("%s: %s, %q; want %s, %q", c.claim, from, why, c.from, c.why)
		}
	}
}

func TestLifetimesAreSaidInWords(t *testing.T) {
	for value, want := range map[string]string{"4h": "4 hours", "1h": "1 hour", "30d": "30 days", "90s": "90 seconds", "5m": "5 minutes", "": "", "x": "x"} {
		if got := inWords(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
