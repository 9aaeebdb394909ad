package saml

// XML Signature, as little of it as SAML Core section 5.4 allows: enveloped, one reference, to the
// parent, exclusive canonicalization.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 signatures
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

const (
	algEnveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algExcC14N   = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// method is a signature algorithm; its name is what policy calls it.
type method struct {
	name string
	hash crypto.Hash
	pss  bool
}

var methods = map[string]method{
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256":      {"RS256", crypto.SHA256, false},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha384":      {"RS384", crypto.SHA384, false},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512":      {"RS512", crypto.SHA512, false},
	"http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1": {"PS256", crypto.SHA256, true},
	"http://www.w3.org/2007/05/xmldsig-more#sha384-rsa-MGF1": {"PS384", crypto.SHA384, true},
	"http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1": {"PS512", crypto.SHA512, true},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256":    {"ES256", crypto.SHA256, false},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384":    {"ES384", crypto.SHA384, false},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512":    {"ES512", crypto.SHA512, false},
}

var digests = map[string]crypto.Hash{
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

// key is one of the connection's, with the certificate that brought it.
type key struct {
	public crypto.PublicKey
	print  string // SHA-256 of the certificate, hex
	der    []byte
}

func readKey(der []byte) (key, *x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return key{}, nil, err
	}
	if err := usable(c.PublicKey); err != nil {
		return key{}, nil, err
	}
	return key{public: c.PublicKey, print: fingerprint(der), der: der}, c, nil
}

func usable(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 || k.N.BitLen() > 8192 {
			return errors.New("an RSA key must have 2048 to 8192 bits")
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return errors.New("an ECDSA key must be on P-256, P-384 or P-521")
		}
	default:
		return errors.New("a key must be RSA or ECDSA")
	}
	return nil
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// brief is as much of a fingerprint as a line of the report has room for: 80 bits tell certificates apart.
func brief(print string) string { return print[:20] }

// signatureOf gives the signature that stands in e; nil when there is none.
func signatureOf(e *etree.Element) (*etree.Element, error) {
	found := all(e, nsDsig, "Signature")
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	default:
		return nil, ErrSignedOther.Because("two signatures in one element")
	}
}

// verifier checks signatures by a connection's keys.
type verifier struct {
	keys    []key
	allowed []string // names of methods
	notes   *notes
}

// verify says whether a key of the connection vouches for e, all of it but the signature itself.
// Nothing else of the document may be read afterwards.
func (v *verifier) verify(e, sig *etree.Element) error {
	p, err := v.parts(e, sig)
	if err != nil {
		return err
	}
	// The signature comes first: only who holds a key may make us canonicalize a whole document.
	if err := v.value(p); err != nil {
		return err
	}
	b, err := canonical(e, sig, p.prefixes)
	if err != nil {
		return ErrBadSignature.With(err)
	}
	h := p.digest.New()
	h.Write(b)
	if subtle.ConstantTimeCompare(h.Sum(nil), p.sum) != 1 {
		v.notes.add("signature", false, "the content was changed after signing", "content as signed")
		return ErrBadSignature.Because("digest")
	}
	return nil
}

// parts is what a signature says, once its form is known to be the one we take.
type parts struct {
	info       *etree.Element
	infoPrefix string
	method     method
	digest     crypto.Hash
	sum, value []byte
	prefixes   string
	shown      [][]byte // certificates in KeyInfo: a hint for the report, never a key
}

func (v *verifier) parts(e, sig *etree.Element) (parts, error) {
	var p parts
	if err := shape(sig, "SignedInfo", "SignatureValue", "KeyInfo"); err != nil {
		return p, err
	}
	p.info = only(sig, nsDsig, "SignedInfo")
	value := only(sig, nsDsig, "SignatureValue")
	if p.info == nil || value == nil {
		return p, ErrSignedOther.Because("no SignedInfo or SignatureValue")
	}
	if err := shape(p.info, "CanonicalizationMethod", "SignatureMethod", "Reference"); err != nil {
		return p, err
	}
	if err := v.methodOf(&p); err != nil {
		return p, err
	}
	if err := v.reference(&p, e); err != nil {
		return p, err
	}
	p.shown = shownCertificates(sig)
	var err error
	if p.value, err = unbase64(plain(value)); err != nil {
		return p, ErrBadSignature.With(err)
	}
	return p, nil
}

// shape refuses children that have no business there: an Object could hold a wrapped original.
func shape(e *etree.Element, names ...string) error {
	for _, t := range e.Child {
		c, ok := t.(*etree.Element)
		if ok && (!slices.Contains(names, c.Tag) || c.NamespaceURI() != nsDsig) {
			return ErrSignedOther.Because("unexpected " + c.Tag + " in a signature")
		}
	}
	return nil
}

func (v *verifier) methodOf(p *parts) error {
	canon := only(p.info, nsDsig, "CanonicalizationMethod")
	sigMethod := only(p.info, nsDsig, "SignatureMethod")
	if canon == nil || sigMethod == nil {
		return ErrSignedOther.Because("no methods")
	}
	if attr(canon, "Algorithm") != algExcC14N {
		return ErrSignedOther.Because("canonicalization " + attr(canon, "Algorithm"))
	}
	p.infoPrefix = prefixList(canon)
	uri := attr(sigMethod, "Algorithm")
	m, known := methods[uri]
	if !known || !slices.Contains(v.allowed, m.name) {
		v.notes.add("signature_algorithm", false, short(uri), strings.Join(v.allowed, " "))
		return ErrSigAlg.Because(uri)
	}
	if len(sigMethod.ChildElements()) > 0 {
		return ErrSigAlg.Because("parameters")
	}
	p.method = m
	v.notes.add("signature_algorithm", true, m.name, strings.Join(v.allowed, " "))
	return nil
}

