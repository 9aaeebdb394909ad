package storetest

import (
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

func realms(t *testing.T, w *World) {
	got, err := w.Realm(w.ctx, w.acme.Realm.ID)
	ok(t, err)
	same(t, got, w.acme.Realm)
	whole(t, got)
	got, err = w.RealmByHandle(w.ctx, "bravo")
	ok(t, err)
	same(t, got, w.emea.Realm)
	_, err = w.RealmByHandle(w.ctx, "charlie")
	is(t, err, directory.ErrRealmNotFound)
	is(t, w.CreateRealm(w.ctx, directory.Realm{ID: "rlm_x", Handle: "alpha"}), directory.ErrHandleTaken)
	w.realm(t, "charlie", directory.ScopeOrg) // what was missed before is found once it exists
	if _, err = w.RealmByHandle(w.ctx, "charlie"); err != nil {
		t.Error(err)
	}
}

func organizations(t *testing.T, w *World) {
	chain, err := w.OrgChain(w.ctx, w.acme.Org.ID)
	ok(t, err)
	same(t, len(chain), 2)
	same(t, chain[0].ID, w.parent.ID)
	whole(t, chain[1])
	same(t, chain[1].Top, w.parent.ID)
	same(t, chain[1].Path[:5], chain[0].Path)
	same(t, chain[1].Realm, w.acme.Realm.ID)
	kids, err := w.Children(w.ctx, w.parent.ID)
	ok(t, err)
	same(t, []string{kids[0].Handle, kids[1].Handle}, []string{"acme", "mex"})

	parent := w.mex.Org
	for range 6 {
		parent = w.org(t, directory.Org{Parent: parent.ID, Handle: "d" + parent.Handle})
	}
	err = w.CreateOrg(w.ctx, directory.Org{ID: "org_deep", Parent: parent.ID, Handle: "deep"})
	is(t, err, directory.ErrTooDeep)
	is(t, w.CreateOrg(w.ctx, directory.Org{ID: "org_o", Parent: "org_none", Handle: "o"}), directory.ErrOrgNotFound)
	is(t, w.CreateOrg(w.ctx, directory.Org{ID: "org_o", Realm: w.emea.Realm.ID, Parent: w.parent.ID, Handle: "o"}), directory.ErrOrgNotFound)
	is(t, w.CreateOrg(w.ctx, directory.Org{ID: "org_o", Realm: w.emea.Realm.ID, Parent: "", Handle: "emea"}), directory.ErrHandleTaken)

	ok(t, w.UpdateOrg(w.ctx, w.parent.ID, func(o *directory.Org) error { o.Status = directory.Suspended; return nil }))
	chain, err = w.OrgChain(w.ctx, w.acme.Org.ID)
	ok(t, err)
	same(t, chain.Status(), directory.Suspended) // at once, for the whole tree
	same(t, chain[0].Version, w.parent.Version+1)
	if err := w.UpdateOrg(w.ctx, w.acme.Org.ID, func(o *directory.Org) error { o.Parent = w.mex.Org.ID; return nil }); err == nil {
		t.Error("an update moved an organization")
	}
	handlesStayTaken(t, w)
}

// S40: a handle is never given out again, whatever became of who had it.
func handlesStayTaken(t *testing.T, w *World) {
	find := func(handle string) directory.OrgID {
		id, err := w.OrgByHandle(w.ctx, w.acme.Realm.ID, handle)
		if err != nil {
			is(t, err, directory.ErrOrgNotFound)
		}
		return id
	}
	rename := func(org directory.OrgID, handle string) error {
		return w.UpdateOrg(w.ctx, org, func(o *directory.Org) error { o.Handle = handle; return nil })
	}
	same(t, find("acme"), w.acme.Org.ID)
	ok(t, rename(w.acme.Org.ID, "acme-bank"))
	same(t, find("acme"), "")
	same(t, find("acme-bank"), w.acme.Org.ID)
	is(t, rename(w.mex.Org.ID, "acme"), directory.ErrHandleTaken)
	is(t, w.CreateOrg(w.ctx, directory.Org{ID: "org_again", Realm: w.acme.Realm.ID, Handle: "acme"}), directory.ErrHandleTaken)
	ok(t, rename(w.acme.Org.ID, "acme")) // its own it may take back
	same(t, find("acme"), w.acme.Org.ID)
	ok(t, w.UpdateOrg(w.ctx, w.acme.Org.ID, func(o *directory.Org) error { o.Status = directory.Archived; return nil }))
	same(t, find("acme"), "")
	is(t, w.CreateOrg(w.ctx, directory.Org{ID: "org_again", Realm: w.acme.Realm.ID, Handle: "acme"}), directory.ErrHandleTaken)
	ok(t, w.CreateOrg(w.ctx, directory.Org{ID: "org_bravo", Realm: w.emea.Realm.ID, Handle: "acme"})) // another realm's names are its own
}

func domains(t *testing.T, w *World) {
	realm, now := w.acme.Realm.ID, w.clock.Now()
	d, found, err := w.OrgOfDomain(w.ctx, realm, "acme.example")
	ok(t, err)
	same(t, d, directory.Domain{Name: "acme.example", Realm: realm, Org: w.acme.Org.ID, Connection: w.acme.Connection.ID, VerifiedAt: now, VerifiedBy: "operator", Doubtful: true})
	same(t, found, true)
	whole(t, d)
	holder := func(realm directory.RealmID, name string) directory.OrgID {
		d, _, err := w.OrgOfDomain(w.ctx, realm, name)
		ok(t, err)
		return d.Org
	}
	same(t, holder(realm, "sub.acme.example"), "")
	same(t, holder(w.emea.Realm.ID, "acme.example"), "")

	// Many may claim, a claim routes nothing, one verifies.
	ok(t, w.PutDomain(w.ctx, w.acme.Org.ID, directory.Domain{Name: "new.example"}))
	ok(t, w.PutDomain(w.ctx, w.mex.Org.ID, directory.Domain{Name: "new.example"}))
	same(t, holder(realm, "new.example"), "")
	ok(t, w.PutDomain(w.ctx, w.mex.Org.ID, directory.Domain{Name: "new.example", VerifiedAt: now}))
	same(t, holder(realm, "new.example"), w.mex.Org.ID)
	is(t, w.PutDomain(w.ctx, w.acme.Org.ID, directory.Domain{Name: "new.example", VerifiedAt: now}), directory.ErrDomainTaken)
	ok(t, w.PutDomain(w.ctx, w.emea.Org.ID, directory.Domain{Name: "new.example", VerifiedAt: now})) // unique in the realm, not beyond
	list, err := w.DomainsOf(w.ctx, w.mex.Org.ID)
	ok(t, err)
	same(t, []string{list[0].Name, list[1].Name}, []string{"mex.example", "new.example"})
	ok(t, w.ReleaseDomain(w.ctx, w.mex.Org.ID, "new.example"))
	same(t, holder(realm, "new.example"), "")
	same(t, holder(w.emea.Realm.ID, "new.example"), w.emea.Org.ID)
}

func people(t *testing.T, w *World) {
	p, m, err := w.Person(w.ctx, w.acme.Org.ID, w.acme.Person.ID)
	ok(t, err)
	same(t, p, w.acme.Person)
	whole(t, p)
	same(t, m, directory.Membership{Org: w.acme.Org.ID, Person: p.ID, Kind: "member", Status: directory.Active, Source: "jit"})
	ids, err := w.IdentifiersOf(w.ctx, w.acme.Org.ID, p.ID)
	ok(t, err)
	whole(t, ids[0])
	same(t, ids, []directory.Identifier{{Kind: "email", Value: "ana@acme.example", VerifiedAt: w.clock.Now()}})
	ok(t, w.UpdatePerson(w.ctx, w.acme.Org.ID, p.ID, func(p *directory.Person) error {
		p.Status, p.SessionsAfter = directory.Suspended, w.clock.Now()
		return nil
	}))
	p, err = w.PersonInRealm(w.ctx, w.acme.Realm.ID, p.ID)
	ok(t, err)
	same(t, []any{p.Status, p.SessionsAfter, p.Version}, []any{directory.Suspended, w.clock.Now(), int64(2)})
	if err := w.UpdatePerson(w.ctx, w.acme.Org.ID, p.ID, func(p *directory.Person) error { p.Home = w.mex.Org.ID; return nil }); err == nil {
		t.Error("an update moved a person")
	}
	scopes(t, w)
}

// An address is one person's within the scope that the realm chose.
func scopes(t *testing.T, w *World) {
	for _, c := range []struct {
		scope               directory.IdentScope
		sibling, stranger   error // the same address in the same tree, and in another tree of the realm
		findsFromTheSibling bool
	}{
		{directory.ScopeRealm, directory.ErrIdentifier, directory.ErrIdentifier, true},
		{directory.ScopeTree, directory.ErrIdentifier, nil, true},
		{directory.ScopeOrg, nil, nil, false},
	} {
		realm := w.realm(t, "scope-"+string(c.scope), c.scope)
		top := w.org(t, directory.Org{Realm: realm.ID, Handle: "top"})
		one := w.org(t, directory.Org{Parent: top.ID, Handle: "one"})
		two := w.org(t, directory.Org{Parent: top.ID, Handle: "two"})
		far := w.org(t, directory.Org{Realm: realm.ID, Handle: "far"})
		first := w.person(t, one, "bo@x.example")
		add := func(home directory.Org) error {
			return w.CreatePerson(w.ctx, home.ID, directory.Person{ID: directory.NewPersonID(w.clock.Now())}, []directory.Identifier{{Kind: "email", Value: "bo@x.example"}})
		}
		found, err := w.PersonByIdentifier(w.ctx, two.ID, "email", "bo@x.example")
		same(t, err == nil && found.ID == first.ID, c.findsFromTheSibling)
		is(t, add(one), directory.ErrIdentifier)
		is(t, add(two), c.sibling)
		is(t, add(far), c.stranger)
	}
}

func memberships(t *testing.T, w *World) {
	p := w.acme.Person
	guest := directory.Membership{Org: w.mex.Org.ID, Person: p.ID, Kind: "guest", Status: directory.Active, Source: "manual",
		Until: w.clock.Now().Add(time.Hour), Accepts: w.acme.Connection.ID}
	ok(t, w.PutMembership(w.ctx, w.mex.Org.ID, guest))
	got, m, err := w.Person(w.ctx, w.mex.Org.ID, p.ID)
	ok(t, err)
	same(t, m, guest)
	whole(t, m)
	same(t, got.Version, int64(2)) // S15: what was decided before is decided again
	is(t, w.PutMembership(w.ctx, w.emea.Org.ID, guest), directory.ErrPersonNotFound)
	list, err := w.MembershipsOf(w.ctx, w.acme.Realm.ID, p.ID)
	ok(t, err)
	same(t, len(list), 2)
	ok(t, w.RemoveMembership(w.ctx, w.mex.Org.ID, p.ID))
	ok(t, w.RemoveMembership(w.ctx, w.mex.Org.ID, p.ID))
	_, _, err = w.Person(w.ctx, w.mex.Org.ID, p.ID)
	is(t, err, directory.ErrPersonNotFound)
	got, err = w.PersonInRealm(w.ctx, w.acme.Realm.ID, p.ID)
	ok(t, err)
	same(t, got.Version, int64(3))
}

func identities(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	p, err := w.PersonByIdentity(w.ctx, v.Org.ID, v.Key)
	ok(t, err)
	same(t, p.ID, v.Person.ID)
	// S4: byte by byte, and every part of the key counts.
	for _, change := range []func(*directory.IdentityKey){
		func(k *directory.IdentityKey) { k.Connection = w.mex.Connection.ID },
		func(k *directory.IdentityKey) { k.Issuer += "/" },
		func(k *directory.IdentityKey) { k.Subject = "SUB-1" },
		func(k *directory.IdentityKey) { k.Subject = "sub-1 " },
		func(k *directory.IdentityKey) { k.Qualifiers = "q-2" },
	} {
		key := v.Key
		change(&key)
		_, err := w.PersonByIdentity(w.ctx, v.Org.ID, key)
		is(t, err, directory.ErrPersonNotFound)
	}
	other := w.person(t, v.Org, "bo@acme.example")
	ok(t, w.LinkIdentity(w.ctx, v.Org.ID, directory.Identity{Key: v.Key, Person: v.Person.ID, CreatedAt: now}))
	is(t, w.LinkIdentity(w.ctx, v.Org.ID, directory.Identity{Key: v.Key, Person: other.ID}), directory.ErrIdentityTaken)
	ok(t, w.TouchIdentity(w.ctx, v.Org.ID, v.Key, now.Add(time.Hour)))
	list, err := w.IdentitiesOf(w.ctx, v.Realm.ID, v.Person.ID)
	ok(t, err)
	whole(t, list[0])
	whole(t, list[0].Key)
	same(t, list, []directory.Identity{{Key: v.Key, Org: v.Org.ID, Person: v.Person.ID, CreatedAt: now, LastLogin: now.Add(time.Hour)}})
}

func entitlements(t *testing.T, w *World) {
	app := w.acme.App.ID
	entitled := func(org directory.OrgID) bool {
		yes, err := w.Entitled(w.ctx, org, app)
		ok(t, err)
		return yes
	}
	same(t, []bool{entitled(w.acme.Org.ID), entitled(w.mex.Org.ID), entitled(w.parent.ID)}, []bool{true, false, false})
	ok(t, w.PutEntitlement(w.ctx, w.parent.ID, directory.Entitlement{App: app}))
	same(t, []bool{entitled(w.mex.Org.ID), entitled(w.parent.ID)}, []bool{false, true})
	ok(t, w.PutEntitlement(w.ctx, w.parent.ID, directory.Entitlement{App: app, Below: true}))
	same(t, entitled(w.mex.Org.ID), true)
	ok(t, w.RemoveEntitlement(w.ctx, w.parent.ID, app))
	ok(t, w.RemoveEntitlement(w.ctx, w.acme.Org.ID, app))
	same(t, []bool{entitled(w.acme.Org.ID), entitled(w.mex.Org.ID), entitled(w.parent.ID)}, []bool{false, false, false})
}

// What exists is listed whole, in an order that does not depend on chance, and only its own.
func lists(t *testing.T, w *World) {
	all, err := w.RealmList(w.ctx)
	ok(t, err)
	var handles []string
	for _, r := range all {
		handles = append(handles, r.Handle)
	}
	same(t, handles, []string{"alpha", "bravo"})
	orgs, err := w.OrgList(w.ctx, w.acme.Realm.ID)
	ok(t, err)
	seen := map[directory.OrgID]bool{"": true}
	for _, o := range orgs {
		if !seen[o.Parent] {
			t.Errorf("%s stands before its parent", o.Handle)
		}
		seen[o.ID] = true
	}
	same(t, seen[w.acme.Org.ID] && seen[w.parent.ID] && !seen[w.emea.Org.ID], true)
	apps, err := w.AppList(w.ctx, w.acme.App.Realm)
	ok(t, err)
	found := false
	for i, a := range apps {
		found = found || a.ID == w.acme.App.ID
		if i > 0 && apps[i-1].ClientID >= a.ClientID {
			t.Errorf("%s stands behind %s", a.ClientID, apps[i-1].ClientID)
		}
	}
	same(t, found, true)
	entitled, err := w.EntitlementList(w.ctx, w.acme.Org.ID)
	ok(t, err)
	same(t, len(entitled) == 1 && entitled[0].App == w.acme.App.ID, true)
	people, err := w.PeopleAt(w.ctx, w.acme.Org.ID, "", 10)
	ok(t, err)
	same(t, len(people) == 1 && people[0].ID == w.acme.Person.ID, true)
	people, err = w.PeopleAt(w.ctx, w.acme.Org.ID, w.acme.Person.ID, 10)
	ok(t, err)
	same(t, len(people), 0)
}
