// Package manifest is realms to people as YAML: it parses files, compares them with what is there, plans
// what would change and applies it, all or nothing, by the same use cases that people and programs go
// through, so that guardrails and the record hold here too.
//
// A file says a part of the world. What it does not say stays as it is; null takes a value away; a list
// is the whole list. Nouns are found by their names: realms and organizations by handle, connections by
// organization and name, apps by client id, people by their address, all of them by id where one is
// given. Nothing is ever deleted: Prune archives, disables and takes entitlements back, and people are
// left alone even then. Secrets stand in files or the environment, never here, and nobody becomes an
// operator of the platform by a file (S60).
//
// Read parses; Service plans and applies; Export writes what Apply reads. Nothing here talks to a network:
// what stands at an address is fetched by whoever wires the Service.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/themes"
)

// MaxFile is how many bytes one file may have.
const MaxFile = 16 << 20

// ErrFiles: the files cannot be applied. Its cause is yamlfile.Problems, which say where and what.
var ErrFiles = fault.New(fault.Invalid, "manifest.files", "The files cannot be applied, and nothing was changed.")

// defaultRealm is where organizations and apps are that name no realm. It is made where it is missing.
const defaultRealm = "main"

// platformOrg is the handle of the organization whose people operate the platform (organizations.md); no
// file may touch it (S60).
const platformOrg = "platform"

// Manifest is what files say together.
type Manifest struct {
	platform []policyRecord
	realms   []realmRecord
	orgs     []*orgRecord
	apps     []appRecord
	people   []personRecord
}

// policyRecord is what a file says of one level's policy. A nil value takes the level's own away.
type policyRecord struct {
	at                       yamlfile.Place
	values, defaults, limits map[string]json.RawMessage
	keep                     map[string]json.RawMessage
	reasons                  map[string]string // by policy.NoteOf
}

type realmRecord struct {
	at     yamlfile.Place
	handle string
	id     directory.RealmID
	scope  directory.IdentScope
	policy *policyRecord
}

type orgRecord struct {
	at            yamlfile.Place
	id            directory.OrgID
	realm, handle string
	parent        string // handle, or realm/handle; "" is the top
	above         *orgRecord
	form          patch // of orgForm
	theme         patch // of themes.Theme
	themed        bool
	flow          *flows.Document // nil with flowed: the organization's own flow is taken back
	flowed        bool
	policy        *policyRecord
	domains       []domainRecord
	connections   []connectionRecord
	apps          []entitlementRecord
}

// orgForm is what a file may say of an organization itself.
type orgForm struct {
	Name    string           `json:"name"`
	Status  directory.Status `json:"status" of:"active|suspended|archived"`
	Contact string           `json:"contact"`
}

type domainRecord struct {
	at               yamlfile.Place
	name, connection string
	via              bool // connection was said
}

type connectionRecord struct {
	at       yamlfile.Place
	id       directory.ConnectionID
	name     string
	typ      upstream.Type
	form     patch // of connectionForm
	settings patch // of the protocol's Config
	secrets  patch // of the protocol's Secret
	keyed    bool  // secrets were said
	metadata string
	follows  string // the address of the metadata, instead
}

// connectionForm is what a file may say of a connection, whatever its protocol.
type connectionForm struct {
	Name          string          `json:"name"`
	Status        upstream.Status `json:"status" of:"draft|active|disabled"`
	Issuer        string          `json:"issuer"`
	Offered       bool            `json:"offered"`
	JIT           upstream.JIT    `json:"jit" of:"create|off"`
	Authoritative bool            `json:"authoritative"`
	Guests        bool            `json:"guests"`
	Private       []string        `json:"private"`
	Skew          time.Duration   `json:"skew"`
	MFA           []string        `json:"mfa"`
}

type entitlementRecord struct {
	at       yamlfile.Place
	clientID string
	below    bool
}

type appRecord struct {
	at          yamlfile.Place
	id          directory.AppID
	realm       string
	clientID    string
	form        patch // of appForm
	settings    patch // of broker.Settings
	org         *string
	connections *[]string // references
	secrets     *[][32]byte
	policy      *policyRecord
}

