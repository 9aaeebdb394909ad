package flows

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/vestibule-id/vestibule/policy"
)

// This file holds conditions: small expressions in CEL over what is known of a login (S33). Each is compiled
// once for its version, its cost estimated then and counted when it runs.

// What a condition may cost, in CEL's units (about one for each thing that is read or called): by estimate
// when it is published, by count when it runs; and all conditions of one decision together.
const (
	maxConditionCost = 2_000
	decisionBudget   = 10_000
)

// verdict is what a condition came to.
type verdict int8

const (
	unasked verdict = iota
	holds
	fails
	unclear // it could not be judged, or cost too much: the step is taken, and a refusing step refuses
)

// variables are what conditions read. person is what a condition behind membership may read besides.
var (
	variables = []variable{
		{"org.id", cel.StringType}, {"org.handle", cel.StringType}, {"org.name", cel.StringType}, {"org.path", cel.ListType(cel.StringType)},
		{"app.id", cel.StringType}, {"app.name", cel.StringType},
		{"device.known", cel.BoolType},
		{"network.address", cel.StringType},
		{"connection.id", cel.StringType}, {"connection.name", cel.StringType},
		{"connection.amr", cel.ListType(cel.StringType)}, {"connection.acr", cel.StringType},
		{"time.hour", cel.IntType}, {"time.minute", cel.IntType}, {"time.weekday", cel.IntType}, {"time.date", cel.StringType},
	}
	personal = []variable{
		{"person.id", cel.StringType}, {"person.guest", cel.BoolType},
		{"person.email", cel.StringType}, {"person.email_domain", cel.StringType}, {"person.email_verified", cel.BoolType},
		{"person.name", cel.StringType}, {"person.given_name", cel.StringType}, {"person.family_name", cel.StringType},
		{"person.locale", cel.StringType}, {"person.phone_number", cel.StringType}, {"person.zoneinfo", cel.StringType},
		{"person.username", cel.StringType}, {"person.source", cel.StringType},
	}
)

type variable struct {
	name string
	typ  *cel.Type
}

// dialects are the languages of conditions: before anybody is proved there is no person, so that nobody
// learns anything of people by typing addresses.
var dialects = sync.OnceValues(func() ([2]*cel.Env, error) {
	before, err := dialect(variables)
	if err != nil {
		return [2]*cel.Env{}, err
	}
	after, err := dialect(append(append([]variable(nil), variables...), personal...))
	return [2]*cel.Env{before, after}, err
})

func dialect(vars []variable) (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.ClearMacros(), cel.Macros(cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro),
		cel.ParserExpressionSizeLimit(maxCondition), cel.ParserRecursionLimit(32),
		cel.Function("within", cel.MemberOverload("address_within_network", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(within))),
	}
	for _, v := range vars {
		opts = append(opts, cel.Variable(v.name, v.typ))
	}
	return cel.NewEnv(opts...)
}

// within says whether an address, or a network, lies in a network: network.address.within("10.0.0.0/8").
func within(a, b ref.Val) ref.Val {
	address, ok := a.Value().(string)
	network, ok2 := b.Value().(string)
	if !ok || !ok2 {
		return types.NewErr("within takes an address and a network")
	}
	outer, err := netip.ParsePrefix(network)
	if err != nil {
		return types.NewErr("not a network")
	}
	if inner, err := netip.ParsePrefix(address); err == nil {
		return types.Bool(inner.Bits() >= outer.Bits() && outer.Contains(inner.Addr()))
	}
	at, err := netip.ParseAddr(address)
	if err != nil {
		return types.NewErr("not an address")
	}
	return types.Bool(outer.Contains(at.Unmap()))
}

// sizes bounds the cost of reading what a login holds.
type sizes struct{}

func (sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	if path := n.Path(); len(path) > 0 {
		return &checker.SizeEstimate{Min: 0, Max: 320}
	}
	return nil
}

