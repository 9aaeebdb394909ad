package samltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // an identity provider that should have been upgraded long ago
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Algorithms of signatures and digests that Signature knows.
const (
	RSASHA1     = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
	RSASHA256   = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	RSASHA384   = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384"
	RSASHA512   = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
	PSSSHA256   = "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"
	ECDSASHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
	ECDSASHA384 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
	HMACSHA256  = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"

	DigestSHA1   = "http://www.w3.org/2000/09/xmldsig#sha1"
	DigestSHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
	DigestSHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"

	Enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	ExcC14N   = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// KeyInfo says what a signature tells about its key.
type KeyInfo string

const (
	WithCertificate KeyInfo = ""         // X509Data with the certificate
	WithoutKeyInfo  KeyInfo = "none"     // nothing at all
	WithKeyName     KeyInfo = "KeyName"  // a name
	WithKeyValue    KeyInfo = "KeyValue" // the bare RSA public key
)

// Signature says how to sign.
type Signature struct {
	Key       Key
	Algorithm string // by the key's type with SHA-256 when empty
	Digest    string // SHA-256 when empty
	KeyInfo   KeyInfo
	// Claimed is the key that KeyInfo shows, when it is not Key.
	Claimed *Key
	// DER writes ECDSA values as ASN.1, which XML Signature section 6.4.3 does not allow.
	DER bool
	// HMACKey is the secret of HMACSHA256.
	HMACKey []byte
	// Prefixes is the InclusiveNamespaces PrefixList of the canonicalization.
	Prefixes string
	// EditInfo changes the SignedInfo before it is signed.
	EditInfo func(signedInfo *etree.Element)
}

// Sign puts an enveloped signature into e, after its Issuer. Elements stand in their document already,
// or carry the namespaces they use.
func (s Signature) Sign(e *etree.Element) error {
	sig := etree.NewElement("ds:Signature")
	sig.CreateAttr("xmlns:ds", NSDsig)
	info, err := s.info(e)
	if err != nil {
		return err
	}
	sig.AddChild(info)
	value, err := s.value(info)
	if err != nil {
		return err
	}
	child(sig, "ds:SignatureValue", base64.StdEncoding.EncodeToString(value))
	s.keyInfo(sig)
	e.InsertChildAt(afterIssuer(e), sig)
	return nil
}

func afterIssuer(e *etree.Element) int {
	for i, c := range e.Child {
		if el, ok := c.(*etree.Element); ok && el.Tag == "Issuer" {
			return i + 1
		}
	}
	return 0
}

func (s Signature) info(e *etree.Element) (*etree.Element, error) {
	info := etree.NewElement("ds:SignedInfo")
	info.CreateElement("ds:CanonicalizationMethod").CreateAttr("Algorithm", ExcC14N)
	info.CreateElement("ds:SignatureMethod").CreateAttr("Algorithm", s.algorithm())
	ref := info.CreateElement("ds:Reference")
	ref.CreateAttr("URI", "#"+e.SelectAttrValue("ID", ""))
	ts := ref.CreateElement("ds:Transforms")
	ts.CreateElement("ds:Transform").CreateAttr("Algorithm", Enveloped)
	c14n := ts.CreateElement("ds:Transform")
	c14n.CreateAttr("Algorithm", ExcC14N)
	if s.Prefixes != "" {
		in := c14n.CreateElement("ec:InclusiveNamespaces")
		in.CreateAttr("xmlns:ec", ExcC14N)
		in.CreateAttr("PrefixList", s.Prefixes)
	}
	digest, sum, err := s.digest(e)
	if err != nil {
		return nil, err
	}
	ref.CreateElement("ds:DigestMethod").CreateAttr("Algorithm", digest)
	child(ref, "ds:DigestValue", base64.StdEncoding.EncodeToString(sum))
	if s.EditInfo != nil {
		s.EditInfo(info)
	}
	return info, nil
}

func (s Signature) algorithm() string {
	if s.Algorithm != "" {
		return s.Algorithm
	}
	if _, ok := s.Key.Signer.(*ecdsa.PrivateKey); ok {
		return ECDSASHA256
	}
	return RSASHA256
}

func (s Signature) digest(e *etree.Element) (string, []byte, error) {
	name := s.Digest
	if name == "" {
		name = DigestSHA256
	}
	b, err := canonical(e, s.Prefixes)
	if err != nil {
		return "", nil, err
	}
	h := map[string]crypto.Hash{DigestSHA1: crypto.SHA1, DigestSHA256: crypto.SHA256, DigestSHA512: crypto.SHA512}[name]
	if h == 0 {
		return "", nil, fmt.Errorf("samltest: unknown digest %s", name)
	}
	return name, sum(h, b), nil
}

func (s Signature) value(info *etree.Element) ([]byte, error) {
	alone := info.Copy()
	alone.CreateAttr("xmlns:ds", NSDsig)
	b, err := canonical(alone, "")
	if err != nil {
		return nil, err
	}
	switch alg := s.algorithm(); alg {
	case RSASHA1:
		return s.Key.Signer.Sign(rand.Reader, sum(crypto.SHA1, b), crypto.SHA1)
	case RSASHA256:
		return s.Key.Signer.Sign(rand.Reader, sum(crypto.SHA256, b), crypto.SHA256)
	case RSASHA384:
		return s.Key.Signer.Sign(rand.Reader, sum(crypto.SHA384, b), crypto.SHA384)
	case RSASHA512:
		return s.Key.Signer.Sign(rand.Reader, sum(crypto.SHA512, b), crypto.SHA512)
	case PSSSHA256:
		o := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		return s.Key.Signer.Sign(rand.Reader, sum(crypto.SHA256, b), o)
	case ECDSASHA256:
		return s.ecdsa(sum(crypto.SHA256, b))
	case ECDSASHA384:
		return s.ecdsa(sum(crypto.SHA384, b))
	case HMACSHA256:
		m := hmac.New(crypto.SHA256.New, s.HMACKey)
		m.Write(b)
		return m.Sum(nil), nil
	default:
		return nil, fmt.Errorf("samltest: unknown algorithm %s", alg)
	}
}

// XML Signature section 6.4.3: r and s, each as long as the curve's order, one after the other.
func (s Signature) ecdsa(digest []byte) ([]byte, error) {
	der, err := s.Key.Signer.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil || s.DER {
		return der, err
	}
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil, err
	}
	pub, ok := s.Key.Signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("samltest: %T is no ECDSA key", s.Key.Signer)
	}
	n := (pub.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 2*n)
	v.R.FillBytes(out[:n])
	v.S.FillBytes(out[n:])
	return out, nil
}

