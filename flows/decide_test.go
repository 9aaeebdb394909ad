package flows

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// rules resolves an organization's policy from settings in JSON.
func rules(t interface{ Fatal(...any) }, settings map[string]string) policy.Effective {
	values := map[string]json.RawMessage{}
	for k, v := range settings {
		values[k] = json.RawMessage(v)
	}
	eff, err := policy.Resolve([]policy.Level{{Kind: policy.Platform}, {Kind: policy.Org, ID: "org_a", Name: "Acme", Values: values}})
	if err != nil {
		t.Fatal(err)
	}
	return eff
}

// acme is an organization with one connection of its own and one that is offered to it.
func acme() *OrgFacts {
	return &OrgFacts{
		Chain: directory.Chain{
			{ID: "org_top", Realm: "rlm_1", Name: "Group", Status: directory.Active},
			{ID: "org_a", Realm: "rlm_1", Name: "Acme", Status: directory.Active},
		},
		Entitled: true,
		Usable:   []ConnectionFacts{{ID: "con_a", Org: "org_a", Name: "Okta"}},
	}
}

func ada() *PersonFacts {
	return &PersonFacts{
		Person: directory.Person{ID: "per_1", Realm: "rlm_1", Home: "org_a", Status: directory.Active},
		Member: directory.Membership{Org: "org_a", Person: "per_1", Status: directory.Active},
	}
}

// proof was given to a connection so long ago.
func proof(con directory.ConnectionID, org directory.OrgID, ago time.Duration) Proof {
	return Proof{Connection: con, Org: org, Key: directory.IdentityKey{Connection: con, Subject: "s"}, At: start.Add(-ago), Seen: start.Add(-ago)}
}

// signedIn is somebody whose session satisfies everything.
func signedIn() State {
	return State{
		Now: start, Route: RouteNamed, Org: acme(), Person: ada(), Since: start.Add(-time.Hour / 2),
		Proofs: []Proof{proof("con_a", "org_a", time.Hour/2)},
		Marks:  []Mark{{Org: "org_a", Since: start.Add(-time.Hour / 2), Seen: start.Add(-time.Minute), Held: start.Add(11 * time.Hour)}},
	}
}

