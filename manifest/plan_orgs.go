package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/themes"
)

// organizations plans all organizations, parents first, with their policies and looks.
func (p *planner) organizations(recs []*orgRecord) {
	byName := map[string]*orgRecord{}
	for _, rec := range recs {
		byName[rec.realm+"/"+rec.handle] = rec
	}
	visiting := map[*orgRecord]bool{}
	var visit func(*orgRecord)
	visit = func(rec *orgRecord) {
		name := rec.realm + "/" + rec.handle
		if p.orgs[name] != nil {
			return
		}
		if visiting[rec] {
			p.wrong.Say(rec.at, "The organization %s is its own ancestor.", name)
			return
		}
		visiting[rec] = true
		if parent := byName[qualified(rec.parent, rec.realm)]; rec.parent != "" && parent != nil {
			visit(parent)
		}
		delete(visiting, rec)
		if p.orgs[name] == nil {
			p.org(rec)
		}
	}
	for _, rec := range recs {
		visit(rec)
	}
}

// qualified is realm/handle of a reference, which may leave the realm out.
func qualified(ref, realm string) string {
	if strings.Contains(ref, "/") {
		return ref
	}
	return realm + "/" + ref
}

func (p *planner) org(rec *orgRecord) {
	realm := p.realmOf(rec.realm, rec.at, nil)
	if realm.ID == "" {
		return
	}
	parent, ok := p.parentOf(rec)
	if !ok {
		return
	}
	state := p.existing(rec, realm)
	if p.err != nil {
		return
	}
	if parent != nil && p.reserved(parent) || state != nil && p.reserved(state) {
		p.wrong.Say(rec.at, "The organization %s/%s holds the operators of this platform; no file can make or change it, or what is below it.", defaultRealm, platformOrg)
		return
	}
	if state == nil {
		state = p.newOrg(rec, realm, parent)
	} else {
		p.changeOrg(rec, state, parent)
	}
	state.rec = rec
	p.orgs[rec.realm+"/"+rec.handle], p.named[state.ID] = state, state
	if rec.policy != nil {
		p.policy(rec.policy.at, "organization", rec.realm+"/"+rec.handle, directory.PolicyLevel{Org: state.ID}, "", state.fresh, rec.policy)
	}
	p.theme(rec, state)
	p.flow(rec, state)
}

// reserved says whether an organization is that of the platform's operators, or below it (S60).
func (p *planner) reserved(o *orgState) bool {
	for up := o; up != nil; up = p.stateOf(up.Parent) {
		if up.Handle == platformOrg && p.isDefault(up.Realm) {
			return true
		}
	}
	return false
}

func (p *planner) isDefault(realm directory.RealmID) bool {
	if r, ok := p.realms[defaultRealm]; ok {
		return r.ID == realm
	}
	r, err := p.Directory.RealmByHandle(p.ctx, defaultRealm)
	return p.found(err) && r.ID == realm
}

func (p *planner) parentOf(rec *orgRecord) (*orgState, bool) {
	if rec.parent == "" {
		return nil, true
	}
	parent := p.orgOf(rec.parent, rec.realm, rec.at)
	return parent, parent != nil
}

// existing finds the organization that a record means, nil where it has to be made. Archived ones are
// found by id alone: their handles find nothing.
func (p *planner) existing(rec *orgRecord, realm realmState) *orgState {
	if realm.fresh {
		return nil
	}
	id, err := p.Directory.OrgByHandle(p.ctx, realm.ID, rec.handle)
	byHandle := p.found(err)
	if rec.id != "" {
		if chain, err := p.Directory.OrgChain(p.ctx, rec.id); p.found(err) {
			if chain.Org().Realm != realm.ID {
				p.wrong.Say(rec.at, "The organization %s is in another realm.", rec.id)
			}
			return &orgState{Org: chain.Org()}
		}
		if byHandle {
			p.wrong.Say(rec.at, "The organization %s/%s is %s, and not %s.", rec.realm, rec.handle, id, rec.id)
		}
		return nil
	}
	if !byHandle {
		return nil
	}
	chain, err := p.Directory.OrgChain(p.ctx, id)
	if !p.found(err) {
		return nil
	}
	return &orgState{Org: chain.Org()}
}

