// Package directory knows who exists and who may do what: realms, organizations and their tree,
// domains, people, memberships, the upstream identities people sign in with, and which organizations
// may use which app.
//
// Its types are plain values; its storage interfaces say what it needs and the store room satisfies
// them. Every method takes the organization right after the context; where there is none yet (an
// address that was typed, a domain, an upstream subject) the realm stands in its place, because nothing
// crosses realms. Use cases are methods of Service: they ask allow first, and a change and its audit
// entry commit together. It knows nothing of logins, sessions or browsers.
package directory

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrOrgNotFound    = fault.New(fault.NotFound, "directory.org_not_found", "There is no such organization.")
	ErrPersonNotFound = fault.New(fault.NotFound, "directory.person_not_found", "There is no such person.")
	ErrRealmNotFound  = fault.New(fault.NotFound, "directory.realm_not_found", "There is no such realm.")
	ErrHandleTaken    = fault.New(fault.Conflict, "directory.handle_taken", "This handle is in use or was used before; handles are never given out again.")
	ErrHandle         = fault.New(fault.Invalid, "directory.handle", "A handle is 1 to 63 lower-case letters, digits and hyphens, and starts and ends with a letter or digit.")
	ErrDomainTaken    = fault.New(fault.Conflict, "directory.domain_taken", "Another organization already uses this domain.")
	ErrDomain         = fault.New(fault.Invalid, "directory.domain", "This is not a domain that an organization can claim.")
	ErrIdentityTaken  = fault.New(fault.Conflict, "directory.identity_taken", "This upstream account belongs to another person.")
	ErrIdentifier     = fault.New(fault.Conflict, "directory.identifier_taken", "This address is in use.")
	ErrTooDeep        = fault.New(fault.Invalid, "directory.too_deep", "Organizations can be nested eight deep at most.")
	ErrDenied         = fault.New(fault.Denied, "directory.denied", "You may not do this.")
	ErrMoved          = fault.New(fault.Conflict, "directory.moved", "Somebody else changed this at the same time. Look at it again, then repeat your change.")
)

// Status of a realm, organization or person. The zero value is none of them and counts as suspended.
type Status string

const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Archived  Status = "archived"
)

// Realm is one identity store: a namespace in which identifiers and verified domains are unique, with
// its own people and trees of organizations. Nothing crosses realms (S26).
type Realm struct {
	ID     RealmID
	Handle string
	Scope  IdentScope
	Status Status
}

// IdentScope says within what an identifier (an e-mail address, a user name) is unique.
type IdentScope string

const (
	ScopeRealm IdentScope = "realm" // one person in the whole realm
	ScopeTree  IdentScope = "tree"  // one in each top-level organization's tree
	ScopeOrg   IdentScope = "org"   // one in each organization
)

// Org is a node in a realm's forest of organizations.
type Org struct {
	ID     OrgID
	Realm  RealmID
	Parent OrgID  // "" for a top-level organization
	Top    OrgID  // the top-level organization of its tree; itself at the top
	Path   string // derived by the store: a fixed-width code for each ancestor and itself
	Handle string // LDH, unique in the realm, never given out again (S40)
	Name   string
	Status Status
	// Contact is where people of this organization get help: an e-mail address or https URL, may be "".
	Contact string
	Version int64
}

// Chain is an organization with its ancestors, the top-level one first and itself last: what policy
// folds over and what status folds over (S14).
type Chain []Org

// Org is the organization whose chain this is.
func (c Chain) Org() Org { return c[len(c)-1] }

// Status is the strictest of the chain: one suspended ancestor suspends all below it (S14).
func (c Chain) Status() Status {
	worst := Active
	for _, o := range c {
		if o.Status != Active {
			worst = o.Status
		}
	}
	return worst
}

// Has says whether org is in the chain: the organization itself or an ancestor.
func (c Chain) Has(org OrgID) bool {
	for _, o := range c {
		if o.ID == org {
			return true
		}
	}
	return false
}

// Domain is an organization's claim to an e-mail domain.
type Domain struct {
	Name       string // A-labels, lower case (UTS 46)
	Realm      RealmID
	Org        OrgID
	Connection ConnectionID // which connection its people use; "" is the organization's first
	VerifiedAt time.Time    // zero: claimed, not proved; it routes nothing
	VerifiedBy string       // "dns" or "operator" (S10)
	Doubtful   bool         // the proof failed lately: it routes, and does nothing else (S10)
}

