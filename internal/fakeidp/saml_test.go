package fakeidp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

const (
	acsURL   = "http://localhost:8080/arrive/con_2"
	spEntity = "http://localhost:8080/connection/con_2/metadata"
)

func samlProvider() *Provider {
	return &Provider{
		Name: "GlobalRetail", Kind: SAML, Algorithm: "RS256", Foreign: "ceo@acme.example",
		SPs: []SP{{EntityID: spEntity, Name: "Vestibule", ACS: []string{acsURL}}},
	}
}

// service is a standard service provider: crewjam/saml.
type service struct {
	browser
	p  *Provider
	sp saml.ServiceProvider
}

func newService(t *testing.T, p *Provider) *service {
	t.Helper()
	s := &service{browser: browser{t}, p: p}
	described := s.get(p.Base + "/saml/metadata")
	var idp saml.EntityDescriptor
	if err := xml.Unmarshal([]byte(described.body), &idp); err != nil {
		t.Fatal(err)
	}
	if idp.EntityID != p.EntityID() {
		t.Errorf("the metadata is of %s", idp.EntityID)
	}
	acs, _ := url.Parse(acsURL)
	metadata, _ := url.Parse(spEntity)
	s.sp = saml.ServiceProvider{EntityID: spEntity, AcsURL: *acs, MetadataURL: *metadata, IDPMetadata: &idp, AuthnNameIDFormat: saml.PersistentNameIDFormat}
	return s
}