func TestDecide(t *testing.T) {
	age := func(d time.Duration) *time.Duration { return &d }
	for _, c := range []struct {
		name   string
		policy map[string]string
		change func(*State)
		step   StepName
		refuse *fault.Error
	}{
		{name: "everything holds"},
		{name: "nothing is known", change: func(s *State) { *s = State{Now: start, Started: start} }, step: StepIdentify},
		{name: "an organization and nobody", change: func(s *State) { *s = State{Now: start, Started: start, Route: RouteNamed, Org: acme()} }, step: StepAuthenticate},
		{name: "several ways in and nobody", change: func(s *State) {
			*s = State{Now: start, Started: start, Org: acme()}
			s.Org.Usable = append(s.Org.Usable, ConnectionFacts{ID: "con_b", Org: "org_a"})
		}, step: StepChoose},
		{name: "one of several ways was chosen", change: func(s *State) {
			*s = State{Now: start, Started: start, Org: acme(), Connection: "con_b"}
			s.Org.Usable = append(s.Org.Usable, ConnectionFacts{ID: "con_b", Org: "org_a"})
		}, step: StepAuthenticate},
		{name: "no way in", change: func(s *State) { *s = State{Now: start, Started: start, Org: acme()}; s.Org.Usable = nil }, refuse: ErrOrgUnavailable},
		{name: "an assertion waits", change: func(s *State) { *s = State{Now: start, Started: start, Org: acme(), Arrived: true} }, step: StepLink},
		{name: "a session and no organization", change: func(s *State) { s.Org, s.Choices = nil, []directory.OrgID{"org_a", "org_b"} }, step: StepChoose},
		{name: "a session and no organization for this app", change: func(s *State) { s.Org = nil }, refuse: ErrNoOrganization},
		{name: "an address, and several organizations", change: func(s *State) { s.Route, s.Choices = RouteIdentifier, []directory.OrgID{"org_a", "org_b"} }, step: StepChoose},
		{name: "an address, and one organization", change: func(s *State) { s.Route, s.Choices = RouteIdentifier, []directory.OrgID{"org_a"} }},
		{name: "chosen among several", change: func(s *State) { s.Route, s.Choices = RouteChosen, nil }},

		{name: "the organization is suspended", change: func(s *State) { s.Org.Chain[1].Status = directory.Suspended }, refuse: ErrOrgUnavailable},
		{name: "the organization is archived", change: func(s *State) { s.Org.Chain[1].Status = directory.Archived }, refuse: ErrOrgUnavailable},
		{name: "the organization's status is unreadable", change: func(s *State) { s.Org.Chain[1].Status = "" }, refuse: ErrOrgUnavailable},
		{name: "an ancestor is suspended", change: func(s *State) { s.Org.Chain[0].Status = directory.Suspended }, refuse: ErrOrgUnavailable},
		// S31: only to whom the organization is no secret is it told apart from one that is not there.
		{name: "not entitled, a member", change: func(s *State) { s.Org.Entitled = false }, refuse: ErrNotEntitled},
		{name: "not entitled, nobody", change: func(s *State) { s.Org.Entitled, s.Person, s.Proofs = false, nil, nil }, refuse: ErrOrgUnavailable},
		{name: "not entitled, no member", change: func(s *State) { s.Org.Entitled, s.Person.Member = false, directory.Membership{} }, refuse: ErrOrgUnavailable},
		{name: "not entitled, a member once", change: func(s *State) { s.Org.Entitled, s.Person.Member.Until = false, start }, refuse: ErrOrgUnavailable},
		{name: "not entitled, suspended", change: func(s *State) { s.Org.Entitled, s.Person.Person.Status = false, directory.Suspended }, refuse: ErrOrgUnavailable},
		{name: "not entitled, proved elsewhere", change: func(s *State) {
			s.Org.Entitled, s.Proofs = false, []Proof{proof("con_b", "org_b", time.Minute)}
		}, refuse: ErrOrgUnavailable},
		{name: "not entitled, suspended above", change: func(s *State) { s.Org.Entitled, s.Org.Chain[0].Status = false, directory.Suspended }, refuse: ErrOrgUnavailable},

		{name: "not a member", change: func(s *State) { s.Person.Member = directory.Membership{} }, refuse: ErrNotMember},
		{name: "a membership of another organization", change: func(s *State) { s.Person.Member.Org = "org_b" }, refuse: ErrNotMember},
		{name: "a person of another realm", change: func(s *State) { s.Person.Person.Realm = "rlm_2" }, refuse: ErrNotMember},
		{name: "the membership is over", change: func(s *State) { s.Person.Member.Until = start }, refuse: ErrNotMember},
		{name: "the membership is suspended", change: func(s *State) { s.Person.Member.Status = directory.Suspended }, refuse: ErrSuspended},
		{name: "the membership is unreadable", change: func(s *State) { s.Person.Member.Status = "" }, refuse: ErrNotMember},
		{name: "the person is suspended", change: func(s *State) { s.Person.Person.Status = directory.Suspended }, refuse: ErrSuspended},
		{name: "the person is unreadable", change: func(s *State) { s.Person.Person.Status = "" }, refuse: ErrSuspended},

		{name: "from nowhere, where anywhere will do", change: func(s *State) { s.Browser = true }},
		{name: "from nowhere", policy: map[string]string{"login.networks": `["192.0.2.0/24"]`}, change: func(s *State) { s.Browser = true }, refuse: ErrNetwork},
		{name: "from another network", policy: map[string]string{"login.networks": `["192.0.2.0/24"]`}, change: func(s *State) { s.Browser, s.From = true, netip.MustParseAddr("192.0.3.1") }, refuse: ErrNetwork},
		{name: "from the network", policy: map[string]string{"login.networks": `["192.0.2.0/24"]`}, change: func(s *State) { s.Browser, s.From = true, netip.MustParseAddr("192.0.2.1") }},
		{name: "by an app", policy: map[string]string{"login.networks": `["192.0.2.0/24"]`}},
		{name: "signed in to other apps alone", change: func(s *State) {
			s.Apart = true
			s.Proofs[0].held = true
		}, step: StepAuthenticate},
		{name: "signed in to other apps, and just to this one", change: func(s *State) { s.Apart, s.Started = true, s.Proofs[0].Seen }},
		{name: "a proof of another organization that is trusted", change: func(s *State) {
			s.Proofs = []Proof{proof("con_b", "org_b", time.Minute)}
			s.Org.Trusted = []ConnectionFacts{{ID: "con_b", Org: "org_b"}}
		}},
		{name: "a proof of a trusted connection that was switched off since", change: func(s *State) {
			s.Proofs = []Proof{proof("con_b", "org_b", time.Minute)}
			s.Org.Trusted = []ConnectionFacts{{ID: "con_b", Org: "org_b", After: start}}
		}, step: StepAuthenticate},
		{name: "a proof of another organization", change: func(s *State) { s.Proofs = []Proof{proof("con_b", "org_b", time.Minute)} }, step: StepAuthenticate},
		{name: "a proof of a connection that changed hands", change: func(s *State) { s.Proofs = []Proof{proof("con_a", "org_b", time.Minute)} }, step: StepAuthenticate},
		{name: "a guest, by the named connection", change: func(s *State) {
			s.Proofs, s.Person.Member.Accepts, s.Person.AcceptsActive = []Proof{proof("con_b", "org_b", time.Minute)}, "con_b", true
		}},
		{name: "a guest, by the named connection that is off", change: func(s *State) {
			s.Proofs, s.Person.Member.Accepts = []Proof{proof("con_b", "org_b", time.Minute)}, "con_b"
		}, step: StepAuthenticate},
		{name: "a guest, by another", change: func(s *State) {
			s.Proofs, s.Person.Member.Accepts, s.Person.AcceptsActive = []Proof{proof("con_c", "org_b", time.Minute)}, "con_b", true
		}, step: StepAuthenticate},
		{name: "no named connection, and a proof of none", change: func(s *State) {
			s.Proofs, s.Person.AcceptsActive = []Proof{proof("", "", time.Minute)}, true
		}, step: StepAuthenticate},
		{name: "signed out everywhere since", change: func(s *State) { s.Person.Person.SessionsAfter = start.Add(-time.Minute) }, step: StepAuthenticate},
		{name: "the provider's session is over", change: func(s *State) { s.Proofs[0].Until = start }, step: StepAuthenticate},

		{name: "the longest session is over", policy: map[string]string{"session.lifetime": `"15m"`}, step: StepAuthenticate},
		{name: "the session was idle", policy: map[string]string{"session.idle": `"5m"`}, change: func(s *State) { s.Marks[0].Seen = start.Add(-5 * time.Minute) }, step: StepAuthenticate},
		{name: "what was held is over", change: func(s *State) { s.Marks[0].Held = start }, step: StepAuthenticate},
		{name: "another organization's mark holds nothing here", change: func(s *State) { s.Marks[0].Org = "org_b"; s.Marks[0].Held = start.Add(-time.Hour) }},
		{name: "another organization's mark prolongs nothing here", policy: map[string]string{"session.lifetime": `"15m"`},
			change: func(s *State) {
				s.Marks = append(s.Marks, Mark{Org: "org_b", Since: start, Seen: start, Held: start.Add(time.Hour)})
			}, step: StepAuthenticate},

		{name: "the app asks for a new sign-in", change: func(s *State) { s.Started, s.Force = start.Add(-time.Second), true }, step: StepAuthenticate},
		{name: "the app got its new sign-in", change: func(s *State) {
			s.Started, s.Force, s.Proofs = start.Add(-time.Minute), true, append(s.Proofs, proof("con_a", "org_a", time.Second))
		}},
		{name: "the provider did not ask again", change: func(s *State) {
			p := proof("con_a", "org_a", time.Second)
			p.At = start.Add(-time.Hour)
			s.Started, s.Force, s.Proofs = start.Add(-time.Minute), true, []Proof{p}
		}, refuse: ErrNotFresh},
		{name: "recent enough", change: func(s *State) { s.Started, s.MaxAge = start, age(time.Hour) }},
		{name: "not recent enough", change: func(s *State) { s.Started, s.MaxAge = start, age(29*time.Minute) }, step: StepAuthenticate},
		{name: "never recent enough", change: func(s *State) { s.Started, s.MaxAge = start, age(0) }, step: StepAuthenticate},
		{name: "the provider's own sign-in is too old", change: func(s *State) {
			p := proof("con_a", "org_a", time.Second)
			p.At = start.Add(-time.Hour)
			s.Started, s.MaxAge, s.Proofs = start.Add(-time.Minute), age(time.Minute), []Proof{p}
		}, refuse: ErrNotFresh},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := signedIn()
			if c.change != nil {
				c.change(&s)
			}
			d := Decide(DefaultFlow, rules(t, c.policy), s)
			done := c.step == "" && c.refuse == nil
			if d.Done != done || d.Step != c.step || !same(d.Refused, c.refuse) {
				t.Errorf("done %v, step %q, refused %v; want step %q, refused %v", d.Done, d.Step, d.Refused, c.step, c.refuse)
			}
			if d.Done && len(d.Counting) == 0 {
				t.Error("done, and nothing counts")
			}
		})
	}
}

