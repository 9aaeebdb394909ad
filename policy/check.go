package policy

import (
	"encoding/json"
	"fmt"

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
		return say(ErrUnknown, "There is no setting called %q.", key)
	}
	own, err := r.read(wish)
	if err != nil {
		return say(ErrValue, "%s: %v.", r.title(), err)
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

// bound is what the levels above the writing one leave it.
type bound struct {
	limit any
	by    string
	floor bool // floors bind everybody below the platform
}

func (t table) above(chain []Level, r rule) (bound, error) {
	if err := inOrder(chain); err != nil {
		return bound{}, err
	}
	levels := append([]Level(nil), chain...)
	levels[len(levels)-1].Values = nil
	f, err := t.fold(levels)
	if err != nil {
		return bound{}, err
	}
	for i := range t.rules {
		if t.rules[i] == r {
			s := f.slots[i]
			return bound{limit: s.limit, by: f.chain[s.limitBy].shown(), floor: len(chain) > 1}, nil
		}
	}
	return bound{}, ErrUnknown
}

func (b bound) allows(r rule, own any) error {
	if r.tighter(b.limit, own) != own {
		return say(ErrLooser, "%s: %s is looser than %s, the loosest that %s allows. Only whoever set that can change it there.",
			r.title(), r.show(own), r.show(b.limit), b.by)
	}
	if floor, has := r.floor(); has && b.floor && r.tighter(own, floor) != floor {
		return say(ErrFloor, "%s: %s is tighter than %s, the tightest that anybody may ask for.", r.title(), r.show(own), r.show(floor))
	}
	if r.strength(own) < r.strength(b.limit) {
		return say(ErrWeaker, "%s: %s leaves out the strongest of what %s allows (%s). Keep at least one of the strongest.",
			r.title(), r.show(own), b.by, r.show(b.limit))
	}
	return nil
}

// CheckPlatform says whether the platform's own document may be stored: its defaults and limits are
// values of known settings, and no limit is tighter than what organizations may ask for.
func CheckPlatform(platform Level) error { return rules.checkPlatform(platform) }

func (t table) checkPlatform(platform Level) error {
	for key, raw := range platform.Limits {
		r, ok := t.byKey[key]
		if !ok {
			return say(ErrUnknown, "There is no setting called %q.", key)
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
	for key, raw := range platform.Defaults {
		if err := t.check([]Level{{Kind: Platform, Limits: platform.Limits}}, key, raw); err != nil {
			return err
		}
	}
	for key, raw := range platform.Values {
		if err := t.check([]Level{{Kind: Platform, Limits: platform.Limits}}, key, raw); err != nil {
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
