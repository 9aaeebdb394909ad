package demo

import (
	"context"
	"maps"
	"slices"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

// stepNames are what a trace's steps are called on a page.
var stepNames = map[string]string{
	"route": "Organization found", "depart": "Sent away", "arrive": "Came back", "link": "Account", "decide": "Decided",
	"refused": "Refused", "admit": "Admitted", "code": "Code",
}

// stepsOf are the lines of a story.
func stepsOf(t audit.Trace) []step {
	var out []step
	for _, s := range t.Steps {
		l := step{When: s.At.Format("15:04:05.000"), Name: stepNames[s.Name], Text: s.Text, Code: s.Code, Checks: s.Checks, Bad: s.Code != ""}
		if l.Name == "" {
			l.Name = s.Name
		}
		if l.Bad && len(out) > 0 && slices.Equal(out[len(out)-1].Checks, l.Checks) {
			l.Checks = nil // the step before has told them
		}
		for _, name := range slices.Sorted(maps.Keys(s.Facts)) {
			if name == "connection" || name == "connection_name" {
				continue // the sentence names it
			}
			l.Facts = append(l.Facts, fact{name, s.Facts[name]})
		}
		out = append(out, l)
	}
	return out
}

// cameThrough is the company whose identity provider a story tells of; nil when it tells of none.
func (w *World) cameThrough(t audit.Trace) *company {
	for _, s := range slices.Backward(t.Steps) {
		for _, c := range w.companies {
			if s.Name == "arrive" && s.Facts["connection"] == string(c.connection.ID) {
				return c
			}
		}
	}
	return nil
}

// policyOf is what holds for an organization's sessions and tokens, and who decided it.
func (w *World) policyOf(ctx context.Context, org directory.OrgID, app directory.AppID) ([]rule, error) {
	chain, err := w.Directory.OrgChain(ctx, org)
	if err != nil {
		return nil, err
	}
	eff, err := w.Directory.Effective(ctx, chain, app)
	if err != nil {
		return nil, err
	}
	var out []rule
	for _, key := range []string{"session.lifetime", "session.idle", "tokens.access_lifetime"} {
		why := eff.Why(key)
		by := "The default"
		if why.Set {
			by = "Set by " + why.Level
		}
		out = append(out, rule{Key: key, Title: why.Title, Value: inWords(why.Value), By: by})
	}
	return out, nil
}

// inWords is a duration as policy writes it, as people say it: "4h" is 4 hours.
func inWords(value string) string {
	if value == "" {
		return value
	}
	number, unit := value[:len(value)-1], map[byte]string{'s': " second", 'm': " minute", 'h': " hour", 'd': " day"}[value[len(value)-1]]
	if unit == "" {
		return value
	}
	if number != "1" {
		unit += "s"
	}
	return number + unit
}
