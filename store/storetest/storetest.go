// Package storetest is what every store must do: one list of subtests, run on each kind of database.
//
// Run takes a function that opens a fresh, empty store and gives back everything that rooms ask of one.
// A new noun adds its probes here; TestIsolation finds an interface whose methods have none by itself.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/manifest"
	"github.com/vestibule-id/vestibule/mfa"
)

// Store is every storage interface of the house.
type Store interface {
	directory.Realms
	directory.Orgs
	directory.Domains
	directory.People
	directory.Memberships
	directory.Identities
	directory.Entitlements
	directory.Policies
	directory.PolicyReach
	directory.Passwords
	directory.Accounts
	flows.Guesses
	directory.Tx
	upstream.Connections
	upstream.Spent
	broker.Apps
	broker.Sessions
	broker.Tokens
	broker.Families
	broker.AccessTokens
	broker.Endings
	broker.Viewer
	broker.Orders
	directory.Revocations
	broker.Keys
	broker.Nodes
	broker.GrantEnder
	broker.Secrets
	broker.RegistrationTokens
	broker.Consents
	mfa.Enrollments
	mfa.Tries
	flows.Themes
	flows.Flows
	flows.Terms
	audit.Recorder
	audit.Traces
	delivery.Queue
	delivery.Budgets
	manifest.Lists
	broker.Revisions
	Brief() brief.Store
	Counter() brief.Counter
}

// Clock is a time that tests move.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock starts at a fixed time, far from any zero.
func NewClock() *Clock { return &Clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Run checks a store. open gives a fresh one that tells time by the clock and is closed by the test.
func Run(t *testing.T, open func(t *testing.T, clock *Clock) Store) {
	for name, test := range map[string]func(*testing.T, *World){
		"realms":        realms,
		"organizations": organizations,
		"domains":       domains,
		"lists":         lists,
		"people":        people,
		"memberships":   memberships,
		"identities":    identities,
		"entitlements":  entitlements,
		"connections":   connections,
		"apps":          apps,
		"sessions":      sessions,
		"tokens":        tokens,
		"refresh":       refreshTokens,
		"access tokens": accessTokens,
		"keys":          keys,
		"end tokens":    endTokensOf,
		"secrets":       secrets,
		"registration":  registration,
		"consents":      consents,
		"passwords":     passwords,
		"guesses":       guesses,
		"factors":       factors,
		"tries":         tries,
		"documents":     documents,
		"reach":         reach,
		"flows":         flowVersions,
		"terms":         termsAccepted,
		"spent":         spent,
		"traces":        traces,
		"transactions":  transactions,
		"revision":      revision,
		"footing":       footing,
		"brief":         briefly,
		"counter":       counter,
		"endings":       endings,
		"revocations":   revocations,
		"jobs":          jobs,
		"fair jobs":     jobsAreFair,
		"raced jobs":    jobsGoToOne,
		"budgets":       budgets,
		"S30 budgets":   s30Budgets,
		"S30 share":     s30Share,
		"S45 quotas":    s45Quotas,
		"raced budgets": racedBudgets,
		"S31 nobody":    s31Nobody,
		"isolation":     isolation,
	} {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			test(t, newWorld(t, open(t, clock), clock))
		})
	}
}

// Tenant is one organization with one of everything.
type Tenant struct {
	Realm      directory.Realm
	Org        directory.Org
	Connection upstream.Connection
	App        broker.App
	Person     directory.Person
	Key        directory.IdentityKey
	Session    broker.Session
	Grant      broker.TokenGrant
	Opaque     broker.OpaqueToken
	Consent    broker.Consent
	Factor     mfa.Enrollment
}

// World is two realms: alpha holds a parent with the tenants acme and mex below it, bravo holds emea.
type World struct {
	Store
	ctx             context.Context
	clock           *Clock
	parent          directory.Org
	acme, mex, emea Tenant
}

func newWorld(t *testing.T, s Store, clock *Clock) *World {
	t.Helper()
	w := &World{Store: s, ctx: t.Context(), clock: clock}
	alpha := w.realm(t, "alpha", directory.ScopeRealm)
	bravo := w.realm(t, "bravo", directory.ScopeRealm)
	w.parent = w.org(t, directory.Org{Realm: alpha.ID, Handle: "mightybank"})
	w.acme = w.tenant(t, alpha, w.parent.ID, "acme")
	w.mex = w.tenant(t, alpha, w.parent.ID, "mex")
	w.emea = w.tenant(t, bravo, "", "emea")
	return w
}

