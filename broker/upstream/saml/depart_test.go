package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func (w *world) depart() upstream.Departure {
	w.t.Helper()
	d, err := w.open().Depart(w.t.Context(), w.attempt)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) requested() samltest.Request {
	w.t.Helper()
	d := w.depart()
	method, values := "POST", d.Form
	if d.Form == nil {
		method, values = "GET", must(url.Parse(d.URL)).Query()
	}
	r, err := samltest.ReadRequest(method, values)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestTheRequestSaysWhatTheAnswerIsHeldTo(t *testing.T) {
	for _, binding := range []string{"redirect", "post"} {
		w := newWorld(t)
		w.cfg.SSORedirectURL, w.cfg.SSOPostURL, w.cfg.Binding = "https://idp.example/sso?idpid=C01&x=1", "https://idp.example/sso?idpid=C01&x=1", binding
		r := w.requested()
		if r.ID != "_"+w.attempt.Nonce || r.ACS != w.acs() || r.Issuer != w.entityID() || r.RelayState != w.attempt.ID {
			t.Errorf("%s: %+v", binding, r)
		}
		if r.Destination != "https://idp.example/sso?idpid=C01&x=1" || r.ForceAuthn || r.NameIDFormat != "" || r.Hint != "" {
			t.Errorf("%s: %+v", binding, r)
		}
		if find(r.Root, "RequestedAuthnContext") != nil || find(r.Root, "Signature") != nil {
			t.Errorf("%s: more than was asked for", binding)
		}
		if got := r.Root.SelectAttrValue("IssueInstant", ""); got != "2026-03-04T12:00:00Z" {
			t.Errorf("%s: issued %s", binding, got)
		}
	}
}

func TestWishesStandInTheRequest(t *testing.T) {
	zero, hour := time.Duration(0), time.Hour
	for name, c := range map[string]struct {
		edit func(*world)
		want func(samltest.Request) bool
	}{
		"prompt=login":        {func(w *world) { w.attempt.Force = true }, func(r samltest.Request) bool { return r.ForceAuthn }},
		"max_age=0":           {func(w *world) { w.attempt.MaxAge = &zero }, func(r samltest.Request) bool { return r.ForceAuthn }},
		"max_age=1h":          {func(w *world) { w.attempt.MaxAge = &hour }, func(r samltest.Request) bool { return !r.ForceAuthn }},
		"always":              {func(w *world) { w.cfg.ForceAuthn = true }, func(r samltest.Request) bool { return r.ForceAuthn }},
		"a format":            {func(w *world) { w.cfg.NameIDFormat = samltest.PersistentFormat }, func(r samltest.Request) bool { return r.NameIDFormat == samltest.PersistentFormat }},
		"a context":           {func(w *world) { w.cfg.RequestedAuthnContext = []string{"urn:a&b"} }, func(r samltest.Request) bool { return find(r.Root, "AuthnContextClassRef").Text() == "urn:a&b" }},
		"another name of us":  {func(w *world) { w.cfg.EntityID = `urn:old:"us"<&>` }, func(r samltest.Request) bool { return r.Issuer == `urn:old:"us"<&>` }},
		"another reply URL":   {func(w *world) { w.cfg.ACSURL = "https://old.example/acs?a=1&b=2" }, func(r samltest.Request) bool { return r.ACS == "https://old.example/acs?a=1&b=2" }},
		"a hint, not asked":   {func(w *world) { w.attempt.LoginHint = "ada@acme.example" }, func(r samltest.Request) bool { return r.Hint == "" }},
		"a hint, in the body": {func(w *world) { w.attempt.LoginHint, w.cfg.LoginHint = "a<b>&@acme.example", "subject" }, func(r samltest.Request) bool { return r.Hint == "a<b>&@acme.example" }},
	} {
		w := newWorld(t)
		c.edit(w)
		if r := w.requested(); !c.want(r) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	w := newWorld(t)
	w.attempt.LoginHint, w.cfg.LoginHint = "a+b&c=d@acme.example", "query"
	if got := must(url.Parse(w.depart().URL)).Query().Get("login_hint"); got != w.attempt.LoginHint {
		t.Errorf("the hint in the URL is %q", got)
	}
}

// What is signed is what is sent: the request is canonical XML as it stands.
func TestTheRequestIsCanonical(t *testing.T) {
	w := newWorld(t)
	w.cfg.SSOPostURL, w.cfg.Binding, w.cfg.LoginHint = "https://idp.example/sso?a=1&b=2", "post", "subject"
	w.cfg.NameIDFormat, w.cfg.RequestedAuthnContext = samltest.EmailFormat, []string{"urn:a", "urn:b"}
	w.cfg.ForceAuthn, w.cfg.EntityID = true, `urn:"<&>'`
	w.attempt.LoginHint = "a\t\"<&>\r\n'b"
	doc := must(base64.StdEncoding.DecodeString(w.depart().Form.Get("SAMLRequest")))
	d := etree.NewDocument()
	if err := d.ReadFromBytes(doc); err != nil {
		t.Fatal(err)
	}
	canonical := must(dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(d.Root()))
	if string(canonical) != string(doc) {
		t.Errorf("got  %s\nwant %s", doc, canonical)
	}
}

func signingCert(t *testing.T, algorithm string) *x509.Certificate {
	t.Helper()
	for _, p := range ourSecret().Signing {
		if k := must(p.signer()); algorithmOf(k) == algorithm {
			return must(x509.ParseCertificate(p.der()))
		}
	}
	t.Fatal("no key for " + algorithm)
	return nil
}

// SAML Bindings 3.4.4.1: the signature is over the octets of the query, in this order.
func TestARedirectIsSignedDetached(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		w := newWorld(t)
		w.cfg.SignRequests, w.cfg.RequestAlgorithm = true, alg
		w.cfg.SSORedirectURL, w.cfg.LoginHint, w.attempt.LoginHint = "https://idp.example/sso?idpid=C01", "query", "ada@acme.example"
		_, query, _ := strings.Cut(w.depart().URL, "?idpid=C01&")
		signed, rest, ok := strings.Cut(query, "&Signature=")
		if !ok || !strings.HasPrefix(signed, "SAMLRequest=") || strings.Contains(signed, "+") {
			t.Fatalf("query %s", query)
		}
		encoded, _, _ := strings.Cut(rest, "&")
		value := must(base64.StdEncoding.DecodeString(must(url.QueryUnescape(encoded))))
		sum := sha256.Sum256([]byte(signed))
		if !verifies(signingCert(t, alg).PublicKey, sum[:], value) {
			t.Errorf("%s: the signature does not verify", alg)
		}
	}
}

func verifies(public any, sum, value []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum, value) == nil
	case *ecdsa.PublicKey:
		return len(value) == 64 && ecdsa.Verify(k, sum, new(big.Int).SetBytes(value[:32]), new(big.Int).SetBytes(value[32:]))
	}
	return false
}

