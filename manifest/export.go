package manifest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/policy"
)

// ExportOptions are what an export holds.
type ExportOptions struct {
	// Hashes writes the SHA-256 of client secrets, so that apps keep theirs; else their place is a
	// variable of the environment.
	Hashes bool
	// People writes the people too.
	People bool
}

// exporter writes YAML, one item of a list at a time, so that nothing large is held.
type exporter struct {
	*Service
	ctx   context.Context
	to    io.Writer
	o     ExportOptions
	realm map[directory.RealmID]directory.Realm
	orgs  map[directory.OrgID]string // realm/handle
	cons  map[directory.ConnectionID]string
	apps  map[directory.AppID]string
	err   error
}

// Export writes what is there so that Apply makes it again in an empty installation, with the ids that
// apps and providers know. Secrets are not among it: where each was stands {env: NAME}.
func (s *Service) Export(ctx context.Context, a directory.Actor, to io.Writer, o ExportOptions) error {
	if err := directory.Allow(a, "", directory.ManageRealms); err != nil {
		return err
	}
	e := &exporter{Service: s, ctx: ctx, to: to, o: o, realm: map[directory.RealmID]directory.Realm{}, orgs: map[directory.OrgID]string{},
		cons: map[directory.ConnectionID]string{}, apps: map[directory.AppID]string{}}
	realms, err := s.Lists.RealmList(ctx)
	if err != nil {
		return err
	}
	all := make([][]directory.Org, len(realms))
	for i, r := range realms {
		e.realm[r.ID] = r
		if all[i], err = s.Lists.OrgList(ctx, r.ID); err != nil {
			return err
		}
		for _, org := range all[i] {
			e.orgs[org.ID] = r.Handle + "/" + org.Handle
		}
	}
	e.platform()
	e.list("realms", len(realms) > 0)
	for _, r := range realms {
		e.item([]pairOf{{"id", string(r.ID)}, {"handle", r.Handle}, {"scope", string(r.Scope)}}, e.policy(directory.PolicyLevel{Realm: r.ID}))
	}
	if err := e.everyApp(realms, func(app broker.App) { e.apps[app.ID] = app.ClientID }); err != nil {
		return err
	}
	e.organizations(all)
	e.list("apps", len(e.apps) > 0)
	if err := e.everyApp(realms, e.app); err != nil {
		return err
	}
	if o.People {
		e.people(all)
	}
	return e.err
}

func (e *exporter) everyApp(realms []directory.Realm, do func(broker.App)) error {
	for _, r := range realms {
		list, err := e.Lists.AppList(e.ctx, r.ID)
		if err != nil {
			return err
		}
		for _, app := range list {
			if len(app.Registration) == 0 { // apps that registered themselves do so again
				do(app)
			}
		}
	}
	return nil
}

func (e *exporter) write(text string) {
	if e.err == nil {
		_, e.err = io.WriteString(e.to, text)
	}
}

func (e *exporter) list(name string, any bool) {
	if any {
		e.write(name + ":\n")
	}
}

// item writes one entry of the list that was begun.
func (e *exporter) item(parts ...[]pairOf) {
	var all []pairOf
	for _, p := range parts {
		all = append(all, p...)
	}
	if e.err != nil {
		return
	}
	raw, err := yaml.Marshal(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{nodeOf(all)}})
	if err != nil {
		e.err = err
		return
	}
	e.write(indented(string(raw)))
}

func indented(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		if strings.TrimSpace(l) != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "")
}

// nodeOf writes a value so that its reading gives the same: texts are quoted where they look like
// something else.
func nodeOf(v any) *yaml.Node {
	n := &yaml.Node{}
	switch v := v.(type) {
	case []pairOf:
		n.Kind = yaml.MappingNode
		for _, p := range v {
			n.Content = append(n.Content, nodeOf(p.key), nodeOf(p.value))
		}
	case []any:
		n.Kind = yaml.SequenceNode
		for _, one := range v {
			n.Content = append(n.Content, nodeOf(one))
		}
	default:
		_ = n.Encode(v)
	}
	return n
}

