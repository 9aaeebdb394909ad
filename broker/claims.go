package broker

import (
	"context"
	"slices"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

// orgRef is an ancestor in org_path.
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

// personClaims are what an app learns about a person (OpenID Connect Core section 5.1), by scope.
type personClaims struct {
	Name          string `json:"name,omitempty"`
	GivenName     string `json:"given_name,omitempty"`
	FamilyName    string `json:"family_name,omitempty"`
	Locale        string `json:"locale,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`
	OrgName       string `json:"org_name,omitempty"`
}

func orgClaimsOf(a Admission, scope []string) orgClaims {
	o := a.org.Org()
	c := orgClaims{OrgID: o.ID, OrgHandle: o.Handle, Realm: o.Realm}
	if slices.Contains(scope, scopePath) {
		for _, up := range a.org {
			c.OrgPath = append(c.OrgPath, orgRef{up.ID, up.Handle, up.Name})
		}
	}
	return c
}

func (b *Broker) personClaims(ctx context.Context, a Admission, scope []string) (personClaims, error) {
	c := personClaims{OrgName: a.org.Org().Name}
	if slices.Contains(scope, scopeProfile) {
		c.Name, c.GivenName, c.FamilyName, c.Locale = a.person.Name, a.person.Given, a.person.Family, a.person.Locale
	}
	if !slices.Contains(scope, scopeEmail) || a.person.Email == "" {
		return c, nil
	}
	verified, err := b.emailVerified(ctx, a)
	if err != nil {
		return c, err
	}
	if verified || a.app.AnyEmail {
		c.Email, c.EmailVerified = a.person.Email, &verified
	}
	return c, nil
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