func (p *planner) newOrg(rec *orgRecord, realm realmState, parent *orgState) *orgState {
	form := orgForm{Name: rec.handle, Status: directory.Active}
	rec.form.on(&form)
	o := directory.Org{ID: directory.NewOrgID(p.Now()), Realm: realm.ID, Handle: rec.handle, Name: form.Name, Status: form.Status, Contact: form.Contact}
	if rec.id != "" {
		o.ID = rec.id
	}
	if parent != nil {
		o.Parent = parent.ID
	}
	p.checkOrg(rec, form)
	fields := orgShape.differences("", reflect.ValueOf(orgForm{}), reflect.ValueOf(form))
	p.step(rec.at, Change{Kind: Create, Noun: "organization", Name: rec.realm + "/" + rec.handle, ID: string(o.ID), Fields: fields},
		func(ctx context.Context) error { return p.Directory.AddOrg(ctx, p.actor, o) })
	return &orgState{Org: o, fresh: true, loaded: true}
}

func (p *planner) checkOrg(rec *orgRecord, form orgForm) {
	if form.Name == "" || len(form.Name) > 200 {
		p.wrong.Say(rec.at, "An organization has a name of 1 to 200 characters.")
	}
}

func (p *planner) changeOrg(rec *orgRecord, have *orgState, parent *orgState) {
	var want directory.OrgID
	if parent != nil {
		want = parent.ID
	}
	if want != have.Parent {
		p.wrong.Say(rec.at, "The organization %s has another parent, and a file moves no organization.", have.Handle)
	}
	before := orgForm{have.Name, have.Status, have.Contact}
	after := before
	rec.form.on(&after)
	p.checkOrg(rec, after)
	fields := orgShape.differences("", reflect.ValueOf(before), reflect.ValueOf(after))
	if have.Handle != rec.handle {
		fields = append(fields, Field{Name: "handle", Before: show(have.Handle), After: show(rec.handle)})
	}
	if len(fields) == 0 {
		return
	}
	handle, id, status := rec.handle, have.ID, have.Status
	have.Handle, have.Name, have.Status, have.Contact = handle, after.Name, after.Status, after.Contact
	p.step(rec.at, Change{Kind: Alter, Noun: "organization", Name: rec.realm + "/" + handle, ID: string(id), Fields: fields}, func(ctx context.Context) error {
		if status != after.Status {
			if err := p.Directory.SetOrgStatus(ctx, p.actor, id, after.Status); err != nil || len(fields) == 1 {
				return err
			}
		}
		return p.Directory.ChangeOrg(ctx, p.actor, id, func(o *directory.Org) error {
			o.Handle, o.Name, o.Contact = handle, after.Name, after.Contact
			return nil
		})
	})
}

func (p *planner) theme(rec *orgRecord, state *orgState) {
	if !rec.themed {
		return
	}
	var before themes.Theme
	if !state.fresh {
		var err error
		if before, err = p.Themes.Theme(p.ctx, state.ID); !p.found(err) {
			return
		}
	}
	after := before
	rec.theme.on(&after)
	fields := themeShape.differences("", reflect.ValueOf(before), reflect.ValueOf(after))
	if len(fields) == 0 {
		return
	}
	p.step(rec.at, Change{Kind: Alter, Noun: "theme", Name: rec.realm + "/" + rec.handle, ID: string(state.ID), Fields: fields}, func(ctx context.Context) error {
		return p.Themes.SetTheme(ctx, p.actor, state.ID, func(t *themes.Theme) error {
			rec.theme.on(t)
			return nil
		})
	})
}

// flow plans an organization's sign-in flow: what is published is left, or replaced by a new version.
func (p *planner) flow(rec *orgRecord, state *orgState) {
	if !rec.flowed {
		return
	}
	var before []byte
	if !state.fresh {
		doc, own, err := p.Flows.Published(p.ctx, state.ID)
		if !p.found(err) {
			return
		}
		if own {
			before, _ = json.Marshal(doc)
		}
	}
	var after []byte
	if rec.flow != nil {
		after, _ = json.Marshal(rec.flow)
	}
	if bytes.Equal(before, after) {
		return
	}
	p.step(rec.at, Change{Kind: Alter, Noun: "flow", Name: rec.realm + "/" + rec.handle, ID: string(state.ID), Fields: []Field{{Name: "flow", Before: string(before), After: string(after)}}},
		func(ctx context.Context) error { return p.Flows.SetFlow(ctx, p.actor, state.ID, rec.flow) })
}

