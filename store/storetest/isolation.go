package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
)

// global names the methods that take no organization: whoever calls them has a secret or a name that is
// unique everywhere, or speaks for the platform. A method that is in neither list fails the test.
var global = map[string]string{
	"Realm": "by id", "RealmByHandle": "by name", "CreateRealm": "the platform's",
	"OrgChain": "by id; returns it", "OrgByID": "by id; returns the realm", "CreateOrg": "made in the realm it names",
	"ConnectionByID": "by id; returns the organization", "AppByID": "apps are the platform's", "AppByClientID": "apps are the platform's",
	"CreateApp": "apps are the platform's", "UpdateApp": "apps are the platform's", "SessionByToken": "by secret; returns the home",
	"TokenByCode": "by secret; returns the organization", "TokenByFamily": "by secret; returns the organization", "AccessByHash": "by secret; its claims name the organization",
	"Keys": "the platform's", "UpdateKeys": "the platform's", "EndTokensOf": "a key signs for everybody",
	"Clock": "", "Others": "the platform's", "Hold": "the platform's", "SecretNamed": "the platform's",
	"Record": "names its organization", "SaveTrace": "names its organization", "TraceByCode": "by what was read out; returns the organization",
	"Enqueue": "names its organization", "LeaseJobs": "the platform's", "RetryJob": "by lease", "FinishJob": "by lease", "PostponeJobs": "the platform's",
	"Charge":           "keys are keyed hashes of whose they are",
	"ClaimRevocations": "the platform's", "KeepRevocation": "by claim", "FinishRevocation": "by claim",
	"SessionsWith": "apps are the platform's", "RevokeTokensFor": "apps are the platform's",
	"CreateRegistrationToken": "the platform's", "RegistrationToken": "by secret", "UseRegistrationToken": "by secret",
	"RegistrationTokenList": "the platform's", "RemoveRegistrationToken": "the platform's",
	"RealmList": "the platform's: for export", "AppList": "apps are the platform's",
	"InTx": "", "Revision": "", "Brief": "", "Counter": "", "PolicyDoc": "names its level", "PutPolicyDoc": "names its level",
	"PutPolicyChange": "names its level", "PolicyChanges": "names its level", "PolicyDocsAfter": "the platform's",
}

// isolation walks every method of every interface: what one organization (or realm) may do with its own
// things, another gets nothing of and changes nothing in (S26).
func isolation(t *testing.T, w *World) {
	for _, v := range []Tenant{w.acme, w.mex, w.emea} {
		ok(t, w.Enqueue(w.ctx, w.job(v.Org.ID, "host")))
	}
	for _, pair := range []struct {
		name            string
		owner, stranger Tenant
	}{
		{"a sibling", w.acme, w.mex}, {"the sibling back", w.mex, w.acme},
		{"another realm", w.acme, w.emea}, {"the other realm back", w.emea, w.acme},
	} {
		before := fmt.Sprintf("%+v", w.everything(t, pair.owner))
		probes := w.probes(pair.owner, pair.stranger)
		for name, probe := range probes {
			if leak := probe(); leak != "" {
				t.Errorf("%s, %s: %s", pair.name, name, leak)
			}
		}
		if after := fmt.Sprintf("%+v", w.everything(t, pair.owner)); after != before {
			t.Errorf("%s changed something:\n  %s\n  %s", pair.name, before, after)
		}
		everyMethodIsWalked(t, probes)
	}
}

func everyMethodIsWalked(t *testing.T, probes map[string]func() string) {
	all := reflect.TypeFor[Store]()
	for i := range all.NumMethod() {
		name := all.Method(i).Name
		_, probed := probes[name]
		if _, free := global[name]; !probed && !free {
			t.Errorf("no probe for %s: add one in storetest", name)
		}
	}
}

