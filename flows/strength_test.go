package flows

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// own is a proof of the person's own, as the factor of that method gives it.
func own(m mfa.Method, org directory.OrgID, channel string) Proof {
	shows := map[mfa.Method]mfa.Evidence{
		policy.Passkey: mfa.Possession | mfa.Verification | mfa.Resistant, policy.SecurityKey: mfa.Possession | mfa.Resistant,
		policy.TOTP: mfa.Possession, policy.Push: mfa.Possession, policy.SMS: mfa.Possession, policy.Email: mfa.Possession,
		policy.EmailLink: mfa.Possession, policy.Password: mfa.Knowledge,
	}[m]
	return Proof{Org: org, Method: m, Factor: directory.FactorID("fac_" + string(m)), Shows: shows, Channel: channel, At: start, Seen: start}
}

// S11: what proofs are worth together, by hand.
func TestS11StrengthIsOfDistinctProofs(t *testing.T) {
	const mail = "mail:ada@acme.example"
	sso := proof("con_a", "org_a", 0)
	told := sso
	told.AMR = []string{"pwd", "mfa"}
	for _, c := range []struct {
		name   string
		proofs []Proof
		want   Rung
	}{
		{"nothing", nil, RungNone},
		{"a provider's word", []Proof{sso}, RungOne},
		{"a provider's word and its second step", []Proof{told}, RungTwo},
		{"the same of a connection that is trusted here", []Proof{{Connection: "con_t", Org: "org_t", AMR: []string{"mfa"}, At: start, Seen: start}}, RungTwo},
		{"the same of one that is not", []Proof{{Connection: "con_u", Org: "org_t", AMR: []string{"mfa"}, At: start, Seen: start}}, RungOne},
		{"a provider's word and an app's code", []Proof{sso, own(policy.TOTP, "org_a", "")}, RungTwo},
		{"a password", []Proof{own(policy.Password, "org_a", "")}, RungOne},
		{"a password and a key that recognizes nobody", []Proof{own(policy.Password, "org_a", ""), own(policy.SecurityKey, "org_a", "")}, RungTwo},
		{"a passkey", []Proof{own(policy.Passkey, "org_a", "")}, RungPhr},
		{"a link and a code to one mailbox", []Proof{own(policy.EmailLink, "org_a", mail), own(policy.Email, "org_a", mail)}, RungOne},
		{"two things held", []Proof{own(policy.EmailLink, "org_a", mail), own(policy.TOTP, "org_a", "")}, RungOne},
		{"a password that came by mail, and a code to that mailbox", []Proof{{Org: "org_a", Method: policy.Password, Shows: mfa.Knowledge, Channel: mail}, own(policy.Email, "org_a", mail)}, RungOne},
		{"a recovery code besides", []Proof{sso, own(policy.RecoveryCode, "org_a", "")}, RungOne},
		{"a bypass besides", []Proof{sso, own(policy.AdminBypass, "org_a", "")}, RungOne},
		{"a remembered device besides", []Proof{sso, own(methodDevice, "org_a", "")}, RungOne},
	} {
		s := signedIn()
		s.Org.Usable[0].MFA = []string{"mfa"}
		s.Org.Trusted = []ConnectionFacts{{ID: "con_t", Org: "org_t", MFA: []string{"mfa"}}}
		if got := s.Rung(rules(t, nil), c.proofs); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// guarding is any policy about second steps.
func guarding(rt *rapid.T) (policy.Effective, map[string]string) {
	m := map[string]string{}
	pick := func(key string, values ...string) {
		if v := rapid.SampledFrom(append(values, "")).Draw(rt, key); v != "" {
			m[key] = v
		}
	}
	pick("mfa.requirement", `"off"`, `"new_device"`, `"always"`)
	pick("mfa.methods", `["passkey","totp","email"]`, `["passkey","security_key"]`, `["security_key"]`)
	pick("mfa.phishing_resistant", `true`)
	pick("mfa.trust_upstream", `false`)
	pick("mfa.enrolment_grace", `"1d"`, `"7d"`)
	pick("recovery.methods", `[]`)
	return rules(rt, m), m
}

// shown adds proofs of the person's own, marks and demands to any state.
func shown(rt *rapid.T) State {
	s := state(rt)
	org := func(name string) directory.OrgID {
		return rapid.SampledFrom([]directory.OrgID{"org_a", "org_a", "org_b", "org_top"}).Draw(rt, name)
	}
	methods := []mfa.Method{policy.Passkey, policy.SecurityKey, policy.TOTP, policy.Email, policy.EmailLink, policy.Password, policy.RecoveryCode, methodLater, methodDevice}
	s.Methods = []mfa.Method{policy.Passkey, policy.SecurityKey, policy.TOTP, policy.Email, policy.RecoveryCode}
	s.Enrollable = s.Methods[:3]
	for range rapid.IntRange(0, 3).Draw(rt, "own proofs") {
		m := rapid.SampledFrom(methods).Draw(rt, "method")
		channel := ""
		if m == policy.Email || m == policy.EmailLink {
			channel = "mail:ada"
		}
		p := own(m, org("where"), channel)
		p.At = start.Add(-rapid.SampledFrom([]time.Duration{0, time.Minute, 23 * time.Hour, 48 * time.Hour}).Draw(rt, "own at"))
		p.Seen = p.At
		s.Proofs = append(s.Proofs, p)
	}
	if s.Org != nil && len(s.Org.Usable) > 0 && rapid.Bool().Draw(rt, "rule") {
		s.Org.Usable[0].MFA = []string{"mfa"}
		for i := range s.Proofs {
			if s.Proofs[i].Connection != "" && rapid.Bool().Draw(rt, "amr") {
				s.Proofs[i].AMR = []string{"mfa"}
			}
		}
	}
	s.Needed = Rung(rapid.IntRange(0, 3).Draw(rt, "needed"))
	s.Wished = Rung(rapid.IntRange(0, 3).Draw(rt, "wished"))
	if s.FactorsKnown = rapid.Bool().Draw(rt, "known"); s.FactorsKnown {
		for range rapid.IntRange(0, 2).Draw(rt, "factors") {
			s.Factors = append(s.Factors, FactorFacts{Method: rapid.SampledFrom(s.Methods).Draw(rt, "has"), Org: org("of")})
		}
	}
	return s
}

// Whoever is let in has shown what policy and app demand, judged here anew and by hand.
func TestWhoeverIsLetInHasShownWhatIsDemanded(t *testing.T) {
	in, second := 0, 0
	often(t, func(rt *rapid.T) {
		s := shown(rt)
		p, _ := guarding(rt)
		d := Decide(DefaultFlow, p, s)
		if !d.Done {
			return
		}
		in++
		var primary, resistant, upstream bool
		var kinds mfa.Evidence
		best := RungNone
		for _, q := range d.Counting {
			if q.Connection == "" && q.Org != "org_a" && q.Org != "org_top" {
				rt.Fatalf("a factor of %s counts", q.Org)
			}
			if q.Method == methodLater || q.Method == methodDevice {
				rt.Fatalf("a mark counts as a proof: %+v", q)
			}
			primary = primary || q.Connection != "" || q.Method == policy.Passkey || q.Method == policy.Password || q.Method == policy.EmailLink
			resistant = resistant || q.Method == policy.Passkey
			upstream = upstream || q.Connection != "" && slices.Contains(q.AMR, "mfa") && policy.MFATrustUpstream.In(p)
			if q.Connection != "" {
				kinds |= mfa.Knowledge
			}
			kinds |= q.Shows
			best = RungOne
		}
		if upstream {
			kinds |= mfa.Possession
		}
		if kinds.Kinds() > 1 {
			best = RungTwo
		}
		if resistant {
			best = RungPhr
		}
		switch {
		case !primary:
			rt.Fatalf("nobody said who it is: %+v", d.Counting)
		case s.Needed > best:
			rt.Fatalf("%d was needed, at most %d was shown: %+v", s.Needed, best, d.Counting)
		}
		marked := func(m mfa.Method, age time.Duration) bool {
			return slices.ContainsFunc(s.Proofs, func(q Proof) bool {
				return q.Method == m && q.Org == "org_a" && (age == 0 || s.Now.Sub(q.At) < age)
			})
		}
		want := policy.MFARequirement.In(p)
		if want == policy.Off || want == policy.NewDevice && marked(methodDevice, 0) {
			return
		}
		second++
		strict := policy.MFAPhishingResistant.In(p)
		if grace := policy.MFAEnrolmentGrace.In(p); grace > 0 && !strict && marked(methodLater, grace) {
			return
		}
		took := slices.ContainsFunc(d.Counting, func(q Proof) bool {
			switch q.Method {
			case policy.Passkey, policy.SecurityKey:
				return policy.MFAMethods.In(p).Allows(q.Method)
			case policy.TOTP, policy.Email:
				return !strict && policy.MFAMethods.In(p).Allows(q.Method)
			case policy.RecoveryCode:
				return !strict && policy.RecoveryMethods.In(p).Allows(q.Method)
			}
			return false
		})
		if !took && (strict || !upstream) {
			rt.Fatalf("no second step, and one is required: %+v", d.Counting)
		}
	})
	if in < 100 || second < 20 {
		t.Errorf("%d were let in, %d past a second step: too few to prove anything", in, second)
	}
}

// A stricter rule about second steps lets in nobody more.
func TestAStricterSecondStepLetsInNobodyMore(t *testing.T) {
	tighter := map[string]string{
		"mfa.requirement": `"always"`, "mfa.methods": `["passkey"]`, "mfa.phishing_resistant": `true`, "mfa.trust_upstream": `false`,
		"mfa.enrolment_grace": `"0s"`, "recovery.methods": `[]`,
	}
	often(t, func(rt *rapid.T) {
		s := shown(rt)
		s.Wished = RungNone // what an app would like is asked of whoever can give it, and a tighter policy leaves fewer
		lax, wishes := guarding(rt)
		strict := map[string]string{}
		for k, v := range wishes {
			strict[k] = v
		}
		for _, k := range slices.Sorted(maps.Keys(tighter)) {
			v := tighter[k]
			if k == "mfa.methods" && !policy.MFAMethods.In(lax).Allows(policy.Passkey) {
				continue // nothing of it would be left
			}
			if rapid.Bool().Draw(rt, "tighter "+k) {
				strict[k] = v
			}
		}
		if Decide(DefaultFlow, rules(rt, strict), s).Done && !Decide(DefaultFlow, lax, s).Done {
			rt.Fatalf("%v lets in whom %v keeps out: %+v", strict, wishes, s)
		}
	})
}
