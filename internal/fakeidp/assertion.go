package fakeidp

import (
	"maps"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

// response is the part of an answer that does not speak of a person.
func (p *Provider) response(q authnRequest, m Misbehavior) samltest.Response {
	now, key := p.Now(), p.signer(m)
	switch m {
	case Old:
		now = now.Add(-oldBy)
	case FastClock:
		now = now.Add(fastBy)
	}
	return samltest.Response{
		Issuer: p.EntityID(), Destination: q.to, InResponseTo: q.ID,
		IssueInstant: now, NotBefore: now, NotOnOrAfter: now.Add(tokenLife), AuthnInstant: now,
		SignResponse: p.Look.Style != Entra,
		Signature:    samltest.Signature{Key: samltest.Key{Signer: key.Signer, Cert: key.Cert}},
	}
}

// assert vouches for a person, wrong as far as it was told to be.
func (p *Provider) assert(q authnRequest, who Person, m Misbehavior) samltest.Response {
	address := who.Email
	switch m {
	case NoEmail:
		address = ""
	case ForeignEmail:
		address = p.foreign()
	}
	answer := p.response(q, m)
	answer.Audience, answer.Recipient = q.sp.EntityID, q.to
	answer.NameID = nameID(q.NameIDFormat, who.ID, address)
	answer.Attributes = p.attributes(who, address)
	answer.SessionIndex = samltest.NewID()
	answer.SignAssertion = true
	answer.EncryptTo = q.sp.EncryptTo
	answer.Encryption.Data = samltest.AES128GCM // of the authenticated ciphers the one that most libraries know
	p.falsifySAML(&answer, m)
	return answer
}

func (p *Provider) falsifySAML(answer *samltest.Response, m Misbehavior) {
	switch m {
	case WrongAudience:
		answer.Audience = "https://another-application.example/saml"
	case WrongRecipient:
		answer.Recipient = "https://another-application.example/acs"
	case OtherRequest:
		answer.InResponseTo = samltest.NewID()
	case OtherTenant:
		answer.Issuer = p.Base + "/other-tenant/saml/metadata"
	case Unsigned:
		answer.SignResponse, answer.SignAssertion = false, false
	case Megabytes:
		answer.Attributes = append(answer.Attributes, samltest.Attribute{Name: "filler", Values: []string{strings.Repeat("x", hugePost)}})
	}
}

// nameID is a stable id unless the application asks for the address.
func nameID(format, id, address string) samltest.NameID {
	if format == samltest.EmailFormat && address != "" {
		return samltest.NameID{Value: address, Format: samltest.EmailFormat}
	}
	return samltest.NameID{Value: id, Format: samltest.PersistentFormat}
}

// What the two styles call what they say about people.
const (
	claimWS        = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	claimMS        = "http://schemas.microsoft.com/identity/claims/"
	claimMSGroups  = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
	claimMSMethods = "http://schemas.microsoft.com/claims/authnmethodsreferences"
	methodPassword = "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password"
	methodMultiple = "http://schemas.microsoft.com/claims/multipleauthn"
)

func (p *Provider) attributes(who Person, address string) []samltest.Attribute {
	said := p.oktaAttributes(who, address)
	if p.Look.Style == Entra {
		said = p.entraAttributes(who, address)
	}
	maps.Copy(said, who.Attributes)
	var list []samltest.Attribute
	for _, name := range slices.Sorted(maps.Keys(said)) {
		values := slices.DeleteFunc(slices.Clone(said[name]), func(v string) bool { return v == "" })
		if len(values) > 0 {
			list = append(list, samltest.Attribute{Name: name, Values: values})
		}
	}
	return list
}

func (p *Provider) oktaAttributes(who Person, address string) map[string][]string {
	return map[string][]string{
		"id": {who.ID}, "email": {address}, "firstName": {who.Given}, "lastName": {who.Family}, "groups": who.Groups,
	}
}

func (p *Provider) entraAttributes(who Person, address string) map[string][]string {
	said := map[string][]string{
		claimWS + "emailaddress": {address}, claimWS + "name": {address},
		claimWS + "givenname": {who.Given}, claimWS + "surname": {who.Family},
		claimMS + "displayname": {who.Name}, claimMS + "objectidentifier": {who.ID}, claimMS + "tenantid": {p.Tenant},
		claimMSGroups: who.Groups, claimMSMethods: {methodPassword},
	}
	// Entra ID tells a second factor here only; its AuthnContextClassRef goes on saying Password.
	if slices.Contains(who.AMR, "mfa") {
		said[claimMSMethods] = append(said[claimMSMethods], methodMultiple)
	}
	return said
}
