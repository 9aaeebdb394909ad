package policy

// This file says what the table holds to those who show, edit and explain it: manuals, forms, schemas. None of
// them knows a setting by name.

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Setting is a rule as people and programs are told of it.
type Setting struct {
	Key, Group, Title, Help string
	Form                    Form
	Words                   string   // how a value is written: "a time such as `8h`"
	Tighter                 string   // which way is tight: "a shorter time is tighter"
	Choices                 []string // of a word or a list of words, the loosest first where they have an order
	// Default, Limit, Loosest and Tightest are values as people write them. Floor is the tightest that an
	// organization may ask for; "" is the tightest there is.
	Default, Limit, Loosest, Tightest, Floor string
	When                                     string // from when on a change holds
	Apps                                     bool   // an app may have a value of its own
	Keeps                                    bool   // members can be kept (S13)
	// Pending says that nothing asks for the setting yet: it can be written, and changes nothing.
	Pending bool
}

// pending are the settings that nothing asks for yet. Whoever makes one hold takes its line away.
var pending = map[string]bool{
	"mfa.admins":          true,
	"mfa.remember_device": true,
	"session.step_up_age": true,
	"login.when_idp_down": true,
	"identity.level":      true,
	"branding.editable":   true,
}

// Settings are all settings, in the order of the table.
func Settings() []Setting {
	out := make([]Setting, len(rules.rules))
	for i, r := range rules.rules {
		out[i] = settingOf(r)
	}
	return out
}

func settingOf(r rule) Setting {
	a := r.about()
	value, limit := r.defaults()
	loosest, strictest := r.ends()
	s := Setting{
		Key: r.key(), Group: a.group, Title: r.title(), Help: a.help, Form: a.form.kind, Words: a.form.words, Tighter: a.form.tighter,
		Choices: a.form.of, Default: a.form.written(r, value), Limit: a.form.written(r, limit), Loosest: a.form.written(r, loosest),
		Tightest: a.form.written(r, strictest),
		When:     a.when, Apps: !a.noApp, Keeps: a.keeps, Pending: pending[r.key()],
	}
	if floor, has := r.floor(); has {
		s.Floor = a.form.written(r, floor)
	}
	if r.empty(strictest) {
		s.Tightest = "one" // none would let nobody in
	}
	if s.When == "" {
		s.When = "at the next request of every session"
	}
	return s
}

// written is a value as people write it: a switch or a word as it stands in a document, the rest as it is said.
func (f form) written(r rule, v any) string {
	switch f.kind {
	case Switch:
		return fmt.Sprint(v)
	case Word:
		return fmt.Sprintf("%s", v)
	}
	return r.show(v)
}

// Manual is the manual's part about the settings, as Markdown.
func Manual() string {
	var b strings.Builder
	group := ""
	for _, s := range Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "### %s\n\n", group)
		}
		fmt.Fprintf(&b, "#### `%s`: %s\n\n%s%s\n\n", s.Key, lowered(s.Title), s.Help, s.later())
		fmt.Fprintf(&b, "| values | default | limit | tightest |\n| --- | --- | --- | --- |\n| %s; %s | %s | %s | %s |\n\n", s.Words, s.Tighter, s.Default, s.Limit, s.tightest())
		fmt.Fprintf(&b, "Set by %s. Holds %s.\n\n", s.by(), s.When)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (s Setting) later() string {
	if s.Pending {
		return " **Nothing asks for it yet: it can be written, and holds from the release on that does.**"
	}
	return ""
}

func (s Setting) tightest() string {
	if s.Floor == "" {
		return s.Tightest
	}
	return s.Floor + " (the operator: " + s.Tightest + ")"
}

func (s Setting) by() string {
	who := "platform, realm and organization"
	if s.Apps {
		who = "platform, realm, organization and app"
	}
	if s.Keeps {
		who += "; members can be kept"
	}
	return who
}

// lowered begins a title in small letters where it stands in a sentence, unless its first word is an
// abbreviation.
func lowered(title string) string {
	if len(title) > 1 && title[1] >= 'A' && title[1] <= 'Z' {
		return title
	}
	return strings.ToLower(title[:1]) + title[1:]
}

// Schema is the JSON Schema (draft 2020-12) of a level's values, for editors and programs. The platform's
// document has the same in `defaults`, `limits` and `values`. It knows the forms; what a level may set
// depends on the levels above, and is Check's to say.
func Schema() json.RawMessage {
	properties := map[string]any{}
	for _, r := range rules.rules {
		s := settingOf(r)
		entry := r.about().form.schema()
		entry["title"], entry["description"] = s.Title, s.Help
		properties[s.Key] = entry
	}
	raw, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Vestibule policy of one level",
		"type": "object", "additionalProperties": false, "properties": properties,
	}, "", "  ")
	if err != nil {
		panic(err) // maps of text
	}
	return raw
}

func (f form) schema() map[string]any {
	list := func(of map[string]any) map[string]any {
		return map[string]any{"type": "array", "uniqueItems": true, "items": of}
	}
	var out map[string]any
	switch f.kind {
	case Time:
		out = map[string]any{"type": "string", "pattern": "^[0-9]{1,5}[dhms]$"}
	case Switch:
		out = map[string]any{"type": "boolean"}
	case Word:
		out = map[string]any{"enum": f.of}
	case Number:
		out = map[string]any{"type": "integer", "minimum": f.from, "maximum": f.to}
	case Words:
		out = list(map[string]any{"enum": f.of})
	case Networks:
		out = list(map[string]any{"type": "string"})
		out["maxItems"] = mostNetworks
	case Names:
		out = list(map[string]any{"type": "string"})
		out["maxItems"] = mostNames
	}
	if f.besides != "" {
		return map[string]any{"anyOf": []any{out, map[string]any{"const": f.besides}}}
	}
	return out
}