func (w *World) realm(t *testing.T, handle string, scope directory.IdentScope) directory.Realm {
	t.Helper()
	r := directory.Realm{ID: directory.NewRealmID(w.clock.Now()), Handle: handle, Scope: scope, Status: directory.Active}
	ok(t, w.CreateRealm(w.ctx, r))
	return r
}

func (w *World) org(t *testing.T, o directory.Org) directory.Org {
	t.Helper()
	o.ID, o.Name, o.Status, o.Contact = directory.NewOrgID(w.clock.Now()), o.Handle, directory.Active, "help@"+o.Handle+".example"
	ok(t, w.CreateOrg(w.ctx, o))
	chain, err := w.OrgChain(w.ctx, o.ID)
	ok(t, err)
	return chain.Org()
}

// tenant makes one of everything that a login leaves.
func (w *World) tenant(t *testing.T, realm directory.Realm, parent directory.OrgID, handle string) Tenant {
	t.Helper()
	now := w.clock.Now()
	v := Tenant{Realm: realm, Org: w.org(t, directory.Org{Realm: realm.ID, Parent: parent, Handle: handle})}
	v.Connection = upstream.Connection{ID: directory.NewConnectionID(now), Org: v.Org.ID, Realm: realm.ID, Type: "oidc", Name: handle,
		Status: upstream.Active, Issuer: "https://" + handle + ".example", Config: []byte(`{"a":1}`), Secret: []byte(`{"secret":"` + handle + `"}`),
		JIT: upstream.JITCreate, Offered: true, Authoritative: true, Guests: true, Private: []string{"127.0.0.1:1"}, Skew: time.Minute, Logout: upstream.LogoutAsk, ProofsAfter: now, Version: 1}
	ok(t, w.CreateConnection(w.ctx, v.Org.ID, v.Connection))
	v.App = broker.App{ID: directory.NewAppID(now), Realm: realm.ID, ClientID: handle + "-app", Name: handle, Status: directory.Active,
		Settings: broker.Settings{Method: broker.SecretBasic, Native: true, RedirectURIs: []string{"https://" + handle + ".example/cb"},
			PostLogoutURIs: []string{"https://" + handle + ".example/out"}, Home: "https://" + handle + ".example/", IDTokenAlg: "ES256", PKCEExempt: true,
			AnyEmail: true, Grants: []broker.Grant{broker.GrantCode, broker.GrantRefresh}, Audiences: []string{"https://api." + handle + ".example"}}, Secrets: []broker.Secret{{Hash: [32]byte{1}, CreatedAt: now, Until: now.Add(time.Hour)}}, Version: 1}
	ok(t, w.CreateApp(w.ctx, v.App))
	ok(t, w.PutEntitlement(w.ctx, v.Org.ID, directory.Entitlement{App: v.App.ID}))
	ok(t, w.PutDomain(w.ctx, v.Org.ID, directory.Domain{Name: handle + ".example", VerifiedAt: now, VerifiedBy: "operator", Doubtful: true, Connection: v.Connection.ID}))
	v.Person = w.person(t, v.Org, "ana@"+handle+".example")
	v.Key = directory.IdentityKey{Connection: v.Connection.ID, Issuer: v.Connection.Issuer, Subject: "sub-1", Qualifiers: "q-1"}
	ok(t, w.LinkIdentity(w.ctx, v.Org.ID, directory.Identity{Key: v.Key, Person: v.Person.ID, CreatedAt: now, LastLogin: now}))
	v.Session = w.session(t, v)
	v.Grant = broker.TokenGrant{ID: directory.NewGrantID(now), Kind: broker.ByCode, SID: "sid-" + handle, Resources: []string{"https://api.example"},
		Claims: json.RawMessage(`{"id_token":{}}`), Proofs: v.Session.Proofs, Opened: now, JKT: "thumbprint", Actor: json.RawMessage(`{"sub":"desk"}`),
		Parent: "grt_parent", Refresh: broker.Refresh{Family: hash("family" + handle), Hash: hash("refresh" + handle), Until: now.Add(time.Hour)}, Org: v.Org.ID, Realm: realm.ID, App: v.App.ID, Person: v.Person.ID, Session: v.Session.ID,
		CodeHash: hash("code" + handle), BoundHash: hash("bound" + handle), Scope: []string{"openid", "email"}, AuthTime: now, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	ok(t, w.CreateToken(w.ctx, v.Org.ID, v.Grant))
	v.Opaque = broker.OpaqueToken{Hash: hash("access" + handle), App: v.App.ID, Grant: v.Grant.ID, Expires: now.Add(time.Minute), Claims: json.RawMessage(`{"sub":"` + handle + `"}`)}
	ok(t, w.PutAccess(w.ctx, v.Org.ID, v.Opaque))
	v.Consent = broker.Consent{Org: v.Org.ID, Person: v.Person.ID, App: v.App.ID, Scope: []string{"openid"}, Claims: []string{"name"}, Since: now, UpdatedAt: now}
	ok(t, w.PutConsent(w.ctx, v.Org.ID, v.Consent))
	ok(t, w.PutFlowVersion(w.ctx, v.Org.ID, flows.FlowVersion{Version: 1, At: now, Actor: directory.Actor{Kind: directory.Operator, ID: handle}, Doc: []byte(`{"items":[]}`)}))
	ok(t, w.PutFlowHead(w.ctx, v.Org.ID, flows.FlowHead{Latest: 1, Published: 1, Testers: []directory.PersonID{v.Person.ID}}))
	ok(t, w.AcceptTerms(w.ctx, v.Org.ID, v.Person.ID, flows.Acceptance{Org: v.Org.ID, Version: handle, At: now}))
	ok(t, w.PutPassword(w.ctx, v.Org.ID, v.Person.ID, directory.Password{ID: directory.PasswordID("pwd_" + handle), Hash: "$hash$" + handle, Set: now, Source: directory.Imported}, 0))
	v.Factor = mfa.Enrollment{
		ID: directory.NewFactorID(now), Realm: v.Realm.ID, Home: v.Org.ID, Person: v.Person.ID, Org: v.Org.ID, Method: "passkey", Label: "Laptop",
		Public: []byte("{}"), Handle: []byte("credential of " + v.Org.Handle), CreatedAt: now, Version: 1,
	}
	ok(t, w.AddEnrollment(w.ctx, v.Org.ID, v.Factor))
	return v
}

func (w *World) person(t *testing.T, home directory.Org, address string) directory.Person {
	t.Helper()
	now := w.clock.Now()
	p := directory.Person{ID: directory.NewPersonID(now), Realm: home.Realm, Home: home.ID, Name: "Ana", Given: "A", Family: "Na", Locale: "es",
		Email: address, EmailSince: now, EmailProved: now, Status: directory.Active, SessionsAfter: now.Add(-time.Hour), Source: "jit", CreatedAt: now, UpdatedAt: now, Version: 1,
		Profile: directory.Profile{Nickname: "An", Birthdate: "1990-02-03", Phone: "+34600000000", PhoneVerified: true}}
	ok(t, w.CreatePerson(w.ctx, home.ID, p, []directory.Identifier{{Kind: "email", Value: address, VerifiedAt: now}}))
	return p
}

func (w *World) session(t *testing.T, v Tenant) broker.Session {
	t.Helper()
	now := w.clock.Now()
	s := broker.Session{ID: directory.NewSessionID(now), TokenHash: hash("cookie" + v.Org.Handle), Realm: v.Realm.ID, Person: v.Person.ID, Home: v.Org.ID,
		CreatedAt: now, Ends: now.Add(12 * time.Hour), Device: "Chrome on Windows", Version: 1,
		Proofs: []flows.Proof{{Connection: v.Connection.ID, Org: v.Org.ID, Key: v.Key, At: now, Seen: now, AMR: []string{"pwd"}, SID: "s1"}},
		Orgs:   []broker.OrgMark{{Org: v.Org.ID, Since: now, Seen: now, Held: now.Add(time.Hour)}}}
	ok(t, w.CreateSession(w.ctx, v.Org.ID, s))
	_, err := w.MarkApp(w.ctx, v.Org.ID, s.ID, broker.AppMark{App: v.App.ID, Org: v.Org.ID, SID: "sid-" + v.Org.Handle, First: now})
	ok(t, err)
	return s
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares by what a person would read.
func same(t *testing.T, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("got\n  %s\nwant\n  %s", g, w)
	}
}