// attempt ends the export at the first thing that cannot be read.
func (e *exporter) attempt(err error) bool {
	if err != nil && e.err == nil {
		e.err = err
	}
	return e.err == nil
}

func (e *exporter) platform() {
	doc, err := e.Directory.PolicyDoc(e.ctx, directory.PolicyLevel{})
	if !e.attempt(err) {
		return
	}
	var parts []pairOf
	for _, part := range []struct {
		key  string
		part policy.Part
	}{{"values", policy.OwnValues}, {"defaults", policy.Defaults}, {"limits", policy.Limits}} {
		if rules := rulesOf(doc, part.part); len(rules) > 0 {
			parts = append(parts, pairOf{part.key, rules})
		}
	}
	if len(parts) == 0 {
		return
	}
	raw, err := yaml.Marshal(nodeOf([]pairOf{{"platform", []pairOf{{"policy", parts}}}}))
	if e.attempt(err) {
		e.write(string(raw))
	}
}

// rulesOf are a part of a document's settings, each a value, or a map where something stands beside it.
func rulesOf(doc directory.PolicyDoc, part policy.Part) []pairOf {
	rules := map[policy.Part]map[string]json.RawMessage{policy.OwnValues: doc.Values, policy.Defaults: doc.Defaults, policy.Limits: doc.Limits}[part]
	keep := map[string]json.RawMessage{}
	if part == policy.OwnValues {
		keep = doc.Keep
	}
	keys := map[string]bool{}
	for _, m := range []map[string]json.RawMessage{rules, keep} {
		for key := range m {
			keys[key] = true
		}
	}
	var out []pairOf
	for _, key := range sorted(keys) {
		reason := doc.Notes[policy.NoteOf(part, key)].Reason
		value, has := rules[key]
		if has && keep[key] == nil && reason == "" {
			out = append(out, pairOf{key, plainJSON(value)})
			continue
		}
		var beside []pairOf
		if has {
			beside = append(beside, pairOf{"value", plainJSON(value)})
		}
		if keep[key] != nil {
			beside = append(beside, pairOf{"keep", plainJSON(keep[key])})
		}
		if reason != "" {
			beside = append(beside, pairOf{"reason", reason})
		}
		out = append(out, pairOf{key, beside})
	}
	return out
}

func plainJSON(raw json.RawMessage) any {
	var v any
	_ = json.Unmarshal(raw, &v) // the store holds JSON
	if f, ok := v.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return v
}

func (e *exporter) policy(at directory.PolicyLevel) []pairOf {
	doc, err := e.Directory.PolicyDoc(e.ctx, at)
	if !e.attempt(err) {
		return nil
	}
	rules := rulesOf(doc, policy.OwnValues)
	if len(rules) == 0 {
		return nil
	}
	return []pairOf{{"policy", rules}}
}

func (e *exporter) organizations(all [][]directory.Org) {
	begun := false
	for _, list := range all {
		for _, o := range list {
			if e.realm[o.Realm].Handle == defaultRealm && o.Handle == platformOrg {
				continue
			}
			if !begun {
				e.list("organizations", true)
				begun = true
			}
			e.organization(o)
		}
	}
}

func (e *exporter) organization(o directory.Org) {
	head := []pairOf{{"id", string(o.ID)}, {"handle", o.Handle}, {"realm", e.realm[o.Realm].Handle}}
	if o.Parent != "" {
		_, parent, _ := strings.Cut(e.orgs[o.Parent], "/")
		head = append(head, pairOf{"parent", parent})
	}
	form := orgShape.plain(reflect.ValueOf(orgForm{o.Name, o.Status, o.Contact}))
	var rest []pairOf
	theme, err := e.Themes.Theme(e.ctx, o.ID)
	if !e.attempt(err) {
		return
	}
	if look := themeShape.plain(reflect.ValueOf(theme)); len(look) > 0 {
		rest = append(rest, pairOf{"theme", look})
	}
	rest = append(rest, e.policy(directory.PolicyLevel{Org: o.ID})...)
	rest = append(rest, e.flow(o.ID)...)
	e.item(head, form, rest, e.connections(o), e.domains(o), e.entitlements(o))
}

