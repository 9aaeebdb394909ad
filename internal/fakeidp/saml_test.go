package fakeidp

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crewjam/saml"

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

func TestTheMetadataShowsEveryPublishedCertificate(t *testing.T) {
	p := start(t, samlProvider())
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	s := newService(t, p)
	if n := len(s.sp.IDPMetadata.IDPSSODescriptors[0].KeyDescriptors); n != 2 {
		t.Errorf("%d keys in the metadata after a rollover, want 2", n)
	}
	id, doc := s.signIn(ada, None)
	if _, err := s.verify(doc, id); err != nil {
		t.Error(err)
	}
}

func TestWhoIsKnownMayChangeWhileItServes(t *testing.T) {
	p := samlProvider()
	p.SPs = nil
	s := newService(t, start(t, p))
	if _, at := s.depart(nil); s.get(at).status != http.StatusBadRequest {
		t.Error("an application was known before it was registered")
	}
	p.AddSP(SP{EntityID: spEntity, ACS: []string{"http://localhost:1/old"}})
	p.AddSP(SP{EntityID: spEntity, ACS: []string{acsURL}})
	moved := ada
	moved.Email = "ada@globalretail.example"
	p.SetPeople(moved)
	id, doc := s.signIn(moved, None)
	a, err := s.verify(doc, id)
	if err != nil || said(a)["email"][0] != moved.Email {
		t.Errorf("%v, %v", a, err)
	}
	_, at := s.depart(nil)
	gone := s.post(p.Base+"/answer", url.Values{"request": {fields(s.get(at).body).Get("request")}, "person": {grace.ID}})
	if gone.status != http.StatusBadRequest {
		t.Errorf("somebody who left signed in: %d", gone.status)
	}
}
