package flows

import (
	"context"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// known answers as a directory in which one upstream account is one person's, at one organization's domain.
type known struct {
	directory.Domains
	directory.Identities
	upstream.Connections
	person directory.PersonID
}

func (k known) OrgOfDomain(context.Context, directory.RealmID, string) (directory.Domain, bool, error) {
	return directory.Domain{Org: "org_a", VerifiedAt: start}, true, nil
}

func (k known) PersonByIdentity(context.Context, directory.OrgID, directory.IdentityKey) (directory.Person, error) {
	return directory.Person{ID: k.person, Realm: "rlm_1", Home: "org_a", Source: "manual"}, nil
}

func (k known) ConnectionByID(_ context.Context, id directory.ConnectionID) (upstream.Connection, error) {
	return upstream.Connection{ID: id, Org: "org_a", Realm: "rlm_1", Status: upstream.Active}, nil
}

// In one login somebody proved themselves, and then somebody else did: the proofs of the first are not the
// second's.
func TestS2WhatSomebodyElseProvedInTheSameLoginIsForgotten(t *testing.T) {
	for _, c := range []struct {
		name   string
		before directory.PersonID
		proofs int
	}{{"the same person", "per_1", 2}, {"somebody else", "per_2", 1}, {"nobody", "", 1}} {
		k := known{person: "per_1"}
		l := &Login{Org: "org_a", Person: c.before, Arrived: &Arrived{
			Connection: "con_a", Org: "org_a", Seen: start,
			Assertion: upstream.Assertion{Key: directory.IdentityKey{Connection: "con_a", Subject: "s"}, Email: "ada@acme.example", AuthTime: start},
		}}
		if c.before != "" {
			l.Proofs = []Proof{proof("con_b", "org_a", time.Minute)}
		}
		e := &Engine{
			Judge: &Judge{Directory: &directory.Service{Domains: k, Identities: k}, Connections: k},
			Now:   func() time.Time { return start },
		}
		turn := &Turn{Engine: e, Login: l, State: State{Now: start, Org: acme()}}
		if _, err := (link{}).Ask(t.Context(), turn); err != nil {
			t.Fatal(err)
		}
		if l.Person != "per_1" || len(l.Proofs) != c.proofs || l.Arrived != nil {
			t.Errorf("%s: %s with %d proofs, want %d", c.name, l.Person, len(l.Proofs), c.proofs)
		}
	}
}
