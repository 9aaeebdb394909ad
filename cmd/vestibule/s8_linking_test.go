package main

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// account makes somebody at home in an organization, with an address that identifies them since then.
func (w *world) account(home directory.OrgID, email string, since time.Time) directory.PersonID {
	w.t.Helper()
	p := directory.Person{
		ID: directory.NewPersonID(w.clock.now()), Realm: w.main, Home: home, Name: "Known before", Email: email,
		EmailSince: since, Status: directory.Active, Source: "manual", CreatedAt: w.clock.now(),
	}
	w.must(w.h.directory.AddPerson(w.t.Context(), operator, p, []directory.Identifier{{Kind: "email", Value: email, VerifiedAt: since}}))
	return p.ID
}

// by signs in to the company by its own connection, where its organization has several.
func (b *browser) by(w *world, c company) *page {
	b.t.Helper()
	p := b.authorize(w, w.request(in(c.org)))
	for _, f := range forms(p) {
		if strings.HasSuffix(f.action, "/choose") {
			f.values.Set("connection", string(c.con.ID))
			return b.follow(b.send(http.MethodPost, w.url+f.action, f.values, false))
		}
	}
	return p
}

// whoIs signs a new browser in through the company and gives the person.
func (w *world) whoIs(c company) string {
	w.t.Helper()
	sub, _ := claims(w.t, newBrowser(w.t).signIn(w, in(c.org)).ID)["sub"].(string)
	return sub
}

func TestS8AVouchedAddressLinksInSilenceToAnAccountAtHome(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	known := w.account(c.org, "ada@acme.example", w.clock.now())
	if got := w.whoIs(c); got != string(known) {
		t.Errorf("signed in as %s, not as the account that was there", got)
	}
	if got := w.whoIs(c); got != string(known) {
		t.Errorf("the second time signed in as %s", got)
	}
}

// Every condition of silent linking, taken away one at a time: the account that was there is not touched.
func TestS8NothingLinksWhenOneConditionIsMissing(t *testing.T) {
	for name, bend := range map[string]func(w *world, c company) directory.PersonID{
		"the provider does not vouch": func(w *world, c company) directory.PersonID {
			c.idp.SetMisbehavior("unverified-email")
			return w.account(c.org, "ada@acme.example", w.clock.now())
		},
		"the account is at home elsewhere": func(w *world, c company) directory.PersonID {
			return w.account(w.addOrg("elsewhere", ""), "ada@acme.example", w.clock.now())
		},
		"the account is at home above": func(w *world, c company) directory.PersonID {
			chain, err := w.h.directory.OrgChain(w.t.Context(), c.org)
			w.must(err)
			return w.account(chain[0].ID, "ada@acme.example", w.clock.now())
		},
		"the account's address was verified before the domain was": func(w *world, c company) directory.PersonID {
			return w.account(c.org, "ada@acme.example", w.clock.now().Add(-time.Hour))
		},
		"the account's address was never verified": func(w *world, c company) directory.PersonID {
			return w.account(c.org, "ada@acme.example", time.Time{})
		},
		"an identity comes from another organization": func(w *world, c company) directory.PersonID {
			p := w.account(c.org, "ada@acme.example", w.clock.now())
			rogue := w.addOIDC("rogue", nil)
			w.link(rogue, "prepared", p)
			return p
		},
		"an identity comes from before the address was verified": func(w *world, c company) directory.PersonID {
			since := w.clock.now().Add(time.Minute)
			p := w.account(c.org, "ada@acme.example", since)
			other := w.connectOIDC(c.org, "acme2", nil)
			w.link(other, "prepared", p)
			w.clock.pass(2 * time.Minute)
			return p
		},
		"the same provider knows the account under another subject": func(w *world, c company) directory.PersonID {
			p := w.account(c.org, "ada@acme.example", w.clock.now())
			w.link(c, "who-had-this-address-before", p)
			return p
		},
		"the account has another address now": func(w *world, c company) directory.PersonID {
			p := w.account(c.org, "ada@acme.example", w.clock.now())
			w.must(w.h.directory.UpdatePerson(w.t.Context(), c.org, p, func(q *directory.Person) error {
				q.Email, q.EmailSince = "ada.lovelace@acme.example", time.Time{}
				return nil
			}))
			return p
		},
		"a factor comes from before the address was verified": func(w *world, c company) directory.PersonID {
			since := w.clock.now().Add(time.Minute)
			p := w.account(c.org, "ada@acme.example", since)
			w.enrolled(c.org, c.org, p)
			w.clock.pass(2 * time.Minute)
			return p
		},
		"a password comes from before the address was verified": func(w *world, c company) directory.PersonID {
			p := w.account(c.org, "ada@acme.example", w.clock.now().Add(time.Minute))
			hash, err := bcrypt.GenerateFromPassword([]byte("whoever made this account knows it"), bcrypt.MinCost)
			w.must(err)
			w.must(w.h.directory.SetPassword(w.t.Context(), operator, c.org, p, directory.NewPassword{Hash: string(hash), Source: directory.Imported}))
			w.clock.pass(2 * time.Minute)
			return p
		},
		"a factor comes from another organization": func(w *world, c company) directory.PersonID {
			p := w.account(c.org, "ada@acme.example", w.clock.now())
			w.enrolled(c.org, w.addOrg("rogue", ""), p)
			return p
		},
		"the domain's proof is doubtful": func(w *world, c company) directory.PersonID {
			p := w.account(c.org, "ada@acme.example", w.clock.now())
			w.domain(c, func(d *directory.Domain) { d.Doubtful = true })
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.connectOIDC(w.addOrg("acme", w.addOrg("group", "")), "acme", nil)
			known := bend(w, c)
			p := newBrowser(t).by(w, c)
			found, err := w.h.directory.PersonByIdentity(t.Context(), c.org, directory.IdentityKey{Connection: c.con.ID, Issuer: c.con.Issuer, Subject: "acme-1"})
			if err == nil && found.ID == known {
				t.Fatal("the account was linked")
			}
			if err != nil && !errors.Is(err, directory.ErrPersonNotFound) {
				t.Fatal(err)
			}
			if err == nil && !found.EmailSince.IsZero() {
				t.Errorf("the new account was given an address that identifies somebody else, since %v", found.EmailSince)
			}
			if arrived := p.sent() != ""; arrived != (err == nil) {
				t.Errorf("a code: %v, an account: %v", arrived, err)
			}
		})
	}
}

