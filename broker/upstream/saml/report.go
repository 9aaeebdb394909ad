package saml

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
)

// notes fills the doctor's check list. What it holds is shown to administrators, so values are cut
// short and hold nothing that could act on a screen (S23, S44).
type notes struct{ report upstream.Report }

func (n *notes) add(name string, ok bool, got, expected string) bool {
	n.report = append(n.report, audit.Check{Name: name, OK: ok, Got: shown(got), Expected: shown(expected)})
	return ok
}

const maxShown = 300

func shown(s string) string {
	if len(s) > maxShown {
		cut := maxShown
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
}

func at(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}