// everything is all that a tenant can see of its own.
func (w *World) everything(t *testing.T, v Tenant) []any {
	var seen []any
	add := func(x any, err error) { ok(t, err); seen = append(seen, x) }
	add(w.OrgChain(w.ctx, v.Org.ID))
	add(w.DomainsOf(w.ctx, v.Org.ID))
	p, m, err := w.Person(w.ctx, v.Org.ID, v.Person.ID)
	add([]any{p, m}, err)
	add(w.IdentifiersOf(w.ctx, v.Org.ID, v.Person.ID))
	add(w.MembershipsOf(w.ctx, v.Realm.ID, v.Person.ID))
	add(w.IdentitiesOf(w.ctx, v.Realm.ID, v.Person.ID))
	add(w.Entitled(w.ctx, v.Org.ID, v.App.ID))
	add(w.ConnectionsFor(w.ctx, v.Org.ID))
	add(w.SessionByToken(w.ctx, v.Session.TokenHash))
	add(w.AppsOf(w.ctx, v.Org.ID, v.Session.ID))
	add(w.Token(w.ctx, v.Org.ID, v.Grant.ID))
	add(w.AccessByHash(w.ctx, v.Opaque.Hash))
	add(w.CalledBack(w.ctx, v.Org.ID, "jti-"+v.Org.Handle))
	add(w.Theme(w.ctx, v.Org.ID))
	add(w.PeopleByIdentifier(w.ctx, v.Realm.ID, "email", v.Person.Email))
	add(w.FlowHead(w.ctx, v.Org.ID))
	add(w.FlowVersions(w.ctx, v.Org.ID, 10))
	add(w.TermsAccepted(w.ctx, v.Org.ID, v.Person.ID))
	add(w.PasswordOf(w.ctx, v.Org.ID, v.Person.ID))
	add(w.EarlierPasswords(w.ctx, v.Org.ID, v.Person.ID, 10))
	add(w.ConsentsOf(w.ctx, v.Org.ID, v.Person.ID))
	add(w.EnrollmentsOf(w.ctx, v.Org.ID, v.Person.ID))
	add(w.Deliveries(w.ctx, string(v.Org.ID), delivery.Query{Most: 100}))
	return seen
}

