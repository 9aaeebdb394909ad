package policy

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
)

const day = 24 * time.Hour

// Never is the time that is never over, in settings that allow it.
const Never time.Duration = math.MaxInt64

const never = "never"

// units are how durations are written: one whole number and one of these, "8h", "30m", "30d".
var units = []struct {
	name string
	is   time.Duration
}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// mostDigits keeps a number of days within what time.Duration can hold.
const mostDigits = 5

var errDuration = errors.New(`a time is wanted, such as "8h", "30m" or "30d"`)

func readDuration(raw json.RawMessage) (time.Duration, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || len(text) < 2 || len(text) > mostDigits+1 {
		return 0, errDuration
	}
	if text == never {
		return Never, nil // refused where it is looser than the loosest
	}
	number, unit := text[:len(text)-1], text[len(text)-1:]
	n, err := strconv.ParseUint(number, 10, 32) // no sign, no fraction
	if err != nil {
		return 0, errDuration
	}
	for _, u := range units {
		if u.name == unit {
			return time.Duration(n) * u.is, nil
		}
	}
	return 0, errDuration
}

// showDuration writes in the largest unit that says it whole. One day is "24h": that is how people
// speak of sessions.
func showDuration(d time.Duration) string {
	switch d {
	case 0:
		return "0s"
	case Never:
		return never
	}
	for _, u := range units {
		if d%u.is == 0 && (u.is != day || d != day) {
			return strconv.FormatInt(int64(d/u.is), 10) + u.name
		}
	}
	return d.String()
}

func shorter(a, b time.Duration) time.Duration { return min(a, b) }
