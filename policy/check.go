package policy

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// Check says whether the last level of the chain may set a setting to wish; whatever it has set there
// now does not count. The error is a fault whose sentence names the setting, what is allowed and who
// says so. Nothing is ever clamped: what Check allows is what will hold at that level.
func Check(chain []Level, key string, wish json.RawMessage) error {
	return rules.check(chain, key, wish)
}

func (t table) check(chain []Level, key string, wish json.RawMessage) error {
	r, ok := t.byKey[key]
	if !ok {
		return unknown(key)
	}
	own, err := r.read(wish)
	if err != nil {
		return say(ErrValue, "%s: %v.", r.title(), err)
	}
	if err := settable(r, chain, own); err != nil {
		return err
	}
	if r.empty(own) {
		return say(ErrNobody, "%s: a list without entries would let nobody in. Leave the setting unset to allow what the level above allows.", r.title())
	}
	above, err := t.above(chain, r)
	if err != nil {
		return err
	}
	return above.allows(r, own)
}

// settable refuses what no document of the level may hold, whatever stands above.
func settable(r rule, chain []Level, own any) error {
	switch {
	case r.wild(own):
		return say(ErrValue, "%s: %q can be a limit, and nobody's value. Name what is meant.", r.title(), r.show(own))
	case r.about().noApp && len(chain) > 0 && chain[len(chain)-1].Kind == App:
		return say(ErrLevel, "%s: this is for organizations, not for one app.", r.title())
	}
	return nil
}

// CheckKeep says whether the last level of the chain, with the values it has there, may want the members of a
// set kept below it.
func CheckKeep(chain []Level, key string, wish json.RawMessage) error {
	return rules.checkKeep(chain, key, wish)
}

func (t table) checkKeep(chain []Level, key string, wish json.RawMessage) error {
	r, ok := t.byKey[key]
	if !ok {
		return unknown(key)
	}
	if !r.about().keeps {
		return say(ErrValue, "%s: only members of a list can be kept.", r.title())
	}
	if len(chain) > 0 && chain[len(chain)-1].Kind == App {
		return say(ErrLevel, "%s: below an app there is nothing that could keep it.", r.title())
	}
	members, err := r.read(wish)
	if err != nil {
		return say(ErrValue, "%s: %v.", r.title(), err)
	}
	f, err := t.fold(chain)
	if err != nil {
		return err
	}
	s := f.slots[r.place()]
	if r.tighter(s.limit, members) != members {
		return say(ErrLooser, "%s: to keep %s is more than %s, which is all that %s allows.", r.title(), r.show(members), r.show(s.limit), f.chain[s.limitBy].shown())
	}
	return nil
}

// bound is what the levels above the writing one leave it.
type bound struct {
	limit  any
	by     string
	reason string // of whoever set the limit
	keeps  []keeper
	floor  bool // floors bind everybody below the platform
}

type keeper struct {
	members any
	by      string
}

func (t table) above(chain []Level, r rule) (bound, error) {
	if err := inOrder(chain); err != nil {
		return bound{}, err
	}
	levels := append([]Level(nil), chain...)
	levels[len(levels)-1].Values, levels[len(levels)-1].Keep = nil, nil
	f, err := t.fold(levels)
	if err != nil {
		return bound{}, err
	}
	s := f.slots[r.place()]
	b := bound{limit: s.limit, by: f.chain[s.limitBy].shown(), reason: f.limitNote(r, s).Reason, floor: len(chain) > 1}
	for _, k := range s.keeps {
		b.keeps = append(b.keeps, keeper{k.members, f.chain[k.by].shown()})
	}
	return b, nil
}

func (b bound) allows(r rule, own any) error {
	if r.tighter(b.limit, own) != own {
		why := ""
		if b.reason != "" {
			why = " The reason given there: " + strings.TrimRight(b.reason, ". ") + "."
		}
		return say(ErrLooser, "%s: %s is looser than %s, the loosest that %s allows. Only whoever set that can change it there.%s",
			r.title(), r.show(own), r.show(b.limit), b.by, why)
	}
	if floor, has := r.floor(); has && b.floor && r.tighter(own, floor) != floor {
		return say(ErrFloor, "%s: %s is tighter than %s, the tightest that anybody may ask for.", r.title(), r.show(own), r.show(floor))
	}
	if r.strength(own) < r.strength(b.limit) {
		return say(ErrWeaker, "%s: %s leaves out the strongest of what %s allows (%s). Keep at least one of the strongest.",
			r.title(), r.show(own), b.by, r.show(b.limit))
	}
	for _, k := range b.keeps {
		// What a level between has taken away since cannot be kept.
		if want := r.tighter(k.members, b.limit); r.tighter(own, want) != want {
			return say(ErrKept, "%s: %s leaves out some of what %s wants kept: %s.", r.title(), r.show(own), k.by, r.show(want))
		}
	}
	return nil
}

// Review says of each value that the last level of the chain has set whether it could be set today: the
// sentence of what is in the way, by setting. What an ancestor tightened later is here "over the limit";
// what holds is Effective's to say.
func Review(chain []Level) (map[string]string, error) { return rules.review(chain) }

func (t table) review(chain []Level) (map[string]string, error) {
	if err := inOrder(chain); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for key, raw := range chain[len(chain)-1].Values {
		err := t.check(chain, key, raw)
		switch f := fault.Of(err); {
		case err == nil:
		case f.Kind != fault.Invalid:
			return nil, err
		default:
			out[key] = f.Public
		}
	}
	return out, nil
}

// CheckPlatform says whether the platform's own document may be stored: its defaults and limits are
// values of known settings, and no limit is tighter than what organizations may ask for.
func CheckPlatform(platform Level) error { return rules.checkPlatform(platform) }

func (t table) checkPlatform(platform Level) error {
	for key, raw := range platform.Limits {
		r, ok := t.byKey[key]
		if !ok {
			return unknown(key)
		}
		limit, err := r.read(raw)
		if err != nil {
			return say(ErrValue, "%s: %v.", r.title(), err)
		}
		if r.empty(limit) {
			return say(ErrNobody, "%s: a limit that allows nothing would let nobody in.", r.title())
		}
		if floor, has := r.floor(); has && r.tighter(limit, floor) != floor {
			return say(ErrFloor, "%s: a limit of %s is tighter than %s, the tightest that an organization may ask for.",
				r.title(), r.show(limit), r.show(floor))
		}
	}
	bare := []Level{{Kind: Platform, Limits: platform.Limits, Notes: platform.Notes}}
	for _, part := range []map[string]json.RawMessage{platform.Defaults, platform.Values} {
		for key, raw := range part {
			if err := t.check(bare, key, raw); err != nil {
				return err
			}
		}
	}
	bare[0].Values = platform.Values
	for key, raw := range platform.Keep {
		if err := t.checkKeep(bare, key, raw); err != nil {
			return err
		}
	}
	return nil
}

// say gives a declared fault the sentence of this one refusal.
func say(declared *fault.Error, format string, args ...any) error {
	refusal := *declared
	refusal.Public = fmt.Sprintf(format, args...)
	return &refusal
}
