package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/themes"
)

// ErrOtherWorld: the database and demo.json do not belong together.
var ErrOtherWorld = fault.New(fault.Conflict, "demo.other_world", "The database in this directory belongs to another demonstration than its demo.json. Name an empty directory with -data.")

// operator is whoever started the demonstration.
var operator = directory.Actor{Kind: directory.Operator, ID: "demo"}

// claimMicrosoft is where Entra ID's own claims begin.
const claimMicrosoft = "http://schemas.microsoft.com/identity/claims/"

// seed puts the companies and apps into the house, as far as they are not there yet: all of it commits
// or nothing does.
func (w *World) seed(ctx context.Context) error {
	return w.Directory.Tx.InTx(ctx, func(ctx context.Context) error {
		w.realms, w.orgs = map[string]directory.RealmID{}, map[directory.OrgID]*company{}
		for _, c := range w.companies {
			if err := w.seedCompany(ctx, c); err != nil {
				return err
			}
		}
		if err := w.seedOwner(ctx); err != nil {
			return err
		}
		return w.seedApps(ctx)
	})
}

func (w *World) seedCompany(ctx context.Context, c *company) error {
	if err := w.seedRealm(ctx, c.realm); err != nil {
		return err
	}
	if err := w.seedOrg(ctx, c); err != nil {
		return err
	}
	w.orgs[c.org] = c
	if err := w.seedTheme(ctx, c); err != nil {
		return err
	}
	if c.idp != "" {
		if err := w.seedConnection(ctx, c); err != nil {
			return err
		}
	} else if err := w.seedPeople(ctx, c); err != nil {
		return err
	}
	if err := w.seedDomain(ctx, c); err != nil {
		return err
	}
	return w.seedPolicy(ctx, c)
}

func (w *World) seedRealm(ctx context.Context, handle string) error {
	r, err := w.Directory.RealmByHandle(ctx, handle)
	if errors.Is(err, directory.ErrRealmNotFound) {
		r = directory.Realm{ID: directory.NewRealmID(w.now()), Handle: handle, Scope: directory.ScopeRealm, Status: directory.Active}
		err = w.Directory.AddRealm(ctx, operator, r)
	}
	w.realms[handle] = r.ID
	return err
}

func (w *World) seedOrg(ctx context.Context, c *company) error {
	realm := w.realms[c.realm]
	org, err := w.Directory.OrgByHandle(ctx, realm, c.handle)
	if !errors.Is(err, directory.ErrOrgNotFound) {
		c.org = org
		return err
	}
	o := directory.Org{
		ID: directory.NewOrgID(w.now()), Realm: realm, Handle: c.handle, Name: c.name, Status: directory.Active, Contact: c.contact,
	}
	if c.parent != "" {
		o.Parent = w.company(c.parent).org
	}
	c.org = o.ID
	return w.Directory.AddOrg(ctx, operator, o)
}

func (w *World) seedTheme(ctx context.Context, c *company) error {
	have, err := w.Themes.Theme(ctx, c.org)
	if err != nil || have.Brand != "" {
		return err
	}
	theme, err := themes.ShippedTheme(c.handle)
	if err != nil {
		return err
	}
	return w.Themes.PutTheme(ctx, c.org, theme)
}

func (w *World) seedConnection(ctx context.Context, c *company) error {
	list, err := w.Connections.ConnectionsFor(ctx, c.org)
	if err != nil {
		return err
	}
	made, err := w.agreement(c)
	if err != nil {
		return err
	}
	for _, have := range list {
		if have.Org != c.org {
			continue
		}
		if have.Issuer != made.Issuer {
			return ErrOtherWorld.Because(c.name + " signs in at " + have.Issuer)
		}
		c.connection = have
		return nil
	}
	c.connection, err = w.Connections.Create(ctx, operator, c.org, made)
	return err
}

// agreement is the connection that a company and the house agree on.
func (w *World) agreement(c *company) (upstream.Connection, error) {
	con := upstream.Connection{
		Realm: w.realms[c.realm], Name: c.idp, Status: upstream.Active, Issuer: c.provider.Base, Offered: c.offered,
		JIT: upstream.JITCreate, Private: []string{w.doors[c.handle].host}, Type: "oidc",
	}
	if c.kind == fakeidp.SAML {
		return w.samlAgreement(c, con)
	}
	var err error
	if con.Config, err = json.Marshal(oidc.Config{ClientID: clientID}); err != nil {
		return con, err
	}
	con.Secret, err = json.Marshal(oidc.Secret{ClientSecret: w.kept.Secrets[c.handle]})
	return con, err
}

