package fakeidp

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strings"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

// ParseSP reads an application's metadata, as an administrator who uploads it does. Requests have to be
// signed if the document says that they are.
func ParseSP(metadata []byte) (SP, error) {
	var doc saml.EntityDescriptor
	if err := xml.Unmarshal(metadata, &doc); err != nil {
		return SP{}, ErrConfig.With(err)
	}
	if doc.EntityID == "" || len(doc.SPSSODescriptors) != 1 {
		return SP{}, ErrConfig.Because("the metadata is not that of one service provider")
	}
	sp, described := SP{EntityID: doc.EntityID}, doc.SPSSODescriptors[0]
	for _, acs := range described.AssertionConsumerServices {
		if acs.Binding == saml.HTTPPostBinding {
			sp.ACS = append(sp.ACS, acs.Location)
		}
	}
	signed := described.AuthnRequestsSigned != nil && *described.AuthnRequestsSigned
	for _, key := range described.KeyDescriptors {
		cert, err := firstCertificate(key)
		if err != nil {
			return SP{}, err
		}
		if signed && key.Use != "encryption" {
			sp.Signing = append(sp.Signing, cert)
		}
		if key.Use != "signing" && sp.EncryptTo == nil {
			sp.EncryptTo = cert
		}
	}
	return sp, nil
}

func firstCertificate(key saml.KeyDescriptor) (*x509.Certificate, error) {
	certs := key.KeyInfo.X509Data.X509Certificates
	if len(certs) == 0 {
		return nil, ErrConfig.Because("a key in the metadata has no certificate")
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(certs[0].Data), ""))
	if err != nil {
		return nil, ErrConfig.With(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, ErrConfig.With(err)
	}
	return cert, nil
}

// soundlySigned says whether a request is signed as the application agreed to.
func (p *Provider) soundlySigned(r *http.Request, read samltest.Request, sp SP) bool {
	if len(sp.Signing) == 0 {
		return true
	}
	if r.Method == http.MethodGet {
		return signedQuery(r.URL.RawQuery, sp.Signing)
	}
	return p.signedDocument(read.Root, sp.Signing)
}

// signedQuery is SAML Bindings section 3.4.4.1: the signature is over the octets as they were sent, so
// they are taken from the query and not put together anew.
func signedQuery(query string, certs []*x509.Certificate) bool {
	var signed []string
	parts := map[string]string{}
	for _, part := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if _, twice := parts[name]; twice {
			return false
		}
		parts[name] = value
	}
	for _, name := range []string{"SAMLRequest", "RelayState", "SigAlg"} {
		if value, ok := parts[name]; ok {
			signed = append(signed, name+"="+value)
		}
	}
	algorithm, err1 := url.QueryUnescape(parts["SigAlg"])
	text, err2 := url.QueryUnescape(parts["Signature"])
	signature, err3 := base64.StdEncoding.DecodeString(text)
	if errors.Join(err1, err2, err3) != nil {
		return false
	}
	for _, cert := range certs {
		if verified(cert, algorithm, []byte(strings.Join(signed, "&")), signature) {
			return true
		}
	}
	return false
}

func verified(cert *x509.Certificate, algorithm string, signed, signature []byte) bool {
	switch algorithm {
	case samltest.RSASHA256:
		return cert.CheckSignature(x509.SHA256WithRSA, signed, signature) == nil
	case samltest.ECDSASHA256:
		der, err := asDER(signature)
		return err == nil && cert.CheckSignature(x509.ECDSAWithSHA256, signed, der) == nil
	}
	return false
}

// asDER turns the r||s of XML Signature section 6.4.3 into what Go's library verifies.
func asDER(signature []byte) ([]byte, error) {
	half := len(signature) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]),
	})
}

// signedDocument checks an enveloped signature over the whole request.
func (p *Provider) signedDocument(root *etree.Element, certs []*x509.Certificate) bool {
	for _, cert := range certs {
		check := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
		check.Clock = dsig.NewFakeClockAt(p.Now())
		checked := root
		if _, ok := cert.PublicKey.(*ecdsa.PublicKey); ok {
			checked = withDER(root)
		}
		if _, err := check.Validate(checked); err == nil {
			return true
		}
	}
	return false
}

// withDER rewrites an ECDSA signature to what the library expects instead of what the standard says.
func withDER(root *etree.Element) *etree.Element {
	out := root.Copy()
	value := out.FindElement("./Signature/SignatureValue")
	if value == nil {
		return out
	}
	signature, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value.Text()), ""))
	if err != nil {
		return out
	}
	if der, err := asDER(signature); err == nil {
		value.SetText(base64.StdEncoding.EncodeToString(der))
	}
	return out
}
