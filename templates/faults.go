package templates

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names fills the placeholders of a fault's words. What is not known gets general words.
type Names struct{ Provider, Org, App string }

// HasFault says whether a fault's code has words of its own or of its family.
func HasFault(code string) bool {
	_, ok := catalogueOf("en").faultWords(code, "title")
	return ok
}

// FaultOf begins the error page of a fault: title, cause and remedy in words. A code that has none gets
// those of our own failure, which never blame anybody else.
func FaultOf(lang, code string, n Names) FaultPage {
	if !HasFault(code) {
		code = "internal"
	}
	words := catalogueOf(lang)
	fill := n.replacer(words)
	say := func(part string) string {
		text, _ := words.faultWords(code, part)
		return capital(fill.Replace(text))
	}
	return FaultPage{Title: say("title"), Cause: say("cause"), Remedy: say("remedy"), App: n.App}
}

// faultWords finds a part of a fault's text: under its code, else under the longest part of the code
// that has one. So saml.status_requester may read like any saml.status, and its title like any saml's.
func (c catalogue) faultWords(code, part string) (string, bool) {
	for code != "" {
		if s, ok := c["fault."+code+"."+part]; ok {
			return s.plain, true
		}
		code = code[:max(strings.LastIndexAny(code, "._"), 0)]
	}
	return "", false
}

func (n Names) replacer(words catalogue) *strings.Replacer {
	or := func(name, otherwise string) string {
		if name != "" {
			return name
		}
		return words[otherwise].plain
	}
	return strings.NewReplacer(
		"{provider}", or(n.Provider, "name.provider"),
		"{organization}", or(n.Org, "name.organization"),
		"{application}", or(n.App, "name.application"),
	)
}

// capital is for a sentence that begins with general words: "your organization's …".
func capital(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

// detail is the label of a line of the details. A name that the catalogue does not know is its own
// label: an error page must not fail for that.
func (c catalogue) detail(name string) string {
	if s, ok := c["fault.detail."+name]; ok {
		return s.plain
	}
	return name
}
