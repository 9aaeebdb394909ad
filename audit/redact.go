package audit

// This file decides what a trace may hold (security.md S44): facts by an allow-list of names, and no
// text that looks like a secret under any name.

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AllowedFacts are the facts that a step may carry. What is missing here is dropped: signature values,
// tokens, codes, cookies, state and RelayState, addresses that people typed, and raw XML above all.
var AllowedFacts = map[string]bool{
	"org": true, "app": true, "person": true, "session": true, "connection": true, "connection_name": true,
	"domain": true, "found_by": true, "step": true, "reason": true, // how the login went
	"rule": true, "value": true, "level": true, // what policy said
	"protocol": true, "binding": true, "issuer": true, "audience": true, "recipient": true, "destination": true,
	"algorithm": true, "kid": true, "certificate": true, // what the provider's answer was
	"issued_at": true, "not_before": true, "not_on_or_after": true, "auth_time": true, "skew": true,
	"acr": true, "amr": true, "error": true, "status": true, "duration": true, "bytes": true,
	"scope": true, "client": true, "redirect_origin": true, // what the app asked for
}

const (
	maxSteps  = 100 // a login that goes in circles keeps its beginning and its end
	maxChecks = 64
	maxText   = 300
)

// Add writes a step into the trace, redacted. It is the only way in.
func (t *Trace) Add(s Step) {
	clean := Step{At: s.At, Name: tidy(s.Name), Text: tidy(s.Text), Code: tidy(s.Code)}
	if n := min(len(s.Checks), maxChecks); n > 0 {
		clean.Checks = make([]Check, 0, n)
	}
	for _, c := range s.Checks[:min(len(s.Checks), maxChecks)] {
		clean.Checks = append(clean.Checks, c.clean())
	}
	for name, value := range s.Facts {
		if !AllowedFacts[name] {
			continue
		}
		if clean.Facts == nil {
			clean.Facts = make(map[string]string, len(s.Facts))
		}
		clean.Facts[name] = keyOr(name, value)
	}
	if len(t.Steps) >= maxSteps {
		t.Steps = append(t.Steps[:1], t.Steps[2:]...)
	}
	t.Steps = append(t.Steps, clean)
}

func (c Check) clean() Check {
	return Check{Name: tidy(c.Name), OK: c.OK, Got: keyOr(c.Name, c.Got), Expected: keyOr(c.Name, c.Expected)}
}

// keyOr tidies a value. The name of a key is as long as a secret and is none.
func keyOr(name, value string) string {
	if name == "kid" || name == "key" {
		return cut(escape(value), maxText)
	}
	return tidy(value)
}

var (
	// jwt is a token in the compact form: a header that begins with {" and at least one more part.
	jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*`)
	// random is what is too long and too unbroken to be a word: codes, states, nonces, signatures.
	// Addresses and names break at dots, slashes and spaces before that.
	random = regexp.MustCompile(`[A-Za-z0-9+_=-]{40,}`)
	// base64 has slashes, which addresses have too, so it must be longer to be one.
	base64 = regexp.MustCompile(`[A-Za-z0-9+/=_-]{120,}`)
	// hex is a digest, such as a certificate's, by which people compare what they see.
	hex = regexp.MustCompile(`^[0-9a-fA-F]{40,64}$`)
	// markup is the beginning of an element; what follows it is somebody's document.
	markup = regexp.MustCompile(`(?s)<[/!?]?[A-Za-z].*`)
)

const removed = "[removed]"

// harmless says that no pattern above can find anything in text: it is plain, no markup, holds no token
// and no run long enough to be random. So is almost every line of a trace, and asking costs a
// hundredth of what the patterns cost.
func harmless(text string) bool {
	if len(text) >= maxText || strings.Contains(text, "eyJ") {
		return false
	}
	unbroken, slashed := 0, 0
	for i := range len(text) {
		c := text[i]
		switch {
		case c < ' ' || c > '~' || c == '<':
			return false
		case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '+' || c == '_' || c == '=' || c == '-':
			unbroken++
			slashed++
		case c == '/':
			unbroken = 0
			slashed++
		default:
			unbroken, slashed = 0, 0
		}
		if unbroken >= 40 || slashed >= 120 {
			return false
		}
	}
	return true
}

// tidy makes text fit to be kept and shown.
func tidy(text string) string {
	if harmless(text) {
		return text
	}
	return slowly(text)
}

// slowly is tidy by the patterns.
func slowly(text string) string {
	if len(text) > 16*maxText { // no pattern needs to see more than we would keep
		text = text[:16*maxText]
	}
	text = markup.ReplaceAllLiteralString(text, removed)
	text = jwt.ReplaceAllLiteralString(text, removed)
	text = random.ReplaceAllStringFunc(text, func(s string) string {
		if hex.MatchString(s) {
			return s
		}
		return removed
	})
	text = base64.ReplaceAllLiteralString(text, removed)
	return cut(escape(text), maxText)
}

// escape writes what would act instead of being read: control characters, marks that turn the direction
// of writing, and bytes that are no text.
func escape(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// cut shortens to at most n runes, and says that it did.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
