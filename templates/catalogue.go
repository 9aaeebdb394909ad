package templates

import (
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// This file holds the message catalogue: every sentence of every page, by key, in every language.
//
// A sentence is plain text. {1}, {2} stand for what the page puts in; **…** is strong. Faults' texts
// have the names {provider}, {organization} and {application} instead.

//go:embed catalogue/*.json
var catalogueFiles embed.FS

// ErrText: a page asks for a sentence that is not in the catalogue, or gives it too little to fill in.
var ErrText = fault.New(fault.Internal, "templates.text", "A sentence of this page is missing.")

// sentence is a text of the catalogue, cut where something is filled in. Even parts are text, odd ones
// the number of an argument.
type sentence struct {
	parts []string // already HTML
	plain string
}

type catalogue map[string]sentence

// catalogues are read once. They are embedded, so a mistake in them is one of the build, and the test
// that renders every page finds it.
var catalogues = sync.OnceValue(func() map[string]catalogue {
	byLanguage := map[string]catalogue{}
	files, err := fs.Glob(catalogueFiles, "catalogue/*.json")
	for _, file := range files {
		var c catalogue
		if c, err = readCatalogue(file); err != nil {
			break
		}
		byLanguage[strings.TrimSuffix(path.Base(file), ".json")] = c
	}
	if err != nil {
		panic("templates: " + err.Error())
	}
	return byLanguage
})

func readCatalogue(file string) (catalogue, error) {
	raw, err := catalogueFiles.ReadFile(file)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	if err := json.Unmarshal(raw, &texts); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c := catalogue{}
	for key, text := range texts {
		c[key] = newSentence(text)
	}
	return c, nil
}

func newSentence(text string) sentence {
	s := sentence{plain: strings.ReplaceAll(text, "**", "")}
	rest := strong(html.EscapeString(text))
	for {
		before, after, found := strings.Cut(rest, "{")
		number, behind, closed := strings.Cut(after, "}")
		if _, err := strconv.Atoi(number); !found || !closed || err != nil {
			s.parts = append(s.parts, rest)
			return s
		}
		s.parts = append(s.parts, before, number)
		rest = behind
	}
}

func strong(text string) string {
	parts := strings.Split(text, "**")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "<strong>" + parts[i] + "</strong>"
	}
	return strings.Join(parts, "")
}

// html fills the sentence. Arguments are text; none of them becomes markup.
func (s sentence) html(args []string) (template.HTML, error) {
	if len(s.parts) == 1 {
		return template.HTML(s.parts[0]), nil
	}
	var out strings.Builder
	for i, part := range s.parts {
		if i%2 == 0 {
			out.WriteString(part)
			continue
		}
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > len(args) {
			return "", fmt.Errorf("nothing was given for {%s}", part)
		}
		out.WriteString(html.EscapeString(args[n-1]))
	}
	return template.HTML(out.String()), nil
}

// t is the template function of that name.
func (c catalogue) t(key string, args ...string) (template.HTML, error) {
	s, ok := c[key]
	if !ok {
		return "", ErrText.Because(key)
	}
	text, err := s.html(args)
	if err != nil {
		return "", ErrText.With(fmt.Errorf("%s: %w", key, err))
	}
	return text, nil
}

// Say gives a sentence as plain text, for what a handler puts into a page itself: a hint in a list.
// A key that does not exist gives the key, so that it is seen.
func Say(lang, key string, args ...string) string {
	s, ok := catalogueOf(lang)[key]
	if !ok {
		return key
	}
	text := s.plain
	for i, arg := range args {
		text = strings.ReplaceAll(text, "{"+strconv.Itoa(i+1)+"}", arg)
	}
	return text
}

// Languages are those that every page can be read in, English first.
func Languages() []string {
	all := []string{"en"}
	for lang := range catalogues() {
		if lang != "en" {
			all = append(all, lang)
		}
	}
	slices.Sort(all[1:])
	return all
}

func catalogueOf(lang string) catalogue {
	if c, ok := catalogues()[lang]; ok {
		return c
	}
	return catalogues()["en"]
}

// Language picks the language of a page. Each wish is a list, best first, as Accept-Language (RFC 9110
// section 12.5.4) or OpenID Connect's ui_locales write it; an earlier wish that can be met wins: the
// app's ui_locales, then the organization's locale, then what the browser says.
func Language(wishes ...string) string {
	for _, wish := range wishes {
		best, weight := "", 0.0
		for _, part := range strings.FieldsFunc(wish, func(r rune) bool { return r == ',' || r == ' ' }) {
			tag, q := weighted(part)
			if _, ok := catalogues()[short(tag)]; ok && q > weight {
				best, weight = short(tag), q
			}
		}
		if best != "" {
			return best
		}
	}
	return "en"
}

func weighted(part string) (tag string, q float64) {
	tag, parameter, has := strings.Cut(part, ";q=")
	if !has {
		return tag, 1
	}
	q, err := strconv.ParseFloat(parameter, 64)
	if err != nil {
		return tag, 0
	}
	return tag, q
}

// short is the language without region or script: "es" of "es-MX".
func short(tag string) string {
	lang, _, _ := strings.Cut(strings.ToLower(tag), "-")
	return lang
}

// Keys lists the keys that begin with one of the prefixes, for tests.
func Keys(prefixes ...string) []string {
	var out []string
	for key := range catalogueOf("en") {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}
