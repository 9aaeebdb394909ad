package samltest

import (
	"crypto"
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

var day = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// The library that many service providers stand on must take what we write.
func TestTheLibraryAcceptsOurSignature(t *testing.T) {
	key, err := NewRSA("idp", day)
	if err != nil {
		t.Fatal(err)
	}
	r := Good(key, "https://idp.example", "https://sp.example", "https://sp.example/acs", "_req", "ada@acme.example", day)
	r.SignResponse = true
	doc, err := r.XML()
	if err != nil {
		t.Fatal(err)
	}
	d := etree.NewDocument()
	if err := d.ReadFromBytes(doc); err != nil {
		t.Fatal(err)
	}
	v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{key.Cert}})
	v.Clock = dsig.NewFakeClockAt(day)
	if _, err := v.Validate(d.Root()); err != nil {
		t.Error("response:", err)
	}
	if _, err := v.Validate(d.Root().FindElement("./Assertion")); err != nil {
		t.Error("assertion:", err)
	}
}

func TestAKeySurvivesWritingAndReading(t *testing.T) {
	key, err := NewECDSA("idp", day)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseKey(text, key.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	if !back.Cert.Equal(key.Cert) || !back.Signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Signer.Public()) {
		t.Error("another key came back")
	}
}

func TestReadRequestReadsAPostedRequest(t *testing.T) {
	doc := `<p:AuthnRequest xmlns:p="` + NSProtocol + `" ID="_1" ForceAuthn="true" AssertionConsumerServiceURL="https://sp/acs"><i:Issuer xmlns:i="` + NSAssertion + `">https://sp</i:Issuer></p:AuthnRequest>`
	form := Form([]byte(doc), "relay")
	got, err := ReadRequest("POST", url.Values{"SAMLRequest": form["SAMLResponse"], "RelayState": {"relay"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "_1" || got.Issuer != "https://sp" || got.ACS != "https://sp/acs" || !got.ForceAuthn || got.RelayState != "relay" {
		t.Errorf("%+v", got)
	}
}