// flow is the organization's own sign-in flow, as it is published.
func (e *exporter) flow(org directory.OrgID) []pairOf {
	doc, own, err := e.Flows.Published(e.ctx, org)
	if !e.attempt(err) || !own {
		return nil
	}
	raw, err := json.Marshal(doc)
	if !e.attempt(err) {
		return nil
	}
	var plain any
	if !e.attempt(json.Unmarshal(raw, &plain)) {
		return nil
	}
	return []pairOf{{"flow", plain}}
}

func (e *exporter) connections(o directory.Org) []pairOf {
	list, err := e.Connections.ConnectionsFor(e.ctx, o.ID)
	if !e.attempt(err) {
		return nil
	}
	var out []any
	for _, c := range list {
		e.cons[c.ID] = e.orgs[c.Org] + "/" + c.Name
		if c.Org == o.ID {
			out = append(out, e.connection(o, c))
		}
	}
	if len(out) == 0 {
		return nil
	}
	return []pairOf{{"connections", out}}
}

func (e *exporter) connection(o directory.Org, c upstream.Connection) []pairOf {
	out := []pairOf{{"id", string(c.ID)}, {"name", c.Name}, {"type", string(c.Type)}}
	form := connectionForm{c.Name, c.Status, c.Issuer, c.Offered, c.JIT, c.Authoritative, c.Guests, c.Private, c.Skew, c.MFA}
	out = append(out, connectionShape.plain(reflect.ValueOf(form))...)
	protocol, known := e.Connections.Protocols[c.Type]
	if !known {
		return out
	}
	for _, part := range []struct {
		key    string
		zero   any
		secret bool
		raw    json.RawMessage
	}{{"settings", protocol.Config, false, c.Config}, {"secrets", protocol.Secret, true, c.Secret}} {
		v := reflect.New(reflect.TypeOf(part.zero))
		if len(part.raw) > 0 && !e.attempt(json.Unmarshal(part.raw, v.Interface())) {
			return out
		}
		plain := shapeOf(reflect.TypeOf(part.zero), part.secret, nil).plain(v.Elem())
		if part.secret {
			plain = placed(plain, variable(o.Handle, c.Name)).([]pairOf)
		}
		if len(plain) > 0 {
			out = append(out, pairOf{part.key, plain})
		}
	}
	return out
}

// placed writes in place of each secret where it shall come from.
func placed(v any, name string) any {
	switch v := v.(type) {
	case hidden:
		return []pairOf{{"env", name}}
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = placed(one, fmt.Sprintf("%s_%d", name, i+1))
		}
		return out
	case []pairOf:
		out := make([]pairOf, len(v))
		for i, p := range v {
			out[i] = pairOf{p.key, placed(p.value, name+"_"+variable(p.key))}
		}
		return out
	}
	return v
}

// variable makes the name of an environment variable out of words.
func variable(words ...string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, strings.Join(words, "_"))
	if clean == "" || clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	return clean
}

