package samltest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"time"

	"github.com/beevik/etree"
)

// Attribute is one attribute of an assertion.
type Attribute struct {
	Name         string
	NameFormat   string
	FriendlyName string
	Values       []string
}

// NameID names the person.
type NameID struct {
	Value           string
	Format          string
	NameQualifier   string
	SPNameQualifier string
}

// Response is what an identity provider answers. Zero times and empty names are left out of the
// document, except where a comment says what stands in for them.
type Response struct {
	ID           string // made when empty
	AssertionID  string // made when empty
	Issuer       string
	Destination  string
	InResponseTo string // of the response and of the confirmation

	Audience  string
	Recipient string
	NameID    NameID

	Attributes []Attribute

	IssueInstant time.Time
	// NotBefore bounds the conditions; NotOnOrAfter the conditions and the confirmation.
	NotBefore, NotOnOrAfter time.Time
	AuthnInstant            time.Time // IssueInstant when zero
	SessionNotOnOrAfter     time.Time
	SessionIndex            string
	ClassRef                string // PasswordProtectedTransport when empty

	// Status is Success when empty. With another one there is no assertion.
	Status, SubStatus, StatusMessage string

	SignResponse, SignAssertion bool
	Signature                   Signature

	// EncryptTo encrypts the assertion, after it was signed and before the response is.
	EncryptTo  *x509.Certificate
	Encryption Encryption

	// Edit changes the unsigned document, Tamper the signed one. Both get the Response element.
	Edit, Tamper func(response *etree.Element)
	// EditAssertion changes the assertion before it is signed.
	EditAssertion func(assertion *etree.Element)
}

// Good is an answer to the request with the given ID that any service provider would take: issued at
// now, good for five minutes, with e-mail and names, and the assertion signed by key.
func Good(key Key, issuer, audience, acs, requestID, email string, now time.Time) Response {
	return Response{
		Issuer: issuer, Destination: acs, InResponseTo: requestID, Audience: audience, Recipient: acs,
		NameID: NameID{Value: email, Format: EmailFormat},
		Attributes: []Attribute{
			{Name: "email", Values: []string{email}},
			{Name: "firstName", Values: []string{"Ada"}},
			{Name: "lastName", Values: []string{"Lovelace"}},
		},
		IssueInstant: now, NotBefore: now.Add(-time.Minute), NotOnOrAfter: now.Add(5 * time.Minute),
		SessionIndex:  "_session1",
		SignAssertion: true,
		Signature:     Signature{Key: key},
	}
}

// XML is the document's bytes.
func (r Response) XML() ([]byte, error) {
	doc := etree.NewDocument()
	root, err := r.element()
	if err != nil {
		return nil, err
	}
	doc.SetRoot(root)
	if r.Tamper != nil {
		r.Tamper(root)
	}
	return Bytes(root)
}

// Form is what the browser posts to the assertion consumer service.
func (r Response) Form(relayState string) (url.Values, error) {
	b, err := r.XML()
	if err != nil {
		return nil, err
	}
	return Form(b, relayState), nil
}

// Form posts bytes that somebody else wrote.
func Form(response []byte, relayState string) url.Values {
	v := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(response)}}
	if relayState != "" {
		v.Set("RelayState", relayState)
	}
	return v
}

// Bytes writes an element as a document of its own, such that reading it gives the same tree.
func Bytes(root *etree.Element) ([]byte, error) {
	doc := etree.NewDocumentWithRoot(root.Copy())
	doc.WriteSettings = etree.WriteSettings{CanonicalText: true, CanonicalAttrVal: true, CanonicalEndTags: true}
	return doc.WriteToBytes()
}

func (r Response) element() (*etree.Element, error) {
	root := etree.NewElement("samlp:Response")
	root.CreateAttr("xmlns:samlp", NSProtocol)
	root.CreateAttr("xmlns:saml", NSAssertion)
	set(root, "ID", orID(r.ID))
	set(root, "Version", "2.0")
	set(root, "IssueInstant", stamp(r.IssueInstant))
	set(root, "Destination", r.Destination)
	set(root, "InResponseTo", r.InResponseTo)
	child(root, "saml:Issuer", r.Issuer)
	r.status(root)
	if r.Status == "" || r.Status == StatusSuccess {
		if err := r.addAssertion(root); err != nil {
			return nil, err
		}
	}
	if r.Edit != nil {
		r.Edit(root)
	}
	if !r.SignResponse {
		return root, nil
	}
	return root, r.Signature.Sign(root)
}

