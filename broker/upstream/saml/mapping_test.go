package saml

import (
	"reflect"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func one(name, value string) samltest.Attribute {
	return samltest.Attribute{Name: name, Values: []string{value}}
}

// What each product calls things (providers.md).
func TestProfilesAreFoundWithoutSettings(t *testing.T) {
	const soap, ms = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/", "http://schemas.microsoft.com/identity/claims/"
	for name, attrs := range map[string][]samltest.Attribute{
		"ours":     {one("email", "ada@acme.example"), one("firstName", "Ada"), one("lastName", "Lovelace"), one("groups", "staff")},
		"Entra ID": {one(soap+"emailaddress", "ada@acme.example"), one(soap+"givenname", "Ada"), one(soap+"surname", "Lovelace"), one(ms+"displayname", "Ada Lovelace"), one("http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "staff")},
		"OIDs":     {one("urn:oid:0.9.2342.19200300.100.1.3", "ada@acme.example"), one("urn:oid:2.5.4.42", "Ada"), one("urn:oid:2.5.4.4", "Lovelace"), one("groups", "staff")},
		"others":   {one("User.Email", "ada@acme.example"), one("first_name", "Ada"), one("last_name", "Lovelace"), one("Role", "staff")},
	} {
		w := newWorld(t)
		r := w.good()
		r.NameID = samltest.NameID{Value: "u1", Format: samltest.PersistentFormat}
		r.Attributes = attrs
		got, report, err := w.arrive(r)
		accepted(t, got, report, err)
		if got.Email != "ada@acme.example" || got.Given != "Ada" || got.Family != "Lovelace" || got.Name != "Ada Lovelace" || !reflect.DeepEqual(got.Groups, []string{"staff"}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSettingsNameAttributes(t *testing.T) {
	w := newWorld(t)
	w.cfg.Attributes = upstream.Mapping{Email: []string{"work"}, Groups: []string{"teams"}}
	r := w.good()
	r.Attributes = append(r.Attributes, one("work", "work@acme.example"), one("teams", "a"))
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	if got.Email != "work@acme.example" || got.Groups[0] != "a" {
		t.Errorf("%+v", got)
	}
	// A name that is set and not sent is not replaced by a guess.
	w = newWorld(t)
	w.cfg.Attributes = upstream.Mapping{Email: []string{"work"}}
	got, report, err = w.arrive(w.good())
	accepted(t, got, report, err)
	if got.Email != "" {
		t.Errorf("guessed %s", got.Email)
	}
}

func TestTheNameIDIsAnAddressOnlyWhereItSaysSo(t *testing.T) {
	for _, c := range []struct{ value, format, want string }{
		{"ada@acme.example", samltest.EmailFormat, "ada@acme.example"},
		{"ada@acme.example", samltest.PersistentFormat, ""},
		{"bob_gmail.com#EXT#@acme.onmicrosoft.com", samltest.EmailFormat, ""},
		{"ada", samltest.EmailFormat, ""},
	} {
		w := newWorld(t)
		r := w.good()
		r.Attributes, r.NameID = nil, samltest.NameID{Value: c.value, Format: c.format}
		got, report, err := w.arrive(r)
		accepted(t, got, report, err)
		if got.Email != c.want {
			t.Errorf("%s: %q", c.value, got.Email)
		}
	}
}

// Only the provider that is marked so vouches for addresses (S8).
func TestS8AddressesAreVouchedForByTheConnectionAlone(t *testing.T) {
	for _, authoritative := range []bool{false, true} {
		w := newWorld(t)
		w.conn.Authoritative = authoritative
		r := w.good()
		r.Attributes = append(r.Attributes, one("email_verified", "true"))
		got, report, err := w.arrive(r)
		accepted(t, got, report, err)
		if got.EmailVouched != authoritative {
			t.Errorf("authoritative %v, vouched %v", authoritative, got.EmailVouched)
		}
	}
}

// S4: the key is connection, entityID, name ID and qualifiers, byte by byte.
func TestS4TheIdentityKey(t *testing.T) {
	key := func(edit func(*world, *samltest.Response)) string {
		t.Helper()
		w := newWorld(t)
		w.conn.ID = "con_a"
		r := w.good()
		r.NameID = samltest.NameID{Value: "u1", Format: samltest.PersistentFormat}
		edit(w, &r)
		got, report, err := w.arrive(r)
		accepted(t, got, report, err)
		if got.Key.Issuer != idp || got.Key.Connection != "con_a" {
			t.Errorf("%+v", got.Key)
		}
		return got.Key.Subject + " / " + got.Key.Qualifiers
	}
	for name, c := range map[string]struct {
		edit func(*world, *samltest.Response)
		want string
	}{
		"bare":        {func(*world, *samltest.Response) {}, "u1 / "},
		"case counts": {func(_ *world, r *samltest.Response) { r.NameID.Value = "U1" }, "U1 / "},
		"defaults spelled": {func(w *world, r *samltest.Response) {
			r.NameID.NameQualifier, r.NameID.SPNameQualifier = idp, w.entityID()
		}, "u1 / "},
		"a qualifier":     {func(_ *world, r *samltest.Response) { r.NameID.NameQualifier = "a|b" }, "u1 / a%7Cb|"},
		"its twin":        {func(_ *world, r *samltest.Response) { r.NameID.NameQualifier, r.NameID.SPNameQualifier = "a", "b" }, "u1 / a|b"},
		"an SP qualifier": {func(_ *world, r *samltest.Response) { r.NameID.SPNameQualifier = "x" }, "u1 / |x"},
		"an attribute": {func(w *world, r *samltest.Response) {
			w.cfg.SubjectAttribute = "uid"
			r.Attributes = append(r.Attributes, one("uid", "u1"))
		}, "u1 / @uid"},
		"an attribute beside a transient name": {func(w *world, r *samltest.Response) {
			w.cfg.SubjectAttribute = "uid"
			r.NameID.Format = samltest.TransientFormat
			r.Attributes = append(r.Attributes, one("uid", "u1"))
		}, "u1 / @uid"},
	} {
		if got := key(c.edit); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestS4TheSubjectAttributeMustBeOne(t *testing.T) {
	for name, values := range map[string][]string{"none": nil, "empty": {""}, "two": {"a", "b"}} {
		w := newWorld(t)
		w.cfg.SubjectAttribute = "uid"
		r := w.good()
		r.Attributes = append(r.Attributes, samltest.Attribute{Name: "uid", Values: values})
		got, _, err := w.arrive(r)
		t.Log(name)
		refused(t, got, err, ErrNoSubject)
	}
	// A second name ID is one too many, even where none is asked for.
	w := newWorld(t)
	w.cfg.SubjectAttribute = "uid"
	r := w.good()
	r.Attributes = append(r.Attributes, one("uid", "a"))
	r.EditAssertion = func(a *etree.Element) { find(a, "Subject").AddChild(find(a, "NameID").Copy()) }
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrNoSubject)
	// Split over two attributes it is still two values.
	w = newWorld(t)
	w.cfg.SubjectAttribute = "uid"
	r = w.good()
	r.Attributes = append(r.Attributes, one("uid", "a"), one("uid", "b"))
	got, _, err = w.arrive(r)
	refused(t, got, err, ErrNoSubject)
}

func TestEntraMFAIsTold(t *testing.T) {
	const multiple = "http://schemas.microsoft.com/claims/multipleauthn"
	w := newWorld(t)
	r := w.good()
	r.Attributes = append(r.Attributes, samltest.Attribute{Name: authnRefs, Values: []string{"http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password", multiple}})
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	if len(got.AMR) != 2 || got.AMR[1] != multiple || got.ACR != samltest.PasswordClass {
		t.Errorf("%v %s", got.AMR, got.ACR)
	}
}

func TestClaimsAreBounded(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.Attributes = append(r.Attributes, one("long", strings.Repeat("é", 2000)), one(strings.Repeat("n", 3000), "x"))
	for i := range 100 {
		r.Attributes = append(r.Attributes, one("a"+strings.Repeat("b", i), "x"))
	}
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	if len(got.Claims) > upstream.MaxClaims {
		t.Errorf("%d claims", len(got.Claims))
	}
	for name, values := range got.Claims {
		for _, v := range append(values, name) {
			if len(v) > upstream.MaxClaimValue || !upstream.Plain(v) {
				t.Errorf("%d bytes", len(v))
			}
		}
	}
}

func TestAnAttributeWithoutANameIsRefused(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.EditAssertion = func(a *etree.Element) { find(a, "Attribute").RemoveAttr("Name") }
	got, _, err := w.arrive(r)
	refused(t, got, err, upstream.ErrMalformed)
}

func TestSeveralStatementsGiveTheStricterTimes(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SessionNotOnOrAfter = noon.Add(8 * 3600e9)
	r.EditAssertion = func(a *etree.Element) {
		s := find(a, "AuthnStatement").Copy()
		s.CreateAttr("AuthnInstant", "2026-03-04T11:00:00Z")
		s.CreateAttr("SessionNotOnOrAfter", "2026-03-04T13:00:00Z")
		s.CreateAttr("SessionIndex", "_second")
		a.AddChild(s)
	}
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	if got.AuthTime.Hour() != 11 || got.Until.Hour() != 13 || got.SID != "_session1" {
		t.Errorf("%+v", got)
	}
}