// enrolled gives somebody a second step that counts in an organization.
func (w *world) enrolled(home, org directory.OrgID, p directory.PersonID) {
	w.t.Helper()
	w.must(w.h.store.AddEnrollment(w.t.Context(), home, mfa.Enrollment{
		ID: directory.NewFactorID(w.clock.now()), Person: p, Org: org, Method: policy.TOTP, Secret: []byte("secret"), Public: []byte("{}"), CreatedAt: w.clock.now(),
	}))
}

// domain changes the claim of a company's domain.
func (w *world) domain(c company, change func(*directory.Domain)) {
	w.t.Helper()
	list, err := w.h.directory.DomainsOf(w.t.Context(), c.org)
	w.must(err)
	change(&list[0])
	w.must(w.h.directory.PutDomain(w.t.Context(), c.org, list[0]))
}

// The squatter: somebody else's address, asserted by an organization that does not own its domain, makes
// no account that the real person could ever meet.
func TestS8NobodySquatsAnAddressOfAnothersDomain(t *testing.T) {
	for _, guests := range []bool{false, true} {
		for _, early := range []bool{true, false} {
			w := newWorld(t)
			rogue := w.addOIDC("rogue", func(c *upstream.Connection, _ *oidc.Config) { c.Guests, c.Authoritative = guests, true })
			var bank company
			if !early {
				bank = w.addOIDC("bank", nil)
			}
			rogue.people("r-1", "ada@bank.example")
			first := newBrowser(t).authorize(w, w.request(in(rogue.org)))
			if !early && first.sent() != "" {
				t.Errorf("guests %v: an account with an address at another organization's domain", guests)
			}
			if early {
				w.clock.pass(time.Minute)
				bank = w.addOIDC("bank", nil)
			}
			real := w.whoIs(bank)
			p, err := w.h.directory.PersonInRealm(t.Context(), w.main, directory.PersonID(real))
			w.must(err)
			ids, err := w.h.directory.IdentitiesOf(t.Context(), w.main, p.ID)
			w.must(err)
			if p.Home != bank.org || len(ids) != 1 || p.EmailSince.IsZero() {
				t.Errorf("guests %v, early %v: the real person is %+v with %d identities", guests, early, p, len(ids))
			}
			// Once the domain is the bank's, Rogue's provider speaks for nobody at it, known or not.
			if newBrowser(t).authorize(w, w.request(in(rogue.org))).sent() != "" {
				t.Errorf("guests %v, early %v: Rogue's provider still signs in with an address of the bank", guests, early)
			}
		}
	}
}

