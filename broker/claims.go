package broker

import (
	"context"
	"slices"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

// orgRef names an organization: an ancestor in org_path, a membership in organizations.
type orgRef struct {
	ID     directory.OrgID `json:"id"`
	Handle string          `json:"handle"`
	Name   string          `json:"name"`
}

// orgClaims say in which organization somebody signed in. The key for apps is sub and org_id.
type orgClaims struct {
	OrgID     directory.OrgID   `json:"org_id"`
	OrgHandle string            `json:"org_handle"`
	Realm     directory.RealmID `json:"realm"`
	OrgPath   []orgRef          `json:"org_path,omitempty"`
}

// personClaims are what an app learns about a person (OpenID Connect Core section 5.1).
type personClaims struct {
	Name       string `json:"name,omitempty"`
	GivenName  string `json:"given_name,omitempty"`
	FamilyName string `json:"family_name,omitempty"`
	Locale     string `json:"locale,omitempty"`
	directory.Profile
	UpdatedAt     int64  `json:"updated_at,omitempty"` // seconds since 1970 UTC
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`
	// PhoneVerified stands in front of the profile's own: a number that is not verified says so.
	PhoneVerified *bool  `json:"phone_number_verified,omitempty"`
	OrgName       string `json:"org_name,omitempty"`
	// Organizations are all memberships that the app may know of (S38): at userinfo alone.
	Organizations []orgRef `json:"organizations,omitempty"`
}

// personalClaim is a claim about a person: which scope brings it, and how it is filled in.
type personalClaim struct {
	name, scope string
	// inToken: its scope brings it into the id token too, not to userinfo alone. Asked for by name, every
	// claim comes where it was asked for.
	inToken bool
	put     func(c *personClaims, p *directory.Person)
}

// personal is the table of personal claims: one line each (OpenID Connect Core sections 5.1 and 5.4).
// The addresses that need a judgement, email and its verification, are filled in apart (S9).
var personal = []personalClaim{
	{"name", scopeProfile, true, func(c *personClaims, p *directory.Person) { c.Name = p.Name }},
	{"given_name", scopeProfile, true, func(c *personClaims, p *directory.Person) { c.GivenName = p.Given }},
	{"family_name", scopeProfile, true, func(c *personClaims, p *directory.Person) { c.FamilyName = p.Family }},
	{"locale", scopeProfile, true, func(c *personClaims, p *directory.Person) { c.Locale = p.Locale }},
	{"middle_name", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.MiddleName = p.Profile.MiddleName }},
	{"nickname", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Nickname = p.Profile.Nickname }},
	{"preferred_username", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.PreferredUsername = p.Profile.PreferredUsername }},
	{"profile", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Profile.Profile = p.Profile.Profile }},
	{"picture", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Picture = p.Profile.Picture }},
	{"website", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Website = p.Profile.Website }},
	{"gender", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Gender = p.Profile.Gender }},
	{"birthdate", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Birthdate = p.Profile.Birthdate }},
	{"zoneinfo", scopeProfile, false, func(c *personClaims, p *directory.Person) { c.Zoneinfo = p.Profile.Zoneinfo }},
	{"updated_at", scopeProfile, false, putUpdatedAt},
	{claimEmail, scopeEmail, true, nil},
	{claimEmailVerified, scopeEmail, true, nil},
	{"address", scopeAddress, false, func(c *personClaims, p *directory.Person) { c.Address = p.Profile.Address }},
	{claimPhone, scopePhone, false, func(c *personClaims, p *directory.Person) { c.Phone = p.Profile.Phone }},
	{claimPhoneVerified, scopePhone, false, putPhoneVerified},
}

// scopeOf is the scope that brings a personal claim; "" for what is none.
func scopeOf(claim string) string {
	for _, p := range personal {
		if p.name == claim {
			return p.scope
		}
	}
	return ""
}

const (
	claimEmail         = "email"
	claimEmailVerified = "email_verified"
	claimPhone         = "phone_number"
	claimPhoneVerified = "phone_number_verified"
)

func putUpdatedAt(c *personClaims, p *directory.Person) {
	at := p.UpdatedAt
	if at.IsZero() {
		at = p.CreatedAt
	}
	c.UpdatedAt = at.Unix()
}

func putPhoneVerified(c *personClaims, p *directory.Person) {
	if p.Profile.Phone != "" {
		verified := p.Profile.PhoneVerified
		c.PhoneVerified = &verified
	}
}

// mayLearn says whether the app's list of claims holds a claim; an empty list holds all. Whether an
// address or number is verified goes with it.
func (s Settings) mayLearn(claim string) bool {
	switch claim {
	case claimEmailVerified:
		claim = claimEmail
	case claimPhoneVerified:
		claim = claimPhone
	}
	return len(s.Claims) == 0 || slices.Contains(s.Claims, claim)
}

// place is where claims are told.
type place int

const (
	inIDToken place = iota
	atUserinfo
)

func orgClaimsOf(chain directory.Chain, scope []string) orgClaims {
	o := chain.Org()
	c := orgClaims{OrgID: o.ID, OrgHandle: o.Handle, Realm: o.Realm}
	if slices.Contains(scope, scopePath) {
		for _, up := range chain {
			c.OrgPath = append(c.OrgPath, orgRef{up.ID, up.Handle, up.Name})
		}
	}
	return c
}

// personClaims are the claims that scopes bring to a place and those that were asked for there by name,
// as far as the app may learn them.
func (b *Broker) personClaims(ctx context.Context, a Admission, at place, scope []string, asked claimsRequest) (personClaims, error) {
	c := personClaims{OrgName: a.org.Org().Name}
	names := asked.IDToken
	if at == atUserinfo {
		names = asked.Userinfo
	}
	email, verified := false, false
	for _, p := range personal {
		byScope := slices.Contains(scope, p.scope) && (p.inToken || at == atUserinfo)
		switch {
		case !byScope && !slices.Contains(names, p.name), !a.app.mayLearn(p.name):
		case p.name == claimEmail:
			email = true
		case p.name == claimEmailVerified:
			verified = true
		default:
			p.put(&c, &a.person)
		}
	}
	if err := b.putEmail(ctx, a, &c, email, verified); err != nil {
		return c, err
	}
	if at == atUserinfo && slices.Contains(scope, scopeOrgs) && a.app.Memberships {
		var err error
		c.Organizations, err = b.memberships(ctx, a)
		return c, err
	}
	return c, nil
}

// putEmail tells an address that is verified; others only to apps that want them marked (S9).
func (b *Broker) putEmail(ctx context.Context, a Admission, c *personClaims, email, verified bool) error {
	if !email && !verified || a.person.Email == "" {
		return nil
	}
	is, err := b.emailVerified(ctx, a)
	if err != nil || !is && !a.app.AnyEmail {
		return err
	}
	if email {
		c.Email, verified = a.person.Email, verified || !is // an unverified one is never told without saying so
	}
	if verified {
		c.EmailVerified = &is
	}
	return nil
}

// memberships are the person's organizations that the app may know of: those that may use it, in the tree
// of the one that was signed in to (S38).
func (b *Broker) memberships(ctx context.Context, a Admission) ([]orgRef, error) {
	list, err := b.Directory.MembershipsOf(ctx, a.person.Realm, a.person.ID)
	if err != nil {
		return nil, err
	}
	var out []orgRef
	for _, m := range list {
		if !m.Holds(a.at) {
			continue
		}
		chain, err := b.Directory.OrgChain(ctx, m.Org)
		if err != nil {
			return nil, err
		}
		o := chain.Org()
		if o.Top != a.org.Org().Top || chain.Status() != directory.Active || a.app.Org != "" && o.ID != a.app.Org {
			continue
		}
		if ok, err := b.Directory.Entitled(ctx, o.ID, a.app.ID); err != nil {
			return nil, err
		} else if ok {
			out = append(out, orgRef{o.ID, o.Handle, o.Name})
		}
	}
	return out, nil
}

// emailVerified: we proved the mailbox, or the address is the person's identifier and its domain is
// verified now for the token's organization or one above it. What an organization's provider or
// administrator says of another's domain is never passed on under our signature (S9).
func (b *Broker) emailVerified(ctx context.Context, a Admission) (bool, error) {
	if !a.person.EmailProved.IsZero() {
		return true, nil
	}
	domain, ok := flows.DomainOf(a.person.Email)
	if !ok || a.person.EmailSince.IsZero() {
		return false, nil
	}
	d, found, err := b.Directory.OrgOfDomain(ctx, a.person.Realm, domain)
	return found && d.Vouches() && a.org.Has(d.Org), err
}