// orgOf finds the organization that a reference means: one of the files, or one that is there.
func (p *planner) orgOf(ref, realm string, at yamlfile.Place) *orgState {
	name := qualified(ref, realm)
	if state := p.orgs[name]; state != nil {
		return state
	}
	realmName, handle, _ := strings.Cut(name, "/")
	r := p.realmOf(realmName, at, nil)
	if r.ID == "" {
		return nil
	}
	if !r.fresh {
		id, err := p.Directory.OrgByHandle(p.ctx, r.ID, handle)
		if p.found(err) {
			if chain, err := p.Directory.OrgChain(p.ctx, id); p.found(err) {
				state := &orgState{Org: chain.Org()}
				p.orgs[name], p.named[id] = state, state
				return state
			}
		}
	}
	if p.err == nil {
		p.wrong.Say(at, "There is no organization %s. Declare it under organizations, or name one that exists.", yamlfile.Quote(name))
	}
	return nil
}

// load reads what belongs to an organization that is there.
func (p *planner) load(o *orgState) bool {
	if o.loaded {
		return true
	}
	list, err := p.Connections.ConnectionsFor(p.ctx, o.ID)
	if !p.found(err) {
		return false
	}
	for _, c := range list {
		if c.Org == o.ID {
			o.connections = append(o.connections, connectionState{Connection: &c})
		}
	}
	if o.entitled, err = p.Lists.EntitlementList(p.ctx, o.ID); !p.found(err) {
		return false
	}
	o.loaded = true
	return true
}

// signIn plans how an organization's people sign in: its connections, then its domains.
func (p *planner) signIn(rec *orgRecord) {
	o := p.orgs[rec.realm+"/"+rec.handle]
	if o == nil || !p.load(o) {
		return
	}
	for i := range rec.connections {
		p.connection(rec, o, &rec.connections[i])
	}
	p.domains(rec, o)
}

func (p *planner) connection(rec *orgRecord, o *orgState, c *connectionRecord) {
	var have *connectionState
	for i := range o.connections {
		one := &o.connections[i]
		if c.id != "" && one.ID == c.id || c.id == "" && one.Name == c.name {
			if have != nil {
				p.wrong.Say(c.at, "Two connections of %s are called %s. Give this one its id.", rec.handle, yamlfile.Quote(c.name))
				return
			}
			have = one
		}
	}
	var before upstream.Connection
	if have != nil {
		have.named, before = true, *have.Connection
	}
	after, ok := p.wanted(o, c, before)
	if !ok {
		return
	}
	fields := p.connectionFields(before, after)
	name := rec.realm + "/" + rec.handle + "/" + c.name
	if have == nil {
		o.connections = append(o.connections, connectionState{&after, true})
		p.step(c.at, Change{Kind: Create, Noun: "connection", Name: name, ID: string(after.ID), Fields: fields}, func(ctx context.Context) error {
			_, err := p.Connections.Create(ctx, p.actor, after.Org, after)
			return err
		})
		return
	}
	if len(fields) == 0 {
		return
	}
	have.Connection = &after
	p.step(c.at, Change{Kind: Alter, Noun: "connection", Name: name, ID: string(after.ID), Fields: fields}, func(ctx context.Context) error {
		return p.Connections.Update(ctx, p.actor, after.Org, after.ID, func(to *upstream.Connection) error {
			version := to.Version
			*to = after
			to.Version = version
			return nil
		})
	})
}

