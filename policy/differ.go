package policy

import "slices"

// Difference is what a change does to one setting.
type Difference struct {
	Key, Title    string
	Before, After string // as people write them
	// Tighter says that what holds after lets through nothing that was refused before. A change that is not
	// tighter lets something more through.
	Tighter bool
}

// Differences are the settings whose effective values differ, in the order of the table.
func Differences(before, after Effective) []Difference {
	if before.folded == nil || after.folded == nil {
		return nil
	}
	var out []Difference
	for i, r := range rules.rules {
		b, a := before.folded.slots[i].value, after.folded.slots[i].value
		if a != b {
			out = append(out, Difference{r.key(), r.title(), r.show(b), r.show(a), r.tighter(b, a) == a})
		}
	}
	return out
}

// Blocked says why nobody could sign in under a policy: the settings of which nothing is left, or that
// contradict each other. A policy by which somebody can is nil.
func Blocked(e Effective) []string {
	if e.folded == nil {
		return []string{"No policy was resolved."}
	}
	var out []string
	for i, r := range rules.rules {
		if r.empty(e.folded.slots[i].value) && !(r.key() == MFAMethods.Key && MFARequirement.In(e) == Off) {
			out = append(out, r.title()+": nothing is left that all levels allow.")
		}
	}
	steps := MFAMethods.In(e)
	if MFARequirement.In(e) != Off && MFAPhishingResistant.In(e) && !steps.Empty() && !slices.ContainsFunc(steps.Methods(), func(m Method) bool { return m.Class() == PhishingResistant }) {
		out = append(out, MFAPhishingResistant.Title+": no such second step is allowed.")
	}
	return out
}