// appForm is what a file may say of an app besides its settings.
type appForm struct {
	Name   string           `json:"client_name"`
	Status directory.Status `json:"status" of:"active|suspended|archived"`
}

type personRecord struct {
	at          yamlfile.Place
	id          directory.PersonID
	home        string // reference
	realm       string // in which home is looked up
	email       string
	vouched     bool
	form        patch // of personForm
	profile     patch // of directory.Profile
	identities  []identityRecord
	memberships []membershipRecord
	hash        string // of a password; "" says nothing
}

// personForm is what a file may say of a person besides the profile.
type personForm struct {
	Name   string           `json:"name"`
	Given  string           `json:"given_name"`
	Family string           `json:"family_name"`
	Locale string           `json:"locale"`
	Status directory.Status `json:"status" of:"active|suspended"`
}

type identityRecord struct {
	at                          yamlfile.Place
	org, connection             string
	subject, issuer, qualifiers string
}

type membershipRecord struct {
	at      yamlfile.Place
	org     string
	kind    string
	until   time.Time
	accepts string // org/connection, or a connection of the organization
}

// The shapes of what files hold. Names of an app's settings are those of RFC 7591 and its relatives where
// they have one.
var (
	orgShape        = shapeOf(reflect.TypeFor[orgForm](), false, nil)
	themeShape      = shapeOf(reflect.TypeFor[themes.Theme](), false, nil)
	connectionShape = shapeOf(reflect.TypeFor[connectionForm](), false, map[string]string{"name": ""})
	appShape        = shapeOf(reflect.TypeFor[appForm](), false, nil)
	settingsShape   = shapeOf(reflect.TypeFor[broker.Settings](), false, map[string]string{
		"method": "token_endpoint_auth_method", "grants": "grant_types", "id_token_alg": "id_token_signed_response_alg",
		"post_logout_uris": "post_logout_redirect_uris", "home": "client_uri", "par": "require_pushed_authorization_requests",
		"request_object": "require_signed_request_object", "dpop": "dpop_bound_access_tokens", "max_age": "default_max_age",
		"scopes": "scope", "organization": "", "connections": "", "registration": "", "asked": "",
	})
	personShape  = shapeOf(reflect.TypeFor[personForm](), false, nil)
	profileShape = shapeOf(reflect.TypeFor[directory.Profile](), false, nil)
)

// File is a file to read.
type File struct {
	Name string // as problems name it; paths in it are relative to it
	From io.Reader
}

// Read parses files into one Manifest. All that is wrong is in the error, with its places.
func Read(files []File, protocols upstream.Protocols, from Sources) (*Manifest, error) {
	return read(files, protocols, &reader{from: from})
}

func read(files []File, protocols upstream.Protocols, r *reader) (*Manifest, error) {
	d := &parse{reader: r, protocols: protocols, seen: map[string]string{}, into: &Manifest{}}
	for _, f := range files {
		docs, err := yamlfile.Parse(f.Name, f.From, MaxFile)
		if problems, ok := err.(yamlfile.Problems); ok {
			r.Problems = append(r.Problems, problems...)
			continue
		}
		if err != nil {
			return nil, ErrFiles.With(fmt.Errorf("%s: %w", f.Name, err))
		}
		for _, doc := range docs {
			d.whole(doc)
		}
	}
	if err := r.Err(); err != nil {
		return nil, ErrFiles.With(err)
	}
	return d.into, nil
}

// Empty says that the files name nothing.
func (m *Manifest) Empty() bool {
	return len(m.platform)+len(m.realms)+len(m.orgs)+len(m.apps)+len(m.people) == 0
}

// parse reads documents into a Manifest.
type parse struct {
	*reader
	protocols upstream.Protocols
	seen      map[string]string // what was declared, and where
	into      *Manifest
}

