package fakeidp

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func TestECDSASignaturesAreAsTheStandardSays(t *testing.T) {
	p := samlProvider()
	p.Algorithm, p.Look.Style = "ES256", Entra // the assertion alone is signed
	s := newService(t, start(t, p))
	id, doc := s.signIn(ada, None)
	parsed := etree.NewDocument()
	if err := parsed.ReadFromBytes(doc); err != nil {
		t.Fatal(err)
	}
	value := parsed.FindElement("//SignatureValue")
	raw, err := base64.StdEncoding.DecodeString(value.Text())
	if err != nil || len(raw) != 64 {
		t.Fatalf("the signature is %d bytes, want r||s of 64", len(raw))
	}
	der, err := asDER(raw) // which the library wants instead
	if err != nil {
		t.Fatal(err)
	}
	value.SetText(base64.StdEncoding.EncodeToString(der))
	doc, err = parsed.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.verify(doc, id); err != nil {
		t.Error(err)
	}
}

func TestAssertionsAreEncryptedToTheServiceProvider(t *testing.T) {
	key, err := samltest.NewRSA("sp", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := samlProvider()
	p.SPs[0].EncryptTo = key.Cert
	s := newService(t, start(t, p))
	s.sp.Key, s.sp.Certificate = key.Signer, key.Cert
	id, doc := s.signIn(ada, None)
	if bytes.Contains(doc, []byte(ada.Email)) || bytes.Contains(doc, []byte(ada.ID)) {
		t.Error("the assertion can be read by anybody")
	}
	a, err := s.verify(doc, id)
	if err != nil {
		t.Fatal(err)
	}
	if said(a)["email"][0] != ada.Email {
		t.Errorf("said %v", said(a))
	}
}

func TestTheAddressNamesThePersonWhenAsked(t *testing.T) {
	s := newService(t, start(t, samlProvider()))
	s.sp.AuthnNameIDFormat = saml.EmailAddressNameIDFormat
	id, doc := s.signIn(ada, None)
	a, err := s.verify(doc, id)
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Subject.NameID; n.Value != ada.Email || n.Format != samltest.EmailFormat {
		t.Errorf("NameID %+v", n)
	}
	if id, doc = s.signIn(ada, NoEmail); bytes.Contains(doc, []byte("@")) {
		t.Errorf("an address is left in %s of %s", doc, id)
	}
}

// What is wrong with an answer, by a reading that shares nothing with what wrote it.
var samlDefects = map[Misbehavior][]string{
	None:           nil,
	WrongAudience:  {"audience"},
	WrongRecipient: {"recipient"},
	Old:            {"expired", "signed in long ago"},
	UnknownKey:     {"unknown key"},
	Unsigned:       {"unsigned"},
	NoEmail:        {"no address"},
	ForeignEmail:   {"foreign address"},
	FastClock:      {"from the future"},
	OtherTenant:    {"issuer"},
	OtherRequest:   {"request"},
	Megabytes:      {"size"},
	Garbage:        {"unreadable"},
}

// The library overlooks none of these: what it accepts is what no standard forbids.
var acceptable = []Misbehavior{None, NoEmail, ForeignEmail, Megabytes}

func TestEveryMisbehaviorOfSAMLIsExactlyThatDefect(t *testing.T) {
	for _, style := range []Style{Okta, Entra} {
		p := samlProvider()
		p.Look.Style = style
		s := newService(t, start(t, p))
		for m, want := range samlDefects {
			id, doc := s.signIn(ada, m)
			if got := s.defects(doc, id); !slices.Equal(got, want) {
				t.Errorf("%s %q: defects %q, want %q", style, m, got, want)
			}
			if _, err := s.verify(doc, id); (err == nil) != slices.Contains(acceptable, m) {
				t.Errorf("%s %q: crewjam/saml says %v", style, m, err)
			}
		}
	}
}

// defects lists, in alphabetical order, everything that is wrong with a response for ada.
func (s *service) defects(doc []byte, requestID string) (found []string) {
	s.t.Helper()
	parsed := etree.NewDocument()
	if parsed.ReadFromBytes(doc) != nil || parsed.Root() == nil {
		return []string{"unreadable"}
	}
	note := func(wrong bool, name string) {
		if wrong && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	text := func(path string) string { return parsed.FindElement(path).Text() }
	attr := func(path, name string) string { return parsed.FindElement(path).SelectAttrValue(name, "") }
	instant := func(path, name string) time.Time {
		at, err := time.Parse(time.RFC3339, attr(path, name))
		if err != nil {
			s.t.Fatal(err)
		}
		return at
	}
	now := time.Now()
	confirmation, address := "//SubjectConfirmationData", s.address(parsed)
	note(text("//Audience") != spEntity, "audience")
	note(now.After(instant(confirmation, "NotOnOrAfter")), "expired")
	note(now.After(instant("//Conditions", "NotOnOrAfter")), "expired")
	note(address != "" && !strings.HasSuffix(address, "@techcorp.example"), "foreign address")
	note(instant("//Conditions", "NotBefore").After(now.Add(time.Minute)), "from the future")
	note(instant("/Response", "IssueInstant").After(now.Add(time.Minute)), "from the future")
	note(text("/Response/Issuer") != s.p.EntityID() || text("//Assertion/Issuer") != s.p.EntityID(), "issuer")
	note(address == "", "no address")
	note(attr(confirmation, "Recipient") != acsURL || attr("/Response", "Destination") != acsURL, "recipient")
	note(attr(confirmation, "InResponseTo") != requestID || attr("/Response", "InResponseTo") != requestID, "request")
	note(now.Sub(instant("//AuthnStatement", "AuthnInstant")) > time.Minute, "signed in long ago")
	note(len(doc) > 1<<20, "size")
	note(text("//NameID") != ada.ID, "subject")
	s.signatures(parsed, note)
	return found
}

func (s *service) address(doc *etree.Document) string {
	for _, e := range doc.FindElements("//Attribute") {
		if name := e.SelectAttrValue("Name", ""); name == "email" || name == claimWS+"emailaddress" {
			return e.FindElement("./AttributeValue").Text()
		}
	}
	return ""
}

// signatures verifies what is signed: as a whole, with the certificate that the metadata shows.
func (s *service) signatures(doc *etree.Document, note func(bool, string)) {
	s.t.Helper()
	signatures := doc.FindElements("//Signature")
	note(len(signatures) == 0, "unsigned")
	expected := 2
	if s.p.Look.Style == Entra {
		expected = 1
	}
	note(len(signatures) != 0 && len(signatures) != expected, "number of signatures")
	for _, signature := range signatures {
		cert := signature.FindElement(".//X509Certificate").Text()
		known := s.sp.IDPMetadata.IDPSSODescriptors[0].KeyDescriptors[0].KeyInfo.X509Data.X509Certificates[0].Data
		note(cert != known, "unknown key")
		der, err := base64.StdEncoding.DecodeString(cert)
		if err != nil {
			s.t.Fatal(err)
		}
		claimed, err := x509.ParseCertificate(der)
		if err != nil {
			s.t.Fatal(err)
		}
		check := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{claimed}})
		alone := signature.Parent().Copy()
		if alone.SelectAttr("xmlns:saml") == nil {
			alone.CreateAttr("xmlns:saml", samltest.NSAssertion)
		}
		if _, err := check.Validate(alone); err != nil {
			note(true, "wrong signature")
		}
	}
}
