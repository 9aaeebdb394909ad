package strength

import (
	"strconv"
	"strings"

	"github.com/trustelem/zxcvbn/adjacency"
	"github.com/trustelem/zxcvbn/match"
	"github.com/trustelem/zxcvbn/scoring"
)

// This file finds what is no word and easily guessed all the same: walks on a keyboard, repetitions,
// sequences, years and dates.

const shifted = `~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:"ZXCVBNM<>?`

// keyboard finds three and more neighboring keys in a row.
func keyboard(text string) []*match.Match {
	var out []*match.Match
	for _, name := range []string{"qwerty", "dvorak", "keypad", "mac_keypad"} {
		for i := 0; i < len(text)-1; {
			m := walk(text, i, adjacency.Graphs[name])
			if m.J-m.I >= 2 {
				out = append(out, m)
			}
			i = m.J + 1
		}
	}
	return out
}

// walk follows neighboring keys from i as far as they go.
func walk(text string, i int, g *adjacency.Graph) *match.Match {
	m := &match.Match{Pattern: "spatial", I: i, J: i, Graph: g.Name}
	if (g.Name == "qwerty" || g.Name == "dvorak") && strings.IndexByte(shifted, text[i]) >= 0 {
		m.ShiftedCount = 1
	}
	last := -1
	for m.J+1 < len(text) {
		direction, upper := neighbor(g.Graph[text[m.J:m.J+1]], text[m.J+1])
		if direction < 0 {
			break
		}
		if upper {
			m.ShiftedCount++
		}
		if direction != last {
			m.Turns++
			last = direction
		}
		m.J++
	}
	m.Token = text[i : m.J+1]
	return m
}

// neighbor is in which direction a key lies, -1 for none, and whether it is pressed with shift.
func neighbor(around []string, key byte) (direction int, upper bool) {
	for d, keys := range around {
		if at := strings.IndexByte(keys, key); at >= 0 {
			return d, at == 1
		}
	}
	return -1, false
}

// repeated finds what is written twice or more.
func repeated(text string, personal map[string]int) []*match.Match {
	var out []*match.Match
	for at := 0; at < len(text); {
		i, shortest, longest := repetition(text, at)
		if shortest == 0 {
			return out
		}
		short, long := shortest*times(text[i:], shortest), longest*times(text[i:], longest)
		length, base := short, text[i:i+shortest]
		if long > short {
			length, base = long, period(text[i:i+long])
		}
		guesses := scoring.MostGuessableMatchSequence(base, patterns(base, personal), false).Guesses
		out = append(out, &match.Match{
			Pattern: "repeat", I: i, J: i + length - 1, Token: text[i : i+length],
			BaseToken: base, BaseGuesses: guesses, RepeatCount: length / len(base),
		})
		at = i + length
	}
	return out
}

// repetition is the first place from at on where something is followed by itself, and the lengths of the
// shortest and the longest that is; 0 where there is none.
func repetition(text string, at int) (i, shortest, longest int) {
	for i = at; i < len(text); i++ {
		for n := 1; i+2*n <= len(text); n++ {
			if text[i:i+n] != text[i+n:i+2*n] {
				continue
			}
			if shortest == 0 {
				shortest = n
			}
			longest = n
		}
		if shortest > 0 {
			return i, shortest, longest
		}
	}
	return 0, 0, 0
}

// times is how often text begins with its first n bytes.
func times(text string, n int) int {
	count := 1
	for (count+1)*n <= len(text) && text[count*n:(count+1)*n] == text[:n] {
		count++
	}
	return count
}

// period is the shortest text of which text is a repetition.
func period(text string) string {
	for n := 1; n < len(text); n++ {
		if len(text)%n == 0 && times(text, n)*n == len(text) {
			return text[:n]
		}
	}
	return text
}

// sequences finds characters at the same distance from each other: abc, 7531.
func sequences(text string) []*match.Match {
	if len(text) < 2 {
		return nil
	}
	var out []*match.Match
	add := func(i, j, step int) {
		size := max(step, -step)
		if size == 0 || size > 5 || j-i <= 1 && size != 1 {
			return
		}
		m := &match.Match{Pattern: "sequence", I: i, J: j, Token: text[i : j+1], Ascending: step > 0}
		out = append(out, m)
	}
	i, last := 0, int(text[1])-int(text[0])
	for k := 2; k < len(text); k++ {
		step := int(text[k]) - int(text[k-1])
		if step == last {
			continue
		}
		add(i, k-1, last)
		i, last = k-1, step
	}
	add(i, len(text)-1, last)
	return out
}