func same(a, b *fault.Error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return errors.Is(a, b)
}

// A policy that nobody resolved locks: it is the strictest there is.
// What goes on while the person is away is bound by the rules of refresh tokens, not by those of sessions;
// everything else is judged as ever.
func TestDecideForAnAppThatGoesOnAlone(t *testing.T) {
	const day = 24 * time.Hour
	short := map[string]string{"session.lifetime": `"15m"`, "session.idle": `"5m"`}
	for _, c := range []struct {
		name   string
		policy map[string]string
		change func(*State)
		done   bool
	}{
		{name: "long after the session's end", policy: short, done: true},
		{name: "the sign-in is too old", change: func(s *State) { s.Marks[0].Since = start.Add(-30 * day) }},
		{name: "not renewed for too long", change: func(s *State) { s.Marks[0].Seen = start.Add(-14 * day) }},
		{name: "the lifetime is shorter now", policy: map[string]string{"tokens.refresh_lifetime": `"7d"`}},
		{name: "the pause is shorter now", policy: map[string]string{"tokens.refresh_idle": `"1d"`}},
		{name: "the ceiling of the grant", change: func(s *State) { s.Marks[0].Held = start }},
		{name: "signed out everywhere", change: func(s *State) { s.Person.Person.SessionsAfter = start.Add(-9 * day) }},
		{name: "the provider's word is over", change: func(s *State) { s.Proofs[0].Until = start }},
		{name: "the proof counts no more", change: func(s *State) { s.Org.Usable = nil }},
		{name: "a session, not offline", change: func(s *State) { s.Offline = false }},
	} {
		s := signedIn()
		s.Offline, s.Proofs, s.Since = true, []Proof{proof("con_a", "org_a", 10*day)}, start.Add(-10*day)
		s.Marks = []Mark{{Org: "org_a", Since: start.Add(-10 * day), Seen: start.Add(-2 * day), Held: start.Add(20 * day)}}
		if c.change != nil {
			c.change(&s)
		}
		if d := Decide(DefaultFlow, rules(t, c.policy), s); d.Done != c.done {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestDecideUnderAForgottenPolicy(t *testing.T) {
	if d := Decide(DefaultFlow, policy.Effective{}, signedIn()); d.Done {
		t.Error("a session of half an hour is good under no policy at all")
	}
}

// Reasons name the rule, its value and the level that set it.
func TestDecideSaysWhy(t *testing.T) {
	d := Decide(DefaultFlow, rules(t, map[string]string{"session.lifetime": `"15m"`}), signedIn())
	found := slices.ContainsFunc(d.Reasons, func(r Reason) bool {
		return r.Rule == "session.lifetime" && r.Level == "Acme" && r.Value != "" && r.Text != ""
	})
	if !found {
		t.Errorf("%+v", d.Reasons)
	}
}

// often checks a property of thousands of states.
func often(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	for range 30 {
		rapid.Check(t, property)
	}
}

func settings(rt *rapid.T) policy.Effective {
	m := map[string]string{}
	if rapid.Bool().Draw(rt, "lifetime") {
		m["session.lifetime"] = rapid.SampledFrom([]string{`"15m"`, `"1h"`, `"8h"`}).Draw(rt, "longest")
	}
	if rapid.Bool().Draw(rt, "idle") {
		m["session.idle"] = rapid.SampledFrom([]string{`"5m"`, `"1h"`}).Draw(rt, "pause")
	}
	return rules(rt, m)
}

// state is any state of a login: somebody who is signed in, with a few things about them changed, sensible
// or not.
func state(rt *rapid.T) State {
	odd := func(name string) bool { return rapid.IntRange(0, 11).Draw(rt, name) == 0 }
	ago := func(name string) time.Time {
		return start.Add(-rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 10 * time.Minute, time.Hour, 9 * time.Hour, 30 * 24 * time.Hour, -time.Minute}).Draw(rt, name))
	}
	org := func(name string) directory.OrgID {
		return rapid.SampledFrom([]directory.OrgID{"org_a", "org_b", "org_top"}).Draw(rt, name)
	}
	con := func(name string) directory.ConnectionID {
		return rapid.SampledFrom([]directory.ConnectionID{"con_a", "con_b", "con_top", ""}).Draw(rt, name)
	}
	status := func(name string, to *directory.Status) {
		if odd(name) {
			*to = rapid.SampledFrom([]directory.Status{directory.Suspended, directory.Archived, ""}).Draw(rt, name+" is")
		}
	}
	s := signedIn()
	if odd("route") {
		s.Route = Route(rapid.IntRange(0, int(RouteChosen)).Draw(rt, "by"))
	}
	s.Force, s.Arrived, s.Offline = odd("force"), odd("arrived"), odd("offline")
	if rapid.Bool().Draw(rt, "in a login") {
		s.Started = ago("started")
	}
	if odd("max age") {
		d := rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(rt, "age")
		s.MaxAge = &d
	}
	status("parent", &s.Org.Chain[0].Status)
	status("organization", &s.Org.Chain[1].Status)
	s.Org.Entitled = !odd("entitled")
	if rapid.Bool().Draw(rt, "offered") {
		s.Org.Usable = append(s.Org.Usable, ConnectionFacts{ID: "con_top", Org: "org_top"})
	}
	if odd("usable") {
		s.Org.Usable = nil
	}
	if rapid.Bool().Draw(rt, "any proofs") {
		s.Proofs = nil
		for range rapid.IntRange(0, 3).Draw(rt, "proofs") {
			p := Proof{Connection: con("con"), Org: org("org"), At: ago("at"), Seen: ago("seen")}
			if odd("until") {
				p.Until = ago("ends")
			}
			s.Proofs = append(s.Proofs, p)
		}
	}
	status("person", &s.Person.Person.Status)
	status("member", &s.Person.Member.Status)
	if rapid.Bool().Draw(rt, "guest") {
		s.Person.Member.Accepts, s.Person.AcceptsActive = con("accepts"), rapid.Bool().Draw(rt, "accepts active")
	}
	if odd("realm") {
		s.Person.Person.Realm = "rlm_2"
	}
	if odd("no member") {
		s.Person.Member = directory.Membership{}
	}
	if odd("sessions after") {
		s.Person.Person.SessionsAfter = ago("after")
	}
	if rapid.Bool().Draw(rt, "any marks") {
		s.Marks = nil
		for range rapid.IntRange(0, 2).Draw(rt, "marks") {
			s.Marks = append(s.Marks, Mark{Org: org("mark"), Since: ago("mark since"), Seen: ago("mark seen"), Held: start.Add(time.Hour)})
		}
	}
	if odd("choices") {
		s.Choices = []directory.OrgID{"org_a", "org_b"}
	}
	if odd("nobody") {
		s.Person = nil
	}
	if odd("nowhere") {
		s.Org = nil
	}
	return s
}

// Asking twice moves nothing, and an answer is exactly one of done, step and refusal.
func TestAskingTwiceMovesNothing(t *testing.T) {
	often(t, func(rt *rapid.T) {
		s, p := state(rt), settings(rt)
		before, _ := json.Marshal(s)
		first := Decide(DefaultFlow, p, s)
		second := Decide(DefaultFlow, p, s)
		after, _ := json.Marshal(s)
		if !reflect.DeepEqual(first, second) {
			rt.Fatalf("%+v, then %+v", first, second)
		}
		if string(before) != string(after) {
			rt.Fatalf("deciding changed the state: %s became %s", before, after)
		}
		n := 0
		for _, is := range []bool{first.Done, first.Step != "", first.Refused != nil} {
			if is {
				n++
			}
		}
		if n != 1 {
			rt.Fatalf("%d answers at once: %+v", n, first)
		}
	})
}

// Whoever is let in stands in every condition, judged here anew and by hand; and no proof of another
// organization ever counts.
func TestS2WhoeverIsLetInHasAProofThatCounts(t *testing.T) {
	in := 0
	often(t, func(rt *rapid.T) {
		s, p := state(rt), settings(rt)
		d := Decide(DefaultFlow, p, s)
		var counting []Proof
		if s.Org != nil {
			counting, _ = s.Counting(p)
		}
		for _, q := range counting {
			own := slices.ContainsFunc(s.Org.Usable, func(c ConnectionFacts) bool { return c.ID == q.Connection && c.Org == q.Org })
			named := s.Person != nil && s.Person.AcceptsActive && s.Person.Member.Accepts != "" && s.Person.Member.Accepts == q.Connection
			above := q.Connection == "" && s.Org.Chain.Has(q.Org) // the person's own
			if !own && !named && !above {
				rt.Fatalf("a proof of %s of %s counts in %s", q.Connection, q.Org, s.Org.Chain.Org().ID)
			}
			if s.Person != nil && q.Seen.Before(s.Person.Person.SessionsAfter) {
				rt.Fatalf("a proof from before the person was signed out everywhere counts")
			}
			if !q.Until.IsZero() && !s.Now.Before(q.Until) {
				rt.Fatalf("a proof counts after its end")
			}
		}
		if !d.Done {
			return
		}
		in++
		ok := s.Org != nil && s.Org.Entitled && s.Org.Chain[0].Status == directory.Active && s.Org.Chain[1].Status == directory.Active &&
			s.Person != nil && s.Person.Person.Status == directory.Active && s.Person.Person.Realm == "rlm_1" &&
			s.Person.Member.Org == "org_a" && s.Person.Member.Status == directory.Active && len(d.Counting) > 0 && !s.Arrived
		if !ok {
			rt.Fatalf("let in: %+v", s)
		}
		for i := 1; i < len(d.Counting); i++ {
			if d.Counting[i-1].At.Before(d.Counting[i].At) {
				rt.Fatalf("the newest proof is not first: %+v", d.Counting)
			}
		}
	})
	if in < 100 {
		t.Errorf("%d were let in: too few to prove anything", in)
	}
}

// A stricter policy never lets in whom a looser one keeps out.
func TestAStricterPolicyLetsInNobodyMore(t *testing.T) {
	often(t, func(rt *rapid.T) {
		s := state(rt)
		strict, lax := rules(rt, map[string]string{
			"session.lifetime": `"15m"`, "session.idle": `"5m"`, "tokens.refresh_lifetime": `"1h"`, "tokens.refresh_idle": `"1h"`,
		}), rules(rt, nil)
		if Decide(DefaultFlow, strict, s).Done && !Decide(DefaultFlow, lax, s).Done {
			rt.Fatalf("only the stricter policy lets in %+v", s)
		}
	})
}
