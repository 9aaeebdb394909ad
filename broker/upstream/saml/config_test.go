package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func (w *world) check() (Config, error) {
	w.conn.Config = must(json.Marshal(w.cfg))
	c, err := Check(w.conn)
	if err != nil {
		return Config{}, err
	}
	return must(parseConfig(c.Config)), nil
}

func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*world)
		want error
	}{
		"no issuer":            {func(w *world) { w.conn.Issuer = "" }, upstream.ErrConfig},
		"an issuer in spaces":  {func(w *world) { w.conn.Issuer += " " }, upstream.ErrConfig},
		"no sign-in URL":       {func(w *world) { w.cfg.SSORedirectURL = "" }, upstream.ErrConfig},
		"no URL for binding":   {func(w *world) { w.cfg.Binding = "post" }, upstream.ErrConfig},
		"unknown binding":      {func(w *world) { w.cfg.Binding = "artifact" }, upstream.ErrConfig},
		"unknown algorithm":    {func(w *world) { w.cfg.RequestAlgorithm = "RS1" }, upstream.ErrConfig},
		"unknown hint":         {func(w *world) { w.cfg.LoginHint = "mail" }, upstream.ErrConfig},
		"no certificate":       {func(w *world) { w.cfg.Certificates = nil }, ErrCertificate},
		"rubbish":              {func(w *world) { w.cfg.Certificates = []string{"AAAA"} }, ErrCertificate},
		"no base64":            {func(w *world) { w.cfg.Certificates = []string{"%%%"} }, ErrCertificate},
		"weak RSA":             {func(w *world) { w.cfg.Certificates = []string{certOf(must(rsa.GenerateKey(rand.Reader, 1024)))} }, ErrCertificate},
		"weak ECDSA":           {func(w *world) { w.cfg.Certificates = []string{weakCurve()} }, ErrCertificate},
		"Ed25519":              {func(w *world) { w.cfg.Certificates = []string{edwards()} }, ErrCertificate},
		"a private key":        {func(w *world) { w.cfg.Certificates = []string{must(idpRSA().KeyPEM())} }, ErrCertificate},
		"dashes only":          {func(w *world) { w.cfg.Certificates = []string{"-----"} }, ErrCertificate},
		"eleven":               {func(w *world) { w.cfg.Certificates = manyCertificates() }, ErrCertificate},
		"transient":            {func(w *world) { w.cfg.NameIDFormat = samltest.TransientFormat }, ErrTransient},
		"skew of an hour":      {func(w *world) { w.conn.Skew = time.Hour }, upstream.ErrConfig},
		"negative skew":        {func(w *world) { w.conn.Skew = -time.Second }, upstream.ErrConfig},
		"signed without a key": {func(w *world) { w.cfg.SignRequests, w.conn.Secret = true, nil }, upstream.ErrConfig},
		"a broken secret":      {func(w *world) { w.conn.Secret = []byte(`{"signing":[{"key":"x"}]}`) }, upstream.ErrConfig},
		"no JSON":              {func(w *world) { w.conn.Secret = []byte(`{`) }, upstream.ErrConfig},
		"another's cert":       {func(w *world) { w.conn.Secret = swapped() }, upstream.ErrConfig},
		"three encryption keys": {func(w *world) {
			s := ourSecret()
			s.Encryption = append(slices.Clone(s.Encryption), s.Encryption[0])
			w.conn.Secret = must(json.Marshal(s))
		}, upstream.ErrConfig},
		"an encryption key that cannot": {func(w *world) {
			w.conn.Secret = must(json.Marshal(Secret{Encryption: ourSecret().Signing[1:2]}))
		}, upstream.ErrConfig},
		"a bad name": {func(w *world) { w.cfg.SubjectAttribute = "a\nb" }, upstream.ErrConfig},
		"contexts":   {func(w *world) { w.cfg.RequestedAuthnContext = make([]string, 17) }, upstream.ErrConfig},
	} {
		w := newWorld(t)
		c.edit(w)
		if _, err := w.check(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	w := newWorld(t)
	for _, raw := range []string{`{"allow_sha1":true}`, `{} {}`, ``, `[]`} {
		w.conn.Config = []byte(raw)
		if _, err := Check(w.conn); !errors.Is(err, upstream.ErrConfig) {
			t.Errorf("%s: %v", raw, err)
		}
		if _, err := Open(w.conn, w.env()); !errors.Is(err, upstream.ErrConfig) && raw != `{}` {
			t.Errorf("open %s: %v", raw, err)
		}
	}
}

func certOf(k crypto.Signer) string {
	c := x509.Certificate{SerialNumber: idpRSA().Cert.SerialNumber}
	return base64.StdEncoding.EncodeToString(must(x509.CreateCertificate(rand.Reader, &c, &c, k.Public(), k)))
}

func weakCurve() string { return certOf(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))) }