func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// condition is one expression, ready to run.
type condition struct {
	program cel.Program    // nil: it does not compile here, so it is never clear
	always  verdict        // what it comes to whatever is known, where it reads nothing; unasked else
	zone    *time.Location // of its document
}

// newCondition compiles an expression. knowsPerson says whether somebody is proved where it is asked. The
// condition is good even when it is not compiled: it is never clear then.
func newCondition(text string, knowsPerson bool, zone *time.Location) (condition, error) {
	none := condition{zone: zone}
	if len(text) > maxCondition {
		return none, fmt.Errorf("it is longer than %d bytes", maxCondition)
	}
	envs, err := dialects()
	if err != nil {
		return none, err
	}
	env := envs[0]
	if knowsPerson {
		env = envs[1]
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return none, fmt.Errorf("%s", readable(issues, text, knowsPerson))
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return none, fmt.Errorf("it gives %s; a condition is true or false", ast.OutputType())
	}
	if nested(ast) {
		return none, fmt.Errorf("all, exists and exists_one may not stand inside one another")
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return none, err
	}
	if cost.Max > maxConditionCost {
		return none, fmt.Errorf("it may cost %s; %d is the most", costly(cost.Max), maxConditionCost)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(maxConditionCost))
	if err != nil {
		return none, err
	}
	c := condition{program: program, zone: zone}
	if out, _, err := program.Eval(cel.NoVars()); err == nil {
		c.always = verdictOf(out)
	}
	return c, nil
}

func costly(n uint64) string {
	if n == math.MaxUint64 {
		return "without end"
	}
	return fmt.Sprint(n)
}

// readable is what is wrong with an expression, in one line.
func readable(issues *cel.Issues, text string, knowsPerson bool) string {
	var lines []string
	for _, e := range issues.Errors() {
		lines = append(lines, fmt.Sprintf("column %d: %s", e.Location.Column()+1, strings.TrimSuffix(e.Message, " (in container '')")))
	}
	if !knowsPerson && strings.Contains(text, "person.") {
		lines = append(lines, "before authenticate nothing is known of the person")
	}
	return strings.Join(lines, "; ")
}

// nested says whether a macro stands inside another.
func nested(a *cel.Ast) bool {
	for _, e := range celast.MatchDescendants(celast.NavigateAST(a.NativeRep()), celast.KindMatcher(celast.ComprehensionKind)) {
		for up, ok := e.Parent(); ok; up, ok = up.Parent() {
			if up.Kind() == celast.ComprehensionKind {
				return true
			}
		}
	}
	return false
}

func verdictOf(v ref.Val) verdict {
	if b, ok := v.(types.Bool); ok {
		if b {
			return holds
		}
		return fails
	}
	return unclear
}

// judging is the conditions of one decision: what they came to, and what they cost together.
type judging struct {
	flow  *Flow
	known seen
	came  []verdict
	spent uint64
}

// ask says what a condition comes to. It is asked once in a decision.
func (j *judging) ask(at int) verdict {
	if j.came == nil {
		j.came = make([]verdict, len(j.flow.conditions))
	}
	if j.came[at] == unasked {
		j.came[at] = j.run(&j.flow.conditions[at])
	}
	return j.came[at]
}

func (j *judging) run(c *condition) verdict {
	switch {
	case c.program == nil:
		return unclear
	case c.always != unasked:
		return c.always
	case j.spent+maxConditionCost > decisionBudget:
		return unclear
	}
	j.known.zone = c.zone
	out, details, err := c.program.Eval(&j.known)
	if cost := details.ActualCost(); cost != nil {
		j.spent += *cost
	} else {
		j.spent += maxConditionCost
	}
	if err != nil {
		return unclear
	}
	return verdictOf(out)
}

// all says whether clauses hold together. One that fails decides; else one that is unclear does.
func (j *judging) all(clauses []clause) verdict {
	out := holds
	for _, c := range clauses {
		v := j.ask(c.at)
		if c.not && v == holds {
			v = fails
		} else if c.not && v == fails {
			v = holds
		}
		switch v {
		case fails:
			return fails
		case unclear:
			out = unclear
		}
	}
	return out
}