// Vouches says whether addresses at this domain may be trusted as identifiers.
func (d Domain) Vouches() bool { return !d.VerifiedAt.IsZero() && !d.Doubtful }

// Person is an account in a realm, at home in one organization.
type Person struct {
	ID     PersonID
	Realm  RealmID
	Home   OrgID
	Name   string
	Given  string
	Family string
	Locale string
	// Email is how to reach the person. It matches nobody and proves nothing unless it is an
	// identifier as well (see Identifier, S8).
	Email string
	// EmailSince is when Email became an identifier of this person, vouched for or proved; zero while
	// it is a contact only.
	EmailSince time.Time
	// EmailProved is when the mailbox itself was proved to us; zero when it never was. What a domain's
	// verification says of the address is computed when asked, never stored (S9).
	EmailProved time.Time
	Status      Status
	// SessionsAfter voids every session, code and token issued before it.
	SessionsAfter time.Time
	Source        string // "jit", "manual", …
	Profile       Profile
	CreatedAt     time.Time
	UpdatedAt     time.Time // kept by the store; zero: never changed since it was made
	Version       int64     // moves with every change of the person, memberships included
}

// Profile is what else is known of a person, by the names of OpenID Connect Core section 5.1. Its JSON is
// stored and is what apps read. Nothing here finds or proves anybody.
type Profile struct {
	MiddleName        string   `json:"middle_name,omitempty"`
	Nickname          string   `json:"nickname,omitempty"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	Profile           string   `json:"profile,omitempty"` // an address of a page
	Picture           string   `json:"picture,omitempty"`
	Website           string   `json:"website,omitempty"`
	Gender            string   `json:"gender,omitempty"`
	Birthdate         string   `json:"birthdate,omitempty"` // YYYY-MM-DD, 0000-MM-DD or YYYY
	Zoneinfo          string   `json:"zoneinfo,omitempty"`
	Phone             string   `json:"phone_number,omitempty"` // E.164
	PhoneVerified     bool     `json:"phone_number_verified,omitempty"`
	Address           *Address `json:"address,omitempty"`
}

// Address is a postal address (OpenID Connect Core section 5.1.1).
type Address struct {
	Formatted string `json:"formatted,omitempty"`
	Street    string `json:"street_address,omitempty"`
	Locality  string `json:"locality,omitempty"`
	Region    string `json:"region,omitempty"`
	Postal    string `json:"postal_code,omitempty"`
	Country   string `json:"country,omitempty"`
}

// Identifier is an address or name that finds a person. Value is normalised.
type Identifier struct {
	Kind  string // "email"
	Value string
	// VerifiedAt is since when the address is vouched for: its domain was verified for the home
	// organization and the identity provider vouched, or the mailbox was proved (S8).
	VerifiedAt time.Time
}

// Membership is a person's presence in an organization.
type Membership struct {
	Org    OrgID
	Person PersonID
	Kind   string // "member" or "guest"
	Status Status
	Source string    // "jit", "manual", …
	Until  time.Time // zero: no end
	// Accepts names the connection whose proof the organization accepts for this guest, besides what
	// counts in it anyway (S2); "" is none.
	Accepts ConnectionID
}

// Holds says whether the membership is good at that time.
func (m Membership) Holds(now time.Time) bool {
	return m.Status == Active && (m.Until.IsZero() || now.Before(m.Until))
}

// IdentityKey is what an upstream says a person is: compared byte by byte, never by address (S4).
type IdentityKey struct {
	Connection ConnectionID
	Issuer     string // OIDC issuer or SAML entityID
	Subject    string // OIDC sub (Entra ID: oid), SAML NameID or the chosen immutable attribute
	Qualifiers string // SAML NameQualifier and SPNameQualifier, Entra tid; canonical, "" where none
}

// Identity links a person to an upstream account.
type Identity struct {
	Key       IdentityKey
	Org       OrgID // the connection's organization
	Person    PersonID
	CreatedAt time.Time
	LastLogin time.Time
}

// Entitlement lets an organization's people use an app.
type Entitlement struct {
	Org   OrgID
	App   AppID
	Below bool // descendants too
}

// Realms, Orgs, … are what this room needs kept. The store satisfies them; a method that finds nothing
// returns the noun's ErrNotFound. Reads may be at most a second old unless ctx carries a transaction.
type (
	Realms interface {
		Realm(ctx context.Context, id RealmID) (Realm, error)
		RealmByHandle(ctx context.Context, handle string) (Realm, error)
		CreateRealm(ctx context.Context, r Realm) error
	}
	Orgs interface {
		// OrgChain gives the organization with all its ancestors.
		OrgChain(ctx context.Context, org OrgID) (Chain, error)
		// OrgByHandle finds a living organization in the realm by its handle.
		OrgByHandle(ctx context.Context, realm RealmID, handle string) (OrgID, error)
		// OrgByID says which realm an organization is in; for the organization= parameter.
		OrgByID(ctx context.Context, id OrgID) (RealmID, error)
		Children(ctx context.Context, org OrgID) ([]Org, error)
		// CreateOrg derives Path and Top from Parent. ErrHandleTaken, ErrTooDeep, ErrOrgNotFound (parent).
		CreateOrg(ctx context.Context, o Org) error
		// UpdateOrg is compare-and-swap on Version; change may run twice.
		UpdateOrg(ctx context.Context, org OrgID, change func(*Org) error) error
	}
	Domains interface {
		// OrgOfDomain finds who has verified exactly this domain in the realm; ok is false when nobody has.
		OrgOfDomain(ctx context.Context, realm RealmID, name string) (d Domain, ok bool, err error)
		// DomainsOf lists an organization's domains, by name.
		DomainsOf(ctx context.Context, org OrgID) ([]Domain, error)
		// PutDomain claims or changes a claim; ErrDomainTaken when another organization of the realm
		// has verified it.
		PutDomain(ctx context.Context, org OrgID, d Domain) error
		ReleaseDomain(ctx context.Context, org OrgID, name string) error
	}
	People interface {
		// Person finds whoever has a membership in org, whatever its status.
		Person(ctx context.Context, org OrgID, id PersonID) (Person, Membership, error)
		// PersonInRealm finds a person for a session, which belongs to a realm and not to an organization.
		PersonInRealm(ctx context.Context, realm RealmID, id PersonID) (Person, error)
		// PersonByIdentifier finds the person that an identifier means in home's scope; home is the
		// organization where the person would be at home.
		PersonByIdentifier(ctx context.Context, home OrgID, kind, value string) (Person, error)
		// CreatePerson also makes the home membership and the identifiers. ErrIdentifier when one is in use.
		CreatePerson(ctx context.Context, home OrgID, p Person, ids []Identifier) error
		UpdatePerson(ctx context.Context, org OrgID, id PersonID, change func(*Person) error) error
		// IdentifiersOf lists what finds a person.
		IdentifiersOf(ctx context.Context, org OrgID, id PersonID) ([]Identifier, error)
	}
	Memberships interface {
		MembershipsOf(ctx context.Context, realm RealmID, person PersonID) ([]Membership, error)
		// PutMembership adds or replaces; it moves the person's Version.
		PutMembership(ctx context.Context, org OrgID, m Membership) error
		RemoveMembership(ctx context.Context, org OrgID, person PersonID) error
	}
	Identities interface {
		// PersonByIdentity finds who signs in as key; ErrPersonNotFound when nobody does.
		PersonByIdentity(ctx context.Context, org OrgID, key IdentityKey) (Person, error)
		// LinkIdentity is idempotent for the same person; ErrIdentityTaken for another.
		LinkIdentity(ctx context.Context, org OrgID, i Identity) error
		// IdentitiesOf lists a person's upstream accounts in all organizations of the realm.
		IdentitiesOf(ctx context.Context, realm RealmID, person PersonID) ([]Identity, error)
		// TouchIdentity notes that it was used to sign in, to the hour.
		TouchIdentity(ctx context.Context, org OrgID, key IdentityKey, at time.Time) error
	}
	Entitlements interface {
		// Entitled says whether an organization, itself or through an ancestor's Below, may use an app.
		Entitled(ctx context.Context, org OrgID, app AppID) (bool, error)
		PutEntitlement(ctx context.Context, org OrgID, e Entitlement) error
		RemoveEntitlement(ctx context.Context, org OrgID, app AppID) error
	}
	// Tx runs fn in one transaction that all stores called with its ctx join. fn may run twice, so it
	// only reads, computes and writes through ctx: no network, no hashing of passwords, no callbacks.
	Tx interface {
		InTx(ctx context.Context, fn func(ctx context.Context) error) error
	}
)
