package samltest

import (
	"crypto/x509"
	"encoding/base64"
	"time"

	"github.com/beevik/etree"
)

// Metadata describes an identity provider.
type Metadata struct {
	EntityID      string
	Redirect      string // single sign-on URL of HTTP-Redirect; "" leaves it out
	Post          string // and of HTTP-POST
	Signing       []*x509.Certificate
	ValidUntil    time.Time
	CacheDuration string // "PT1H"
	WantSigned    bool
}

// XML is an EntityDescriptor.
func (m Metadata) XML() ([]byte, error) { return Bytes(m.Element()) }

// Element is an EntityDescriptor to be put into an aggregate.
func (m Metadata) Element() *etree.Element {
	e := etree.NewElement("md:EntityDescriptor")
	e.CreateAttr("xmlns:md", NSMetadata)
	set(e, "entityID", m.EntityID)
	set(e, "validUntil", stamp(m.ValidUntil))
	set(e, "cacheDuration", m.CacheDuration)
	idp := e.CreateElement("md:IDPSSODescriptor")
	set(idp, "protocolSupportEnumeration", NSProtocol)
	if m.WantSigned {
		set(idp, "WantAuthnRequestsSigned", "true")
	}
	for _, c := range m.Signing {
		k := idp.CreateElement("md:KeyDescriptor")
		set(k, "use", "signing")
		info := k.CreateElement("ds:KeyInfo")
		info.CreateAttr("xmlns:ds", NSDsig)
		child(info.CreateElement("ds:X509Data"), "ds:X509Certificate", base64.StdEncoding.EncodeToString(c.Raw))
	}
	for binding, at := range map[string]string{"HTTP-Redirect": m.Redirect, "HTTP-POST": m.Post} {
		if at == "" {
			continue
		}
		s := idp.CreateElement("md:SingleSignOnService")
		set(s, "Binding", "urn:oasis:names:tc:SAML:2.0:bindings:"+binding)
		set(s, "Location", at)
	}
	return e
}

// Aggregate nests entities as federations and old Keycloaks publish them.
func Aggregate(name string, inside ...*etree.Element) *etree.Element {
	e := etree.NewElement("md:EntitiesDescriptor")
	e.CreateAttr("xmlns:md", NSMetadata)
	set(e, "Name", name)
	for _, i := range inside {
		e.AddChild(i)
	}
	return e
}