// once refuses a second declaration of the same thing, naming both places.
func (d *parse) once(at yamlfile.Place, what string) {
	if first, twice := d.seen[what]; twice {
		d.Say(at, "%s is declared twice: here, and at %s.", upper(what), first)
		return
	}
	d.seen[what] = at.At()
}

func (d *parse) whole(v yamlfile.Value) {
	d.Fields(v, map[string]func(yamlfile.Value){
		"platform":      d.platform,
		"realms":        d.each(d.realm),
		"organizations": d.each(func(v yamlfile.Value) { d.org(v, nil) }),
		"apps":          d.each(d.app),
		"people":        d.each(func(v yamlfile.Value) { d.person(v, nil) }),
	})
}

func (d *parse) each(read func(yamlfile.Value)) func(yamlfile.Value) {
	return func(v yamlfile.Value) {
		for _, item := range d.Items(v) {
			read(item)
		}
	}
}

func (d *parse) platform(v yamlfile.Value) {
	d.once(v.Place(), "the platform")
	p := policyRecord{at: v.Place()}
	d.Fields(v, map[string]func(yamlfile.Value){
		"policy": func(v yamlfile.Value) {
			p.at = v.Place()
			d.Fields(v, map[string]func(yamlfile.Value){
				"values":   d.rules(&p, policy.OwnValues, &p.values),
				"defaults": d.rules(&p, policy.Defaults, &p.defaults),
				"limits":   d.rules(&p, policy.Limits, &p.limits),
			})
		},
	})
	d.into.platform = append(d.into.platform, p)
}

// rules reads policy settings by their keys: each a value, or a map of value, keep and reason.
func (d *parse) rules(p *policyRecord, part policy.Part, into *map[string]json.RawMessage) func(yamlfile.Value) {
	return func(v yamlfile.Value) {
		out := map[string]json.RawMessage{}
		known := map[string]func(yamlfile.Value){}
		for _, key := range policyKeys() {
			known[key] = func(v yamlfile.Value) {
				if !v.IsMap() {
					d.rule(v, key, out)
					return
				}
				parts := map[string]func(yamlfile.Value){
					"value":  func(v yamlfile.Value) { d.rule(v, key, out) },
					"reason": func(v yamlfile.Value) { p.because(policy.NoteOf(part, key), d.reason(v)) },
				}
				if part == policy.OwnValues {
					parts["keep"] = func(v yamlfile.Value) {
						if p.keep == nil {
							p.keep = map[string]json.RawMessage{}
						}
						d.rule(v, key, p.keep)
					}
				}
				d.Fields(v, parts)
			}
		}
		if d.Fields(v, known) {
			*into = out
		}
	}
}

// rule reads one value; null takes it away.
func (d *parse) rule(v yamlfile.Value, key string, into map[string]json.RawMessage) {
	if v.Null() {
		into[key] = nil
		return
	}
	value, err := json.Marshal(d.Plain(v))
	if err != nil {
		d.Say(v, "This cannot be written as JSON.")
	}
	into[key] = value
}

func (d *parse) reason(v yamlfile.Value) string {
	if v.Null() {
		return ""
	}
	text := d.Text(v)
	if policy.CheckReason(text) != nil {
		d.Say(v, "%s", policy.ErrReason.Public)
	}
	return text
}

func (p *policyRecord) because(key, reason string) {
	if p.reasons == nil {
		p.reasons = map[string]string{}
	}
	p.reasons[key] = reason
}

func (d *parse) policy(into **policyRecord) func(yamlfile.Value) {
	return func(v yamlfile.Value) {
		p := &policyRecord{at: v.Place()}
		d.rules(p, policy.OwnValues, &p.values)(v)
		*into = p
	}
}

