package manifest

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

func (p *planner) person(rec personRecord) {
	home := p.orgOf(rec.home, rec.realm, rec.at)
	if home == nil || p.operators(home, rec) {
		return
	}
	links, ok := p.links(rec, home)
	if !ok {
		return
	}
	before, known := p.known(rec, home, links)
	if p.err != nil {
		return
	}
	name := rec.email
	if name == "" {
		name = string(before.ID)
	}
	after := before
	if !known {
		after = p.newPerson(rec, home)
		if name == "" {
			name = string(after.ID)
		}
	}
	if known && before.Home != home.ID {
		p.wrong.Say(rec.at, "This person is at home in another organization, and a file moves nobody.")
		return
	}
	if known && rec.email != "" && before.Email != rec.email {
		p.wrong.Say(rec.at, "This person has another address, and a file changes no address: it is what they are known by.")
		return
	}
	form := personForm{after.Name, after.Given, after.Family, after.Locale, after.Status}
	rec.form.on(&form)
	rec.profile.on(&after.Profile)
	after.Name, after.Given, after.Family, after.Locale, after.Status = form.Name, form.Given, form.Family, form.Locale, form.Status
	p.savePerson(rec, name, before, after, known)
	p.password(rec, name, after, known)
	p.memberships(rec, home, name, after, known)
	p.identities(rec, name, after, links, known)
}

// operators refuses people of the organization whose people operate the platform (S60).
func (p *planner) operators(o *orgState, rec personRecord) bool {
	if !p.reserved(o) {
		return false
	}
	p.wrong.Say(rec.at, "The people of %s/%s operate this platform; no file makes anybody one of them.", defaultRealm, platformOrg)
	return true
}

// links are the identities that a record names, with their connections found.
func (p *planner) links(rec personRecord, home *orgState) ([]directory.Identity, bool) {
	var out []directory.Identity
	for _, i := range rec.identities {
		owner := home
		if i.org != "" {
			if owner = p.orgOf(i.org, rec.realm, i.at); owner == nil {
				return nil, false
			}
		}
		c, ok := p.connectionOf(owner, i.connection, i.at)
		if !ok {
			return nil, false
		}
		if c.Realm != home.Realm {
			p.wrong.Say(i.at, "The connection %s is in another realm, and nothing crosses realms.", i.connection)
			return nil, false
		}
		issuer := i.issuer
		if issuer == "" {
			issuer = c.Issuer
		}
		key := directory.IdentityKey{Connection: c.ID, Issuer: issuer, Subject: i.subject, Qualifiers: i.qualifiers}
		out = append(out, directory.Identity{Key: key, Org: c.Org, CreatedAt: p.Now()})
	}
	return out, true
}

// known finds the person that a record means: by id, by address, by an identity.
func (p *planner) known(rec personRecord, home *orgState, links []directory.Identity) (directory.Person, bool) {
	if home.fresh && rec.id == "" {
		return directory.Person{}, false
	}
	if rec.id != "" {
		who, err := p.Directory.PersonInRealm(p.ctx, home.Realm, rec.id)
		return who, p.found(err)
	}
	if rec.vouched {
		who, err := p.Directory.PersonByIdentifier(p.ctx, home.ID, "email", rec.email)
		if p.found(err) || p.err != nil {
			return who, err == nil
		}
	}
	for _, link := range links {
		who, err := p.Directory.PersonByIdentity(p.ctx, link.Org, link.Key)
		if p.found(err) || p.err != nil {
			return who, err == nil
		}
	}
	return directory.Person{}, false
}

func (p *planner) newPerson(rec personRecord, home *orgState) directory.Person {
	now := p.Now()
	who := directory.Person{ID: directory.NewPersonID(now), Realm: home.Realm, Home: home.ID, Email: rec.email, Status: directory.Active, Source: "manual", CreatedAt: now}
	if rec.id != "" {
		who.ID = rec.id
	}
	if rec.vouched {
		who.EmailSince = now
	}
	return who
}

func (p *planner) savePerson(rec personRecord, name string, before, after directory.Person, known bool) {
	fields := personShape.differences("", formOf(before), formOf(after))
	fields = append(fields, profileShape.differences("", reflect.ValueOf(before.Profile), reflect.ValueOf(after.Profile))...)
	if !known {
		var ids []directory.Identifier
		if rec.vouched {
			ids = []directory.Identifier{{Kind: "email", Value: rec.email, VerifiedAt: after.EmailSince}}
		}
		if rec.email != "" {
			fields = append([]Field{{Name: "email", After: show(rec.email)}}, fields...)
		}
		// A name is what apps and pages call somebody; without one the address is.
		if after.Name == "" {
			after.Name = rec.email
		}
		p.step(rec.at, Change{Kind: Create, Noun: "person", Name: name, ID: string(after.ID), Fields: fields},
			func(ctx context.Context) error { return p.Directory.AddPerson(ctx, p.actor, after, ids) })
		return
	}
	if len(fields) == 0 {
		return
	}
	p.step(rec.at, Change{Kind: Alter, Noun: "person", Name: name, ID: string(after.ID), Fields: fields}, func(ctx context.Context) error {
		if before.Status != after.Status {
			if err := p.Directory.SetPersonStatus(ctx, p.actor, after.Home, after.ID, after.Status); err != nil || len(fields) == 1 {
				return err
			}
		}
		return p.Directory.ChangePerson(ctx, p.actor, after.Home, after.ID, func(to *directory.Person) error {
			to.Name, to.Given, to.Family, to.Locale, to.Profile = after.Name, after.Given, after.Family, after.Locale, after.Profile
			return nil
		})
	})
}