// samlAgreement reads the provider's metadata, as an administrator would upload it.
func (w *World) samlAgreement(c *company, con upstream.Connection) (upstream.Connection, error) {
	described, err := c.provider.Metadata()
	if err != nil {
		return con, err
	}
	metadata, err := saml.ParseMetadata(bytes.NewReader(described), c.provider.EntityID())
	if err != nil {
		return con, err
	}
	// SAML has no word for a verified address: the administrator of the domain says that its own
	// provider's addresses are good.
	con.Type, con.Issuer, con.Secret, con.Authoritative = saml.Type, c.provider.EntityID(), json.RawMessage(w.kept.Secrets[c.handle]), true
	con.Config, err = json.Marshal(metadata.Fill(saml.Config{
		SubjectAttribute: claimMicrosoft + "objectidentifier", SignRequests: true, RequestAlgorithm: "ES256",
		RequireEncrypted: true, LoginHint: "query",
	}))
	return con, err
}

func (w *World) seedDomain(ctx context.Context, c *company) error {
	have, err := w.Directory.DomainsOf(ctx, c.org)
	if err != nil || len(have) > 0 {
		return err
	}
	return w.Directory.DeclareDomain(ctx, operator, c.org, c.domain, c.connection.ID)
}

func (w *World) seedPolicy(ctx context.Context, c *company) error {
	have, err := w.Directory.PolicyDoc(ctx, directory.PolicyLevel{Org: c.org})
	if err != nil || have.Version > 0 || len(c.policy) == 0 {
		return err
	}
	return w.Directory.SetPolicy(ctx, operator, c.org, c.policy)
}

// seedPeople makes the people of a company that has no identity provider to bring them. The first has a
// password; the others choose one by mail.
func (w *World) seedPeople(ctx context.Context, c *company) error {
	for i, who := range c.people {
		_, err := w.Directory.PersonByIdentifier(ctx, c.org, "email", who.Email)
		if !errors.Is(err, directory.ErrPersonNotFound) {
			return err
		}
		now := w.now()
		p := directory.Person{
			ID: directory.NewPersonID(now), Realm: w.realms[c.realm], Home: c.org, Name: who.Name, Given: who.Given, Family: who.Family,
			Email: who.Email, EmailSince: now, Status: directory.Active, Source: "manual", CreatedAt: now,
		}
		if err := w.Directory.AddPerson(ctx, operator, p, []directory.Identifier{{Kind: "email", Value: who.Email, VerifiedAt: now}}); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		if err := w.Directory.SetPassword(ctx, operator, c.org, p.ID, directory.NewPassword{Hash: hashOfLanterns, Source: directory.Imported}); err != nil {
			return err
		}
	}
	return nil
}

// seedOwner makes the one person who is there before she first signs in, and a member of several
// organizations.
func (w *World) seedOwner(ctx context.Context) error {
	home := w.company(ownerOf)
	who, now := home.first(), w.now()
	_, err := w.Directory.PersonByIdentifier(ctx, home.org, "email", who.Email)
	if !errors.Is(err, directory.ErrPersonNotFound) {
		return err
	}
	p := directory.Person{
		ID: directory.NewPersonID(now), Realm: w.realms[home.realm], Home: home.org, Name: who.Name, Given: who.Given, Family: who.Family,
		Email: who.Email, EmailSince: now, Status: directory.Active, Source: "manual", CreatedAt: now,
	}
	if err := w.Directory.AddPerson(ctx, operator, p, []directory.Identifier{{Kind: "email", Value: who.Email, VerifiedAt: now}}); err != nil {
		return err
	}
	for _, handle := range ownerWorksAt {
		m := directory.Membership{Org: w.company(handle).org, Person: p.ID, Kind: "member", Status: directory.Active, Source: "manual"}
		if err := w.Directory.AddMember(ctx, operator, m); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) seedApps(ctx context.Context) error {
	w.registered = w.registrations()
	for i := range w.registered {
		a := &w.registered[i]
		have, err := w.Broker.Apps.AppByClientID(ctx, a.ClientID)
		switch {
		case errors.Is(err, broker.ErrAppNotFound):
			if err := w.Broker.AddApp(ctx, operator, *a); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			a.ID = have.ID
		}
		if err := w.seedEntitlements(ctx, a.ID); err != nil {
			return err
		}
	}
	return nil
}

// seedEntitlements lets every company use the app: one row for each tree.
func (w *World) seedEntitlements(ctx context.Context, app directory.AppID) error {
	for _, c := range w.companies {
		has, err := w.Directory.Entitled(ctx, c.org, app)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if err := w.Directory.Entitle(ctx, operator, directory.Entitlement{Org: c.org, App: app, Below: true}); err != nil {
			return err
		}
	}
	return nil
}
