// Package samltest is a SAML identity provider's pen: it writes responses, reads requests and describes
// itself, for tests and for the fake identity provider.
//
// Fill a Response, call Form or XML. Everything it writes is right unless a field says otherwise: the
// misbehaviour lives in Signature (old algorithms, foreign keys, no KeyInfo), in the times and names
// that the caller chooses, and in Edit (before signing) and Tamper (after). It shares no code with the
// package it tests, so that a mistake in one does not hide in the other.
package samltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Namespaces and names that callers of Edit and Tamper need.
const (
	NSProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	NSAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	NSMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	NSDsig      = "http://www.w3.org/2000/09/xmldsig#"
	NSEnc       = "http://www.w3.org/2001/04/xmlenc#"
	NSEnc11     = "http://www.w3.org/2009/xmlenc11#"

	EmailFormat       = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
	PersistentFormat  = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	TransientFormat   = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	UnspecifiedFormat = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"

	StatusSuccess = "urn:oasis:names:tc:SAML:2.0:status:Success"
	PasswordClass = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
)

// Key is a private key with a self-signed certificate.
type Key struct {
	Signer crypto.Signer
	Cert   *x509.Certificate
}

// NewRSA makes an RSA key of 2048 bits whose certificate holds for ten years from now.
func NewRSA(name string, now time.Time) (Key, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return Key{}, err
	}
	return selfSigned(k, name, now)
}

// NewECDSA makes a P-256 key whose certificate holds for ten years from now.
func NewECDSA(name string, now time.Time) (Key, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, err
	}
	return selfSigned(k, name, now)
}

func selfSigned(k crypto.Signer, name string, now time.Time) (Key, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return Key{}, err
	}
	t := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, &t, k.Public(), k)
	if err != nil {
		return Key{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return Key{Signer: k, Cert: cert}, err
}

// CertPEM is the certificate as administrators paste it.
func (k Key) CertPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Cert.Raw}))
}

// KeyPEM is the private key as PKCS #8, so that a fake identity provider keeps it over a restart.
func (k Key) KeyPEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// ParseKey reads what CertPEM and KeyPEM wrote.
func ParseKey(keyPEM, certPEM string) (Key, error) {
	kb, _ := pem.Decode([]byte(keyPEM))
	cb, _ := pem.Decode([]byte(certPEM))
	if kb == nil || cb == nil {
		return Key{}, fmt.Errorf("samltest: no PEM block")
	}
	k, err := x509.ParsePKCS8PrivateKey(kb.Bytes)
	if err != nil {
		return Key{}, err
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return Key{}, fmt.Errorf("samltest: %T cannot sign", k)
	}
	cert, err := x509.ParseCertificate(cb.Bytes)
	return Key{Signer: s, Cert: cert}, err
}