// years finds years of the recent past and the near future.
func years(text string) []*match.Match {
	var out []*match.Match
	for i := 0; i+4 <= len(text); i++ {
		y := text[i : i+4]
		if !digit(y[2]) || !digit(y[3]) || y[:2] != "19" && (y[:2] != "20" || y[2] > '3') {
			continue
		}
		out = append(out, &match.Match{Pattern: "regex", RegexName: "recent_year", I: i, J: i + 3, Token: y})
		i += 3
	}
	return out
}

// splits are where a date without separators is cut, by its length.
var splits = map[int][][2]int{4: {{1, 2}, {2, 3}}, 5: {{1, 3}, {2, 3}}, 6: {{1, 2}, {2, 4}, {4, 5}}, 7: {{1, 3}, {2, 3}, {4, 5}, {4, 6}}, 8: {{2, 4}, {4, 6}}}

// dates finds days of a year, with separators or without. Of dates that lie in one another the longest counts.
func dates(text string) []*match.Match {
	var all, out []*match.Match
	for i := range len(text) {
		for j := i + 3; j < min(i+10, len(text)); j++ {
			if m := date(text[i : j+1]); m != nil {
				m.I, m.J = i, j
				all = append(all, m)
			}
		}
	}
	for _, m := range all {
		inside := false
		for _, o := range all {
			inside = inside || o != m && o.I <= m.I && o.J >= m.J
		}
		if !inside {
			out = append(out, m)
		}
	}
	return out
}

func date(token string) *match.Match {
	m := &match.Match{Pattern: "date", Token: token}
	if sep := strings.IndexFunc(token, func(r rune) bool { return r < '0' || r > '9' }); sep > 0 {
		parts := strings.Split(token, token[sep:sep+1])
		if !strings.Contains(" /\\_.-", token[sep:sep+1]) || len(parts) != 3 || len(parts[0]) > 4 || len(parts[1]) > 2 || len(parts[2]) > 4 {
			return nil
		}
		m.Separator = token[sep : sep+1]
		year, ok := yearOf(parts[0], parts[1], parts[2])
		m.Year = year
		return when(ok, m)
	}
	best := -1
	for _, s := range splits[len(token)] {
		year, ok := yearOf(token[:s[0]], token[s[0]:s[1]], token[s[1]:])
		if far := distance(year); ok && (best < 0 || far < best) {
			best, m.Year = far, year
		}
	}
	return when(best >= 0, m)
}

func when(is bool, m *match.Match) *match.Match {
	if !is {
		return nil
	}
	return m
}

func distance(year int) int { return max(year-scoring.ReferenceYear, scoring.ReferenceYear-year) }

// yearOf is the year of a day written in three numbers, the year first or last; false when they are no day.
func yearOf(first, second, third string) (int, bool) {
	n := [3]int{}
	for i, s := range []string{first, second, third} {
		v, err := strconv.Atoi(s)
		if err != nil || v > 99 && v < 1000 || v > 2050 {
			return 0, false
		}
		n[i] = v
	}
	if n[1] > 31 || n[1] == 0 {
		return 0, false
	}
	over12, over31, zero := 0, 0, 0
	for _, v := range n {
		over12, over31, zero = over12+one(v > 12), over31+one(v > 31), zero+one(v == 0)
	}
	if over31 >= 2 || over12 == 3 || zero >= 2 {
		return 0, false
	}
	orders := [][3]int{{n[2], n[0], n[1]}, {n[0], n[1], n[2]}}
	for _, o := range orders {
		if o[0] >= 1000 {
			return o[0], dayAndMonth(o[1], o[2])
		}
	}
	for _, o := range orders {
		if !dayAndMonth(o[1], o[2]) {
			continue
		}
		if o[0] > 50 {
			return o[0] + 1900, true
		}
		return o[0] + 2000, true
	}
	return 0, false
}

func dayAndMonth(a, b int) bool { return a <= 31 && b <= 12 || b <= 31 && a <= 12 }

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
