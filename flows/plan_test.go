package flows

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

var english = templates.Said{"en": "Read this."}

// asks is an item of a step with settings that will do.
func asks(step StepName, condition string) Item {
	it := Item{Step: step, If: condition}
	switch step {
	case StepNotice, StepDeny:
		it.Settings = &Custom{Text: english}
	case StepTerms:
		it.Settings = &Custom{Version: "1"}
	case StepProfile:
		it.Settings = &Custom{Fields: []string{"phone_number"}}
	}
	return it
}

func flowOf(items ...Item) Flow {
	p, _ := compile("org_a", 1, Document{Items: items})
	return join([]*part{p})
}

func wrongs(items ...Item) []Problem {
	_, list := compile("org_a", 1, Document{Items: items})
	return list
}

// lineOf is the names of a flow's steps, in their order.
func lineOf(f Flow) (out []StepName) {
	for _, st := range f.stations() {
		out = append(out, st.Step)
	}
	return out
}

func TestWhatAFlowAddsStandsWhereItWasWritten(t *testing.T) {
	step := func(names ...StepName) (out []Item) {
		for _, n := range names {
			out = append(out, asks(n, ""))
		}
		return out
	}
	with := func(at StepName, extra ...StepName) []StepName {
		if at == "" {
			return append(slices.Clone(natural), extra...)
		}
		return slices.Insert(slices.Clone(natural), slices.Index(natural, at), extra...)
	}
	const x, y = StepNotice, StepTerms
	for _, c := range []struct {
		items []Item
		want  []StepName
	}{
		{nil, natural},
		{step(natural...), natural},
		{step(StepAuthenticate), natural},
		{step(x), with("", x)},
		{step(x, StepIdentify), with(StepIdentify, x)},
		{step(x, StepAuthenticate, y), append(with(StepAuthenticate, x), y)},
		{step(StepIdentify, x), with("", x)},
		// Nobody is asked anything before it is known that they belong here.
		{step(StepAuthenticate, x, StepLink), with(StepFactor, x)},
		{step(StepAuthenticate, x, StepMembership), with(StepFactor, x)},
		{step(StepAuthenticate, x, StepFactor), with(StepFactor, x)},
		{step(StepFactor, x, StepEnroll), with(StepEnroll, x)},
		// What writes something down of a person waits for every proof, wherever it was written.
		{step(StepAuthenticate, y, StepFactor), with("", y)},
	} {
		if got := lineOf(flowOf(c.items...)); !slices.Equal(got, c.want) {
			t.Errorf("%v became %v, want %v", c.items, got, c.want)
		}
	}
}

// An unknown step is refused, never skipped: after a rollback it may be the one that kept somebody out.
func TestAnUnknownStepIsRefused(t *testing.T) {
	for _, items := range [][]Item{
		{{Step: "survey"}}, {{Step: StepIdentify}, {Step: "survey"}}, {{Step: "Identify"}}, {{Step: "survey", If: "false"}},
		{{If: "false", Then: []Item{{Step: "survey"}}}}, {{Step: "verify"}}, {{Step: "consent"}}, {{Step: "approve"}},
	} {
		if d := Decide(flowOf(items...), rules(t, nil), signedIn()); !same(d.Refused, ErrStep) || d.Done {
			t.Errorf("%v: %+v", items, d)
		}
		if len(wrongs(items...)) == 0 {
			t.Errorf("%v may be published", items)
		}
	}
	if d := Decide(join([]*part{unknownPart("org_a", 3)}), rules(t, nil), signedIn()); !same(d.Refused, ErrStep) {
		t.Errorf("a document that cannot be read: %+v", d)
	}
}

