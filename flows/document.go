package flows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/templates"
)

// Document is a flow as an organization wrote it: items in their order. It holds what the organization wants
// besides what policy and safety demand, and where; see Flow.
type Document struct {
	// Zone is where the clock hangs that conditions read (IANA name); "" is UTC.
	Zone  string `json:"zone,omitempty"`
	Items []Item `json:"items"`
}

// Item is a step, perhaps under a condition, or a branch: a condition with what is done where it holds
// (Then) and where it does not (Else).
type Item struct {
	Step     StepName `json:"step,omitempty"`
	If       string   `json:"if,omitempty"`
	Settings *Custom  `json:"settings,omitempty"`
	Then     []Item   `json:"then,omitempty"`
	Else     []Item   `json:"else,omitempty"`
}

// Custom is how one step of a flow is set. Each step takes some of the fields.
type Custom struct {
	// Title and Text are what the person reads, by language ("en", "es"): plain text, an empty line begins a
	// paragraph. Link is where all of it can be read, by language.
	Title templates.Said `json:"title,omitempty"`
	Text  templates.Said `json:"text,omitempty"`
	Link  templates.Said `json:"link,omitempty"`
	// Version names what is accepted; another version is asked for again.
	Version string `json:"version,omitempty"`
	// Fields are the claims that must be known of the person, by the names of OpenID Connect Core section 5.1.
	Fields []string `json:"fields,omitempty"`
	// Demand is how strong a second step has to be: "second" or "phishing_resistant".
	Demand string `json:"demand,omitempty"`
}

const (
	maxDocument   = 256 << 10
	maxItems      = 100
	maxDepth      = 3    // of branches in branches
	maxConditions = 64   // of a document (S33)
	maxCondition  = 1024 // bytes (S33)
	maxText       = 8000 // bytes, of each language
	maxTitle      = 200
	maxLanguages  = 20
)

var (
	ErrFlowMalformed = fault.New(fault.Invalid, "flows.malformed", "This is no sign-in flow: it is a list of items, each a step or a branch.")
	ErrFlowInvalid   = fault.New(fault.Invalid, "flows.invalid", "This sign-in flow cannot be published as it is.")
	ErrFlowVersion   = fault.New(fault.NotFound, "flows.version_not_found", "There is no such version of this organization's sign-in flow.")
	ErrTesters       = fault.New(fault.Invalid, "flows.testers", "At most 50 people may test the draft of a sign-in flow.")
	ErrNoDraft       = fault.New(fault.NotFound, "flows.no_draft", "This organization has no draft of a sign-in flow.")
)

// ParseDocument reads a document. What it does not know it refuses: a setting that is skipped may be the one
// that kept somebody out.
func ParseDocument(raw []byte) (Document, error) {
	var d Document
	if len(raw) > maxDocument {
		return d, ErrFlowMalformed.Because("longer than 256 KiB")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return d, ErrFlowMalformed.With(err)
	}
	if dec.More() {
		return d, ErrFlowMalformed.Because("something follows the document")
	}
	return d, nil
}

// Problem is why a document cannot be published, and where: "item 3, then 1 (deny)".
type Problem struct {
	Where string `json:"where"`
	Text  string `json:"text"`
}

func (p Problem) String() string { return p.Where + ": " + p.Text }

// problems collects what is wrong.
type problems []Problem

func (p *problems) say(where, format string, args ...any) {
	*p = append(*p, Problem{where, fmt.Sprintf(format, args...)})
}

// settled lists which fields each step of a document takes, and that must be there. A step that is in
// neither table takes none.
var settled = map[StepName]struct{ takes, needs []string }{
	StepFactor:  {takes: []string{"demand"}},
	StepNotice:  {takes: []string{"title", "text", "link"}, needs: []string{"text"}},
	StepTerms:   {takes: []string{"title", "text", "link", "version"}, needs: []string{"version"}},
	StepProfile: {takes: []string{"title", "text", "fields"}, needs: []string{"fields"}},
	StepDeny:    {takes: []string{"title", "text"}, needs: []string{"text"}},
}

// given names the fields that are set.
func (c *Custom) given() []string {
	if c == nil {
		return nil
	}
	var out []string
	for name, set := range map[string]bool{
		"title": len(c.Title) > 0, "text": len(c.Text) > 0, "link": len(c.Link) > 0, "version": c.Version != "",
		"fields": len(c.Fields) > 0, "demand": c.Demand != "",
	} {
		if set {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

var (
	languageTag  = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
	termsVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// check says what is wrong with a step's settings.
func (c *Custom) check(step StepName, where string, out *problems) {
	rule, given := settled[step], c.given()
	for _, name := range given {
		if !slices.Contains(rule.takes, name) {
			out.say(where, "the step %s has no setting %q", step, name)
		}
	}
	for _, name := range rule.needs {
		if !slices.Contains(given, name) && (name != "version" || step == StepTerms) {
			out.say(where, "the step %s needs the setting %q", step, name)
		}
	}
	if c == nil {
		return
	}
	said(c.Title, "title", maxTitle, where, out)
	said(c.Text, "text", maxText, where, out)
	said(c.Link, "link", 1000, where, out)
	for lang, link := range c.Link {
		if !strings.HasPrefix(link, "https://") {
			out.say(where, "the link in %s is not an https:// address", lang)
		}
	}
	if c.Version != "" && !termsVersion.MatchString(c.Version) {
		out.say(where, "a version is up to 64 letters, digits, dots and hyphens, such as 2026-01")
	}
	for _, f := range c.Fields {
		if _, ok := profileFields[f]; !ok {
			out.say(where, "people cannot be asked for %q; they can for %s", f, strings.Join(askable(), ", "))
		}
	}
	if c.Demand != "" && c.Demand != demandSecond && c.Demand != demandResistant {
		out.say(where, "demand is %q or %q", demandSecond, demandResistant)
	}
}

func said(words templates.Said, what string, most int, where string, out *problems) {
	if len(words) > maxLanguages {
		out.say(where, "the %s is in more than %d languages", what, maxLanguages)
	}
	for lang, text := range words {
		switch {
		case !languageTag.MatchString(lang):
			out.say(where, "the %s names the language %q; languages are written like en or pt-BR", what, lang)
		case strings.TrimSpace(text) == "":
			out.say(where, "the %s in %s is empty", what, lang)
		case len(text) > most:
			out.say(where, "the %s in %s is longer than %d bytes", what, lang, most)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }):
			out.say(where, "the %s in %s is no plain text", what, lang)
		}
	}
}

// zone is where the document's clock hangs.
func (d Document) zone() (*time.Location, error) {
	if d.Zone == "" {
		return time.UTC, nil
	}
	if d.Zone == "Local" { // the server's own is nobody's choice
		return nil, fmt.Errorf("unknown time zone Local")
	}
	return time.LoadLocation(d.Zone)
}