// wanted is the connection as the file says, over what is there.
func (p *planner) wanted(o *orgState, c *connectionRecord, before upstream.Connection) (upstream.Connection, bool) {
	after := before
	fresh := before.ID == ""
	form := connectionForm{Status: upstream.Active}
	if !fresh {
		form = connectionForm{before.Name, before.Status, before.Issuer, before.Offered, before.JIT, before.Authoritative, before.Guests, before.Private, before.Skew, before.MFA}
	}
	c.form.on(&form)
	after.Org, after.Realm, after.Type, after.Name = o.ID, o.Realm, c.typ, c.name
	after.Status, after.Issuer, after.Offered, after.JIT = form.Status, form.Issuer, form.Offered, form.JIT
	after.Authoritative, after.Guests, after.Private, after.Skew, after.MFA = form.Authoritative, form.Guests, form.Private, form.Skew, form.MFA
	if fresh {
		if after.ID = c.id; after.ID == "" {
			after.ID = directory.NewConnectionID(p.Now())
		}
	}
	if !fresh && before.Type != c.typ {
		p.wrong.Say(c.at, "The connection %s is of the type %s. Another type is another connection: give it another name.", yamlfile.Quote(c.name), before.Type)
		return after, false
	}
	if !p.settings(c, &after, fresh) {
		return after, false
	}
	checked, err := p.Connections.Checked(p.actor, before, after)
	if err != nil {
		p.refuse(c.at, err)
		return after, false
	}
	return checked, true
}

// settings writes the protocol's own settings and secrets.
func (p *planner) settings(c *connectionRecord, to *upstream.Connection, fresh bool) bool {
	protocol := p.Connections.Protocols[c.typ]
	var err error
	if c.metadata != "" {
		if *to, err = protocol.Import([]byte(c.metadata), *to, p.Now()); err != nil {
			p.refuse(c.at, err)
			return false
		}
	}
	if c.follows != "" {
		if *to, err = p.following(protocol, c.follows, *to); err != nil {
			p.refuse(c.at, err)
			return false
		}
	}
	if to.Config, err = overlay(protocol.Config, to.Config, c.settings); err != nil {
		p.refuse(c.at, err)
		return false
	}
	switch {
	case c.keyed:
		if to.Secret, err = overlay(protocol.Secret, to.Secret, c.secrets); err != nil {
			p.refuse(c.at, err)
			return false
		}
	case fresh && protocol.Keys != nil:
		if to.Secret, err = protocol.Keys(p.random(), p.Now(), c.name); err != nil {
			p.err = err
			return false
		}
	}
	return true
}

// following is a connection with what its metadata's address says. The address is asked once, when it is
// new to the connection: from then on the running service follows it, and to apply again needs nobody who
// answers.
func (p *planner) following(protocol upstream.Protocol, address string, c upstream.Connection) (upstream.Connection, error) {
	c, before, err := protocol.Follow(c, address)
	if err != nil || before {
		return c, err
	}
	raw, err := p.Fetch(p.ctx, address, c.Private)
	if err != nil {
		return c, err
	}
	return protocol.Import(raw, c, p.Now())
}

// overlay writes a patch over a struct that is kept as JSON.
func overlay(zero any, have json.RawMessage, p patch) (json.RawMessage, error) {
	v := reflect.New(reflect.TypeOf(zero))
	if len(have) > 0 {
		if err := json.Unmarshal(have, v.Interface()); err != nil {
			return nil, upstream.ErrConfig.Because("what is stored cannot be read")
		}
	}
	p.on(v.Interface())
	return json.Marshal(v.Interface())
}

func (p *planner) refuse(at yamlfile.Place, err error) {
	err = refused(at, err)
	if problems, ok := unwrapProblems(err); ok {
		p.wrong.Problems = append(p.wrong.Problems, problems...)
		return
	}
	if p.err == nil {
		p.err = err
	}
}

func (p *planner) connectionFields(before, after upstream.Connection) []Field {
	form := func(c upstream.Connection) reflect.Value {
		return reflect.ValueOf(connectionForm{c.Name, c.Status, c.Issuer, c.Offered, c.JIT, c.Authoritative, c.Guests, c.Private, c.Skew, c.MFA})
	}
	fields := connectionShape.differences("", form(before), form(after))
	if before.Name != after.Name && before.ID != "" {
		fields = append(fields, Field{Name: "name", Before: show(before.Name), After: show(after.Name)})
	}
	protocol := p.Connections.Protocols[after.Type]
	for _, part := range []struct {
		prefix string
		zero   any
		secret bool
		a, b   json.RawMessage
	}{{"settings.", protocol.Config, false, before.Config, after.Config}, {"secrets.", protocol.Secret, true, before.Secret, after.Secret}} {
		t := reflect.TypeOf(part.zero)
		x, y := reflect.New(t), reflect.New(t)
		if len(part.a) > 0 {
			_ = json.Unmarshal(part.a, x.Interface())
		}
		if len(part.b) > 0 {
			_ = json.Unmarshal(part.b, y.Interface())
		}
		fields = append(fields, shapeOf(t, part.secret, nil).differences(part.prefix, x.Elem(), y.Elem())...)
	}
	return fields
}

