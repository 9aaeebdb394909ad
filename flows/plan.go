package flows

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// Flow is how the people of one organization sign in, ready to run: what every login must pass, in its order,
// and between it what the documents of the organization and of those above it add. There is no way to write a
// flow that lacks what is demanded: policy is law, a flow is preference. The zero Flow adds nothing.
type Flow struct {
	line       []station
	wishes     []wish
	conditions []condition
}

// DefaultFlow is what an organization without a flow of its own, or inherited, uses.
var DefaultFlow Flow

// natural is the order of the steps that every login must pass, whatever its flow lists.
var natural = []StepName{StepIdentify, StepChoose, StepAuthenticate, StepLink, StepMembership, StepFactor, StepEnroll}

// plain is the line of a flow that adds nothing.
var plain = func() []station {
	out := make([]station, len(natural))
	for i, name := range natural {
		out[i] = station{Step: name}
	}
	return out
}()

// slots are the places where a flow may add steps: before each natural step, and behind the last. Nothing is
// added between link and membership, where somebody is found who may not belong here.
var (
	slotAuthenticate = slices.Index(natural, StepAuthenticate)
	slotMembership   = slices.Index(natural, StepMembership)
	slotEnd          = len(natural)
)

// station is one step where a flow asks it.
type station struct {
	Step StepName
	// ID names the station in its version of its document; "" for what every login passes.
	ID string
	// Org is whose document it stands in.
	Org  directory.OrgID
	Set  Custom
	when []clause // all of them must hold; none: always
}

// clause is a condition that must hold, or must not.
type clause struct {
	at  int // in Flow.conditions
	not bool
}

// wish is a second step that the flow wants where policy may not.
type wish struct {
	org  directory.OrgID
	rung Rung // RungNone: any second step
	when []clause
}

const (
	demandSecond    = "second"
	demandResistant = "phishing_resistant"
)

// part is one document, ready to be joined with those above it.
type part struct {
	slots      [][]station
	wishes     []wish
	conditions []condition
}

// join puts documents together, the uppermost first. In each place what stands above comes first, whole and
// under its own conditions alone.
func join(parts []*part) Flow {
	var f Flow
	slots := make([][]station, slotEnd+1)
	for _, p := range parts {
		base := len(f.conditions)
		f.conditions = append(f.conditions, p.conditions...)
		for slot, list := range p.slots {
			for _, st := range list {
				st.when = moved(st.when, base)
				slots[slot] = append(slots[slot], st)
			}
		}
		for _, w := range p.wishes {
			w.when = moved(w.when, base)
			f.wishes = append(f.wishes, w)
		}
	}
	for i := range natural {
		f.line = append(append(f.line, slots[i]...), plain[i])
	}
	f.line = append(f.line, slots[slotEnd]...)
	return f
}

func moved(list []clause, base int) []clause {
	out := slices.Clone(list)
	for i := range out {
		out[i].at += base
	}
	return out
}

// stations are the flow's, in their order.
func (f *Flow) stations() []station {
	if f.line == nil {
		return plain
	}
	return f.line
}

// Adds says whether the flow holds a step of that name that it added.
func (f *Flow) adds(name StepName) bool {
	return slices.ContainsFunc(f.line, func(st station) bool { return st.Step == name && st.ID != "" })
}

// wanted says which second steps the flow wants of this login.
func (f *Flow) wanted(j *judging, s *State) (out []FlowWish) {
	if s.Org == nil || s.Person == nil || s.Arrived {
		return nil
	}
	for _, w := range f.wishes {
		v := j.all(w.when)
		if v == fails {
			continue
		}
		out = append(out, FlowWish{Rung: w.rung, Level: s.levelName(w.org), Unclear: v == unclear})
	}
	return out
}

// FlowWish is a second step that a flow wants: at least that high, RungNone for any; Level is whose flow.
type FlowWish struct {
	Rung    Rung
	Level   string
	Unclear bool // its condition could not be judged
}

// levelName is how people know an organization of the login's chain.
func (s *State) levelName(org directory.OrgID) string {
	if s.Org != nil {
		for _, o := range s.Org.Chain {
			if o.ID == org {
				return o.Name
			}
		}
	}
	return ""
}

// unknownPart is a document that cannot be read: whoever meets it is refused.
func unknownPart(org directory.OrgID, version int64) *part {
	slots := make([][]station, slotEnd+1)
	slots[0] = []station{{ID: stationID(org, version, "unreadable"), Org: org}}
	return &part{slots: slots}
}

func stationID(org directory.OrgID, version int64, where string) string {
	return string(org) + "/" + strconv.FormatInt(version, 10) + "/" + where
}