func TestValidationNamesTheStep(t *testing.T) {
	deep := asks(StepNotice, "")
	for range 4 {
		deep = Item{If: "device.known", Then: []Item{deep}}
	}
	many := make([]Item, 65)
	for i := range many {
		many[i] = asks(StepNotice, "device.known")
	}
	for _, c := range []struct {
		name  string
		items []Item
		where string
		says  string
	}{
		{"an unknown step", []Item{{Step: "survey"}}, "item 1 (survey)", "no such step"},
		{"no step and no branch", []Item{{}}, "item 1", "names a step"},
		{"both", []Item{{Step: StepNotice, Then: []Item{{}}}}, "item 1 (notice)", "no then"},
		{"a branch without a condition", []Item{{Then: []Item{asks(StepNotice, "")}}}, "item 1", "needs a condition"},
		{"too deep", []Item{deep}, "item 1, then 1, then 1, then 1", "3 deep"},
		{"too many conditions", many, "items", "64 is the most"},
		{"a condition that does not compile", []Item{asks(StepNotice, "device.knwon")}, "item 1 (notice)", "undeclared reference"},
		{"a condition that is no condition", []Item{asks(StepNotice, "time.hour")}, "item 1 (notice)", "true or false"},
		{"S33: the person, before anybody is proved", []Item{asks(StepDeny, `person.email == "a"`), {Step: StepAuthenticate}}, "item 1 (deny)", "nothing is known of the person"},
		{"S33: too long", []Item{asks(StepNotice, `org.name == "`+strings.Repeat("x", 1024)+`"`)}, "item 1 (notice)", "longer than 1024"},
		{"S33: a macro in a macro", []Item{asks(StepNotice, `org.path.exists(x, org.path.exists(y, x == y))`)}, "item 1 (notice)", "inside one another"},
		{"S33: too dear", []Item{asks(StepNotice, `org.path.all(x, x.matches("(a*)*b") && x.matches("(c*)*d"))`)}, "item 1 (notice)", "is the most"},
		{"a natural step under a condition", []Item{{Step: StepAuthenticate, If: "device.known"}}, "item 1 (authenticate)", "no condition"},
		{"a natural step in a branch", []Item{{If: "device.known", Then: []Item{{Step: StepMembership}}}}, "item 1, then 1 (membership)", "no condition"},
		{"the wrong order", []Item{{Step: StepAuthenticate}, {Step: StepIdentify}}, "item 2 (identify)", "too late"},
		{"twice", []Item{{Step: StepEnroll}, {Step: StepEnroll}}, "item 2 (enroll)", "too late"},
		{"terms before the second step", []Item{asks(StepTerms, ""), {Step: StepFactor}}, "item 1 (terms)", "behind enroll"},
		{"never reached", []Item{asks(StepNotice, "false && device.known")}, "item 1 (notice)", "never reached"},
		{"never reached, in the other branch", []Item{{If: "true", Else: []Item{asks(StepNotice, "")}}}, "item 1, else 1 (notice)", "never reached"},
		{"nobody gets past", []Item{asks(StepDeny, "")}, "item 1 (deny)", "nobody"},
		{"nobody gets past, either way", []Item{{If: "device.known", Then: []Item{asks(StepDeny, "")}, Else: []Item{asks(StepDeny, "")}}}, "item 1", "nobody"},
		{"nobody gets past, always", []Item{asks(StepDeny, "1 < 2")}, "item 1 (deny)", "always holds"},
		{"a setting of another step", []Item{{Step: StepNotice, Settings: &Custom{Text: english, Version: "1"}}}, "item 1 (notice)", `no setting "version"`},
		{"a setting is missing", []Item{{Step: StepTerms}}, "item 1 (terms)", `needs the setting "version"`},
		{"a notice without words", []Item{{Step: StepNotice}}, "item 1 (notice)", `needs the setting "text"`},
		{"an unknown field", []Item{{Step: StepProfile, Settings: &Custom{Fields: []string{"shoe_size"}}}}, "item 1 (profile)", "shoe_size"},
		{"a link that is none", []Item{{Step: StepTerms, Settings: &Custom{Version: "1", Link: templates.Said{"en": "javascript:alert(1)"}}}}, "item 1 (terms)", "https://"},
		{"an unknown demand", []Item{{Step: StepFactor, Settings: &Custom{Demand: "magic"}}}, "item 1 (factor)", "phishing_resistant"},
	} {
		list := wrongs(c.items...)
		if !slices.ContainsFunc(list, func(p Problem) bool { return p.Where == c.where && strings.Contains(p.Text, c.says) }) {
			t.Errorf("%s: %v, want %q to say %q", c.name, list, c.where, c.says)
		}
	}
}

