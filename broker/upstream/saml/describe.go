package saml

import (
	"encoding/base64"
	"strings"
)

// Describe is our metadata for this connection's provider: one reply URL, and our keys with the next
// ones, so that a provider that fetches it knows them before they are used.
func (p *provider) Describe() (contentType string, doc []byte, err error) {
	keys, err := p.secrets.stored()
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	b.WriteString(`<md:EntityDescriptor xmlns:md="` + nsMetadata + `" xmlns:ds="` + nsDsig + `" entityID="` + inAttribute(p.entityID) + `">` + "\n")
	b.WriteString(` <md:SPSSODescriptor AuthnRequestsSigned="` + boolean(p.config.SignRequests) + `" WantAssertionsSigned="true" protocolSupportEnumeration="` + nsProtocol + `">` + "\n")
	for _, k := range keys.Signing {
		signer, err := k.signer()
		if err != nil {
			return "", nil, err
		}
		// AD FS refuses a whole document for one certificate of a kind that it does not know.
		if algorithmOf(signer) == orRS256(p.config.RequestAlgorithm) {
			descriptor(&b, "signing", k)
		}
	}
	for _, k := range keys.Encryption {
		descriptor(&b, "encryption", k)
	}
	if f := p.config.NameIDFormat; f != "" {
		b.WriteString(`  <md:NameIDFormat>` + inText(f) + `</md:NameIDFormat>` + "\n")
	}
	b.WriteString(`  <md:AssertionConsumerService Binding="` + bindingPost + `" Location="` + inAttribute(p.acs) + `" index="0" isDefault="true"/>` + "\n")
	b.WriteString(" </md:SPSSODescriptor>\n</md:EntityDescriptor>\n")
	return "application/samlmetadata+xml", []byte(b.String()), nil
}

func descriptor(b *strings.Builder, use string, k KeyPair) {
	b.WriteString(`  <md:KeyDescriptor use="` + use + `"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>`)
	b.WriteString(base64.StdEncoding.EncodeToString(k.der()))
	b.WriteString(`</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`)
	if use == "encryption" {
		for _, alg := range []string{
			"http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes128-gcm", algOAEP,
		} {
			b.WriteString(`<md:EncryptionMethod Algorithm="` + alg + `"/>`)
		}
	}
	b.WriteString("</md:KeyDescriptor>\n")
}

func boolean(v bool) string {
	if v {
		return "true"
	}
	return "false"
}
