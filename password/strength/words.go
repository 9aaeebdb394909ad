package strength

import (
	_ "embed"
	"strings"

	"github.com/trustelem/zxcvbn/match"
)

// lexicon is lines of a word, a space and its rank (1 is what is tried first), sorted by word: passwords that
// were leaked, English words, words of films and series, names. They are the lists of zxcvbn (MIT license).
//
//go:embed words.txt
var lexicon string

// word calls found for each word of the lexicon that text begins with.
func word(text string, found func(length, rank int)) {
	lo, hi := 0, len(lexicon)
	for depth := 0; depth < len(text); depth++ {
		if text[depth] <= ' ' || text[depth] >= 0x80 {
			return
		}
		lo = first(lo, hi, depth, text[depth])
		hi = first(lo, hi, depth, text[depth]+1)
		if lo == hi {
			return
		}
		if end := lo + depth + 1; lexicon[end] == ' ' {
			found(depth+1, rankAt(end+1))
		}
	}
}

// first is where the first line from lo to hi begins whose byte at depth is c or more. All of them are the
// same before depth.
func first(lo, hi, depth int, c byte) int {
	for lo < hi {
		mid := strings.LastIndexByte(lexicon[lo:(lo+hi)/2], '\n') + 1 + lo
		if lexicon[mid+depth] < c {
			lo = mid + strings.IndexByte(lexicon[mid:], '\n') + 1
			continue
		}
		hi = mid
	}
	return lo
}

func rankAt(at int) int {
	n := 0
	for ; digit(lexicon[at]); at++ {
		n = n*10 + int(lexicon[at]-'0')
	}
	return n
}

// dictionary finds words of the lexicon and of the person.
func dictionary(text string, personal map[string]int) []*match.Match {
	var out []*match.Match
	low := lower(text)
	for i := range len(low) {
		add := func(length, rank int) {
			out = append(out, &match.Match{Pattern: "dictionary", I: i, J: i + length - 1, Token: text[i : i+length], MatchedWord: low[i : i+length], Rank: rank})
		}
		word(low[i:], add)
		for w, rank := range personal {
			if strings.HasPrefix(low[i:], w) {
				add(len(w), rank)
			}
		}
	}
	return out
}

// reversed finds words that are written backwards.
func reversed(text string, personal map[string]int) []*match.Match {
	out := dictionary(backwards(text), personal)
	for _, m := range out {
		m.Token, m.Reversed = backwards(m.Token), true
		m.I, m.J = len(text)-1-m.J, len(text)-1-m.I
	}
	return out
}

func backwards(s string) string {
	b := make([]byte, len(s))
	for i := range len(s) {
		b[len(s)-1-i] = s[i]
	}
	return string(b)
}

// disguises are the letters that are written by other signs.
var disguises = []struct {
	letter byte
	signs  string
}{
	{'a', "4@"}, {'b', "8"}, {'c', "({[<"}, {'e', "3"}, {'g', "69"}, {'i', "1!|"}, {'l', "1|7"}, {'o', "0"},
	{'s', "$5"}, {'t', "+7"}, {'x', "%"}, {'z', "2"},
}

// readings is how many ways to read the signs of one password are tried.
const readings = 100

// disguised finds words some letters of which are written by other signs.
func disguised(text string, personal map[string]int) []*match.Match {
	var out []*match.Match
	for _, sub := range subs(text) {
		plain := []byte(text)
		for i, c := range plain {
			if letter, ok := sub[c]; ok {
				plain[i] = letter
			}
		}
		for _, m := range dictionary(string(plain), personal) {
			m.Token = text[m.I : m.J+1]
			if len(m.Token) == 1 || lower(m.Token) == m.MatchedWord {
				continue
			}
			m.L33t, m.Sub = true, make(map[string]string)
			for sign, letter := range sub {
				if strings.IndexByte(m.Token, sign) >= 0 {
					m.Sub[string(sign)] = string(letter)
				}
			}
			out = append(out, m)
		}
	}
	return out
}

// subs are the ways to read the signs in a text: each sign stands for one letter in each of them, and each
// letter is written by one sign.
func subs(text string) []map[byte]byte {
	all := []map[byte]byte{{}}
	for _, d := range disguises {
		var next []map[byte]byte
		for i := range len(d.signs) {
			sign := d.signs[i]
			if strings.IndexByte(text, sign) < 0 {
				continue
			}
			for _, sub := range all {
				if _, taken := sub[sign]; taken {
					next = append(next, sub)
				}
				with := map[byte]byte{sign: d.letter}
				for k, v := range sub {
					if k != sign {
						with[k] = v
					}
				}
				next = append(next, with)
			}
		}
		if next != nil {
			all = next[:min(len(next), readings)]
		}
	}
	if len(all[0]) == 0 {
		return nil
	}
	return all
}
