package oidc

import (
	"maps"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

const (
	// maxSubject is Core 2's bound on sub.
	maxSubject = 255
	maxEmail   = 254
	maxShown   = 100 // values of one claim in Assertion.Claims
)

// artefacts belong to the protocol and say nothing of the person.
var artefacts = []string{"nonce", "at_hash", "c_hash", "s_hash", "jti", "rt_hash", "_claim_sources"}

// assertion says who it was, in the room's words.
func (p *provider) assertion(cl claims, c *checks) (upstream.Assertion, error) {
	var as upstream.Assertion
	subject, ok := cl.text(p.cfg.SubjectClaim)
	ok = ok && subject != "" && len(subject) <= maxSubject
	if err := c.want("subject", ok, ErrSubject, "", "a claim "+p.cfg.SubjectClaim); err != nil {
		return upstream.Assertion{}, err
	}
	as.Key.Connection, as.Key.Issuer, as.Key.Subject, as.Key.Qualifiers = p.conn.ID, p.conn.Issuer, subject, p.cfg.Tenant
	if as.AuthTime = cl.time("auth_time"); as.AuthTime.IsZero() {
		as.AuthTime = cl.time("iat")
	}
	as.AMR, as.SID = cl.list("amr"), first(cl.text("sid"))
	as.ACR = first(cl.text("acr"))
	as.Claims = shown(cl)
	source := p.cfg.Mapping.Fill(&as, cl.values)
	noteOverage(cl, c)
	return as, p.checkEmail(&as, cl, source, c)
}

func first(s string, _ bool) string { return s }

// checkEmail says whether the provider vouches for the address. email_verified speaks of the claim named
// email, when that is one address, and of no other; and a provider that says no is believed even where it is authoritative.
func (p *provider) checkEmail(as *upstream.Assertion, cl claims, source string, c *checks) error {
	if as.Email == "" {
		return nil
	}
	if !isAddress(as.Email) {
		return c.fail("email", ErrEmail.Because("not an address"), "", "an e-mail address")
	}
	verified, said := cl.flag("email_verified")
	if _, text := cl.text("email"); source != "email" || !text {
		verified, said = false, said && !verified
	}
	as.EmailVouched = verified || p.conn.Authoritative && !said
	return nil
}

// isAddress is about shape alone: one @ with something at both sides, nothing that could break a header.
func isAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && local != "" && domain != "" && len(s) <= maxEmail && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("<>()[],;:\\\"", r)
	}) && !strings.Contains(domain, "@")
}

// noteOverage tells the doctor that groups were left out: Entra ID sends a pointer to its own interface
// instead of more than about two hundred (Core 5.6.2). No groups is then not the same as none.
func noteOverage(cl claims, c *checks) {
	names, ok := cl["_claim_names"].(map[string]any)
	if _, groups := names["groups"]; ok && groups {
		c.note("groups", false, "left out by the provider, because there are too many", "groups in the id_token")
	}
}

// shown are the claims for showing where a value comes from, within the contract's bounds.
func shown(cl claims) map[string][]string {
	out := make(map[string][]string, min(len(cl), upstream.MaxClaims))
	for _, name := range slices.Sorted(maps.Keys(cl)) {
		if len(out) == upstream.MaxClaims {
			break
		}
		if slices.Contains(artefacts, name) || len(name) > upstream.MaxClaimValue {
			continue
		}
		values := flatten(cl[name])
		values = values[:min(len(values), maxShown)]
		for i := range values {
			values[i] = upstream.CutClaim(values[i])
		}
		out[name] = values
	}
	return out
}