// Suspended at home is suspended, by whatever way one arrives.
func TestS8ASuspendedPersonIsNotMadeAnew(t *testing.T) {
	for name, next := range map[string]func(w *world, c company) company{
		"another connection of the organization": func(w *world, c company) company {
			second := w.connectOIDC(c.org, "acme2", nil)
			second.people("second-ada", "ada@acme.example")
			return second
		},
		"another subject at the same provider": func(w *world, c company) company {
			c.people("acme-2", "ada@acme.example")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.addOIDC("acme", nil)
			w.whoIs(c)
			w.must(w.h.directory.SetPersonStatus(t.Context(), operator, c.org, w.person(c, "acme-1").ID, directory.Suspended))
			d := next(w, c)
			if newBrowser(t).by(w, d).sent() != "" {
				t.Error("a suspended person signed in as somebody new")
			}
		})
	}
}

// The identity key is compared byte by byte, and never is an address (S4).
func TestS4AnIdentityIsConnectionIssuerAndSubjectByteByByte(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.people("Ada", "ada@acme.example")
	first := w.whoIs(c)
	for _, subject := range []string{"ada", "Ada ", "ADA", "Àda", "Ada\u200b"} {
		c.people(subject, "someone-"+url.QueryEscape(subject)+"@acme.example")
		if got := w.whoIs(c); got == first {
			t.Errorf("%q is Ada", subject)
		}
	}
	c.people("Ada", "renamed@acme.example")
	if got := w.whoIs(c); got != first {
		t.Error("another address made Ada somebody else")
	}
	// The same subject at another organization is somebody else.
	d := w.addOIDC("other", nil)
	d.people("Ada", "ada@other.example")
	if got := w.whoIs(d); got == first {
		t.Error("a subject of another connection is Ada")
	}
}

func TestS4IssuerAndSubjectSourceOfAConnectionInUseAreImmutable(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	w.whoIs(c)
	err := w.h.connections.Update(t.Context(), operator, c.org, c.con.ID, func(x *upstream.Connection) error {
		x.Issuer = "https://elsewhere.example"
		return nil
	})
	if !errors.Is(err, upstream.ErrImmutable) {
		t.Errorf("the issuer of a connection in use was changed: %v", err)
	}
	err = w.h.connections.Update(t.Context(), operator, c.org, c.con.ID, func(x *upstream.Connection) error {
		x.Config = encode(t, oidc.Config{ClientID: "vestibule", SubjectClaim: "email"})
		return nil
	})
	if err == nil {
		t.Error("the subject's source of a connection in use was changed")
	}
}

// Signing in again carries what the provider says, and an address that moved identifies nobody: whoever
// is given the old one later is somebody else.
func TestS8AnAddressThatIsGivenToSomebodyElseDoesNotGiveThemTheAccount(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.people("first", "alice@acme.example")
	first := w.whoIs(c)
	c.people("first", "alice.smith@acme.example")
	w.whoIs(c)
	c.people("second", "alice@acme.example")
	if got := w.whoIs(c); got == first {
		t.Error("the new colleague has the account of the former owner of the address")
	}
	c.people("third", "bob@acme.example")
	bob := w.whoIs(c)
	c.people("fourth", "bob@acme.example") // he left; his successor gets his address
	if got := w.whoIs(c); got == bob {
		t.Error("the successor has the predecessor's account")
	}
}

// A doubtful domain goes on signing its people in, and makes and links nobody (S10).
func TestS8ADoubtfulDomainRoutesAndMakesNobody(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	first := w.whoIs(c)
	w.domain(c, func(d *directory.Domain) { d.Doubtful = true })
	tok := newBrowser(t).signIn(w, in(c.org))
	if got := claims(t, tok.ID); got["sub"] != first || got["email_verified"] == true {
		t.Errorf("a known person at a doubtful domain: %v", got)
	}
	c.people("new", "new@acme.example")
	if newBrowser(t).authorize(w, w.request(in(c.org))).sent() != "" {
		t.Error("a doubtful domain made an account")
	}
}

// Asked twice at once, the same stranger becomes one person.
func TestS8TheSameStrangerTwiceAtOnceIsOnePerson(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	const many = 8
	subs := make(chan string, many)
	answers := make([]*page, many)
	browsers := make([]*browser, many)
	for i := range many {
		browsers[i] = newBrowser(t)
		answers[i] = browsers[i].atProvider(w, browsers[i].depart(w, w.request(in(c.org))))
	}
	for i := range many {
		go func() {
			p := browsers[i].follow(browsers[i].deliver(answers[i]))
			subs <- p.sent()
		}()
	}
	for range many {
		if <-subs == "" {
			t.Error("one of them was refused")
		}
	}
	found, err := w.h.directory.PersonByIdentifier(t.Context(), c.org, "email", "ada@acme.example")
	w.must(err)
	if found.ID != w.person(c, "acme-1").ID {
		t.Errorf("two people: %s and %s", found.ID, w.person(c, "acme-1").ID)
	}
}
