package demo

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/policy"
)

// ruling is one change of policy that a button makes, by the use case that everybody's changes take.
type ruling struct {
	id, label, sentence string
	company             string
	set                 map[string]string // JSON by setting; "" takes the value away
	why                 string            // kept with the value
}

// rules can be tried in any order. The second is refused as long as the first stands.
func rules() []ruling {
	return []ruling{
		{"second-step", "MightyBank asks for a second step", "Everybody of its banks sets one up at the next sign-in, and is asked for it from then on.", "mightybank-americas",
			map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["passkey", "totp"]`}, "After the audit in spring"},
		{"loosen", "Acme Bank tries to do without", "What a parent set can be tightened below, and never loosened.", "acme-bank",
			map[string]string{"mfa.requirement": `"off"`}, ""},
		{"short", "MexBanco ends sessions after a quarter of an hour", "Who signed in longer ago signs in again at the next click.", "mexbanco",
			map[string]string{"session.lifetime": `"15m"`}, "Branches share computers"},
		{"back", "Take it all back", "As it was when the demonstration began.", "",
			nil, ""},
	}
}

// watched are the settings whose values the page shows, and where.
var watched = []struct{ company, key string }{
	{"mightybank-americas", policy.MFARequirement.Key}, {"acme-bank", policy.MFARequirement.Key}, {"mexbanco", policy.SessionLifetime.Key},
}

// lastRule is what became of the last change, until somebody tries another one.
type lastRule struct {
	mu   sync.Mutex
	said ruleSaid
}

// ruleSaid is what the page says of a change; Text is the refusal's own sentence.
type ruleSaid struct {
	Label, Text string
	Refused     bool
}

func (l *lastRule) set(s ruleSaid) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = s
}

func (l *lastRule) get() ruleSaid {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said
}

// ruleLine is a value that holds, in words: who set it, and what for.
type ruleLine struct{ Company, Brand, Words string }

type ruleButton struct{ ID, Label, Sentence, Company string }

// rulesNow says what holds at the watched places.
func (w *World) rulesNow(r *http.Request) ([]ruleLine, error) {
	var out []ruleLine
	for _, at := range watched {
		c := w.company(at.company)
		chain, err := w.Directory.OrgChain(r.Context(), c.org)
		if err != nil {
			return nil, err
		}
		eff, err := w.Directory.Effective(r.Context(), chain, "")
		if err != nil {
			return nil, err
		}
		out = append(out, ruleLine{c.name, c.brand, eff.Why(at.key).Words()})
	}
	return out, nil
}

func (w *World) ruleButtons() []ruleButton {
	var out []ruleButton
	for _, r := range rules() {
		b := ruleButton{ID: r.id, Label: r.label, Sentence: r.sentence, Company: "All of them"}
		if r.company != "" {
			b.Company = w.company(r.company).name
		}
		out = append(out, b)
	}
	return out
}

// changeRule makes the change of a button. A refusal is what the button is there to show.
func (w *World) changeRule(out http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	list := rules()
	i := slices.IndexFunc(list, func(x ruling) bool { return x.id == form.Get("rule") })
	if i < 0 {
		return web.ErrNotFound
	}
	said := ruleSaid{Label: list[i].label}
	err = w.applyRule(r, list[i])
	if f := fault.Of(err); err != nil && f.Kind == fault.Invalid {
		said.Refused, said.Text, err = true, f.Public, nil
	}
	if err != nil {
		return err
	}
	w.ruled.set(said)
	http.Redirect(out, r, "/#rules", http.StatusSeeOther)
	return nil
}

func (w *World) applyRule(r *http.Request, x ruling) error {
	if x.company != "" {
		wishes, reasons := map[string]json.RawMessage{}, map[string]string{}
		for key, value := range x.set {
			wishes[key] = json.RawMessage(value)
			if x.why != "" {
				reasons[policy.NoteOf(policy.OwnValues, key)] = x.why
			}
		}
		at := directory.PolicyLevel{Org: w.company(x.company).org}
		return w.Directory.SetLevelPolicy(r.Context(), operator, at, "", directory.PolicyWishes{Values: wishes, Reasons: reasons})
	}
	for _, c := range w.companies {
		wishes := map[string]json.RawMessage{}
		for _, other := range rules() {
			for key := range other.set {
				if other.company == c.handle {
					wishes[key] = nil
				}
			}
		}
		maps.Copy(wishes, c.policy)
		if len(wishes) == 0 {
			continue
		}
		if err := w.Directory.SetPolicy(r.Context(), operator, c.org, wishes); err != nil {
			return err
		}
	}
	return nil
}