func edwards() string {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return certOf(must(k, err))
}

func manyCertificates() []string {
	var out []string
	for range 11 {
		out = append(out, must(samltest.NewECDSA("many", noon)).CertPEM())
	}
	return out
}

func swapped() []byte {
	s := ourSecret()
	s.Encryption = []KeyPair{{Key: s.Encryption[0].Key, Certificate: s.Encryption[1].Certificate}}
	return must(json.Marshal(s))
}

// S36: what is stored is what we wrote, and plain http is for what the operator opened.
func TestS36URLsAreWrittenAnew(t *testing.T) {
	for _, bad := range []string{
		"https://x; script-src *", "https://x/'\"><script>", "javascript:alert(1)", "http://idp.example/sso", "https://user@idp.example/",
		"https://idp.example/#x", "//idp.example/", "https://idp.example/\r\nSet-Cookie: a=b", "https://idp.exämple/", "https:///sso",
	} {
		for name, edit := range map[string]func(*Config){
			"redirect": func(c *Config) { c.SSORedirectURL = bad },
			"post":     func(c *Config) { c.SSOPostURL = bad },
			"metadata": func(c *Config) { c.MetadataURL = bad },
			"acs":      func(c *Config) { c.ACSURL = bad },
		} {
			w := newWorld(t)
			edit(&w.cfg)
			if _, err := w.check(); !errors.Is(err, upstream.ErrConfig) {
				t.Errorf("%s %q: %v", name, bad, err)
			}
		}
	}
	w := newWorld(t)
	w.cfg.SSORedirectURL, w.cfg.MetadataURL = "HTTPS://IDP.example/sso;a?x='1'&b=2", "http://127.0.0.1:8081/metadata"
	w.conn.Private = []string{"127.0.0.1:8081"}
	got, err := w.check()
	if err != nil || got.SSORedirectURL != "https://idp.example/sso%3Ba?b=2&x=%271%27" || got.MetadataURL != "http://127.0.0.1:8081/metadata" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCertificatesAreTakenAsPeoplePasteThem(t *testing.T) {
	der := idpRSA().Cert.Raw
	plain := base64.StdEncoding.EncodeToString(der)
	both := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + idpNext().CertPEM()
	for name, c := range map[string]struct {
		in   []string
		want int
	}{
		"base64":        {[]string{plain}, 1},
		"wrapped":       {[]string{plain[:64] + "\r\n  " + plain[64:] + "\n"}, 1},
		"PEM":           {[]string{idpRSA().CertPEM()}, 1},
		"two in one":    {[]string{both}, 2},
		"the same":      {[]string{plain, idpRSA().CertPEM()}, 1},
		"text around":   {[]string{"Bag Attributes\n" + idpRSA().CertPEM() + "\nend"}, 1},
		"RSA and ECDSA": {[]string{plain, idpEC().CertPEM()}, 2},
	} {
		w := newWorld(t)
		w.cfg.Certificates = c.in
		got, err := w.check()
		if err != nil || len(got.Certificates) != c.want || got.Certificates[0] != plain {
			t.Errorf("%s: %v, %v", name, got.Certificates, err)
		}
	}
}

func TestCheckedSettingsPassAgain(t *testing.T) {
	w := newWorld(t)
	w.conn.Config = must(json.Marshal(w.cfg))
	once := must(Check(w.conn))
	twice := must(Check(once))
	if string(once.Config) != string(twice.Config) {
		t.Errorf("%s\n%s", once.Config, twice.Config)
	}
}

// S4: what names people is part of whom the connection trusts.
func TestS4TheSourceOfTheSubjectIsPinned(t *testing.T) {
	pin := func(c Config) string { return Pins(upstream.Connection{Config: must(json.Marshal(c))}) }
	a, b, c := pin(Config{}), pin(Config{SubjectAttribute: "uid"}), pin(Config{SubjectAttribute: "mail"})
	if a == b || b == c || a != pin(Config{SSOPostURL: "https://x.example", NameIDFormat: samltest.EmailFormat}) {
		t.Errorf("%q %q %q", a, b, c)
	}
}

func TestSecretsDoNotLeakIntoErrors(t *testing.T) {
	w := newWorld(t)
	w.conn.Secret = []byte(`{"signing":"topsecret"}`)
	if _, err := w.check(); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("%v", err)
	}
}

func TestNewSecretMakesWhatCheckTakes(t *testing.T) {
	w := newWorld(t)
	w.conn.Secret = must(json.Marshal(must(NewSecret(rand.Reader, noon, "Vestibule"))))
	for _, alg := range []string{"RS256", "ES256"} {
		w.cfg.SignRequests, w.cfg.RequestAlgorithm = true, alg
		if _, err := w.check(); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}