func (r Response) status(root *etree.Element) {
	s := root.CreateElement("samlp:Status")
	code := s.CreateElement("samlp:StatusCode")
	if r.Status == "" {
		code.CreateAttr("Value", StatusSuccess)
	} else {
		code.CreateAttr("Value", r.Status)
	}
	if r.SubStatus != "" {
		code.CreateElement("samlp:StatusCode").CreateAttr("Value", r.SubStatus)
	}
	child(s, "samlp:StatusMessage", r.StatusMessage)
}

func (r Response) addAssertion(root *etree.Element) error {
	a := r.assertion()
	if r.EditAssertion != nil {
		r.EditAssertion(a)
	}
	if r.SignAssertion {
		if err := r.Signature.Sign(a); err != nil {
			return err
		}
	}
	if r.EncryptTo == nil {
		root.AddChild(a)
		return nil
	}
	e, err := r.Encryption.Encrypt(a, r.EncryptTo)
	if err != nil {
		return err
	}
	root.AddChild(e)
	return nil
}

func (r Response) assertion() *etree.Element {
	a := etree.NewElement("saml:Assertion")
	a.CreateAttr("xmlns:saml", NSAssertion)
	set(a, "ID", orID(r.AssertionID))
	set(a, "Version", "2.0")
	set(a, "IssueInstant", stamp(r.IssueInstant))
	child(a, "saml:Issuer", r.Issuer)
	r.subject(a)
	r.conditions(a)
	r.statement(a)
	r.attributes(a)
	return a
}

func (r Response) subject(a *etree.Element) {
	s := a.CreateElement("saml:Subject")
	if r.NameID.Value != "" {
		n := child(s, "saml:NameID", r.NameID.Value)
		set(n, "Format", r.NameID.Format)
		set(n, "NameQualifier", r.NameID.NameQualifier)
		set(n, "SPNameQualifier", r.NameID.SPNameQualifier)
	}
	c := s.CreateElement("saml:SubjectConfirmation")
	c.CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:bearer")
	d := c.CreateElement("saml:SubjectConfirmationData")
	set(d, "InResponseTo", r.InResponseTo)
	set(d, "NotOnOrAfter", stamp(r.NotOnOrAfter))
	set(d, "Recipient", r.Recipient)
}

func (r Response) conditions(a *etree.Element) {
	c := a.CreateElement("saml:Conditions")
	set(c, "NotBefore", stamp(r.NotBefore))
	set(c, "NotOnOrAfter", stamp(r.NotOnOrAfter))
	if r.Audience != "" {
		child(c.CreateElement("saml:AudienceRestriction"), "saml:Audience", r.Audience)
	}
}

func (r Response) statement(a *etree.Element) {
	s := a.CreateElement("saml:AuthnStatement")
	at := r.AuthnInstant
	if at.IsZero() {
		at = r.IssueInstant
	}
	set(s, "AuthnInstant", stamp(at))
	set(s, "SessionIndex", r.SessionIndex)
	set(s, "SessionNotOnOrAfter", stamp(r.SessionNotOnOrAfter))
	class := r.ClassRef
	if class == "" {
		class = PasswordClass
	}
	child(s.CreateElement("saml:AuthnContext"), "saml:AuthnContextClassRef", class)
}

func (r Response) attributes(a *etree.Element) {
	if len(r.Attributes) == 0 {
		return
	}
	s := a.CreateElement("saml:AttributeStatement")
	for _, at := range r.Attributes {
		e := s.CreateElement("saml:Attribute")
		set(e, "Name", at.Name)
		set(e, "NameFormat", at.NameFormat)
		set(e, "FriendlyName", at.FriendlyName)
		for _, v := range at.Values {
			e.CreateElement("saml:AttributeValue").CreateText(v)
		}
	}
}

func set(e *etree.Element, name, value string) {
	if value != "" {
		e.CreateAttr(name, value)
	}
}

func child(e *etree.Element, tag, text string) *etree.Element {
	if text == "" {
		return nil
	}
	c := e.CreateElement(tag)
	c.CreateText(text)
	return c
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func orID(id string) string {
	if id != "" {
		return id
	}
	return NewID()
}

// NewID is 128 random bits as an XML ID.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return "_" + hex.EncodeToString(b[:])
}
