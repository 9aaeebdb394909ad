package fakeidp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"time"
)

// mark stands in the certificate and in the id of every key made here, so that a server which is not a
// demonstration can refuse to trust it (S54).
const mark = "made-up-"

const markUnit = "Made up, for demonstrations and tests only"

// Key signs for a provider. Cert is the self-signed certificate that SAML publishes.
type Key struct {
	ID     string
	Signer crypto.Signer
	Cert   *x509.Certificate
}

// Marked says whether a certificate is one of a made-up provider.
func Marked(cert *x509.Certificate) bool {
	return slices.Contains(cert.Subject.OrganizationalUnit, markUnit)
}

// MarkedID says whether a JSON Web Key id is one of a made-up provider.
func MarkedID(kid string) bool { return strings.HasPrefix(kid, mark) }

// NewKey makes a key for ES256 (also ""), RS256 or EdDSA, and its certificate, good for three years as
// those of the large providers are.
func NewKey(algorithm string, now time.Time) (*Key, error) {
	signer, err := newSigner(algorithm)
	if err != nil {
		return nil, err
	}
	return certify(signer, now)
}

func newSigner(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "", "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, ErrConfig.Because("unknown algorithm " + algorithm)
}

func certify(signer crypto.Signer, now time.Time) (*Key, error) {
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(sum[:8]),
		Subject:      pkix.Name{CommonName: "Made-up identity provider", OrganizationalUnit: []string{markUnit}},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(3, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Key{ID: keyID(sum[:]), Signer: signer, Cert: cert}, err
}

func keyID(sum []byte) string {
	return mark + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// PEM is the key and its certificate, for a demonstration that is stopped and started again.
func (k *Key) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: k.Cert.Raw})
	return b.Bytes(), nil
}

// ParseKey reads what PEM wrote.
func ParseKey(text []byte) (*Key, error) {
	private, rest := pem.Decode(text)
	public, _ := pem.Decode(rest)
	if private == nil || public == nil {
		return nil, ErrConfig.Because("the PEM text must hold a private key and its certificate")
	}
	key, err := x509.ParsePKCS8PrivateKey(private.Bytes)
	if err != nil {
		return nil, ErrConfig.With(err)
	}
	cert, err := x509.ParseCertificate(public.Bytes)
	if err != nil {
		return nil, ErrConfig.With(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, ErrConfig.Because("the private key cannot sign")
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return &Key{ID: keyID(sum[:]), Signer: signer, Cert: cert}, nil
}

// algorithm is the JWS name of what the key signs with.
func (k *Key) algorithm() string {
	switch k.Signer.Public().(type) {
	case *rsa.PublicKey:
		return "RS256"
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return "ES256"
}
