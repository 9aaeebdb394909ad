package saml

// The assertion: SAML Profiles section 4.1.4.3, and what is stricter here.

import (
	"context"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

const (
	cmBearer        = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	formatTransient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	formatEmail     = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"

	maxID   = 256
	maxName = 1024
)

// assertion judges what a key of the connection vouched for.
func (j *judge) assertion(ctx context.Context, e *etree.Element) (upstream.Assertion, error) {
	var out upstream.Assertion
	id := attr(e, "ID")
	if attr(e, "Version") != "2.0" || id == "" || len(id) > maxID {
		return out, upstream.ErrMalformed.Because("version or ID of the assertion")
	}
	if err := j.issuer(e, true); err != nil {
		return out, err
	}
	if err := j.issued(e, false); err != nil {
		return out, err
	}
	subject := only(e, nsAssertion, "Subject")
	if subject == nil {
		return out, ErrNoSubject.Because("not exactly one subject")
	}
	until, err := j.confirmed(subject)
	if err != nil {
		return out, err
	}
	if err := j.conditions(e); err != nil {
		return out, err
	}
	if err := j.statements(e, &out); err != nil {
		return out, err
	}
	if err := j.person(e, subject, &out); err != nil {
		return out, err
	}
	return out, j.spend(ctx, id, until)
}

// spend comes last: an answer that is refused for something else has not been used.
func (j *judge) spend(ctx context.Context, id string, until time.Time) error {
	// The request that an assertion answers ends long before a day is over, so a provider that vouches
	// for a century does not make us remember for one.
	until = until.Add(j.skew)
	if most := j.now.Add(24 * time.Hour); until.After(most) {
		until = most
	}
	err := j.env.Spend(ctx, j.connection, "assertion", id, until)
	j.notes.add("replay", err == nil, "", "an assertion that was not used before")
	return err
}

// confirmed looks for a bearer confirmation that fully matches; others are ignored (SAML Profiles
// 4.1.4.2). It says until when the assertion may be presented.
func (j *judge) confirmed(subject *etree.Element) (time.Time, error) {
	var first error = ErrConfirmation
	for i, c := range all(subject, nsAssertion, "SubjectConfirmation") {
		if attr(c, "Method") != cmBearer {
			continue
		}
		mark := len(j.notes.report)
		until, err := j.bearer(only(c, nsAssertion, "SubjectConfirmationData"))
		if err == nil {
			return until, nil
		}
		if i == 0 || first == ErrConfirmation {
			first = err
		} else {
			j.notes.report = j.notes.report[:mark]
		}
	}
	return time.Time{}, first
}

func (j *judge) bearer(d *etree.Element) (time.Time, error) {
	if d == nil || attr(d, "NotBefore") != "" {
		return time.Time{}, ErrConfirmation
	}
	if got := attr(d, "Recipient"); !j.notes.add("recipient", got == j.acs, got, j.acs) {
		return time.Time{}, ErrBadRecipient
	}
	if got := attr(d, "InResponseTo"); !j.notes.add("confirmation_in_response_to", got == requestID(j.attempt), "", "our request") {
		return time.Time{}, ErrInResponseTo
	}
	until, err := instant(d, "NotOnOrAfter")
	if err != nil {
		return time.Time{}, err
	}
	return until, j.before("confirmation_not_on_or_after", until)
}

func (j *judge) before(name string, end time.Time) error {
	if !j.notes.add(name, j.now.Before(end.Add(j.skew)), at(end), "after "+at(j.now)) {
		return ErrExpired
	}
	return nil
}

func (j *judge) conditions(e *etree.Element) error {
	c := only(e, nsAssertion, "Conditions")
	if c == nil {
		j.notes.add("audience", false, "none", j.entityID)
		return ErrBadAudience.Because("not exactly one element of conditions")
	}
	if err := j.window(c); err != nil {
		return err
	}
	restricted := false
	for _, k := range c.ChildElements() {
		switch {
		case is(k, nsAssertion, "AudienceRestriction"):
			if err := j.audience(k); err != nil {
				return err
			}
			restricted = true
		case is(k, nsAssertion, "OneTimeUse"), is(k, nsAssertion, "ProxyRestriction"):
			// Each assertion is used once, and none is passed on.
		default:
			// SAML Core 2.5.1: what is not understood makes the assertion's validity unknown.
			j.notes.add("conditions", false, k.Tag, "conditions that are understood")
			return ErrCondition
		}
	}
	if !restricted {
		j.notes.add("audience", false, "none", j.entityID)
		return ErrBadAudience
	}
	return nil
}

func (j *judge) window(c *etree.Element) error {
	if attr(c, "NotBefore") != "" {
		t, err := instant(c, "NotBefore")
		if err != nil {
			return err
		}
		if !j.notes.add("not_before", !t.After(j.now.Add(j.skew)), at(t), "not after "+at(j.now)) {
			return ErrNotYet
		}
	}
	if attr(c, "NotOnOrAfter") == "" {
		return nil
	}
	t, err := instant(c, "NotOnOrAfter")
	if err != nil {
		return err
	}
	return j.before("not_on_or_after", t)
}

// Within one restriction any audience will do, and every restriction must name us (SAML Core 2.5.1.4).
func (j *judge) audience(r *etree.Element) error {
	var got []string
	for _, a := range all(r, nsAssertion, "Audience") {
		name := strings.TrimSpace(plain(a))
		if name == j.entityID {
			j.notes.add("audience", true, name, j.entityID)
			return nil
		}
		got = append(got, name)
	}
	j.notes.add("audience", false, strings.Join(got, " "), j.entityID)
	return ErrBadAudience
}

func (j *judge) statements(e *etree.Element, out *upstream.Assertion) error {
	list := all(e, nsAssertion, "AuthnStatement")
	if len(list) == 0 {
		return ErrNoStatement
	}
	for i, s := range list {
		if err := j.statement(s, i == 0, out); err != nil {
			return err
		}
	}
	return j.fresh(out.AuthTime)
}

func (j *judge) statement(s *etree.Element, first bool, out *upstream.Assertion) error {
	t, err := instant(s, "AuthnInstant")
	if err != nil {
		return err
	}
	if t.After(j.now.Add(j.skew)) {
		j.notes.add("authn_instant", false, at(t), "not after "+at(j.now))
		return ErrNotYet
	}
	if first || t.Before(out.AuthTime) {
		out.AuthTime = t
	}
	if attr(s, "SessionNotOnOrAfter") != "" {
		end, err := instant(s, "SessionNotOnOrAfter")
		if err != nil {
			return err
		}
		if err := j.before("session_not_on_or_after", end); err != nil {
			return err
		}
		if out.Until.IsZero() || end.Before(out.Until) {
			out.Until = end
		}
	}
	if first {
		out.SID = attr(s, "SessionIndex")
		out.ACR = strings.TrimSpace(plain(only(only(s, nsAssertion, "AuthnContext"), nsAssertion, "AuthnContextClassRef")))
	}
	return nil
}

// fresh holds the provider to ForceAuthn: some answer with the session they had.
func (j *judge) fresh(authn time.Time) error {
	if j.attempt.Force && !j.attempt.At.IsZero() && authn.Before(j.attempt.At.Add(-j.skew)) {
		j.notes.add("authn_instant", false, at(authn), "after "+at(j.attempt.At))
		return ErrNotFresh
	}
	if m := j.attempt.MaxAge; m != nil && authn.Add(*m).Add(j.skew).Before(j.now) {
		j.notes.add("authn_instant", false, at(authn), "at most "+m.String()+" ago")
		return ErrNotFresh
	}
	return nil
}

// person reads who it is about.
func (j *judge) person(e, subject *etree.Element, out *upstream.Assertion) error {
	ids := all(subject, nsAssertion, "NameID")
	if len(ids) > 1 {
		return ErrNoSubject.Because("several name IDs")
	}
	attrs, err := attributes(e)
	if err != nil {
		return err
	}
	var name nameID
	if len(ids) == 1 {
		name = readNameID(ids[0])
	}
	if out.Key, err = j.identity(name, attrs); err != nil {
		return err
	}
	attrs.fill(out, j.config.Attributes, name)
	out.EmailVouched = out.Email != "" && j.connection.Authoritative
	j.notes.add("email", out.Email != "", shownEmail(out.Email), "an e-mail address")
	return nil
}

// The record holds no personal data, so the list says that there is an address, not which.
func shownEmail(email string) string {
	if _, domain, ok := strings.Cut(email, "@"); ok {
		return "…@" + domain
	}
	return "none"
}

type nameID struct{ value, format, qualifier, spQualifier string }

func readNameID(e *etree.Element) nameID {
	return nameID{plain(e), attr(e, "Format"), attr(e, "NameQualifier"), attr(e, "SPNameQualifier")}
}

// identity is the key of the person: the name ID with its qualifiers, or the attribute that the
// connection was told to use (S4).
func (j *judge) identity(n nameID, attrs attributeList) (directory.IdentityKey, error) {
	k := directory.IdentityKey{Connection: j.connection.ID, Issuer: j.connection.Issuer}
	if name := j.config.SubjectAttribute; name != "" {
		values := attrs.values(name)
		if len(values) != 1 || !goodName(values[0]) {
			j.notes.add("subject", false, "none or several", name)
			return k, ErrNoSubject
		}
		k.Subject, k.Qualifiers = values[0], "@"+url.QueryEscape(name)
		return k, nil
	}
	if !goodName(n.value) {
		j.notes.add("subject", false, "none", "a name ID")
		return k, ErrNoSubject
	}
	if n.format == formatTransient {
		j.notes.add("subject", false, "transient", "a name ID that stays")
		return k, ErrTransient
	}
	k.Subject, k.Qualifiers = n.value, j.qualifiers(n)
	return k, nil
}

// qualifiers is canonical: a provider that begins to spell out the defaults of SAML Core 8.3.7 does
// not change who somebody is.
func (j *judge) qualifiers(n nameID) string {
	if n.qualifier == j.connection.Issuer {
		n.qualifier = ""
	}
	if n.spQualifier == j.entityID {
		n.spQualifier = ""
	}
	if n.qualifier == "" && n.spQualifier == "" {
		return ""
	}
	return url.QueryEscape(n.qualifier) + "|" + url.QueryEscape(n.spQualifier)
}

// goodName refuses names that two readers could take for different ones, and those in which a provider
// lost something: many different bytes become the one replacement character.
func goodName(s string) bool {
	unfit := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	return s != "" && len(s) <= maxName && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unfit)
}

// instant reads a required xs:dateTime. SAML Core 1.3.3 wants UTC; a missing zone means it.
func instant(e *etree.Element, name string) (time.Time, error) {
	text := attr(e, name)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", text)
	}
	if err != nil {
		return time.Time{}, upstream.ErrMalformed.Because(name + " is missing or no time")
	}
	return t.UTC(), nil
}
