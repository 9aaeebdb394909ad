package policy

// This file proves the laws for every rule of the table. A new rule is proved by standing there.

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// methods is a rule with strength classes whose default and limit are made for the stories of S13.
var methods = &words{"passkey", "security_key", "totp", "push", "sms", "email"}

var methodsRule = &Rule[Set]{
	Key: "test.methods", Title: "Second factors",
	Default: methods.set("passkey", "totp"), Limit: methods.all(), Loosest: methods.all(), Strictest: methods.none(),
	Tighter: common, Read: methods.read, Show: Set.String, Empty: Set.Empty,
	Strength: classOf, Unite: union,
	Samples: []Set{methods.all(), methods.set("passkey", "totp", "sms"), methods.set("security_key", "passkey"),
		methods.set("totp", "sms"), methods.set("sms"), methods.none()},
}

// proved are all rules, and for each a table in which it can be folded.
func proved() map[string]table {
	out := map[string]table{"test.methods": tableOf(methodsRule)}
	for _, r := range rules.rules {
		out[r.key()] = rules
	}
	return out
}

// forEvery runs a law for every rule.
func forEvery(t *testing.T, law func(t *rapid.T, tab table, r rule)) {
	for key, tab := range proved() {
		t.Run(key, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { law(t, tab, tab.byKey[key]) })
		})
	}
}

func raw(t interface{ Fatal(...any) }, v any) json.RawMessage {
	switch x := v.(type) {
	case time.Duration:
		v = showDuration(x)
	case int:
		if x == Unlimited {
			v = unlimited
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// value draws a sample, or what two samples make together.
func value(t *rapid.T, r rule, label string) any {
	one := rapid.SampledFrom(r.samples())
	return r.tighter(one.Draw(t, label), one.Draw(t, label+"'"))
}

func maybe(t *rapid.T, r rule, label string) map[string]json.RawMessage {
	if rapid.Bool().Draw(t, label+" is set") {
		return map[string]json.RawMessage{r.key(): raw(t, value(t, r, label))}
	}
	return nil
}

// chain draws levels as they may be stored, values over a limit that was tightened later included.
func chain(t *rapid.T, r rule) []Level {
	keep := func(label string) map[string]json.RawMessage {
		if !r.about().keeps {
			return nil
		}
		return maybe(t, r, label+" keeps")
	}
	out := []Level{{Kind: Platform, ID: "p", Values: maybe(t, r, "platform"), Defaults: maybe(t, r, "default"), Limits: maybe(t, r, "limit"), Keep: keep("platform")}}
	if rapid.Bool().Draw(t, "realm") {
		out = append(out, Level{Kind: Realm, ID: "rlm", Name: "Realm", Values: maybe(t, r, "realm value"), Keep: keep("realm")})
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "depth") {
		id := fmt.Sprintf("org %d", i)
		out = append(out, Level{Kind: Org, ID: id, Name: id, Values: maybe(t, r, id), Keep: keep(id)})
	}
	if rapid.Bool().Draw(t, "app") {
		out = append(out, Level{Kind: App, ID: "app", Name: "App", Values: maybe(t, r, "app value")})
	}
	return out
}

// at is where a rule stands after the first n levels: the limit that binds below, and what holds there.
func at(t interface{ Fatalf(string, ...any) }, tab table, r rule, levels []Level) (limit, effective any) {
	e, err := tab.resolve(levels)
	if err != nil {
		t.Fatalf("resolve: %v", err)
	}
	for i, other := range tab.rules {
		if other == r {
			return e.folded.slots[i].limit, e.folded.slots[i].value
		}
	}
	t.Fatalf("%s is not in the table", r.key())
	return nil, nil
}

func tight(r rule, a, than any) bool { return r.tighter(a, than) == a }

func own(r rule, l Level) (any, bool) {
	text, ok := l.Values[r.key()]
	if !ok {
		return nil, false
	}
	v, err := r.read(text)
	return v, err == nil
}

func TestLawTighterIsASemilatticeBetweenItsEnds(t *testing.T) {
	forEvery(t, func(t *rapid.T, _ table, r rule) {
		a, b, c := value(t, r, "a"), value(t, r, "b"), value(t, r, "c")
		loosest, strictest := r.ends()
		switch {
		case r.tighter(a, a) != a:
			t.Fatalf("not idempotent at %v", a)
		case r.tighter(a, b) != r.tighter(b, a):
			t.Fatalf("not commutative at %v, %v", a, b)
		case r.tighter(r.tighter(a, b), c) != r.tighter(a, r.tighter(b, c)):
			t.Fatalf("not associative at %v, %v, %v", a, b, c)
		case r.tighter(a, loosest) != a:
			t.Fatalf("%v is looser than the loosest", a)
		case r.tighter(a, strictest) != strictest:
			t.Fatalf("%v is stricter than the strictest", a)
		}
	})
}

func TestLawALimitIsNeverLooserThanItsParents(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		for n := 1; n < len(levels); n++ {
			above, _ := at(t, tab, r, levels[:n])
			below, _ := at(t, tab, r, levels[:n+1])
			if !tight(r, below, above) {
				t.Fatalf("level %d has the limit %v, its parent %v", n, below, above)
			}
		}
	})
}

func TestLawASetValueBindsEverythingBelow(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		_, effective := at(t, tab, r, levels)
		_, limit := r.defaults()
		if text, ok := levels[0].Limits[r.key()]; ok {
			limit, _ = r.read(text)
		}
		if !tight(r, effective, limit) {
			t.Fatalf("%v holds, the platform's limit is %v", effective, limit)
		}
		for _, l := range levels {
			if v, ok := own(r, l); ok && !tight(r, effective, v) {
				t.Fatalf("%v holds, %s set %v", effective, l.ID, v)
			}
		}
	})
}