// seen is what conditions read of a login.
type seen struct {
	policy policy.Effective
	state  *State
	zone   *time.Location
}

// Parent is nothing: there are no other names.
func (k *seen) Parent() cel.Activation { return nil }

// ResolveName gives a variable. What is not known is not there, so that the condition that reads it is not
// clear, and takes the step.
func (k *seen) ResolveName(name string) (any, bool) {
	s := k.state
	noun, rest, _ := strings.Cut(name, ".")
	switch noun {
	case "app":
		return s.appFact(rest)
	case "device":
		return s.DeviceKnown, rest == "known"
	case "network":
		return s.From.Unmap().String(), rest == "address" && s.From.IsValid()
	case "time":
		return timeFact(rest, s.Now.In(k.zone))
	}
	if s.Org == nil {
		return nil, false
	}
	switch noun {
	case "org":
		return s.orgFact(rest)
	case "connection":
		return s.connectionFact(k.policy, rest)
	case "person":
		return s.personFact(rest)
	}
	return nil, false
}

func (s *State) appFact(name string) (any, bool) {
	switch name {
	case "id":
		return string(s.App), true
	case "name":
		return s.AppName, true
	}
	return nil, false
}

func (s *State) orgFact(name string) (any, bool) {
	org := s.Org.Chain.Org()
	switch name {
	case "id":
		return string(org.ID), true
	case "handle":
		return org.Handle, true
	case "name":
		return org.Name, true
	case "path":
		path := make([]string, len(s.Org.Chain))
		for i, o := range s.Org.Chain {
			path[i] = o.Handle
		}
		return path, true
	}
	return nil, false
}

// connectionFact tells of the identity provider that signed the person in, or is about to. Of what it said
// only what counts here is told (S2).
func (s *State) connectionFact(p policy.Effective, name string) (any, bool) {
	id, q := s.Connection, Proof{}
	counting, _ := s.Counting(p)
	for _, c := range counting {
		if c.Connection != "" {
			id, q = c.Connection, c
			break
		}
	}
	switch name {
	case "id":
		return string(id), true
	case "name":
		for _, c := range s.Org.Usable {
			if c.ID == id {
				return c.Name, true
			}
		}
		return "", true
	case "amr":
		return q.AMR, true
	case "acr":
		return q.ACR, true
	}
	return nil, false
}

// personFact tells of the person who is proved. Of a guest nothing is told but that they are one: what else
// is known of them is their own organization's.
func (s *State) personFact(name string) (any, bool) {
	if s.Person == nil {
		return nil, false
	}
	p := &s.Person.Person
	guest := !s.Org.Chain.Has(p.Home)
	switch name {
	case "id":
		return string(p.ID), true
	case "guest":
		return guest || s.Person.Member.Kind == "guest", true
	}
	if guest {
		return nil, false
	}
	switch name {
	case "email":
		return p.Email, true
	case "email_domain":
		_, domain, _ := strings.Cut(NormalAddress(p.Email), "@")
		return domain, true
	case "email_verified":
		return !p.EmailSince.IsZero() || !p.EmailProved.IsZero(), true
	case "name":
		return p.Name, true
	case "given_name":
		return p.Given, true
	case "family_name":
		return p.Family, true
	case "locale":
		return p.Locale, true
	case "phone_number":
		return p.Profile.Phone, true
	case "zoneinfo":
		return p.Profile.Zoneinfo, true
	case "username":
		return p.Profile.PreferredUsername, true
	case "source":
		return p.Source, true
	}
	return nil, false
}

// timeFact reads the clock of the flow. Weeks begin with Monday, 1 (ISO 8601).
func timeFact(name string, t time.Time) (any, bool) {
	switch name {
	case "hour":
		return int64(t.Hour()), true
	case "minute":
		return int64(t.Minute()), true
	case "weekday":
		return int64((t.Weekday()+6)%7 + 1), true
	case "date":
		return t.Format(time.DateOnly), true
	}
	return nil, false
}
