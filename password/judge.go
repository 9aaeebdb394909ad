package password

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/password/strength"
)

// Rules are what a new password must satisfy. The zero Rules ask for nothing.
type Rules struct {
	MinLength   int           // code points
	MinStrength int           // 0 to 4, as package strength scores
	Classes     int           // of small letters, capitals, digits and everything else: how many must be there
	History     int           // how many earlier passwords may not be used again, besides the current one
	MaxAge      time.Duration // after which a new one is asked for; zero: never
	BlockCommon bool          // refuse what is in a list of passwords that are known
}

// Flaw is why a password is refused. Its values are names of words in the catalogue of pages.
type Flaw string

const (
	Unusable Flaw = "unusable" // empty, longer than Longest, or not text
	Short    Flaw = "short"    // fewer code points than MinLength
	Classes  Flaw = "classes"  // fewer classes of characters than Classes
	Familiar Flaw = "familiar" // in a list of known passwords
	Personal Flaw = "personal" // the person's own name or address, or little more
	Weak     Flaw = "weak"     // easier to guess than MinStrength
	Reused   Flaw = "reused"   // one of the last History, which only Keeper.Used can say
)

// Judge says what is wrong with a new password, in the order in which it is best told; nothing where it is
// good. personal is what others know of the person: name, address, organization. An error is of a list that
// could not be read.
func (r Rules) Judge(p Prepared, personal []string, lists ...*List) ([]Flaw, error) {
	var flaws []Flaw
	if utf8.RuneCountInString(string(p)) < r.MinLength {
		flaws = append(flaws, Short)
	}
	if classes(p) < r.Classes {
		flaws = append(flaws, Classes)
	}
	known, err := r.known(p, lists)
	if err != nil {
		return nil, err
	}
	switch {
	case known:
		flaws = append(flaws, Familiar)
	case names(p, personal):
		flaws = append(flaws, Personal)
	case r.MinStrength > 0 && strength.Score(string(p), personal) < r.MinStrength:
		flaws = append(flaws, Weak)
	}
	return flaws, nil
}

func (r Rules) known(p Prepared, lists []*List) (bool, error) {
	if !r.BlockCommon {
		return false, nil
	}
	for _, l := range lists {
		if has, err := l.Has(p); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// names says whether a password is one of the personal facts or the part of an address before the @,
// whatever stands before and behind it that is no letter.
func names(p Prepared, personal []string) bool {
	core := bare(string(p))
	for _, fact := range personal {
		local, _, _ := strings.Cut(fact, "@")
		if core != "" && (core == bare(fact) || core == bare(local)) {
			return true
		}
	}
	return false
}

// bare is the letters of a text, small.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

func classes(p Prepared) int {
	var small, capital, digit, other int
	for _, r := range string(p) {
		switch {
		case unicode.IsLower(r):
			small = 1
		case unicode.IsUpper(r):
			capital = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			other = 1
		}
	}
	return small + capital + digit + other
}

// Old says whether a password that was set at since is older than the rules allow.
func (r Rules) Old(since, now time.Time) bool {
	return r.MaxAge > 0 && !now.Before(since.Add(r.MaxAge))
}
