package flows

import (
	"slices"
	"testing"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// S12: where only what cannot be phished is enough, the first passkey is set up after a provider's word or an
// administrator's code, never after a password alone; and neither code lets anybody in by itself.
func TestS12TheFirstPasskeyWantsMoreThanAPassword(t *testing.T) {
	strict := rules(t, map[string]string{"mfa.requirement": `"always"`, "mfa.phishing_resistant": `true`})
	password, bypass := own(policy.Password, "org_a", ""), own(policy.AdminBypass, "org_a", "")
	held := FactorFacts{ID: "fac_b", Method: policy.AdminBypass, Org: "org_a"}
	for _, c := range []struct {
		name    string
		proofs  []Proof
		factors []FactorFacts
		step    StepName
		refused bool
	}{
		{"a provider's word", []Proof{proof("con_a", "org_a", 0)}, nil, StepEnroll, false},
		{"a password", []Proof{password}, nil, "", true},
		{"a password of whom an administrator gave a code", []Proof{password}, []FactorFacts{held}, StepFactor, false},
		{"a password and that code", []Proof{password, bypass}, nil, StepEnroll, false},
	} {
		s := signedIn()
		s.Proofs, s.FactorsKnown, s.Factors = c.proofs, true, c.factors
		s.Started = start
		s.Methods = []mfa.Method{policy.Passkey, policy.TOTP, policy.RecoveryCode, policy.AdminBypass}
		s.Enrollable = s.Methods[:2]
		d := Decide(DefaultFlow, strict, s)
		if d.Done || d.Step != c.step || (d.Refused == ErrEnrolWeak) != c.refused {
			t.Errorf("%s: %+v", c.name, d)
		}
		if _, list := s.offered(strict); c.step == StepFactor && !slices.Equal(list, []mfa.Method{policy.AdminBypass}) {
			t.Errorf("%s: offered %v", c.name, list)
		}
	}
}