// connectionOf finds a connection that an organization may use: its own, or one that an ancestor offers.
func (p *planner) connectionOf(o *orgState, name string, at yamlfile.Place) (upstream.Connection, bool) {
	if ref, con, ok := cutLast(name); ok { // "acme/Okta", "main/acme/Okta"
		realm := ""
		for handle, r := range p.realms {
			if r.ID == o.Realm {
				realm = handle
			}
		}
		owner := p.orgOf(ref, realm, at)
		if owner == nil || !p.load(owner) {
			return upstream.Connection{}, false
		}
		return p.ownConnection(owner, con, at)
	}
	for up := o; up != nil; up = p.stateOf(up.Parent) {
		if !p.load(up) {
			return upstream.Connection{}, false
		}
		for _, c := range up.connections {
			if (c.Name == name || string(c.ID) == name) && (up == o || c.Offered) {
				return *c.Connection, true
			}
		}
	}
	p.wrong.Say(at, "The organization %s has no connection %s, and nobody above it offers one.", o.Handle, yamlfile.Quote(name))
	return upstream.Connection{}, false
}

func (p *planner) ownConnection(o *orgState, name string, at yamlfile.Place) (upstream.Connection, bool) {
	for _, c := range o.connections {
		if c.Name == name || string(c.ID) == name {
			return *c.Connection, true
		}
	}
	p.wrong.Say(at, "The organization %s has no connection %s.", o.Handle, yamlfile.Quote(name))
	return upstream.Connection{}, false
}

// cutLast cuts a reference to a connection of an organization at its last slash; handles hold none.
func cutLast(ref string) (org, connection string, ok bool) {
	parts := strings.SplitN(ref, "/", 3)
	if len(parts) < 2 || slices.ContainsFunc(parts[:len(parts)-1], func(s string) bool { return !directory.ValidHandle(s) }) {
		return "", ref, false
	}
	if len(parts) == 3 {
		return parts[0] + "/" + parts[1], parts[2], true
	}
	return parts[0], parts[1], true
}

func (p *planner) stateOf(id directory.OrgID) *orgState {
	if id == "" {
		return nil
	}
	if state := p.named[id]; state != nil {
		return state
	}
	chain, err := p.Directory.OrgChain(p.ctx, id)
	if !p.found(err) {
		return nil
	}
	p.named[id] = &orgState{Org: chain.Org()}
	return p.named[id]
}

func (p *planner) domains(rec *orgRecord, o *orgState) {
	var have []directory.Domain
	if !o.fresh && len(rec.domains) > 0 {
		var err error
		if have, err = p.Directory.DomainsOf(p.ctx, o.ID); !p.found(err) {
			return
		}
	}
	for _, d := range rec.domains {
		p.domain(rec, o, d, have)
	}
}

func (p *planner) domain(rec *orgRecord, o *orgState, d domainRecord, list []directory.Domain) {
	var before directory.Domain
	for _, one := range list {
		if one.Name == d.name {
			before = one
		}
	}
	via := before.Connection
	if d.via {
		via = ""
		if d.connection != "" {
			c, ok := p.connectionOf(o, d.connection, d.at)
			if !ok {
				return
			}
			via = c.ID
		}
	}
	var fields []Field
	if before.VerifiedAt.IsZero() {
		fields = append(fields, Field{Name: "verified", After: "operator"})
	}
	if via != before.Connection {
		fields = append(fields, Field{Name: "connection", Before: string(before.Connection), After: string(via)})
	}
	if len(fields) == 0 {
		return
	}
	kind := Alter
	if before.Name == "" {
		kind = Create
	}
	org, name := o.ID, d.name
	p.step(d.at, Change{Kind: kind, Noun: "domain", Name: rec.realm + "/" + rec.handle + "/" + name, ID: name, Fields: fields},
		func(ctx context.Context) error { return p.Directory.DeclareDomain(ctx, p.actor, org, name, via) })
}