func TestAGoodFlowHasNoProblems(t *testing.T) {
	list := wrongs(
		asks(StepNotice, `!network.address.within("10.0.0.0/8")`), asks(StepDeny, "time.hour < 6 && org.handle == \"acme\""),
		Item{Step: StepIdentify}, Item{Step: StepAuthenticate},
		asks(StepDeny, `!person.guest && person.email_domain.matches("^contractor[.]")`),
		Item{If: "device.known", Then: []Item{asks(StepNotice, `connection.amr.exists(m, m == "mfa")`)}, Else: []Item{{Step: StepFactor}, {If: "time.weekday >= 6", Then: []Item{{Step: StepFactor, Settings: &Custom{Demand: "phishing_resistant"}}}}}},
		Item{Step: StepFactor}, Item{Step: StepEnroll}, asks(StepTerms, "!person.guest"), asks(StepProfile, ""),
	)
	if len(list) > 0 {
		t.Error(list)
	}
}

// A flow that nobody could pass under the policy is told before it is published.
func TestAFlowThatNobodyCanCompleteUnderThePolicy(t *testing.T) {
	p, _ := compile("org_a", 1, Document{Items: []Item{{Step: StepFactor, Settings: &Custom{Demand: "phishing_resistant"}}}})
	installed := []mfa.Method{policy.Passkey, policy.TOTP, policy.RecoveryCode}
	if list := p.under(rules(t, map[string]string{"mfa.methods": `["passkey","totp"]`}), installed); len(list) > 0 {
		t.Error(list)
	}
	for name, list := range map[string]problems{
		"not allowed":   p.under(rules(t, map[string]string{"mfa.methods": `["security_key","totp"]`}), installed),
		"not installed": p.under(rules(t, nil), []mfa.Method{policy.TOTP, policy.RecoveryCode}),
	} {
		if len(list) != 1 || list[0].Where != "factor" {
			t.Errorf("%s: %v", name, list)
		}
	}
}

func TestConditionsReadWhatIsKnown(t *testing.T) {
	s := signedIn()
	s.App, s.AppName, s.DeviceKnown, s.From = "app_1", "Payments", true, netip.MustParseAddr("::ffff:10.1.2.3")
	s.Org.Chain[0].Handle, s.Org.Chain[1].Handle = "group", "acme"
	s.Proofs[0].AMR, s.Proofs[0].ACR = []string{"pwd", "mfa"}, "high"
	p := &s.Person.Person
	p.Email, p.Given, p.Locale, p.Profile.Phone = "Ada@Acme.Example", "Ada", "es", "+34600"
	for text, want := range map[string]verdict{
		`org.id == "org_a" && org.handle == "acme" && org.name == "Acme" && org.path == ["group", "acme"]`: holds,
		`app.id == "app_1" && app.name == "Payments"`:                                                      holds,
		`device.known`: holds,
		`network.address == "10.1.2.3" && network.address.within("10.0.0.0/8")`:                                        holds,
		`network.address.within("192.168.0.0/16")`:                                                                     fails,
		`connection.id == "con_a" && connection.name == "Okta" && "mfa" in connection.amr && connection.acr == "high"`: holds,
		// Monday, 2 March 2026, 9:00 UTC
		`time.hour == 10 && time.minute == 0 && time.weekday == 1 && time.date == "2026-03-02"`:                                                    holds,
		`person.id == "per_1" && !person.guest && person.email_domain == "acme.example" && !person.email_verified`:                                 holds,
		`person.given_name == "Ada" && person.locale == "es" && person.phone_number.startsWith("+34") && person.name == "" && person.source == ""`: holds,
		`person.email.matches("^ada@")`:      fails,
		`network.address.within("nonsense")`: unclear,
		`time.hour / (time.hour - 10) == 1`:  unclear,
	} {
		berlin, err := time.LoadLocation("Europe/Madrid")
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCondition(text, true, berlin)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		j := judging{flow: &Flow{conditions: []condition{c}}, known: seen{rules(t, nil), &s, nil}}
		if got := j.ask(0); got != want {
			t.Errorf("%s came to %d, want %d", text, got, want)
		}
	}
}

