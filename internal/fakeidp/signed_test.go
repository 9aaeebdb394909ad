package fakeidp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func TestSignedRequestsAreVerified(t *testing.T) {
	for name, make := range map[string]func(string, time.Time) (samltest.Key, error){"RSA": samltest.NewRSA, "ECDSA": samltest.NewECDSA} {
		key, err := make("sp", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		other, err := make("other", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		p := samlProvider()
		p.SPs[0].Signing = []*x509.Certificate{other.Cert, key.Cert}
		s := newService(t, start(t, p))
		_, at := s.depart(nil)
		if got := s.get(at); got.status != http.StatusForbidden {
			t.Errorf("%s: unsigned: %d", name, got.status)
		}
		stranger, err := make("stranger", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			how    string
			by     samltest.Key
			change func(string) string
			want   int
		}{
			{"right", key, nil, 200},
			{"a stranger's key", stranger, nil, 403},
			{"changed RelayState", key, func(q string) string { return strings.Replace(q, "relay-1", "relay-2", 1) }, 403},
			{"two RelayStates", key, func(q string) string { return q + "&RelayState=relay-2" }, 403},
		} {
			query := signQuery(t, at, c.by)
			if c.change != nil {
				query = c.change(query)
			}
			if got := s.get(p.SSO() + "?" + query); got.status != c.want {
				t.Errorf("%s: %s: %d, want %d", name, c.how, got.status, c.want)
			}
		}
		s.postSigned(name, key, stranger)
	}
}

// postSigned sends requests by HTTP-POST, signed inside.
func (s *service) postSigned(name string, key, stranger samltest.Key) {
	s.t.Helper()
	for _, c := range []struct {
		how    string
		by     samltest.Key
		change func(*etree.Element)
		want   int
	}{
		{"right", key, nil, 200},
		{"a stranger's key", stranger, nil, 403},
		{"changed afterwards", key, func(e *etree.Element) { e.CreateAttr("ForceAuthn", "true") }, 403},
		{"unsigned", key, func(e *etree.Element) { e.RemoveChild(e.FindElement("./Signature")) }, 403},
	} {
		req, err := s.sp.MakeAuthenticationRequest(s.p.SSO(), saml.HTTPPostBinding, saml.HTTPPostBinding)
		if err != nil {
			s.t.Fatal(err)
		}
		root := req.Element()
		if err := (samltest.Signature{Key: c.by}).Sign(root); err != nil {
			s.t.Fatal(err)
		}
		if c.change != nil {
			c.change(root)
		}
		doc, err := samltest.Bytes(root)
		if err != nil {
			s.t.Fatal(err)
		}
		got := s.post(s.p.SSO(), url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(doc)}, "RelayState": {"relay-1"}})
		if got.status != c.want {
			s.t.Errorf("%s POST: %s: %d, want %d", name, c.how, got.status, c.want)
		}
	}
}

// signQuery signs as SAML Bindings section 3.4.4.1 says.
func signQuery(t *testing.T, at string, key samltest.Key) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	algorithm := samltest.RSASHA256
	if _, ok := key.Signer.(*ecdsa.PrivateKey); ok {
		algorithm = samltest.ECDSASHA256
	}
	query := "SAMLRequest=" + url.QueryEscape(u.Query().Get("SAMLRequest")) + "&RelayState=relay-1&SigAlg=" + url.QueryEscape(algorithm)
	return query + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signOctets(t, key, query)))
}

func signOctets(t *testing.T, key samltest.Key, text string) []byte {
	t.Helper()
	h := crypto.SHA256.New()
	h.Write([]byte(text))
	switch k := key.Signer.(type) {
	case *rsa.PrivateKey:
		s, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return s
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(nil, k, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	}
	t.Fatal("unknown key")
	return nil
}

func TestParseSPReadsAStandardDocument(t *testing.T) {
	key, err := samltest.NewRSA("sp", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	acs, _ := url.Parse(acsURL)
	metadata, _ := url.Parse(spEntity)
	for _, method := range []string{"", dsig.RSASHA256SignatureMethod} {
		sp := saml.ServiceProvider{EntityID: spEntity, AcsURL: *acs, MetadataURL: *metadata, Key: key.Signer, Certificate: key.Cert, SignatureMethod: method}
		doc, err := xml.Marshal(sp.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSP(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got.EntityID != spEntity || !slices.Equal(got.ACS, []string{acsURL}) || got.EncryptTo == nil || !got.EncryptTo.Equal(key.Cert) {
			t.Errorf("read %+v", got)
		}
		if signs := len(got.Signing) > 0; signs != (method != "") {
			t.Errorf("method %q: %d signing certificates", method, len(got.Signing))
		}
	}
	for _, text := range []string{"", "<x/>", `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="a"/>`} {
		if _, err := ParseSP([]byte(text)); !errors.Is(err, ErrConfig) {
			t.Errorf("ParseSP(%q): %v, want ErrConfig", text, err)
		}
	}
}