// password gives a person the password that they had elsewhere, where they have none yet: what they chose
// since, and what became of the hash at a sign-in, stays.
func (p *planner) password(rec personRecord, name string, who directory.Person, known bool) {
	if rec.hash == "" {
		return
	}
	if known {
		has, err := p.Directory.PasswordOf(p.ctx, who.Home, who.ID)
		if !p.found(err) || has.ID != "" {
			return
		}
	}
	c := Change{Kind: Alter, Noun: "person", Name: name, ID: string(who.ID), Fields: []Field{{Name: "password_hash", Secret: true}}}
	p.step(rec.at, c, func(ctx context.Context) error {
		none := directory.PasswordID("")
		return p.Directory.SetPassword(ctx, p.actor, who.Home, who.ID, directory.NewPassword{Hash: rec.hash, Source: directory.Imported, After: &none})
	})
}

func formOf(p directory.Person) reflect.Value {
	return reflect.ValueOf(personForm{p.Name, p.Given, p.Family, p.Locale, p.Status})
}

func (p *planner) memberships(rec personRecord, home *orgState, name string, who directory.Person, known bool) {
	have := map[directory.OrgID]directory.Membership{}
	if known && len(rec.memberships) > 0 {
		list, err := p.Directory.MembershipsOf(p.ctx, who.Realm, who.ID)
		if !p.found(err) {
			return
		}
		for _, m := range list {
			have[m.Org] = m
		}
	}
	for _, m := range rec.memberships {
		p.membership(rec, home, name, who, m, have)
	}
}

func (p *planner) membership(rec personRecord, home *orgState, name string, who directory.Person, m membershipRecord, have map[directory.OrgID]directory.Membership) {
	o := p.orgOf(m.org, rec.realm, m.at)
	switch {
	case o == nil || p.operators(o, rec):
		return
	case o.ID == home.ID:
		p.wrong.Say(m.at, "Everybody is a member at home. Name other organizations here.")
		return
	case o.Realm != who.Realm:
		p.wrong.Say(m.at, "The organization %s is in another realm, and nothing crosses realms.", m.org)
		return
	}
	before, held := have[o.ID]
	after := directory.Membership{Org: o.ID, Person: who.ID, Kind: m.kind, Status: directory.Active, Source: "manual", Until: m.until}
	if held {
		after.Status, after.Source = before.Status, before.Source
	}
	if m.accepts != "" {
		c, ok := p.connectionOf(o, m.accepts, m.at)
		if !ok {
			return
		}
		after.Accepts = c.ID
	}
	var fields []Field
	for _, f := range []struct{ name, a, b string }{
		{"kind", before.Kind, after.Kind}, {"until", moment(before.Until), moment(after.Until)}, {"accepts", string(before.Accepts), string(after.Accepts)},
	} {
		if f.a != f.b {
			fields = append(fields, Field{Name: f.name, Before: f.a, After: f.b})
		}
	}
	if held && len(fields) == 0 {
		return
	}
	c := Change{Kind: Create, Noun: "membership", Name: name + " in " + qualified(m.org, rec.realm), ID: string(o.ID), Fields: fields}
	do := p.Directory.AddMember
	if held {
		c.Kind, do = Alter, p.Directory.ChangeMember
	}
	p.step(m.at, c, func(ctx context.Context) error { return do(ctx, p.actor, after) })
}

// moment is a time as files write it; "" is none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (p *planner) identities(rec personRecord, name string, who directory.Person, links []directory.Identity, known bool) {
	for n, link := range links {
		holder, err := p.Directory.PersonByIdentity(p.ctx, link.Org, link.Key)
		switch {
		case err == nil && known && holder.ID == who.ID:
			continue
		case err == nil:
			p.wrong.Say(rec.identities[n].at, "%s", directory.ErrIdentityTaken.Public)
			continue
		case !errors.Is(err, directory.ErrPersonNotFound):
			p.found(err)
			return
		}
		link.Person = who.ID
		c := Change{Kind: Create, Noun: "identity", Name: name + " at " + rec.identities[n].connection, ID: string(link.Key.Connection),
			Fields: []Field{{Name: "subject", After: show(link.Key.Subject)}, {Name: "issuer", After: show(link.Key.Issuer)}}}
		p.step(rec.identities[n].at, c, func(ctx context.Context) error { return p.Directory.LinkPerson(ctx, p.actor, link.Org, link) })
	}
}