// S33: what is known of a guest is their own organization's, so a condition on it is not clear: the step is
// taken, and a refusing step refuses.
func TestS33AGuestsAttributesAreNotThere(t *testing.T) {
	s := signedIn()
	s.Person.Person.Home, s.Person.Person.Email = "org_b", "eve@elsewhere.example"
	for _, v := range personal {
		if v.name == "person.id" || v.name == "person.guest" {
			continue
		}
		for _, text := range []string{v.name + ` == "x"`, v.name} {
			if _, err := newCondition(text, true, time.UTC); err != nil {
				continue // the other one has the type
			}
			if d := Decide(flowOf(asks(StepNotice, ""), asks(StepDeny, text)), rules(t, nil), s); !same(d.Refused, ErrDenied) {
				t.Errorf("%s: %+v", text, d)
			}
		}
	}
	if d := Decide(flowOf(asks(StepDeny, `!person.guest && person.email == "x"`)), rules(t, nil), s); !d.Done {
		t.Errorf("a condition that asks whether it is a guest first: %+v", d)
	}
}

// S33: one budget for all conditions of a decision; what it does not pay for is not clear.
func TestS33ConditionsOfOneDecisionShareABudget(t *testing.T) {
	dear := `("` + strings.Repeat("a", 300) + `" + org.handle).matches("` + strings.Repeat("a", 100) + `b")`
	c, err := newCondition(dear, false, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	var many []Item
	for range 60 {
		many = append(many, asks(StepDeny, dear))
	}
	f, s := flowOf(many...), signedIn()
	j := judging{flow: &f, known: seen{rules(t, nil), &s, nil}}
	if j.ask(0) != fails || j.spent == 0 {
		t.Fatalf("%d after %d, limit %v", j.came[0], j.spent, c)
	}
	paid := 0
	for i := range f.conditions {
		if j.ask(i) != unclear {
			paid++
		}
	}
	if paid == len(f.conditions) || j.spent > decisionBudget {
		t.Errorf("%d of %d were paid for, with %d", paid, len(f.conditions), j.spent)
	}
	if d := Decide(f, rules(t, nil), s); !same(d.Refused, ErrDenied) {
		t.Errorf("%+v", d)
	}
}

// broken are conditions that cannot be judged: they do not compile, or fail when they run.
var broken = []string{"device.knwon", "time.hour / 0 == 1", `network.address.within("x")`, `network.address == "1.2.3.4"`, "person.email", "((("}

func TestAConditionThatFailsNeverSkipsAStep(t *testing.T) {
	for _, text := range broken {
		for step, want := range map[StepName]StepName{StepNotice: StepNotice, StepTerms: StepTerms, StepProfile: StepProfile} {
			s := signedIn()
			s.Started, s.Proofs = start.Add(-time.Minute), []Proof{proof("con_a", "org_a", time.Second)} // a new sign-in
			for _, items := range [][]Item{{asks(step, text)}, {{If: text, Then: []Item{asks(step, "")}}}, {{If: text, Else: []Item{asks(step, "")}}}} {
				if d := Decide(flowOf(items...), rules(t, nil), s); d.Step != want {
					t.Errorf("%s %v: %+v", text, items, d)
				}
			}
		}
		if d := Decide(flowOf(asks(StepDeny, text)), rules(t, nil), signedIn()); !same(d.Refused, ErrDenied) {
			t.Errorf("%s: %+v", text, d)
		}
		if d := Decide(flowOf(Item{Step: StepFactor, If: text}), rules(t, nil), signedIn()); d.Done {
			t.Errorf("%s: no second step", text)
		}
	}
}

// A flow may want a second step where policy does not; what policy wants it cannot take away.
func TestAFlowWantsASecondStep(t *testing.T) {
	for _, c := range []struct {
		name string
		item Item
		step StepName
	}{
		{"the step by itself is what every login passes", Item{Step: StepFactor}, ""},
		{"always", Item{Step: StepFactor, Settings: &Custom{Demand: "second"}}, StepEnroll},
		{"where a condition holds", Item{Step: StepFactor, If: "!device.known"}, StepEnroll},
		{"where it does not", Item{Step: StepFactor, If: "device.known"}, ""},
		{"in a branch", Item{If: "device.known", Else: []Item{{Step: StepFactor}}}, StepEnroll},
	} {
		s := signedIn()
		s.FactorsKnown, s.Enrollable = true, []mfa.Method{policy.TOTP}
		d := Decide(flowOf(c.item), rules(t, nil), s)
		if d.Step != c.step || d.Done != (c.step == "") {
			t.Errorf("%s: %+v", c.name, d)
		}
		if c.step != "" && (len(d.Reasons) == 0 || d.Reasons[0].Rule != "flow" || d.Reasons[0].Level != "Acme") {
			t.Errorf("%s: %+v", c.name, d.Reasons)
		}
	}
}

func TestNoticesTermsAndProfile(t *testing.T) {
	f := flowOf(asks(StepNotice, ""), Item{Step: StepIdentify}, asks(StepNotice, ""), asks(StepTerms, ""), asks(StepProfile, ""))
	s := State{Now: start, Started: start.Add(-time.Minute), Route: RouteNamed, Org: acme()}
	next := func(want StepName) *station {
		t.Helper()
		d := Decide(f, rules(t, nil), s)
		if d.Step != want || d.Refused != nil {
			t.Fatalf("%+v, want %s", d, want)
		}
		return d.at
	}
	first := next(StepNotice)
	s.Done = append(s.Done, first.ID)
	next(StepAuthenticate)
	s.Person, s.Proofs = ada(), []Proof{proof("con_a", "org_a", time.Second)}
	second := next(StepNotice)
	if second.ID == first.ID {
		t.Fatal("two notices are one")
	}
	s.Done = append(s.Done, second.ID)
	next(StepTerms)
	s.Accepted = []Acceptance{{Org: "org_top", Version: "1"}, {Org: "org_a", Version: "0"}}
	next(StepTerms) // neither another organization's nor another version
	s.Accepted = append(s.Accepted, Acceptance{Org: "org_a", Version: "1"})
	next(StepProfile)
	s.Person.Person.Profile.Phone = "+34600123456"
	if d := Decide(f, rules(t, nil), s); !d.Done {
		t.Errorf("%+v", d)
	}
	// The session goes on to another app: what was read is not shown again.
	s.Done, s.Started, s.Since = nil, time.Time{}, start.Add(-time.Minute)
	if d := Decide(f, rules(t, nil), s); !d.Done {
		t.Errorf("%+v", d)
	}
	// Guests are not asked for what their own organization knows.
	s.Person.Person.Profile.Phone, s.Person.Person.Home = "", "org_b"
	if d := Decide(f, rules(t, nil), s); !d.Done {
		t.Errorf("%+v", d)
	}
}

// document is any document: good ones, and ones that could never be published.
func document(rt *rapid.T) Document {
	conditions := append([]string{"true", "false", "device.known", "!device.known", `person.id == "per_1"`, "time.hour > 12", ""}, broken...)
	names := append(slices.Clone(natural), StepNotice, StepTerms, StepProfile, StepDeny, "survey", "")
	var items func(depth int) []Item
	items = func(depth int) []Item {
		out := make([]Item, rapid.IntRange(0, 4).Draw(rt, "items"))
		for i := range out {
			it := asks(rapid.SampledFrom(names).Draw(rt, "step"), rapid.SampledFrom(conditions).Draw(rt, "if"))
			if depth > 0 && rapid.IntRange(0, 3).Draw(rt, "branch") == 0 {
				it = Item{If: it.If, Then: items(depth - 1), Else: items(depth - 1)}
			}
			if it.Step == StepFactor && rapid.Bool().Draw(rt, "demand") {
				it.Settings = &Custom{Demand: rapid.SampledFrom([]string{"second", "phishing_resistant"}).Draw(rt, "how")}
			}
			out[i] = it
		}
		return out
	}
	return Document{Items: items(2)}
}

// flowFacts are what only flows look at.
func flowFacts(rt *rapid.T, s *State) {
	s.DeviceKnown = rapid.Bool().Draw(rt, "known device")
	if rapid.Bool().Draw(rt, "accepted") {
		s.Accepted = []Acceptance{{Org: "org_a", Version: "1"}, {Org: "org_top", Version: "1"}}
	}
	if s.Person != nil && rapid.Bool().Draw(rt, "phone") {
		s.Person.Person.Profile.Phone = "+34600123456"
	}
}

// Policy is law, a flow is preference: whatever is written, at whatever level, nobody gets in whom the default
// flow does not let in, what is demanded stands in its order under no condition, and unknown steps refuse.
func TestNoFlowLetsInWhomTheDefaultFlowDoesNot(t *testing.T) {
	often(t, func(rt *rapid.T) {
		above, own := document(rt), document(rt)
		parent, _ := compile("org_top", 1, above)
		child, _ := compile("org_a", 1, own)
		f := join([]*part{parent, child})
		at := 0
		for _, st := range f.line {
			if at < len(natural) && st.Step == natural[at] && st.ID == "" {
				if len(st.when) > 0 {
					rt.Fatalf("%s stands under a condition", st.Step)
				}
				at++
			}
		}
		if at != len(natural) {
			rt.Fatalf("%s is missing in its place", natural[at])
		}
		p, s := settings(rt), state(rt)
		flowFacts(rt, &s)
		d := Decide(f, p, s)
		if again := Decide(f, p, s); !reflect.DeepEqual(shape(d), shape(again)) {
			rt.Fatalf("twice: %+v, %+v", d, again)
		}
		if d.Done && !Decide(DefaultFlow, p, s).Done {
			rt.Fatal("the flow lets in whom the default flow does not")
		}
		if d.Done && slices.ContainsFunc(f.line, func(st station) bool { return steps[st.Step] == nil }) {
			rt.Fatal("done with an unknown step")
		}
		if alone := join([]*part{parent}); d.Done && !Decide(alone, p, s).Done {
			rt.Fatal("the child lets in whom its parent does not")
		}
	})
}

func shape(d Decision) string {
	return fmt.Sprint(d.Done, d.Step, d.Refused, d.Reasons, len(d.Counting))
}

// A child inserts; it removes, reorders and guards nothing of what its parent says.
func TestAChildsFlowLeavesItsParentsAlone(t *testing.T) {
	often(t, func(rt *rapid.T) {
		parent, _ := compile("org_top", 1, document(rt))
		child, _ := compile("org_a", 1, document(rt))
		alone, both := join([]*part{parent}), join([]*part{parent, child})
		var left []station
		for _, st := range both.line {
			if st.Org != "org_a" {
				left = append(left, st)
			}
		}
		if !reflect.DeepEqual(left, alone.line) {
			rt.Fatalf("%v became %v", alone.line, left)
		}
		if n := len(alone.wishes); n > 0 && !reflect.DeepEqual(both.wishes[:n], alone.wishes) {
			rt.Fatalf("wishes %v became %v", alone.wishes, both.wishes)
		}
	})
}

// Deciding with a flow of eight conditions.
func BenchmarkDecideAFlow(b *testing.B) {
	p := rules(b, nil)
	s := signedIn()
	s.From = netip.MustParseAddr("10.1.2.3")
	f := flowOf(
		asks(StepNotice, `!network.address.within("10.0.0.0/8")`), asks(StepDeny, "time.hour < 6"), Item{Step: StepAuthenticate},
		asks(StepDeny, `!person.guest && person.email_domain.matches("^contractor[.]")`), Item{Step: StepFactor, If: "time.weekday >= 6"},
		Item{Step: StepEnroll}, asks(StepTerms, `person.locale == "es"`), asks(StepNotice, `org.handle == "x"`), asks(StepProfile, `person.source == "jit"`),
		asks(StepDeny, `connection.id == "con_b"`),
	)
	if d := Decide(f, p, s); !d.Done {
		b.Fatalf("%+v", d)
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(f, p, s)
	}
}

func BenchmarkDecideTheDefaultFlow(b *testing.B) {
	p, s := rules(b, nil), signedIn()
	b.ReportAllocs()
	for b.Loop() {
		Decide(DefaultFlow, p, s)
	}
}
