package saml

// AuthnRequests. They are written as canonical XML in the first place: what is signed is what is sent,
// and nothing has to be parsed or canonicalized.

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"
	"sync"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

const bindingPost = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

// Depart writes the request.
func (p *provider) Depart(ctx context.Context, a upstream.Attempt) (upstream.Departure, error) {
	p.refresh(ctx)
	binding, to := p.config.target()
	if to == "" {
		return upstream.Departure{}, upstream.ErrConfig.Because("no sign-in URL for the chosen binding")
	}
	var signer crypto.Signer
	if p.config.SignRequests || a.Demands.SignedRequests {
		var err error
		if signer, err = p.secrets.signing(); err != nil {
			return upstream.Departure{}, err
		}
	}
	r := request{provider: p, attempt: a, to: to}
	if binding == bindPost {
		return r.posted(signer)
	}
	return r.redirected(signer)
}

type request struct {
	*provider
	attempt upstream.Attempt
	to      string
}

// redirected is SAML Bindings 3.4.4.1: the signature is over the query as it is sent.
func (r request) redirected(signer crypto.Signer) (upstream.Departure, error) {
	head, tail := r.xml()
	small, err := deflate(head + tail)
	if err != nil {
		return upstream.Departure{}, err
	}
	query := "SAMLRequest=" + escape(base64.StdEncoding.EncodeToString(small)) + "&RelayState=" + escape(r.attempt.ID)
	if signer != nil {
		alg := signatureURI(signer)
		query += "&SigAlg=" + escape(alg)
		value, err := sign(signer, query)
		if err != nil {
			return upstream.Departure{}, err
		}
		query += "&Signature=" + escape(base64.StdEncoding.EncodeToString(value))
	}
	if r.config.LoginHint == "query" && r.attempt.LoginHint != "" {
		query += "&login_hint=" + escape(r.attempt.LoginHint)
	}
	joint := "?"
	if strings.Contains(r.to, "?") {
		joint = "&"
	}
	return upstream.Departure{URL: r.to + joint + query}, nil
}

// posted is SAML Bindings 3.5.4, with an enveloped signature.
func (r request) posted(signer crypto.Signer) (upstream.Departure, error) {
	head, tail := r.xml()
	doc := head + tail
	if signer != nil {
		s, err := r.enveloped(signer, doc)
		if err != nil {
			return upstream.Departure{}, err
		}
		doc = head + s + tail
	}
	return upstream.Departure{URL: r.to, Form: url.Values{
		"SAMLRequest": {base64.StdEncoding.EncodeToString([]byte(doc))},
		"RelayState":  {r.attempt.ID},
	}}, nil
}

// xml is the request before and after the place of its signature.
func (r request) xml() (head, tail string) {
	var b strings.Builder
	b.WriteString(`<samlp:AuthnRequest xmlns:samlp="` + nsProtocol + `" AssertionConsumerServiceURL="`)
	b.WriteString(inAttribute(r.acs))
	b.WriteString(`" Destination="`)
	b.WriteString(inAttribute(r.to))
	if r.config.ForceAuthn || r.attempt.Force || r.attempt.MaxAge != nil && *r.attempt.MaxAge == 0 {
		b.WriteString(`" ForceAuthn="true`)
	}
	b.WriteString(`" ID="` + requestID(r.attempt))
	b.WriteString(`" IssueInstant="` + r.attempt.At.UTC().Format("2006-01-02T15:04:05Z"))
	b.WriteString(`" ProtocolBinding="` + bindingPost + `" Version="2.0"><saml:Issuer xmlns:saml="` + nsAssertion + `">`)
	b.WriteString(inText(r.entityID))
	b.WriteString(`</saml:Issuer>`)
	return b.String(), r.rest()
}