// depart gives a request's id and where its browser goes.
func (s *service) depart(change func(*saml.AuthnRequest)) (id, at string) {
	s.t.Helper()
	req, err := s.sp.MakeAuthenticationRequest(s.sp.GetSSOBindingLocation(saml.HTTPRedirectBinding), saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	u, err := req.Redirect("relay-1", &s.sp)
	if err != nil {
		s.t.Fatal(err)
	}
	return req.ID, u.String()
}

// arrive gives the document that a page posts to the application.
func (s *service) arrive(page answer) []byte {
	s.t.Helper()
	sent := fields(page.body)
	if !strings.Contains(page.body, `<form method="post" action="`+acsURL+`" id="send">`) || sent.Get("RelayState") != "relay-1" {
		s.t.Fatalf("the page does not send the answer: %d %s", page.status, page.body)
	}
	doc, err := base64.StdEncoding.DecodeString(sent.Get("SAMLResponse"))
	if err != nil {
		s.t.Fatal(err)
	}
	return doc
}

func (s *service) signIn(who Person, m Misbehavior) (requestID string, doc []byte) {
	s.t.Helper()
	id, at := s.depart(nil)
	return id, s.arrive(s.press(s.p, s.get(at), who, m))
}

func (s *service) verify(doc []byte, requestID string) (*saml.Assertion, error) {
	acs, _ := url.Parse(acsURL)
	a, err := s.sp.ParseXMLResponse(doc, []string{requestID}, *acs)
	if why, ok := errors.AsType[*saml.InvalidResponseError](err); ok {
		err = why.PrivateErr
	}
	return a, err
}

func said(a *saml.Assertion) map[string][]string {
	m := map[string][]string{}
	for _, statement := range a.AttributeStatements {
		for _, attribute := range statement.Attributes {
			for _, v := range attribute.Values {
				m[attribute.Name] = append(m[attribute.Name], v.Value)
			}
		}
	}
	return m
}

func TestAStandardServiceProviderSignsIn(t *testing.T) {
	for style, names := range map[Style][]string{
		Okta:  {"email", "firstName", "lastName", "groups"},
		Entra: {claimWS + "emailaddress", claimWS + "givenname", claimWS + "surname", claimMSGroups},
	} {
		p := samlProvider()
		p.Look.Style = style
		s := newService(t, start(t, p))
		id, doc := s.signIn(ada, None)
		a, err := s.verify(doc, id)
		if err != nil {
			t.Fatalf("%s: %v", style, err)
		}
		if n := a.Subject.NameID; n.Value != ada.ID || n.Format != samltest.PersistentFormat {
			t.Errorf("%s: NameID %+v", style, n)
		}
		got := said(a)
		for i, want := range [][]string{{ada.Email}, {ada.Given}, {ada.Family}, ada.Groups} {
			if !slices.Equal(got[names[i]], want) {
				t.Errorf("%s: %s = %q, want %q", style, names[i], got[names[i]], want)
			}
		}
		if a.AuthnStatements[0].SessionIndex == "" || time.Since(a.AuthnStatements[0].AuthnInstant) > time.Minute {
			t.Errorf("%s: statement %+v", style, a.AuthnStatements[0])
		}
	}
}

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

func TestAutoAnswersSAMLAtOnce(t *testing.T) {
	p := samlProvider()
	p.Auto = ada.ID
	s := newService(t, start(t, p))
	id, at := s.depart(func(r *saml.AuthnRequest) { passive := true; r.IsPassive = &passive })
	a, err := s.verify(s.arrive(s.get(at)), id)
	if err != nil || a.Subject.NameID.Value != ada.ID {
		t.Fatalf("%+v, %v", a, err)
	}
	id, at = s.depart(nil)
	a, err = s.verify(s.arrive(s.get(at+"&login_hint="+url.QueryEscape(grace.Email))), id)
	if err != nil || a.Subject.NameID.Value != grace.ID {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestForceAuthnAndTheSubjectAreHonored(t *testing.T) {
	s := newService(t, start(t, samlProvider()))
	_, at := s.depart(func(r *saml.AuthnRequest) {
		force := true
		r.ForceAuthn = &force
		r.Subject = &saml.Subject{NameID: &saml.NameID{Value: grace.Email}}
	})
	page := s.get(at)
	if !strings.Contains(page.body, "prove yourself again") {
		t.Error("ForceAuthn is not shown")
	}
	if strings.Index(page.body, "Grace Hopper") > strings.Index(page.body, "Ada Lovelace") {
		t.Error("the person named by the request is not first")
	}
}

func TestDeclinedAndPassiveRequestsGetAStatus(t *testing.T) {
	s := newService(t, start(t, samlProvider()))
	_, at := s.depart(nil)
	declined := s.post(s.p.Base+"/answer", url.Values{"request": {fields(s.get(at).body).Get("request")}, "decline": {"yes"}})
	_, passive := s.depart(func(r *saml.AuthnRequest) { yes := true; r.IsPassive = &yes })
	for want, page := range map[string]answer{statusDenied: declined, statusNoPassive: s.get(passive)} {
		var r saml.Response
		if err := xml.Unmarshal(s.arrive(page), &r); err != nil {
			t.Fatal(err)
		}
		if r.Status.StatusCode.Value != statusResponder || r.Status.StatusCode.StatusCode.Value != want || r.Assertion != nil {
			t.Errorf("status %+v, want %s", r.Status, want)
		}
	}
}

func TestRequestsOfStrangersGoNowhere(t *testing.T) {
	s := newService(t, start(t, samlProvider()))
	for name, change := range map[string]func(*saml.AuthnRequest){
		"entityID":    func(r *saml.AuthnRequest) { r.Issuer.Value = "https://evil.example" },
		"ACS":         func(r *saml.AuthnRequest) { r.AssertionConsumerServiceURL = "https://evil.example/acs" },
		"destination": func(r *saml.AuthnRequest) { r.Destination = s.p.SSO() + "?x" },
	} {
		if _, at := s.depart(change); s.get(at).status != http.StatusBadRequest {
			t.Errorf("another %s was taken", name)
		}
	}
	for _, text := range []string{"", "!", "AAAA", base64.StdEncoding.EncodeToString([]byte("<x/>"))} {
		if got := s.get(s.p.SSO() + "?SAMLRequest=" + url.QueryEscape(text)); got.status != http.StatusBadRequest {
			t.Errorf("SAMLRequest=%s: %d", text, got.status)
		}
		if got := s.post(s.p.SSO(), url.Values{"SAMLRequest": {text}}); got.status != http.StatusBadRequest {
			t.Errorf("POST SAMLRequest=%s: %d", text, got.status)
		}
	}
}

func TestSignedRequestsAreVerified(t *testing.T) {
	for name, make := range map[string]func(string, time.Time) (samltest.Key, error){"RSA": samltest.NewRSA, "ECDSA": samltest.NewECDSA} {
		key, err := make("sp", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		other, err := make("other", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		p := samlProvider()
		p.SPs[0].Signing = []*x509.Certificate{other.Cert, key.Cert}
		s := newService(t, start(t, p))
		_, at := s.depart(nil)
		if got := s.get(at); got.status != http.StatusForbidden {
			t.Errorf("%s: unsigned: %d", name, got.status)
		}
		stranger, err := make("stranger", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			how    string
			by     samltest.Key
			change func(string) string
			want   int
		}{
			{"right", key, nil, 200},
			{"a stranger's key", stranger, nil, 403},
			{"changed RelayState", key, func(q string) string { return strings.Replace(q, "relay-1", "relay-2", 1) }, 403},
			{"two RelayStates", key, func(q string) string { return q + "&RelayState=relay-2" }, 403},
		} {
			query := signQuery(t, at, c.by)
			if c.change != nil {
				query = c.change(query)
			}
			if got := s.get(p.SSO() + "?" + query); got.status != c.want {
				t.Errorf("%s: %s: %d, want %d", name, c.how, got.status, c.want)
			}
		}
		s.postSigned(name, key, stranger)
	}
}

// postSigned sends requests by HTTP-POST, signed inside.
func (s *service) postSigned(name string, key, stranger samltest.Key) {
	s.t.Helper()
	for _, c := range []struct {
		how    string
		by     samltest.Key
		change func(*etree.Element)
		want   int
	}{
		{"right", key, nil, 200},
		{"a stranger's key", stranger, nil, 403},
		{"changed afterwards", key, func(e *etree.Element) { e.CreateAttr("ForceAuthn", "true") }, 403},
		{"unsigned", key, func(e *etree.Element) { e.RemoveChild(e.FindElement("./Signature")) }, 403},
	} {
		req, err := s.sp.MakeAuthenticationRequest(s.p.SSO(), saml.HTTPPostBinding, saml.HTTPPostBinding)
		if err != nil {
			s.t.Fatal(err)
		}
		root := req.Element()
		if err := (samltest.Signature{Key: c.by}).Sign(root); err != nil {
			s.t.Fatal(err)
		}
		if c.change != nil {
			c.change(root)
		}
		doc, err := samltest.Bytes(root)
		if err != nil {
			s.t.Fatal(err)
		}
		got := s.post(s.p.SSO(), url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(doc)}, "RelayState": {"relay-1"}})
		if got.status != c.want {
			s.t.Errorf("%s POST: %s: %d, want %d", name, c.how, got.status, c.want)
		}
	}
}

// signQuery signs as SAML Bindings section 3.4.4.1 says.
func signQuery(t *testing.T, at string, key samltest.Key) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	algorithm := samltest.RSASHA256
	if _, ok := key.Signer.(*ecdsa.PrivateKey); ok {
		algorithm = samltest.ECDSASHA256
	}
	query := "SAMLRequest=" + url.QueryEscape(u.Query().Get("SAMLRequest")) + "&RelayState=relay-1&SigAlg=" + url.QueryEscape(algorithm)
	return query + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signOctets(t, key, query)))
}