func (e *exporter) domains(o directory.Org) []pairOf {
	list, err := e.Directory.DomainsOf(e.ctx, o.ID)
	if !e.attempt(err) {
		return nil
	}
	var out []any
	for _, d := range list {
		if d.VerifiedAt.IsZero() {
			continue // claimed only: the proof is made anew where it is claimed
		}
		one := []pairOf{{"name", d.Name}, {"verified", "operator"}}
		if d.Connection != "" {
			one = append(one, pairOf{"connection", string(d.Connection)})
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil
	}
	return []pairOf{{"domains", out}}
}

func (e *exporter) entitlements(o directory.Org) []pairOf {
	list, err := e.Lists.EntitlementList(e.ctx, o.ID)
	if !e.attempt(err) {
		return nil
	}
	var out []any
	for _, one := range list {
		if id, ok := e.apps[one.App]; ok {
			out = append(out, []pairOf{{"client_id", id}, {"below", one.Below}})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return []pairOf{{"apps", out}}
}

func (e *exporter) app(a broker.App) {
	out := []pairOf{{"id", string(a.ID)}, {"client_id", a.ClientID}, {"realm", e.realm[a.Realm].Handle}}
	out = append(out, appShape.plain(reflect.ValueOf(appForm{a.Name, a.Status}))...)
	out = append(out, settingsPlain(a.Settings)...)
	if a.Org != "" {
		out = append(out, pairOf{"organization", e.orgs[a.Org]})
	}
	var refs []any
	for _, c := range a.Connections {
		refs = append(refs, e.cons[c])
	}
	if len(refs) > 0 {
		out = append(out, pairOf{"connections", refs})
	}
	var secrets []any
	for i, s := range a.Secrets {
		one := []pairOf{{"env", variable(a.ClientID, "secret", fmt.Sprint(i+1))}}
		if e.o.Hashes {
			one = []pairOf{{"sha256", hex.EncodeToString(s.Hash[:])}}
		}
		secrets = append(secrets, one)
	}
	if len(secrets) > 0 {
		out = append(out, pairOf{"client_secrets", secrets})
	}
	e.item(out, e.policy(directory.PolicyLevel{App: a.ID}))
}

// pageOfPeople is how many people are read at once.
const pageOfPeople = 500

func (e *exporter) people(all [][]directory.Org) {
	begun := false
	for _, list := range all {
		for _, o := range list {
			if e.realm[o.Realm].Handle == defaultRealm && o.Handle == platformOrg {
				continue
			}
			for after := directory.PersonID(""); ; {
				page, err := e.Lists.PeopleAt(e.ctx, o.ID, after, pageOfPeople)
				if !e.attempt(err) || len(page) == 0 {
					break
				}
				if !begun {
					e.list("people", true)
					begun = true
				}
				for _, person := range page {
					e.person(o, person)
				}
				after = page[len(page)-1].ID
			}
		}
	}
}

func (e *exporter) person(o directory.Org, p directory.Person) {
	out := []pairOf{{"id", string(p.ID)}, {"organization", e.orgs[o.ID]}}
	if p.Email != "" {
		out = append(out, pairOf{"email", p.Email})
		if !p.EmailSince.IsZero() {
			out = append(out, pairOf{"email_verified_by", "operator"})
		}
	}
	out = append(out, personShape.plain(formOf(p))...)
	out = append(out, profileShape.plain(reflect.ValueOf(p.Profile))...)
	e.item(out, e.identitiesOf(p), e.membershipsOf(o, p))
}

func (e *exporter) identitiesOf(p directory.Person) []pairOf {
	list, err := e.Directory.IdentitiesOf(e.ctx, p.Realm, p.ID)
	if !e.attempt(err) {
		return nil
	}
	var out []any
	for _, i := range list {
		one := []pairOf{{"organization", e.orgs[i.Org]}, {"connection", string(i.Key.Connection)}, {"subject", i.Key.Subject}, {"issuer", i.Key.Issuer}}
		if i.Key.Qualifiers != "" {
			one = append(one, pairOf{"qualifiers", i.Key.Qualifiers})
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil
	}
	return []pairOf{{"identities", out}}
}

func (e *exporter) membershipsOf(o directory.Org, p directory.Person) []pairOf {
	list, err := e.Directory.MembershipsOf(e.ctx, p.Realm, p.ID)
	if !e.attempt(err) {
		return nil
	}
	var out []any
	for _, m := range list {
		if m.Org == o.ID || m.Status != directory.Active {
			continue
		}
		one := []pairOf{{"organization", e.orgs[m.Org]}, {"kind", m.Kind}}
		if !m.Until.IsZero() {
			one = append(one, pairOf{"until", moment(m.Until)})
		}
		if m.Accepts != "" {
			one = append(one, pairOf{"accepts", string(m.Accepts)})
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil
	}
	return []pairOf{{"memberships", out}}
}