func (r request) rest() string {
	var b strings.Builder
	if r.config.LoginHint == "subject" && r.attempt.LoginHint != "" {
		b.WriteString(`<saml:Subject xmlns:saml="` + nsAssertion + `"><saml:NameID Format="` + formatEmail + `">`)
		b.WriteString(inText(r.attempt.LoginHint))
		b.WriteString(`</saml:NameID></saml:Subject>`)
	}
	b.WriteString(`<samlp:NameIDPolicy AllowCreate="true"`)
	if f := r.config.NameIDFormat; f != "" {
		b.WriteString(` Format="` + inAttribute(f) + `"`)
	}
	b.WriteString(`></samlp:NameIDPolicy>`)
	if len(r.config.RequestedAuthnContext) > 0 {
		b.WriteString(`<samlp:RequestedAuthnContext Comparison="exact">`)
		for _, c := range r.config.RequestedAuthnContext {
			b.WriteString(`<saml:AuthnContextClassRef xmlns:saml="` + nsAssertion + `">` + inText(c) + `</saml:AuthnContextClassRef>`)
		}
		b.WriteString(`</samlp:RequestedAuthnContext>`)
	}
	b.WriteString(`</samlp:AuthnRequest>`)
	return b.String()
}

// enveloped signs a document that is canonical as it stands.
func (r request) enveloped(signer crypto.Signer, doc string) (string, error) {
	sum := sha256.Sum256([]byte(doc))
	// Canonical form: the namespace is declared by SignedInfo when it is digested alone, and by
	// Signature when it is sent.
	const open, xmlns = `<ds:SignedInfo`, ` xmlns:ds="` + nsDsig + `"`
	info := `><ds:CanonicalizationMethod Algorithm="` + algExcC14N + `"></ds:CanonicalizationMethod>` +
		`<ds:SignatureMethod Algorithm="` + signatureURI(signer) + `"></ds:SignatureMethod>` +
		`<ds:Reference URI="#` + requestID(r.attempt) + `"><ds:Transforms>` +
		`<ds:Transform Algorithm="` + algEnveloped + `"></ds:Transform>` +
		`<ds:Transform Algorithm="` + algExcC14N + `"></ds:Transform></ds:Transforms>` +
		`<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>` +
		`<ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum[:]) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	value, err := sign(signer, open+xmlns+info)
	if err != nil {
		return "", err
	}
	return `<ds:Signature` + xmlns + `>` + open + info +
		`<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(value) + `</ds:SignatureValue></ds:Signature>`, nil
}

func signatureURI(s crypto.Signer) string {
	if algorithmOf(s) == "ES256" {
		return "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
	}
	return "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
}

func sign(s crypto.Signer, text string) ([]byte, error) {
	sum := sha256.Sum256([]byte(text))
	switch k := s.(type) {
	case *ecdsa.PrivateKey:
		// XML Signature 1.1 section 6.4.3: r and s side by side, not ASN.1.
		x, y, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return nil, err
		}
		out := make([]byte, 64)
		x.FillBytes(out[:32])
		y.FillBytes(out[32:])
		return out, nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	default:
		return nil, upstream.ErrConfig.Because("a key of another kind")
	}
}

// A flate writer is half a megabyte to make and little to reset.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is one that exists
	return w
}}

// A request of up to this many bytes is not compressed: its address stays far below what anybody refuses
// (some take 2,048 characters), and compressing it would cost more than all else that is done for it.
const uncompressed = 800

// deflate writes text as DEFLATE (SAML Bindings 3.4.4.1), a short one as the stored block of RFC 1951
// section 3.2.4.
func deflate(text string) ([]byte, error) {
	if n := uint16(len(text)); len(text) <= uncompressed {
		out := append(make([]byte, 0, 5+len(text)), 1) // the last block, stored
		out = binary.LittleEndian.AppendUint16(out, n)
		out = binary.LittleEndian.AppendUint16(out, ^n)
		return append(out, text...), nil
	}
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// escape is RFC 3986 percent-encoding; a space would be %20, as signers of the other side expect.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Canonical XML 1.0 section 2.3 says how texts and attributes are written.
var (
	textEscapes      = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	attributeEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
)

func inText(s string) string      { return textEscapes.Replace(s) }
func inAttribute(s string) string { return attributeEscapes.Replace(s) }