func signOctets(t *testing.T, key samltest.Key, text string) []byte {
	t.Helper()
	h := crypto.SHA256.New()
	h.Write([]byte(text))
	switch k := key.Signer.(type) {
	case *rsa.PrivateKey:
		s, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return s
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(nil, k, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	}
	t.Fatal("unknown key")
	return nil
}

func TestParseSPReadsAStandardDocument(t *testing.T) {
	key, err := samltest.NewRSA("sp", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	acs, _ := url.Parse(acsURL)
	metadata, _ := url.Parse(spEntity)
	for _, method := range []string{"", dsig.RSASHA256SignatureMethod} {
		sp := saml.ServiceProvider{EntityID: spEntity, AcsURL: *acs, MetadataURL: *metadata, Key: key.Signer, Certificate: key.Cert, SignatureMethod: method}
		doc, err := xml.Marshal(sp.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSP(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got.EntityID != spEntity || !slices.Equal(got.ACS, []string{acsURL}) || got.EncryptTo == nil || !got.EncryptTo.Equal(key.Cert) {
			t.Errorf("read %+v", got)
		}
		if signs := len(got.Signing) > 0; signs != (method != "") {
			t.Errorf("method %q: %d signing certificates", method, len(got.Signing))
		}
	}
	for _, text := range []string{"", "<x/>", `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="a"/>`} {
		if _, err := ParseSP([]byte(text)); !errors.Is(err, ErrConfig) {
			t.Errorf("ParseSP(%q): %v, want ErrConfig", text, err)
		}
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