func TestLawADefaultBindsNobody(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		wish := value(t, r, "wish")
		_, limit := r.defaults()
		levels := []Level{{Kind: Platform}, {Kind: Org, ID: "o", Values: map[string]json.RawMessage{r.key(): raw(t, wish)}}}
		if _, effective := at(t, tab, r, levels); effective != r.tighter(wish, limit) {
			t.Fatalf("%v was set within the limit %v, %v holds", wish, limit, effective)
		}
	})
}

func TestLawSettingOrTighteningLoosensNoLimitBelow(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		before, held := at(t, tab, r, levels)
		n := rapid.IntRange(0, len(levels)-1).Draw(t, "level")
		v := value(t, r, "new")
		old, was := own(r, levels[n])
		if was {
			v = r.tighter(v, old)
		}
		changed := append([]Level(nil), levels...)
		changed[n].Values = map[string]json.RawMessage{r.key(): raw(t, v)}
		after, holds := at(t, tab, r, changed)
		if !tight(r, after, before) {
			t.Fatalf("the limit was %v and is %v", before, after)
		}
		if was && !tight(r, holds, held) {
			t.Fatalf("a tighter own value made what holds below looser: %v, then %v", held, holds)
		}
	})
}

func TestLawTheFoldIsIndependentOfGrouping(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		limit, effective := at(t, tab, r, levels)
		// All own values in one level, in whatever order, do what they do one by one …
		var all any
		var bare []Level
		for _, l := range levels {
			if v, ok := own(r, l); ok && all == nil {
				all = v
			} else if ok {
				all = r.tighter(v, all)
			}
			l.Values = nil
			bare = append(bare, l)
		}
		if all != nil {
			bare[rapid.IntRange(0, len(bare)-1).Draw(t, "where")].Values = map[string]json.RawMessage{r.key(): raw(t, all)}
		}
		if l, e := at(t, tab, r, bare); l != limit || e != effective {
			t.Fatalf("apart: %v within %v; together: %v within %v", effective, limit, e, l)
		}
		// … and a level that sets nothing changes nothing.
		n := rapid.IntRange(1, len(levels)).Draw(t, "insert")
		if n == len(levels) && levels[n-1].Kind == App || n < len(levels) && levels[n].Kind == Realm {
			return
		}
		wider := append(append(append([]Level(nil), levels[:n]...), Level{Kind: Org, ID: "silent"}), levels[n:]...)
		if l, e := at(t, tab, r, wider); l != limit || e != effective {
			t.Fatalf("a silent level made %v within %v into %v within %v", effective, limit, e, l)
		}
	})
}

func TestLawProvenanceNamesALevelThatHasTheValue(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		e, err := tab.resolve(levels)
		if err != nil {
			t.Fatal(err)
		}
		_, effective := at(t, tab, r, levels)
		why := tab.why(e, r.key())
		if why.Value != r.show(effective) || why.Words() == "" {
			t.Fatalf("%v holds, explained as %q", effective, why.Words())
		}
		for n, l := range levels {
			if l.ID != why.ID {
				continue
			}
			// What holds at the named level itself, before anybody below spoke, is the value.
			if limit, there := at(t, tab, r, levels[:n+1]); there != effective && limit != effective {
				t.Fatalf("%q is named for %v, but %v holds there within %v", l.ID, effective, there, limit)
			}
			if _, has := own(r, l); !has && l.Kind != Platform {
				t.Fatalf("%q is named and set nothing", l.ID)
			}
			return
		}
		t.Fatalf("nobody is called %q", why.ID)
	})
}

func TestLawWhatDiffersFromWhatWasAskedIsSaid(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		e, err := tab.resolve(levels)
		if err != nil {
			t.Fatal(err)
		}
		_, effective := at(t, tab, r, levels)
		why := tab.why(e, r.key())
		for n := len(levels) - 1; n >= 0; n-- {
			v, ok := own(r, levels[n])
			if !ok {
				continue
			}
			if (why.Asked != "") != (v != effective) || why.Asked != "" && (why.Asked != r.show(v) || why.AskedBy != levels[n].shown()) {
				t.Fatalf("%s set %v and has %v; explained as %q asked by %q", levels[n].shown(), v, effective, why.Asked, why.AskedBy)
			}
			return
		}
		if why.Asked != "" {
			t.Fatalf("nobody asked, explained as %q", why.Asked)
		}
	})
}

