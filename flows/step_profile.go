package flows

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// profile asks for what the organization needs to know of its people and does not yet. Guests are not asked:
// what is known of them is their own organization's.
type profile struct{}

// profileField is one claim that people can be asked for.
type profileField struct {
	of func(*directory.Person) *string
	// good brings what was typed into the form that is kept; false refuses it.
	good func(string) (string, bool)
	// Type and complete are the input's.
	kind, complete string
}

var profileFields = map[string]profileField{
	"name":               {of: func(p *directory.Person) *string { return &p.Name }, good: line, complete: "name"},
	"given_name":         {of: func(p *directory.Person) *string { return &p.Given }, good: line, complete: "given-name"},
	"family_name":        {of: func(p *directory.Person) *string { return &p.Family }, good: line, complete: "family-name"},
	"middle_name":        {of: func(p *directory.Person) *string { return &p.Profile.MiddleName }, good: line, complete: "additional-name"},
	"nickname":           {of: func(p *directory.Person) *string { return &p.Profile.Nickname }, good: line, complete: "nickname"},
	"preferred_username": {of: func(p *directory.Person) *string { return &p.Profile.PreferredUsername }, good: line, complete: "username"},
	"phone_number":       {of: func(p *directory.Person) *string { return &p.Profile.Phone }, good: phone, kind: "tel", complete: "tel"},
	"birthdate":          {of: func(p *directory.Person) *string { return &p.Profile.Birthdate }, good: birthday, kind: "date", complete: "bday"},
	"locale":             {of: func(p *directory.Person) *string { return &p.Locale }, good: tongue, complete: "off"},
	"zoneinfo":           {of: func(p *directory.Person) *string { return &p.Profile.Zoneinfo }, good: zoneName, complete: "off"},
}

// askable are the names of the fields, in the alphabet's order.
func askable() []string {
	out := make([]string, 0, len(profileFields))
	for name := range profileFields {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// line is a short text of one line.
func line(s string) (string, bool) {
	s = strings.Join(strings.Fields(s), " ")
	return s, s != "" && utf8.RuneCountInString(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// phone is a number with its country (E.164).
func phone(s string) (string, bool) {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -()./\u00a0", r) {
			return -1
		}
		return r
	}, s)
	return s, e164.MatchString(s)
}

func birthday(s string) (string, bool) {
	t, err := time.Parse(time.DateOnly, s)
	return s, err == nil && t.Year() >= 1900
}

func tongue(s string) (string, bool) {
	tag, err := language.Parse(s)
	return tag.String(), err == nil && s != "" && len(s) <= 35
}

var zoneShape = regexp.MustCompile(`^[A-Za-z]{1,20}(/[A-Za-z0-9_+-]{1,30}){1,2}$`)

func zoneName(s string) (string, bool) { return s, zoneShape.MatchString(s) }

// missing are the fields of the station that nothing is known of.
func (s *State) missing() []string {
	if s.Person == nil || s.Org == nil || s.At == nil || !s.Org.Chain.Has(s.Person.Person.Home) {
		return nil
	}
	var out []string
	for _, name := range s.At.Set.Fields {
		f, ok := profileFields[name]
		if !ok || *f.of(&s.Person.Person) == "" {
			out = append(out, name)
		}
	}
	return out
}

func (profile) Wants(_ policy.Effective, s State) (bool, []Reason, *fault.Error) {
	gone := s.missing()
	if slices.ContainsFunc(gone, func(name string) bool { _, ok := profileFields[name]; return !ok }) {
		return false, nil, ErrStep // a field that this version does not know is not skipped
	}
	if len(gone) == 0 {
		return false, nil, nil
	}
	r := s.flowSays("The organization needs to know more of the person.")
	r.Value = strings.Join(gone, ", ")
	return true, []Reason{r}, nil
}

func (profile) Ask(_ context.Context, t *Turn) (Reply, error) {
	page := templates.ProfilePage{FlowFrame: t.flowFrame(StepProfile)}
	for _, name := range t.State.missing() {
		f, typed := profileFields[name], t.Login.Typed[name]
		_, ok := f.good(typed)
		page.Fields = append(page.Fields, templates.ProfileField{Name: name, Type: f.kind, Complete: f.complete, Value: typed, Wrong: typed != "" && !ok})
		page.Error = page.Error || typed != "" && !ok
	}
	return Reply{Page: page}, nil
}

// engineActor is who writes down what people tell inside a login.
var engineActor = directory.Actor{Kind: directory.Engine}

// maxTyped bounds what is kept of a wrong answer, to be shown again.
const maxTyped = 200

// Take keeps all or nothing: what was typed is shown again where some of it will not do.
func (profile) Take(ctx context.Context, t *Turn, answer url.Values) error {
	if !t.here(answer) {
		return nil
	}
	gone, good := t.State.missing(), map[string]string{}
	t.Login.Typed = map[string]string{}
	for _, name := range gone {
		typed := answer.Get(name)
		value, ok := profileFields[name].good(typed)
		if ok {
			good[name] = value
		} else if len(typed) <= maxTyped && utf8.ValidString(typed) {
			t.Login.Typed[name] = typed
		}
	}
	if len(good) < len(gone) {
		for name, v := range good {
			t.Login.Typed[name] = v
		}
		return nil
	}
	t.Login.Typed = nil
	who := t.State.Person.Person
	err := t.Engine.Judge.Directory.CompleteProfile(ctx, engineActor, who.Home, who.ID, func(p *directory.Person) error {
		for name, v := range good {
			if field := profileFields[name].of(p); *field == "" {
				*field = v
			}
		}
		return nil
	})
	if err == nil {
		t.Login.note(t.State.Now, audit.Step{Name: string(StepProfile), Text: "The person told what the organization needs to know.", Facts: map[string]string{"fields": strings.Join(gone, ", ")}})
	}
	return err
}