func (d *parse) realm(v yamlfile.Value) {
	r := realmRecord{at: v.Place(), scope: directory.ScopeRealm}
	d.Fields(v, map[string]func(yamlfile.Value){
		"id":     func(v yamlfile.Value) { r.id = directory.RealmID(d.id(v, "rlm_")) },
		"handle": func(v yamlfile.Value) { r.handle = d.handle(v) },
		"scope": func(v yamlfile.Value) {
			r.scope = directory.IdentScope(d.Choice(v, string(directory.ScopeRealm), string(directory.ScopeTree), string(directory.ScopeOrg)))
		},
		"policy": d.policy(&r.policy),
	})
	if d.needs(v, "handle", r.handle) {
		d.once(v.Place(), "the realm "+r.handle)
	}
	d.into.realms = append(d.into.realms, r)
}

// needs says whether a key that must be there is; a value that was wrong has its problem already.
func (d *parse) needs(v yamlfile.Value, key, value string) bool {
	if value == "" && !slices.ContainsFunc(d.Problems, func(p yamlfile.Problem) bool { return p.Path == join(v.Path, key) }) {
		d.Say(v, "The key %s is missing.", key)
	}
	return value != ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *parse) id(v yamlfile.Value, prefix string) string {
	id := d.Text(v)
	if id != "" && !directory.ValidID(prefix, id) {
		d.Say(v, "An id here is %s and 26 characters, as export writes it. Leave the key out to get a new one.", prefix)
	}
	return id
}

func (d *parse) handle(v yamlfile.Value) string {
	h := d.Text(v)
	if h != "" && !directory.ValidHandle(h) {
		d.Say(v, "%s", directory.ErrHandle.Public)
		return ""
	}
	return h
}

// flow reads an organization's sign-in flow; null takes it back.
func (d *parse) flow(v yamlfile.Value) (*flows.Document, bool) {
	if v.Null() {
		return nil, true
	}
	raw, err := json.Marshal(d.Plain(v))
	if err == nil {
		var doc flows.Document
		if doc, err = flows.ParseDocument(raw); err == nil {
			return &doc, true
		}
	}
	d.Say(v, "%s (%v)", flows.ErrFlowMalformed.Public, errors.Unwrap(err))
	return nil, false
}

func (d *parse) org(v yamlfile.Value, above *orgRecord) {
	o := &orgRecord{at: v.Place(), above: above}
	known := map[string]func(yamlfile.Value){
		"id":          func(v yamlfile.Value) { o.id = directory.OrgID(d.id(v, "org_")) },
		"handle":      func(v yamlfile.Value) { o.handle = d.handle(v) },
		"realm":       func(v yamlfile.Value) { o.realm = d.handle(v) },
		"parent":      func(v yamlfile.Value) { o.parent = d.Text(v) },
		"policy":      d.policy(&o.policy),
		"theme":       func(v yamlfile.Value) { o.theme, o.themed = themeShape.read(d.reader, v), true },
		"flow":        func(v yamlfile.Value) { o.flow, o.flowed = d.flow(v) },
		"domains":     d.each(func(v yamlfile.Value) { o.domains = append(o.domains, d.domain(v)) }),
		"connections": d.each(func(v yamlfile.Value) { o.connections = append(o.connections, d.connection(v)) }),
		"apps":        d.each(func(v yamlfile.Value) { o.apps = append(o.apps, d.entitlement(v)) }),
		// Read at the end, when the organization around them is known.
		"people": func(yamlfile.Value) {}, "organizations": func(yamlfile.Value) {},
	}
	orgShape.fields(d.reader, known, &o.form)
	if !d.Fields(v, known) || !d.needs(v, "handle", o.handle) {
		return
	}
	d.place(o)
	d.into.orgs = append(d.into.orgs, o)
	d.once(v.Place(), "the organization "+o.realm+"/"+o.handle)
	for _, c := range o.connections {
		d.once(c.at, "the connection "+c.name+" of "+o.realm+"/"+o.handle)
	}
	for _, dom := range o.domains {
		d.once(dom.at, "the domain "+dom.name+" of the realm "+o.realm)
	}
	for _, e := range o.apps {
		d.once(e.at, "the entitlement of "+o.realm+"/"+o.handle+" to "+e.clientID)
	}
	quiet := yamlfile.Reader{} // the keys were judged already
	quiet.Each(v, func(key string, _, value yamlfile.Value) {
		switch key {
		case "people":
			d.each(func(v yamlfile.Value) { d.person(v, o) })(value)
		case "organizations":
			d.each(func(v yamlfile.Value) { d.org(v, o) })(value)
		}
	})
}