// compiling reads one document.
type compiling struct {
	part
	org        directory.OrgID
	version    int64
	zone       *time.Location
	out        problems
	next       int          // how far into natural the list has come
	waiting    []waiting    // since the last natural step
	texts      []expression // of the conditions
	items      int
	closed     string // the item that lets nobody pass; "" while none does
	wroteLimit bool
}

// waiting is a step whose place is known when the next natural step comes.
type waiting struct {
	station
	where string
}

type expression struct {
	text, where string
	late        bool // somebody is proved where it is asked
}

// compile makes a document ready to run, and says what is wrong with it. It is ready even then: unknown steps
// refuse, and conditions that do not compile are never clear.
func compile(org directory.OrgID, version int64, d Document) (*part, []Problem) {
	c := &compiling{org: org, version: version, zone: time.UTC}
	c.slots = make([][]station, slotEnd+1)
	zone, err := d.zone()
	if err != nil {
		c.out.say("zone", "%q is no time zone", d.Zone)
	} else {
		c.zone = zone
	}
	for i := range d.Items {
		c.item(&d.Items[i], fmt.Sprintf("item %d", i+1), nil, 0)
	}
	c.settle(slotEnd)
	c.conditionsOf()
	if c.items > maxItems {
		c.out.say("items", "there are %d items; %d is the most", c.items, maxItems)
	}
	if len(c.texts) > maxConditions {
		c.out.say("items", "there are %d conditions; %d is the most", len(c.texts), maxConditions)
	}
	c.reachable()
	if where, ends := lockedBy(d.Items, "item"); ends {
		c.out.say(where, "nobody can get past this step")
	}
	return &c.part, c.out
}

// item reads one item under the clauses around it.
func (c *compiling) item(it *Item, where string, around []clause, depth int) {
	c.items++
	switch {
	case it.Step == "" && len(it.Then) == 0 && len(it.Else) == 0:
		c.out.say(where, "an item names a step, or branches with then and else")
	case it.Step != "" && (len(it.Then) > 0 || len(it.Else) > 0):
		c.out.say(named(where, it.Step), "a step has no then and else; a branch names no step")
	case it.Step == "":
		c.branch(it, where, around, depth)
		return
	}
	c.step(it, named(where, it.Step), around)
}

func named(where string, step StepName) string { return where + " (" + string(step) + ")" }

func (c *compiling) branch(it *Item, where string, around []clause, depth int) {
	if it.If == "" {
		c.out.say(where, "a branch needs a condition: if")
	}
	if it.Settings != nil {
		c.out.say(where, "a branch has no settings")
	}
	if depth >= maxDepth {
		c.out.say(where, "branches may stand %d deep in one another, no deeper", maxDepth)
	}
	at := c.condition(it.If, where)
	for _, side := range []struct {
		name  string
		items []Item
		not   bool
	}{{"then", it.Then, false}, {"else", it.Else, true}} {
		when := append(slices.Clone(around), clause{at, side.not})
		for i := range side.items {
			c.item(&side.items[i], fmt.Sprintf("%s, %s %d", where, side.name, i+1), when, depth+1)
		}
	}
}

// condition notes an expression. Where it stands is settled later: see settle.
func (c *compiling) condition(text, where string) int {
	c.texts = append(c.texts, expression{text: text, where: where})
	return len(c.texts) - 1
}

func (c *compiling) step(it *Item, where string, around []clause) {
	when := around
	if it.If != "" {
		when = append(slices.Clone(around), clause{at: c.condition(it.If, where)})
	}
	set := Custom{}
	if it.Settings != nil {
		set = *it.Settings
	}
	it.Settings.check(it.Step, where, &c.out)
	at := slices.Index(natural, it.Step)
	if it.Step == StepFactor && (len(when) > 0 || set.Demand != "") {
		w := wish{org: c.org, when: when}
		if set.Demand == demandResistant {
			w.rung = RungPhr
		}
		c.wishes = append(c.wishes, w)
		c.late(when)
		if len(around) > 0 || c.next > at {
			return // it wants a second step wherever it stands: the step itself has its place
		}
	}
	switch {
	case at >= 0 && it.Step != StepFactor && len(when) > 0:
		c.out.say(where, "this step is part of every sign-in, so it has no condition")
	case at >= 0 && at < c.next:
		c.out.say(where, "this step stands too late, or twice: the order is identify, choose, authenticate, link, membership, factor, enroll")
	case at >= 0:
		c.settle(at)
		c.next = at + 1
	default:
		c.added(it.Step, set, where, when)
	}
}

// added notes a step that the flow adds.
func (c *compiling) added(name StepName, set Custom, where string, when []clause) {
	if _, known := steps[name]; !known {
		c.out.say(where, "there is no such step here; there are notice, terms, profile, deny and factor")
	}
	c.waiting = append(c.waiting, waiting{station{Step: name, ID: stationID(c.org, c.version, where), Org: c.org, Set: set, when: when}, where})
}