func TestLawWhatCheckAllowsHoldsUnchanged(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		wish := value(t, r, "wish")
		last := len(levels) - 1
		err := tab.check(levels, r.key(), raw(t, wish))
		limit, _ := at(t, tab, r, append(append([]Level(nil), levels[:last]...), bareOf(levels[last])))
		levels[last].Values = map[string]json.RawMessage{r.key(): raw(t, wish)}
		_, effective := at(t, tab, r, levels)
		switch {
		case err == nil && effective != wish:
			t.Fatalf("%v was allowed and %v holds", wish, effective)
		case err == nil && r.empty(wish):
			t.Fatalf("an empty list was allowed")
		case err == nil && r.strength(wish) < r.strength(limit):
			t.Fatalf("%v was allowed and loses the strongest of %v", wish, limit)
		case err == nil && keptAbove(t, r, levels[:last], limit) != nil && !tight(r, keptAbove(t, r, levels[:last], limit), wish):
			t.Fatalf("%v was allowed and drops some of %v, which is to be kept", wish, keptAbove(t, r, levels[:last], limit))
		case err != nil && tight(r, wish, limit) && errors.Is(err, ErrLooser):
			t.Fatalf("%v is within %v and was refused: %v", wish, limit, fault.Of(err).Public)
		case errors.Is(err, ErrLooser) && !strings.Contains(fault.Of(err).Public, r.show(limit)):
			t.Fatalf("the refusal does not name the limit %v: %s", limit, fault.Of(err).Public)
		}
	})
}

func bareOf(l Level) Level { l.Values = nil; return l }

// keptAbove is what the levels want kept, as far as the limit still has it; nil where nothing is.
func keptAbove(t *rapid.T, r rule, above []Level, limit any) (all any) {
	for _, l := range above {
		text, ok := l.Keep[r.key()]
		if !ok {
			continue
		}
		members, err := r.read(text)
		if err != nil {
			t.Fatal(err)
		}
		if members = r.tighter(members, limit); all != nil {
			members = r.unite(members, all)
		}
		all = members
	}
	return all
}

// What must be kept is asked of whoever writes, and moves neither a limit nor what holds: it could loosen.
func TestLawWhatIsKeptMovesNothing(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		limit, effective := at(t, tab, r, levels)
		for i := range levels {
			levels[i].Keep = nil
		}
		if l, e := at(t, tab, r, levels); l != limit || e != effective {
			t.Fatalf("with what is kept %v within %v, without %v within %v", effective, limit, e, l)
		}
	})
}

// Review marks exactly the values that could not be written today.
func TestLawReviewMarksWhatIsOverTheLimit(t *testing.T) {
	forEvery(t, func(t *rapid.T, tab table, r rule) {
		levels := chain(t, r)
		last := levels[len(levels)-1]
		marks, err := tab.review(levels)
		if err != nil {
			t.Fatal(err)
		}
		v, has := own(r, last)
		_, marked := marks[r.key()]
		if marked != (has && tab.check(levels, r.key(), last.Values[r.key()]) != nil) {
			t.Fatalf("%v, marked: %v", v, marks)
		}
		if !has {
			return
		}
		if limit, _ := at(t, tab, r, append(append([]Level(nil), levels[:len(levels)-1]...), bareOf(last))); !tight(r, v, limit) && !marked {
			t.Fatalf("%v is over the limit %v and not marked", v, limit)
		}
	})
}

func TestLawEveryValueSurvivesItsOwnForm(t *testing.T) {
	forEvery(t, func(t *rapid.T, _ table, r rule) {
		v := value(t, r, "v")
		if got, err := r.read(raw(t, v)); err != nil || got != v {
			t.Fatalf("%v was read back as %v, %v", v, got, err)
		}
	})
}

func TestEveryRuleIsWhole(t *testing.T) {
	for key, tab := range proved() {
		r := tab.byKey[key]
		value, limit := r.defaults()
		loosest, strictest := r.ends()
		seen := map[any]bool{}
		for _, s := range r.samples() {
			seen[s] = true
		}
		floor, has := r.floor()
		switch {
		case r.title() == "":
			t.Errorf("%s has no title", key)
		case r.about().group == "" && tab.byKey["test.methods"] == nil, r.about().help == "" && tab.byKey["test.methods"] == nil, r.about().form.words == "" && tab.byKey["test.methods"] == nil:
			t.Errorf("%s has no group, no help or no form", key)
		case !tight(r, value, limit):
			t.Errorf("%s: the default %v is looser than the limit %v", key, value, limit)
		case r.empty(value) || r.empty(limit):
			t.Errorf("%s: the default or the limit lets nobody in", key)
		case has && !tight(r, floor, value):
			t.Errorf("%s: the default %v is tighter than the floor %v", key, value, floor)
		case !seen[loosest] || !seen[strictest] || loosest == strictest:
			t.Errorf("%s: the samples lack an end", key)
		}
	}
	if len(rules.byKey) != len(rules.rules) {
		t.Error("two rules have one key")
	}
}
