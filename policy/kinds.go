package policy

// This file holds the kinds of settings: what a kind knows by itself, so that a rule says only what is its
// own.

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Form is how a setting's value is written.
type Form string

const (
	Time     Form = "time"     // "8h"
	Switch   Form = "switch"   // true, false
	Word     Form = "word"     // one word of an ordered list
	Number   Form = "number"   // 12
	Words    Form = "words"    // a list of words
	Networks Form = "networks" // a list of networks, "10.0.0.0/8"
	Names    Form = "names"    // a list of ids
)

// sampled adds a rule's own values to its samples.
func sampled[T comparable](r *Rule[T]) *Rule[T] {
	own := []T{r.Loosest, r.Strictest, r.Default, r.Limit}
	var none T
	if r.Floor != none {
		own = append(own, r.Floor)
	}
	for _, v := range own {
		if !slices.Contains(r.Samples, v) {
			r.Samples = append(r.Samples, v)
		}
	}
	return r
}

// shortest is a time of which the shorter is tighter.
func shortest(r Rule[time.Duration]) *Rule[time.Duration] {
	r.Tighter = shorter
	return timed(r, "a shorter time is tighter")
}

// longest is a time of which the longer is tighter.
func longest(r Rule[time.Duration]) *Rule[time.Duration] {
	r.Tighter = func(a, b time.Duration) time.Duration { return max(a, b) }
	return timed(r, "a longer time is tighter")
}

func timed(r Rule[time.Duration], tighter string) *Rule[time.Duration] {
	r.Read, r.Show = readDuration, showDuration
	r.form = form{kind: Time, words: "a time such as `8h`, `30m` or `30d`", tighter: tighter}
	if r.Loosest == Never {
		r.form.besides = never
	}
	for _, d := range []time.Duration{time.Minute, 15 * time.Minute, time.Hour, day, 30 * day} {
		if r.Tighter(d, r.Loosest) == d && r.Tighter(d, r.Strictest) == r.Strictest {
			r.Samples = append(r.Samples, d)
		}
	}
	return sampled(&r)
}

// allowance is a switch of which false is tight: what one level forbids stays forbidden.
func allowance(r Rule[bool]) *Rule[bool] {
	r.Loosest, r.Strictest, r.Tighter, r.Show = true, false, both, showAllowed
	return switched(r, "`false` is tighter")
}

// demand is a switch of which true is tight: what one level demands stays demanded.
func demand(r Rule[bool]) *Rule[bool] {
	r.Loosest, r.Strictest, r.Show = false, true, showDemanded
	r.Tighter = func(a, b bool) bool { return a || b }
	return switched(r, "`true` is tighter")
}

func switched(r Rule[bool], tighter string) *Rule[bool] {
	r.Read, r.form = readSwitch, form{kind: Switch, words: "`true` or `false`", tighter: tighter}
	return sampled(&r)
}

func both(a, b bool) bool { return a && b }

var errSwitch = errors.New("true or false is wanted")

func readSwitch(raw json.RawMessage) (bool, error) {
	var v *bool
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return false, errSwitch
	}
	return *v, nil
}

func showAllowed(v bool) string {
	if v {
		return "allowed"
	}
	return "not allowed"
}

func showDemanded(v bool) string {
	if v {
		return "required"
	}
	return "not required"
}

// ladder is one word of several, the loosest first.
func ladder[T ~string](r Rule[T], order ...T) *Rule[T] {
	r.Loosest, r.Strictest, r.Samples = order[0], order[len(order)-1], slices.Clone(order)
	r.Tighter = func(a, b T) T { return order[max(slices.Index(order, a), slices.Index(order, b), 0)] }
	of := make([]string, len(order))
	for i, w := range order {
		of[i] = string(w)
	}
	r.Read = func(raw json.RawMessage) (T, error) {
		var text *string
		if err := json.Unmarshal(raw, &text); err != nil || text == nil || !slices.Contains(of, *text) {
			return "", fmt.Errorf("one of %s is wanted", strings.Join(of, ", "))
		}
		return T(*text), nil
	}
	r.Show = func(v T) string { return strings.ReplaceAll(string(v), "_", " ") }
	r.form = form{kind: Word, words: "one of `" + strings.Join(of, "`, `") + "`", tighter: "tighter from left to right", of: of}
	return sampled(&r)
}

// Unlimited stands for no bound, in settings that count.
const Unlimited = 1 << 30

const unlimited = "unlimited"

// atMost is a number of which the smaller is tighter.
func atMost(r Rule[int]) *Rule[int] {
	r.Tighter = func(a, b int) int { return min(a, b) }
	return counted(r, r.Strictest, r.Loosest, "a smaller number is tighter")
}

// atLeast is a number of which the greater is tighter.
func atLeast(r Rule[int]) *Rule[int] {
	r.Tighter = func(a, b int) int { return max(a, b) }
	return counted(r, r.Loosest, r.Strictest, "a greater number is tighter")
}

func counted(r Rule[int], from, to int, tighter string) *Rule[int] {
	r.Read, r.Show = readNumber, showNumber
	r.form = form{kind: Number, tighter: tighter, from: from, to: to, words: fmt.Sprintf("a number from %d to %d", from, to)}
	if to == Unlimited {
		r.form.to, r.form.besides, r.form.words = mostNumber, unlimited, fmt.Sprintf("a number from %d, or `%s`", from, unlimited)
	}
	for n := from; n <= min(to, from+3); n++ {
		r.Samples = append(r.Samples, n)
	}
	return sampled(&r)
}

// mostNumber is the greatest number that can be written; nothing here counts so far.
const mostNumber = 1_000_000

var errNumber = errors.New("a whole number is wanted")

func readNumber(raw json.RawMessage) (int, error) {
	if string(raw) == `"`+unlimited+`"` {
		return Unlimited, nil
	}
	n, err := strconv.Atoi(string(raw)) // no fraction, no exponent, no string
	if err != nil || n < 0 || n > mostNumber {
		return 0, errNumber
	}
	return n, nil
}

func showNumber(n int) string {
	if n == Unlimited {
		return unlimited
	}
	return strconv.Itoa(n)
}

// choice is a list of words of which fewer are tighter. One that may be empty leaves Empty nil.
func (w *words) choice(r Rule[Set]) *Rule[Set] {
	r.Loosest, r.Strictest = w.all(), w.none()
	r.Tighter, r.Read, r.Show, r.Unite = common, w.read, Set.String, union
	r.form = form{kind: Words, words: "a list of `" + strings.Join(*w, "`, `") + "`", tighter: "fewer are tighter", of: *w}
	for i := range *w {
		r.Samples = append(r.Samples, w.set((*w)[i]), Set{of: w, bits: w.all().bits &^ (1 << i)})
	}
	return sampled(&r)
}