func (v *verifier) reference(p *parts, e *etree.Element) error {
	ref := only(p.info, nsDsig, "Reference")
	if ref == nil {
		return ErrSignedOther.Because("not exactly one reference")
	}
	id := attr(e, "ID")
	// SAML Core 5.4.2: the reference names the ID of the element that the signature stands in.
	if id == "" || attr(ref, "URI") != "#"+id {
		return ErrSignedOther.Because("the reference names another element")
	}
	if err := shape(ref, "Transforms", "DigestMethod", "DigestValue"); err != nil {
		return err
	}
	if err := transforms(p, only(ref, nsDsig, "Transforms")); err != nil {
		return err
	}
	uri := attr(only(ref, nsDsig, "DigestMethod"), "Algorithm")
	var known bool
	if p.digest, known = digests[uri]; !known {
		v.notes.add("digest_algorithm", false, short(uri), "SHA-256, SHA-384 or SHA-512")
		return ErrDigestAlg.Because(uri)
	}
	var err error
	if p.sum, err = unbase64(plain(only(ref, nsDsig, "DigestValue"))); err != nil {
		return ErrBadSignature.With(err)
	}
	return nil
}

func transforms(p *parts, ts *etree.Element) error {
	if ts == nil {
		return ErrSignedOther.Because("no transforms")
	}
	if err := shape(ts, "Transform"); err != nil {
		return err
	}
	list := all(ts, nsDsig, "Transform")
	if len(list) != 2 || attr(list[0], "Algorithm") != algEnveloped || attr(list[1], "Algorithm") != algExcC14N {
		return ErrSignedOther.Because("transforms other than enveloped and exclusive canonicalization")
	}
	if len(list[0].ChildElements()) > 0 {
		return ErrSignedOther.Because("parameters of a transform")
	}
	p.prefixes = prefixList(list[1])
	return nil
}

func prefixList(e *etree.Element) string {
	return attr(only(e, algExcC14N, "InclusiveNamespaces"), "PrefixList")
}

// shownCertificates are those of KeyInfo.
func shownCertificates(sig *etree.Element) [][]byte {
	var out [][]byte
	for _, data := range all(orNone(only(sig, nsDsig, "KeyInfo")), nsDsig, "X509Data") {
		for _, c := range all(data, nsDsig, "X509Certificate") {
			if der, err := unbase64(plain(c)); err == nil {
				out = append(out, der)
			}
		}
	}
	return out
}

func orNone(e *etree.Element) *etree.Element {
	if e == nil {
		return &etree.Element{}
	}
	return e
}

// value tries the connection's keys, the one that KeyInfo hints at first. KeyInfo gives no key.
func (v *verifier) value(p parts) error {
	b, err := canonical(p.info, nil, p.infoPrefix)
	if err != nil {
		return ErrBadSignature.With(err)
	}
	h := p.method.hash.New()
	h.Write(b)
	sum := h.Sum(nil)
	for _, k := range v.hinted(p.shown) {
		if p.method.good(k.public, sum, p.value) {
			v.notes.add("signature", true, p.method.name+" by "+brief(k.print), v.prints())
			return nil
		}
	}
	return v.refused(p)
}

func (v *verifier) hinted(shown [][]byte) []key {
	for i, k := range v.keys {
		for _, der := range shown {
			if i > 0 && string(der) == string(k.der) {
				return append([]key{k}, slices.Delete(slices.Clone(v.keys), i, i+1)...)
			}
		}
	}
	return v.keys
}

// refused tells a changed document from an unknown certificate, as far as KeyInfo lets us.
func (v *verifier) refused(p parts) error {
	if len(p.shown) == 0 {
		v.notes.add("certificate", false, "not said", v.prints())
		return ErrBadCert
	}
	got := fingerprint(p.shown[0])
	for _, k := range v.keys {
		if k.print == got {
			v.notes.add("signature", false, "does not match, by "+brief(got), v.prints())
			return ErrBadSignature
		}
	}
	v.notes.add("certificate", false, brief(got), v.prints())
	return ErrBadCert
}

func (v *verifier) prints() string {
	var all []string
	for _, k := range v.keys {
		all = append(all, brief(k.print))
	}
	return strings.Join(all, " ")
}

func (m method) good(public crypto.PublicKey, sum, value []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if m.pss {
			return rsa.VerifyPSS(k, m.hash, sum, value, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return m.name[0] == 'R' && rsa.VerifyPKCS1v15(k, m.hash, sum, value) == nil
	case *ecdsa.PublicKey:
		// XML Signature 1.1 section 6.4.3: r and s side by side, each as long as the curve's order.
		n := (k.Curve.Params().N.BitLen() + 7) / 8
		if m.name[0] != 'E' || len(value) != 2*n {
			return false
		}
		return ecdsa.Verify(k, sum, new(big.Int).SetBytes(value[:n]), new(big.Int).SetBytes(value[n:]))
	default:
		return false
	}
}

// unbase64 reads base64 with the line breaks that XML writers love.
func unbase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, " \t\r\n") {
		s = strings.Join(strings.Fields(s), "")
	}
	if s == "" {
		return nil, errors.New("empty")
	}
	return base64.StdEncoding.DecodeString(s)
}

// short is the last part of an algorithm's URI, for reports.
func short(uri string) string {
	if i := strings.LastIndexAny(uri, "#:"); i >= 0 {
		uri = uri[i+1:]
	}
	if uri == "" {
		return "none"
	}
	return uri
}
