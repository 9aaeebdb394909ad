package templates

import (
	"slices"
	"strings"
)

// The pages of the steps that an organization's own flow adds. Every form posts "step" and "at" to Action.

// Said is a text by language ("en", "pt-BR"), written by an organization: plain text, never markup.
type Said map[string]string

// In is the text in a language: as written for it, or for a wider or narrower one; else in English, else in
// the first there is. A text that somebody has to read is shown in another language rather than not at all.
func (s Said) In(lang string) string {
	if text, ok := s[lang]; ok {
		return text
	}
	written := make([]string, 0, len(s))
	for l := range s {
		written = append(written, l)
	}
	slices.Sort(written)
	for _, want := range []string{short(lang), "en"} {
		for _, l := range written {
			if short(l) == want {
				return s[l]
			}
		}
	}
	if len(written) == 0 {
		return ""
	}
	return s[written[0]]
}

// Paragraphs is In, cut at empty lines.
func (s Said) Paragraphs(lang string) []string {
	var out []string
	for p := range strings.SplitSeq(strings.ReplaceAll(s.In(lang), "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// FlowFrame is what stands around such a step. At names it, so that no answer counts for another of its kind.
type FlowFrame struct {
	Action, Step, At  string
	App               string
	By                string // the organization whose flow it is; "" says nothing
	Who, ChangeURL    string // Who is "" before anybody is proved
	Title, Text, Link Said
}

// NoticePage is a text to read.
type NoticePage struct{ FlowFrame }

// TermsPage is terms to accept ("accept").
type TermsPage struct {
	FlowFrame
	Version string
}

// ProfilePage asks for what is missing, each field under its name. Error: some of it will not do.
type ProfilePage struct {
	FlowFrame
	Fields []ProfileField
	Error  bool
}

// ProfileField is one claim to fill in. Type is the input's, "" for text; Complete its autocomplete.
type ProfileField struct {
	Name, Type, Complete, Value string
	Wrong                       bool
}

func (NoticePage) Template() string  { return "login/notice" }
func (TermsPage) Template() string   { return "login/terms" }
func (ProfilePage) Template() string { return "login/profile" }

// Words names the field's label: the field, where there are words for it.
func (f ProfileField) Words() string {
	if _, ok := catalogueOf("en")["login.profile."+f.Name]; ok {
		return f.Name
	}
	return "name"
}

// Kind is the input's type.
func (f ProfileField) Kind() string {
	if f.Type == "" {
		return "text"
	}
	return f.Type
}
