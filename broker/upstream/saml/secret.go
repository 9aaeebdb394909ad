package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Secret is a connection's own keys. In each list the first of a kind is in use and the others are
// next: published already, and good for decryption.
type Secret struct {
	Signing    []KeyPair `json:"signing,omitempty"` // RSA for RS256, ECDSA for ES256
	Encryption []KeyPair `json:"encryption,omitempty"`
}

// KeyPair is a private key (PKCS #8, PEM) and its self-signed certificate (PEM). Providers compare
// keys and never dates, so the certificates hold for long.
type KeyPair struct {
	Key         string `json:"key"`
	Certificate string `json:"certificate"`
}

const secretYears = 20

// NewSecret makes keys to sign requests and to decrypt assertions. name stands in the certificates.
func NewSecret(rand io.Reader, now time.Time, name string) (Secret, error) {
	var s Secret
	signing, err := NewKeyPair(rand, now, name, "RS256")
	if err != nil {
		return s, err
	}
	small, err := NewKeyPair(rand, now, name, "ES256")
	if err != nil {
		return s, err
	}
	encryption, err := NewKeyPair(rand, now, name, "RS256")
	if err != nil {
		return s, err
	}
	return Secret{Signing: []KeyPair{signing, small}, Encryption: []KeyPair{encryption}}, nil
}

// NewKeyPair makes one more key for an algorithm, to be added as the next of its list. An
// encryption key is one for RS256.
func NewKeyPair(rand io.Reader, now time.Time, name, algorithm string) (KeyPair, error) {
	var k crypto.Signer
	var err error
	if algorithm == "ES256" {
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand)
	} else {
		k, err = rsa.GenerateKey(rand, 2048)
	}
	if err != nil {
		return KeyPair{}, err
	}
	return certify(rand, now, name, k)
}

func certify(rand io.Reader, now time.Time, name string, k crypto.Signer) (KeyPair, error) {
	var serial [16]byte
	if _, err := io.ReadFull(rand, serial[:]); err != nil {
		return KeyPair{}, err
	}
	t := x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(append([]byte{1}, serial[1:]...)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(secretYears, 0, 0),
	}
	cert, err := x509.CreateCertificate(rand, &t, &t, k.Public(), k)
	if err != nil {
		return KeyPair{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
	}, nil
}

func parseSecret(raw json.RawMessage) (Secret, error) {
	var s Secret
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		// The cause could quote the secret.
		return s, upstream.ErrConfig.Because("the connection's keys cannot be read")
	}
	return s, nil
}

// checkSecret reads every key, so that a login does not meet a broken one.
func checkSecret(raw json.RawMessage, cfg Config) error {
	keys := newSecrets(raw, cfg.RequestAlgorithm)
	s, err := keys.stored()
	if err != nil {
		return err
	}
	if _, err := keys.decryption(); err != nil {
		return err
	}
	for _, p := range slices.Concat(s.Signing, s.Encryption) {
		if err := p.match(); err != nil {
			return err
		}
	}
	if !cfg.SignRequests {
		return nil
	}
	_, err = keys.signing()
	return err
}

func (p KeyPair) signer() (crypto.Signer, error) {
	b, _ := pem.Decode([]byte(p.Key))
	if b == nil {
		return nil, upstream.ErrConfig.Because("a key of the connection is no PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, upstream.ErrConfig.Because("a key of the connection is no PKCS #8")
	}
	s, ok := k.(crypto.Signer)
	if !ok || usable(s.Public()) != nil {
		return nil, upstream.ErrConfig.Because("a key of the connection is too weak or of another kind")
	}
	return s, nil
}

// match says whether the certificate is the key's: what we publish must be what we use.
func (p KeyPair) match() error {
	k, err := p.signer()
	if err != nil {
		return err
	}
	c, err := x509.ParseCertificate(p.der())
	if err != nil {
		return upstream.ErrConfig.Because("a certificate of the connection's keys cannot be read")
	}
	if pub, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(k.Public()) {
		return upstream.ErrConfig.Because("a certificate of the connection's keys belongs to another key")
	}
	return nil
}

// der is the certificate's bytes; nil when it is no PEM.
func (p KeyPair) der() []byte {
	b, _ := pem.Decode([]byte(p.Certificate))
	if b == nil {
		return nil
	}
	return b.Bytes
}

// secrets are the keys, read when the first login needs them: reading an RSA key takes longer than a
// whole login, and opening a connection must take next to nothing.
type secrets struct {
	stored     func() (Secret, error)
	signing    func() (crypto.Signer, error)
	decryption func() ([]*rsa.PrivateKey, error)
}

func newSecrets(raw json.RawMessage, algorithm string) *secrets {
	stored := sync.OnceValues(func() (Secret, error) { return parseSecret(raw) })
	return &secrets{
		stored: stored,
		signing: sync.OnceValues(func() (crypto.Signer, error) {
			s, err := stored()
			if err != nil {
				return nil, err
			}
			return s.signer(algorithm)
		}),
		decryption: sync.OnceValues(func() ([]*rsa.PrivateKey, error) {
			s, err := stored()
			if err != nil {
				return nil, err
			}
			return s.decrypters()
		}),
	}
}

func (s Secret) signer(algorithm string) (crypto.Signer, error) {
	for _, p := range s.Signing {
		k, err := p.signer()
		if err != nil {
			return nil, err
		}
		if algorithmOf(k) == orRS256(algorithm) {
			return k, nil
		}
	}
	return nil, upstream.ErrConfig.Because("requests are to be signed, and there is no key for it")
}

func algorithmOf(k crypto.Signer) string {
	switch k := k.Public().(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return "ES256"
		}
	}
	return ""
}

func orRS256(algorithm string) string {
	if algorithm == "" {
		return "RS256"
	}
	return algorithm
}

const maxDecrypters = 2 // the current one and the next: each costs a millisecond an answer

func (s Secret) decrypters() ([]*rsa.PrivateKey, error) {
	if len(s.Encryption) > maxDecrypters {
		return nil, upstream.ErrConfig.Because("more than two encryption keys")
	}
	var out []*rsa.PrivateKey
	for _, p := range s.Encryption {
		k, err := p.signer()
		if err != nil {
			return nil, err
		}
		r, ok := k.(*rsa.PrivateKey)
		if !ok {
			return nil, upstream.ErrConfig.Because("an encryption key must be RSA")
		}
		out = append(out, r)
	}
	return out, nil
}