// place says where an organization stands in its realm.
func (d *parse) place(o *orgRecord) {
	switch {
	case o.above != nil && (o.parent != "" || o.realm != ""):
		d.Say(o.at, "An organization inside another has its parent and realm from there. Leave parent and realm out.")
	case o.above != nil:
		o.realm, o.parent = o.above.realm, o.above.handle
	case o.realm == "":
		o.realm = defaultRealm
	}
	if o.realm == defaultRealm && o.handle == platformOrg {
		d.Say(o.at, "The organization %s/%s holds the operators of this platform; no file can make or change it.", defaultRealm, platformOrg)
	}
}

func (d *parse) domain(v yamlfile.Value) domainRecord {
	rec := domainRecord{at: v.Place()}
	verified := ""
	d.Fields(v, map[string]func(yamlfile.Value){
		"name": func(v yamlfile.Value) {
			name := d.Text(v)
			clean, err := directory.DomainName(name)
			if name != "" && err != nil {
				d.Say(v, "%s is not a domain that an organization can have.", yamlfile.Quote(name))
			}
			rec.name = clean
		},
		"connection": func(v yamlfile.Value) { rec.connection, rec.via = d.textOrNone(v), true },
		"verified":   func(v yamlfile.Value) { verified = d.Choice(v, "operator") },
	})
	d.needs(v, "name", rec.name)
	d.needs(v, "verified", verified)
	return rec
}

func (d *parse) textOrNone(v yamlfile.Value) string {
	if v.Null() {
		return ""
	}
	return d.Text(v)
}

func (d *parse) connection(v yamlfile.Value) connectionRecord {
	c := connectionRecord{at: v.Place()}
	var settings, secrets []yamlfile.Value
	known := map[string]func(yamlfile.Value){
		"id":       func(v yamlfile.Value) { c.id = directory.ConnectionID(d.id(v, "con_")) },
		"name":     func(v yamlfile.Value) { c.name = d.Text(v) },
		"type":     func(v yamlfile.Value) { c.typ = upstream.Type(d.Choice(v, d.types()...)) },
		"settings": func(v yamlfile.Value) { settings = append(settings, v) },
		"secrets":  func(v yamlfile.Value) { secrets = append(secrets, v) },
		"metadata": func(v yamlfile.Value) { c.metadata, c.follows = d.metadata(v) },
	}
	connectionShape.fields(d.reader, known, &c.form)
	if !d.Fields(v, known) || !d.needs(v, "name", c.name) || !d.needs(v, "type", string(c.typ)) {
		return c
	}
	protocol, ok := d.protocols[c.typ]
	if !ok {
		return c
	}
	for _, v := range settings {
		c.settings = shapeOf(reflect.TypeOf(protocol.Config), false, nil).read(d.reader, v)
	}
	for _, v := range secrets {
		c.secrets, c.keyed = shapeOf(reflect.TypeOf(protocol.Secret), true, nil).read(d.reader, v), true
	}
	if c.metadata+c.follows != "" && protocol.Import == nil {
		d.Say(v, "A connection of the type %s has no metadata; its settings say all.", c.typ)
	}
	return c
}

func (d *parse) types() []string {
	var out []string
	for t := range d.protocols {
		out = append(out, string(t))
	}
	slices.Sort(out)
	return out
}

func (d *parse) entitlement(v yamlfile.Value) entitlementRecord {
	e := entitlementRecord{at: v.Place()}
	if v.IsScalar() {
		e.clientID = d.Text(v)
		return e
	}
	d.Fields(v, map[string]func(yamlfile.Value){
		"client_id": func(v yamlfile.Value) { e.clientID = d.Text(v) },
		"below":     func(v yamlfile.Value) { e.below = d.Bool(v) },
	})
	d.needs(v, "client_id", e.clientID)
	return e
}