func TestAPostIsSignedEnveloped(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		w := newWorld(t)
		w.cfg.SignRequests, w.cfg.RequestAlgorithm, w.cfg.SSOPostURL, w.cfg.Binding = true, alg, "https://idp.example/post", "post"
		root := w.requested().Root
		kids := root.ChildElements()
		if kids[0].Tag != "Issuer" || kids[1].Tag != "Signature" {
			t.Fatalf("the signature does not follow the issuer (SAML Core 3.2.1)")
		}
		cert := signingCert(t, alg)
		v := verifier{keys: []key{must3(readKey(cert.Raw))}, allowed: []string{alg}, notes: &notes{}}
		if err := v.verify(root, kids[1]); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if alg == "ES256" {
			continue // the library wants ASN.1 where XML Signature wants r||s
		}
		ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
		ctx.Clock = dsig.NewFakeClockAt(noon)
		if _, err := ctx.Validate(root); err != nil {
			t.Errorf("the library: %v", err)
		}
	}
}

func must3(k key, _ *x509.Certificate, err error) key { return must(k, err) }

func TestTheNextSigningKeyIsNotUsedYet(t *testing.T) {
	s := ourSecret()
	s.Signing = append(slices.Clone(s.Signing), must(NewKeyPair(rand.Reader, noon, "next", "ES256")))
	k, err := s.signer("ES256")
	if err != nil || !k.Public().(*ecdsa.PublicKey).Equal(signingCert(t, "ES256").PublicKey) {
		t.Errorf("signed by another key: %v", err)
	}
}

func TestDepartingWithoutAKeyIsAFault(t *testing.T) {
	w := newWorld(t)
	w.cfg.SignRequests = true
	p := w.open().(*provider)
	p.secrets = newSecrets(nil, "")
	if _, err := p.Depart(t.Context(), w.attempt); !errors.Is(err, upstream.ErrConfig) {
		t.Errorf("got %v", err)
	}
}
