package strength

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/trustelem/zxcvbn"
	"github.com/trustelem/zxcvbn/frequency"
	"github.com/trustelem/zxcvbn/match"
)

var update = flag.Bool("update", false, "write words.txt again")

func TestTheWordsAreThoseOfZxcvbn(t *testing.T) {
	ranks := make(map[string]int)
	for _, list := range frequency.FrequencyLists {
		for i, w := range list {
			w = strings.ToLower(w)
			if r, known := ranks[w]; (!known || i+1 < r) && !strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				ranks[w] = i + 1
			}
		}
	}
	words := make([]string, 0, len(ranks))
	for w := range ranks {
		words = append(words, w)
	}
	slices.SortFunc(words, cmp.Compare)
	var b strings.Builder
	for _, w := range words {
		fmt.Fprintf(&b, "%s %d\n", w, ranks[w])
	}
	if *update {
		if err := os.WriteFile("words.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if lexicon != b.String() {
		t.Error("words.txt is not what zxcvbn's lists give: run with -update")
	}
	for _, w := range []string{words[0], words[len(words)-1], "password", "zzzz"} {
		got := 0
		word(w+"\x80", func(length, rank int) {
			if length == len(w) {
				got = rank
			}
		})
		if got != ranks[w] {
			t.Errorf("%q has rank %d, want %d", w, got, ranks[w])
		}
	}
}

// known are the passwords that the paper's authors and others use to compare implementations.
var known = []string{
	"", "a", "zxcvbn", "qwER43@!", "Tr0ub4dour&3", "correcthorsebatterystaple", "coRrecth0rseba++ery9.23.2007staple$", "D0g..................",
	"abcdefghijk987654321", "neverforget13/3/1997", "1qaz2wsx3edc", "temppass22", "briansmith", "briansmith4mayor", "password1", "viking",
	"thx1138", "ScoRpi0ns", "do you know", "ryanhunter2000", "rianhunter2000", "asdfghju7654rewq", "AOEUIDHG&*()LS_", "12345678", "defghi6789",
	"rosebud", "Rosebud", "ROSEBUD", "rosebuD", "ros3bud99", "r0s3bud99", "R0$38uD99", "verlineVANDERMARK", "eheuczkqyq", "rWibMFACxAUGZmxhVncy",
	"Ba9ZyWABu99[BK#6MBgbH88Tofv)vs$w", "aaaaaaaaaaaaaa", "abcabcabcabc", "aabaab", "drowssap", "31.12.1999", "1.1.91", "p4ssw0rd", "4321rewq", "20021231", "pässwört",
}

func TestGuessesAreThoseOfZxcvbn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	bits := []string{"monkey", "Dragon", "p4ss", "1987", "12/3/99", "qwerty", "zxc", "!", "#x", "aaa", "ab", "abab", "7531", "l33t", "$0", "W", "0", "()", "love", "reenignE", " "}
	passwords := slices.Clone(known)
	for range 1500 {
		var b strings.Builder
		for range 1 + r.IntN(5) {
			b.WriteString(bits[r.IntN(len(bits))])
		}
		passwords = append(passwords, b.String())
	}
	for range 500 {
		b := make([]byte, 1+r.IntN(14))
		for i := range b {
			b[i] = byte(' ' + r.IntN(95))
		}
		passwords = append(passwords, string(b))
	}
	differ := 0
	for _, p := range passwords {
		if len(flatten(p)) != len(p) || slices.ContainsFunc(years(p), func(m *match.Match) bool { return m.Token >= "2020" }) {
			continue // what this package judges otherwise on purpose
		}
		want := zxcvbn.PasswordStrength(p, nil)
		got := Guesses(p, nil)
		if math.Abs(math.Log10(max(got, 1))-math.Log10(max(want.Guesses, 1))) > 0.01 {
			differ++
			t.Logf("%q takes %.4g guesses, zxcvbn says %.4g", p, got, want.Guesses)
			if Score(p, nil) > want.Score {
				t.Errorf("%q has score %d, zxcvbn says %d", p, Score(p, nil), want.Score)
			}
		}
	}
	if differ > len(passwords)/50 {
		t.Errorf("%d of %d differ", differ, len(passwords))
	}
}

func TestScores(t *testing.T) {
	for p, want := range map[string]int{
		"": 0, "password": 0, "P4ssw0rd!": 1, "Summer2026": 1, "correcthorsebatterystaple": 4, "qwertyuiop": 0, "11111111111111111111": 0,
		"ñandúñandúñandúñandú": 1, "x7#Kq9!mWp2$": 4,
	} {
		if got := Score(p, nil); got != want {
			t.Errorf("%q has score %d, want %d", p, got, want)
		}
	}
	if alone, with := Score("carmendelgado-harbor", nil), Score("carmendelgado-harbor", []string{"carmen.delgado@harbor.example", "Harbor Supplies", "carmendelgado"}); with >= alone {
		t.Errorf("with what is known of the person the score is %d, without %d", with, alone)
	}
}

func TestNothingTakesLong(t *testing.T) {
	for _, p := range []string{
		strings.Repeat("4@8({[<3691!|170$5+7%2", 20), strings.Repeat("aA1!", 500), strings.Repeat("\x00\xff", 500), strings.Repeat("日本", 300), strings.Repeat("1", 1000), strings.Repeat("/1", 100),
	} {
		if n := len(subs(flatten(p))); n > readings {
			t.Errorf("%d readings of %.20q", n, p)
		}
		Score(p, []string{strings.Repeat("a ", 5000)})
	}
}

func FuzzScore(f *testing.F) {
	for _, p := range known {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if s := Score(p, []string{p, "a@b.example"}); s < 0 || s > 4 {
			t.Errorf("%q: %d", p, s)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	for _, p := range []string{"correcthorsebatterystaple", "Tr0ub4dour&3", strings.Repeat("x7#Kq9!mWp2$Lv", 7), strings.Repeat("4@8({[<3691!|170$5+7%2", 20), strings.Repeat("1", 64)} {
		b.Run(fmt.Sprintf("%.14s", p), func(b *testing.B) {
			for b.Loop() {
				Score(p, nil)
			}
		})
	}
}