// probes try every method as the stranger on what is the owner's. Each says what leaked.
func (w *World) probes(o, s Tenant) map[string]func() string {
	ctx, now := w.ctx, w.clock.Now()
	stranger, strangeRealm := s.Org.ID, s.Realm.ID
	otherRealm := o.Realm.ID != s.Realm.ID
	return map[string]func() string{
		"FlowHead": func() string {
			h, err := w.FlowHead(ctx, stranger)
			return leak(err, slices.Contains(h.Testers, o.Person.ID), h)
		},
		"PutFlowHead": func() string {
			return refused(w.PutFlowHead(ctx, stranger, flows.FlowHead{Latest: 9, Version: 99}), directory.ErrMoved)
		},
		"PutFlowVersion": func() string {
			return refused(w.PutFlowVersion(ctx, stranger, flows.FlowVersion{Version: 1, At: now, Doc: []byte("{}")}), directory.ErrMoved)
		},
		"FlowVersion": func() string {
			v, err := w.FlowVersion(ctx, stranger, 1)
			return leak(err, v.Actor.ID == o.Org.Handle, v)
		},
		"FlowVersions": func() string {
			list, err := w.FlowVersions(ctx, stranger, 10)
			return leak(err, slices.ContainsFunc(list, func(v flows.FlowVersion) bool { return v.Actor.ID == o.Org.Handle }), list)
		},
		"TermsAccepted": func() string {
			list, err := w.TermsAccepted(ctx, stranger, o.Person.ID)
			return leak(err, len(list) > 0, list)
		},
		"AcceptTerms": func() string {
			return refused(w.AcceptTerms(ctx, stranger, o.Person.ID, flows.Acceptance{Org: stranger, Version: "x", At: now}), directory.ErrPersonNotFound)
		},
		"CountSMS": func() string {
			before, _, err := w.SMSShare(ctx, string(o.Org.ID), now, now.Add(time.Hour))
			if err == nil {
				err = w.CountSMS(ctx, string(stranger), now, 1, 1)
			}
			if err != nil {
				return err.Error()
			}
			after, _, err := w.SMSShare(ctx, string(o.Org.ID), now, now.Add(time.Hour))
			return leak(err, after != before, after)
		},
		"SMSShare": func() string {
			before, _, err := w.SMSShare(ctx, string(stranger), now, now.Add(time.Hour))
			if err == nil {
				err = w.CountSMS(ctx, string(o.Org.ID), now, 7, 7)
			}
			if err != nil {
				return err.Error()
			}
			after, _, err := w.SMSShare(ctx, string(stranger), now, now.Add(time.Hour))
			return leak(err, after != before, after)
		},
		"OrgByHandle": func() string {
			id, err := w.OrgByHandle(ctx, strangeRealm, o.Org.Handle)
			return leak(err, otherRealm && id != "", id)
		},
		"MembersWithout": func() string {
			n, err := w.MembersWithout(ctx, stranger, now, nil, false)
			if err != nil {
				return err.Error()
			}
			both, err := w.MembersWithout(ctx, o.Org.ID, now, nil, false)
			return leak(err, n != 1 || both != 1, n) // each its own
		},
		"SessionsOver": func() string {
			before, err := w.SessionsOver(ctx, o.Org.ID, over(now))
			if err != nil || before != 1 {
				return fmt.Sprint("the owner counts ", before, err)
			}
			n, err := w.SessionsOver(ctx, stranger, over(now))
			return leak(err, n != 1, n) // its own, and no more
		},
		"OrgList": func() string {
			list, err := w.OrgList(ctx, strangeRealm)
			return leak(err, otherRealm && contains(list, o.Org.ID), list)
		},
		"EntitlementList": func() string {
			list, err := w.EntitlementList(ctx, stranger)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"PeopleAt": func() string {
			list, err := w.PeopleAt(ctx, stranger, "", 100)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"Children": func() string {
			list, err := w.Children(ctx, stranger)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"UpdateOrg": func() string { return "" }, // changes the organization it names
		"OrgOfDomain": func() string {
			d, found, err := w.OrgOfDomain(ctx, strangeRealm, o.Org.Handle+".example")
			return leak(err, otherRealm && found && d.Org == o.Org.ID, d)
		},
		"DomainsOf": func() string {
			list, err := w.DomainsOf(ctx, stranger)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"PutDomain": func() string {
			err := w.PutDomain(ctx, stranger, directory.Domain{Name: o.Org.Handle + ".example", VerifiedAt: now, Org: o.Org.ID, Realm: o.Realm.ID})
			if otherRealm {
				return leak(err, false, nil)
			}
			return refused(err, directory.ErrDomainTaken)
		},
		"ReleaseDomain": func() string { return leak(w.ReleaseDomain(ctx, stranger, o.Org.Handle+".example"), false, nil) },
		"Person": func() string {
			_, _, err := w.Person(ctx, stranger, o.Person.ID)
			return refused(err, directory.ErrPersonNotFound)
		},
		"PersonInRealm": func() string {
			_, err := w.PersonInRealm(ctx, strangeRealm, o.Person.ID)
			if !otherRealm {
				return ""
			}
			return refused(err, directory.ErrPersonNotFound)
		},
		"PersonByIdentifier": func() string {
			_, err := w.PersonByIdentifier(ctx, stranger, "email", o.Person.Email)
			if !otherRealm {
				return "" // identifiers of this realm are unique in the whole of it
			}
			return refused(err, directory.ErrPersonNotFound)
		},
		"CreatePerson": func() string {
			err := w.CreatePerson(ctx, stranger, directory.Person{ID: o.Person.ID, Realm: o.Realm.ID, Home: o.Org.ID, Name: "Mallory"}, nil)
			return refused(err, nil)
		},
		"UpdatePerson": func() string {
			return refused(w.UpdatePerson(ctx, stranger, o.Person.ID, func(p *directory.Person) error { p.Name = "Mallory"; return nil }), directory.ErrPersonNotFound)
		},
		"PeopleByIdentifier": func() string {
			list, err := w.PeopleByIdentifier(ctx, strangeRealm, "email", o.Person.Email)
			return leak(err, otherRealm && len(list) > 0, list)
		},
		"PasswordOf": func() string {
			p, err := w.PasswordOf(ctx, stranger, o.Person.ID)
			return leak(err, p != directory.Password{}, p)
		},
		"EarlierPasswords": func() string {
			list, err := w.EarlierPasswords(ctx, stranger, o.Person.ID, 10)
			return leak(err, len(list) > 0, list)
		},
		"PutPassword": func() string {
			return refused(w.PutPassword(ctx, stranger, o.Person.ID, directory.Password{ID: "pwd_mallory", Hash: "x", Set: now, Source: directory.Imported}, 5), directory.ErrPersonNotFound)
		},
		"RehashPassword": func() string {
			return refused(w.RehashPassword(ctx, stranger, o.Person.ID, directory.PasswordID("pwd_"+o.Org.Handle), "x"), directory.ErrPasswordMoved)
		},
		"Guess": func() string {
			b, who := flows.Bucket{Most: 1, For: time.Hour}, "who-"+string(o.Org.ID)+string(s.Org.ID)
			if _, err := w.Guess(ctx, strangeRealm, who, now, b); err != nil {
				return err.Error()
			}
			wait, err := w.Guess(ctx, o.Realm.ID, who, now, b)
			return leak(err, otherRealm && wait > 0, wait)
		},
		"Forgive": func() string {
			return leak(w.Forgive(ctx, strangeRealm, "nobody", now, flows.Bucket{Most: 1, For: time.Hour}), false, nil)
		},
		"IdentifiersOf": func() string {
			list, err := w.IdentifiersOf(ctx, stranger, o.Person.ID)
			return leak(err, len(list) > 0, list)
		},
		"MembershipsOf": func() string {
			list, err := w.MembershipsOf(ctx, strangeRealm, o.Person.ID)
			return leak(err, otherRealm && len(list) > 0, list)
		},
		"PutMembership": func() string {
			if !otherRealm {
				return "" // a guest of the same realm; whether it may be is the directory's to say
			}
			return refused(w.PutMembership(ctx, stranger, directory.Membership{Org: o.Org.ID, Person: o.Person.ID}), directory.ErrPersonNotFound)
		},
		"RemoveMembership": func() string { return leak(w.RemoveMembership(ctx, stranger, o.Person.ID), false, nil) },
		"PersonByIdentity": func() string {
			_, err := w.PersonByIdentity(ctx, stranger, o.Key)
			return refused(err, directory.ErrPersonNotFound)
		},
		"LinkIdentity": func() string {
			key := o.Key
			key.Subject = "sub-2"
			return refused(w.LinkIdentity(ctx, stranger, directory.Identity{Key: key, Org: o.Org.ID, Person: s.Person.ID}), upstream.ErrConnectionNotFound)
		},
		"IdentitiesOf": func() string {
			list, err := w.IdentitiesOf(ctx, strangeRealm, o.Person.ID)
			return leak(err, otherRealm && len(list) > 0, list)
		},
		"EnrollmentsOf": func() string {
			list, err := w.EnrollmentsOf(ctx, stranger, o.Person.ID)
			return leak(err, len(list) > 0, list)
		},
		"AddEnrollment": func() string {
			return refused(w.AddEnrollment(ctx, stranger, mfa.Enrollment{ID: "fac_probe", Home: o.Org.ID, Realm: o.Realm.ID, Person: o.Person.ID, Method: "totp", Public: []byte("{}")}), directory.ErrPersonNotFound)
		},
		"UpdateEnrollment": func() string {
			return refused(w.UpdateEnrollment(ctx, stranger, o.Factor.ID, func(e *mfa.Enrollment) error { e.Label = "Mallory's"; return nil }), mfa.ErrNotFound)
		},
		"RemoveEnrollment": func() string { return refused(w.RemoveEnrollment(ctx, stranger, o.Factor.ID), mfa.ErrNotFound) },
		"EnrollmentByHandle": func() string {
			if !otherRealm {
				return ""
			}
			_, err := w.EnrollmentByHandle(ctx, strangeRealm, o.Factor.Handle)
			return refused(err, mfa.ErrNotFound)
		},
		"CountTry":      func() string { return "" }, // counts under the organization it names; see tries
		"ForgiveTry":    func() string { return leak(w.ForgiveTry(ctx, stranger, o.Person.ID, "totp", now), false, nil) },
		"TouchIdentity": func() string { return refused(w.TouchIdentity(ctx, stranger, o.Key, now), directory.ErrPersonNotFound) },
		"Footing": func() string {
			var f broker.Footing
			err := w.InTx(ctx, func(ctx context.Context) (err error) {
				f, err = w.Footing(ctx, stranger, o.Person.ID, stranger, o.Session.ID)
				return err
			})
			return leak(err, f.Person != 0 || f.Session != 0, f)
		},
		"Entitled": func() string {
			yes, err := w.Entitled(ctx, stranger, o.App.ID)
			return leak(err, yes, o.App.ID)
		},
		"PutEntitlement": func() string {
			return leak(w.PutEntitlement(ctx, stranger, directory.Entitlement{Org: o.Org.ID, App: "app_x"}), false, nil)
		},
		"RemoveEntitlement": func() string { return leak(w.RemoveEntitlement(ctx, stranger, o.App.ID), false, nil) },
		"ConnectionsFor": func() string {
			list, err := w.ConnectionsFor(ctx, stranger)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"CreateConnection": func() string {
			c := o.Connection
			return refused(w.CreateConnection(ctx, stranger, c), nil) // an id that is in use
		},
		"UpdateConnection": func() string {
			return refused(w.UpdateConnection(ctx, stranger, o.Connection.ID, func(c *upstream.Connection) error { c.Name = "Mallory"; return nil }), upstream.ErrConnectionNotFound)
		},
		"Spend": func() string {
			ok := w.Spend(ctx, stranger, "walk by "+s.Org.Handle, string(o.Org.ID), now)
			return leak(errors.Join(ok, w.Spend(ctx, o.Org.ID, "walk by "+s.Org.Handle, string(stranger), now)), false, nil)
		},
		"CreateSession": func() string { return refused(w.CreateSession(ctx, stranger, o.Session), nil) },
		"Session": func() string {
			_, err := w.Session(ctx, stranger, o.Session.ID)
			return refused(err, broker.ErrSessionNotFound)
		},
		"UpdateSession": func() string {
			return refused(w.UpdateSession(ctx, stranger, o.Session.ID, func(v *broker.Session) error { v.Ended = now; return nil }), broker.ErrSessionNotFound)
		},
		"MarkApp": func() string {
			_, err := w.MarkApp(ctx, stranger, o.Session.ID, broker.AppMark{App: s.App.ID, Org: stranger, SID: "x"})
			return refused(err, broker.ErrSessionNotFound)
		},
		"AppsOf": func() string {
			list, err := w.AppsOf(ctx, stranger, o.Session.ID)
			return leak(err, len(list) > 0, list)
		},
		"CreateToken": func() string { return refused(w.CreateToken(ctx, stranger, o.Grant), broker.ErrCodeUsed) },
		"Token": func() string {
			_, err := w.Token(ctx, stranger, o.Grant.ID)
			return refused(err, broker.ErrGrantNotFound)
		},
		"RevokeToken": func() string {
			_, err := w.RevokeToken(ctx, stranger, o.Grant.ID, now, "x")
			return refused(err, broker.ErrGrantNotFound)
		},
		"RotateRefresh": func() string {
			did, err := w.RotateRefresh(ctx, stranger, o.Grant.ID, o.Grant.Refresh.Hash, broker.Refresh{Hash: hash("stolen"), At: now})
			return leak(err, did, "the family")
		},
		"PutAccess": func() string {
			if err := w.PutAccess(ctx, stranger, o.Opaque); err == nil {
				return "a token took the place of another's"
			}
			return ""
		},
		"DropAccess": func() string { return leak(w.DropAccess(ctx, stranger, o.Opaque.Hash), false, nil) },
		"CallBack": func() string {
			return leak(w.CallBack(ctx, stranger, "jti-"+o.Org.Handle, now.Add(time.Hour)), false, nil)
		},
		"CalledBack": func() string {
			if err := w.CallBack(ctx, o.Org.ID, "called back by "+o.Org.Handle, now.Add(time.Hour)); err != nil {
				return err.Error()
			}
			back, err := w.CalledBack(ctx, stranger, "called back by "+o.Org.Handle)
			return leak(err, back, back)
		},
		"RevokeTokensOf": func() string {
			if !otherRealm {
				return ""
			}
			return leak(w.RevokeTokensOf(ctx, strangeRealm, o.Session.ID, "", now, "x"), false, nil)
		},
		"EndApps": func() string {
			list, err := w.EndApps(ctx, stranger, o.Session.ID, broker.Part{Before: now.Add(time.Hour), At: now})
			return leak(err, len(list) > 0, list)
		},
		"SessionsFrom": func() string {
			list, err := w.SessionsFrom(ctx, stranger, broker.SessionRef{}, 100)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"SessionsIn": func() string {
			list, err := w.SessionsIn(ctx, stranger, "", 100)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"SessionsOf": func() string {
			list, err := w.SessionsOf(ctx, stranger, o.Person.ID)
			return leak(err, len(list) > 0, list)
		},
		"RevokeTokensIn": func() string {
			n, err := w.RevokeTokensIn(ctx, stranger, o.Person.ID, broker.Part{Before: now.Add(time.Hour), At: now}, 100)
			return leak(err, n > 0, n)
		},
		"OrgsBelow": func() string {
			list, err := w.OrgsBelow(ctx, stranger)
			return leak(err, contains(list, o.Org.ID), list)
		},
		"Revoke": func() string { return "" }, // an order speaks of the organization it names
		"Consent": func() string {
			_, err := w.Consent(ctx, stranger, o.Person.ID, o.App.ID)
			return refused(err, broker.ErrConsentNotFound)
		},
		"ConsentsOf": func() string {
			list, err := w.ConsentsOf(ctx, stranger, o.Person.ID)
			return leak(err, len(list) > 0, list)
		},
		"PutConsent": func() string {
			return refused(w.PutConsent(ctx, stranger, broker.Consent{Org: o.Org.ID, Person: o.Person.ID, App: o.App.ID, Scope: []string{"everything"}, Since: now}), directory.ErrPersonNotFound)
		},
		"RemoveConsent": func() string {
			return refused(w.RemoveConsent(ctx, stranger, o.Person.ID, o.App.ID), broker.ErrConsentNotFound)
		},
		"RevokeConsented": func() string {
			return leak(w.RevokeConsented(ctx, stranger, o.Person.ID, o.App.ID, now, "x"), false, nil)
		},
		"Deliveries": func() string {
			list, err := w.Deliveries(ctx, string(stranger), delivery.Query{Most: 100})
			return leak(err, contains(list, o.Org.ID), list)
		},
		"Theme": func() string {
			v, err := w.Theme(ctx, stranger)
			return leak(err, strings.Contains(fmt.Sprint(v), o.Org.Handle), v)
		},
		"PutTheme": func() string {
			v, err := w.Theme(ctx, stranger)
			if err == nil {
				v.Help = "https://" + s.Org.Handle + ".example"
				err = w.PutTheme(ctx, stranger, v)
			}
			return leak(err, false, nil)
		},
	}
}

// leak says what a call gave away; its error must be none or a "not found".
func leak(err error, leaked bool, what any) string {
	if err != nil && fault.Of(err).Kind != fault.NotFound {
		return err.Error()
	}
	if leaked {
		return fmt.Sprintf("gives away %+v", what)
	}
	return ""
}

// refused says that a call which must fail did not; want nil accepts any failure.
func refused(err, want error) string {
	if err == nil || want != nil && !errors.Is(err, want) {
		return fmt.Sprintf("answered %v, must answer %v", err, want)
	}
	return ""
}

func contains[T any](list []T, org directory.OrgID) bool {
	return strings.Contains(fmt.Sprintf("%+v", list), string(org))
}
