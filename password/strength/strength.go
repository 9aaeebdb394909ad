// Package strength estimates how many guesses a password takes, as zxcvbn does (Wheeler, "zxcvbn: Low-Budget
// Password Strength Estimation", USENIX Security 2016), and gives its score of 0 to 4.
//
// The scoring is that of github.com/trustelem/zxcvbn. Its way of finding patterns is written again here, and
// compared with it in tests: that one builds maps of a hundred thousand words at each start of the program
// (14 ms, 10 MB), searches them once for each part of a password, and takes 20 ms for a hundred characters.
// Here the words are one sorted text in the program's file, which costs nothing until somebody chooses a
// password, and nothing takes longer than a few milliseconds.
package strength

import (
	"strings"

	"github.com/trustelem/zxcvbn/match"
	"github.com/trustelem/zxcvbn/scoring"
)

// Judged is how many code points are looked at. More can only make a password stronger, and cost more time.
const Judged = 64

// Score is 0 (anybody guesses it) to 4 (withstands an attack on its hash): fewer than 10^3, 10^6, 10^8, 10^10
// guesses and more. personal is what an attacker knows of the person: name, address, organization.
func Score(password string, personal []string) int {
	guesses := Guesses(password, personal)
	score := 0
	for _, bound := range []float64{1e3, 1e6, 1e8, 1e10} {
		if guesses >= bound+5 {
			score++
		}
	}
	return score
}

// Guesses is about how many guesses an attacker needs who tries what is likely first.
func Guesses(password string, personal []string) float64 {
	text := flatten(password)
	words := ranks(personal)
	return scoring.MostGuessableMatchSequence(text, patterns(text, words), false).Guesses
}

// flatten writes each code point as one byte, so that places in the text are places in the password. What is
// not ASCII becomes a byte that is no character: no word has it, and what repeats still does.
func flatten(password string) string {
	b := make([]byte, 0, Judged)
	for _, r := range password {
		if len(b) == Judged {
			break
		}
		if r >= 0x80 {
			r = 0x80 + r%0x40
		}
		b = append(b, byte(r))
	}
	return string(b)
}

// ranks are the words that personal facts consist of, most telling first.
func ranks(personal []string) map[string]int {
	words := make(map[string]int)
	for _, fact := range personal {
		fact = lower(flatten(fact))
		parts := strings.FieldsFunc(fact, func(r rune) bool { return strings.ContainsRune("@. -_+,'", r) })
		for _, w := range append([]string{fact}, parts...) {
			if _, known := words[w]; !known && len(w) > 2 {
				words[w] = len(words) + 1
			}
		}
	}
	return words
}

// patterns is everything in the text that an attacker would try before trying everything.
func patterns(text string, personal map[string]int) []*match.Match {
	var out []*match.Match
	out = append(out, dictionary(text, personal)...)
	out = append(out, reversed(text, personal)...)
	out = append(out, disguised(text, personal)...)
	out = append(out, keyboard(text)...)
	out = append(out, repeated(text, personal)...)
	out = append(out, sequences(text)...)
	out = append(out, years(text)...)
	out = append(out, dates(text)...)
	match.Sort(out)
	return out
}

// lower lowers ASCII alone: other bytes of a flat text are no letters.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