func (s Signature) keyInfo(sig *etree.Element) {
	k := s.Key
	if s.Claimed != nil {
		k = *s.Claimed
	}
	if s.KeyInfo == WithoutKeyInfo || k.Cert == nil {
		return
	}
	info := sig.CreateElement("ds:KeyInfo")
	switch s.KeyInfo {
	case WithKeyName:
		child(info, "ds:KeyName", k.Cert.Subject.CommonName)
	case WithKeyValue:
		if pub, ok := k.Cert.PublicKey.(*rsa.PublicKey); ok {
			v := info.CreateElement("ds:KeyValue").CreateElement("ds:RSAKeyValue")
			child(v, "ds:Modulus", base64.StdEncoding.EncodeToString(pub.N.Bytes()))
			child(v, "ds:Exponent", base64.StdEncoding.EncodeToString(big.NewInt(int64(pub.E)).Bytes()))
		}
	default:
		child(info.CreateElement("ds:X509Data"), "ds:X509Certificate", base64.StdEncoding.EncodeToString(k.Cert.Raw))
	}
}

func canonical(e *etree.Element, prefixes string) ([]byte, error) {
	alone := e.Copy()
	for p := e.Parent(); p != nil; p = p.Parent() {
		for _, a := range p.Attr {
			declares := a.Space == "xmlns" || a.Space == "" && a.Key == "xmlns"
			if declares && alone.SelectAttr(a.FullKey()) == nil {
				alone.CreateAttr(a.FullKey(), a.Value)
			}
		}
	}
	return dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(strings.TrimSpace(prefixes)).Canonicalize(alone)
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}