// settle gives the waiting steps their place before the natural step that came, or the end.
func (c *compiling) settle(slot int) {
	if slot > slotAuthenticate && slot <= slotMembership {
		slot = slotMembership + 1 // nobody is asked anything before it is known that they belong here
	}
	for _, w := range c.waiting {
		at := slot
		if proved[w.Step] && slot != slotEnd {
			c.out.say(w.where, "this step stands behind enroll, or last: it is for people who proved who they are")
			at = slotEnd
		}
		c.slots[at] = append(c.slots[at], w.station)
		if at > slotAuthenticate {
			c.late(w.when)
		}
	}
	c.waiting = nil
}

// proved are the steps that write down something of a person: they wait until every proof is there.
var proved = map[StepName]bool{StepTerms: true, StepProfile: true}

// late notes that somebody is proved where these conditions are asked.
func (c *compiling) late(when []clause) {
	for _, cl := range when {
		c.texts[cl.at].late = true
	}
}

// early are the conditions that are asked of a step before anybody is proved.
func (c *compiling) early() map[int]bool {
	out := map[int]bool{}
	for slot := range slotAuthenticate + 1 {
		for _, st := range c.slots[slot] {
			for _, cl := range st.when {
				out[cl.at] = true
			}
		}
	}
	return out
}

func (c *compiling) conditionsOf() {
	early := c.early()
	for i, e := range c.texts {
		ready := condition{zone: c.zone}
		var err error
		if i < maxConditions {
			ready, err = newCondition(e.text, e.late && !early[i], c.zone)
		}
		if err != nil && e.text != "" {
			c.out.say(e.where, "the condition %q does not work: %v", abridged(e.text), err)
		}
		c.conditions = append(c.conditions, ready)
	}
}

func abridged(text string) string {
	if len(text) > 80 {
		return text[:77] + "…"
	}
	return text
}

// reachable names steps whose conditions never hold.
func (c *compiling) reachable() {
	for _, list := range c.slots {
		for _, st := range list {
			if slices.ContainsFunc(st.when, func(cl clause) bool {
				always := c.conditions[cl.at].always
				return always == fails && !cl.not || always == holds && cl.not
			}) {
				c.out.say(st.ID[len(stationID(c.org, c.version, "")):], "this step is never reached: its condition never holds")
			}
		}
	}
	for _, list := range c.slots {
		for _, st := range list {
			if st.Step == StepDeny && len(st.when) > 0 && !slices.ContainsFunc(st.when, func(cl clause) bool {
				return cl.not && c.conditions[cl.at].always != fails || !cl.not && c.conditions[cl.at].always != holds
			}) {
				c.out.say(st.ID[len(stationID(c.org, c.version, "")):], "nobody can get past this step: its condition always holds")
			}
		}
	}
}

// lockedBy names the item that refuses everybody, whatever conditions come to.
func lockedBy(items []Item, where string) (string, bool) {
	for i, it := range items {
		at := fmt.Sprintf("%s %d", where, i+1)
		if it.Step == StepDeny && it.If == "" {
			return named(at, it.Step), true
		}
		if it.Step != "" {
			continue
		}
		if _, ok := lockedBy(it.Then, at+", then"); !ok {
			continue
		}
		if _, ok := lockedBy(it.Else, at+", else"); ok {
			return at, true
		}
	}
	return "", false
}

// under says what of the flow nobody can satisfy under a policy, with the second steps of this installation.
func (p *part) under(eff policy.Effective, methods []mfa.Method) (out problems) {
	for _, w := range p.wishes {
		d := demand{second: true, rung: w.rung, strict: policy.MFAPhishingResistant.In(eff)}
		if !slices.ContainsFunc(methods, func(m mfa.Method) bool {
			return State{}.permits(eff, d, m) && m.Class() > policy.Unranked && (w.rung < RungPhr || m == policy.Passkey)
		}) {
			out.say("factor", "nobody can pass this step: policy allows none of the second steps that would do (%s)", policy.MFAMethods.Key)
		}
	}
	return out
}

// flowDemand adds what the flow wants to what policy and app want.
func (s State) flowDemand(p policy.Effective, d *demand) {
	for _, w := range s.Wanted {
		why := Reason{Text: "The organization's sign-in flow asks for a second step.", Rule: "flow", Level: w.Level}
		if w.Unclear {
			why.Text = "The organization's sign-in flow asks for a second step: its condition could not be judged."
		}
		d.second, d.strict, d.rung = true, d.strict || policy.MFAPhishingResistant.In(p), max(d.rung, w.Rung)
		d.why = append(d.why, why)
		if d.by == "" {
			d.by = w.Level
		}
	}
}
