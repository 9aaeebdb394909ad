package saml

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Type is what connections of this protocol are stored as.
const Type upstream.Type = "saml"

// Config is a connection's settings. Its zero value with a sign-in URL and a certificate is a good one:
// unsigned requests, any name ID, attributes found by their usual names.
type Config struct {
	// Where the provider takes requests; at least one. Binding "redirect" or "post" says which to use,
	// "" means redirect where there is one.
	SSORedirectURL string `json:"sso_redirect_url,omitempty"`
	SSOPostURL     string `json:"sso_post_url,omitempty"`
	Binding        string `json:"binding,omitempty"`
	// Certificates are the provider's signing certificates, PEM or base64; several during a rollover.
	Certificates []string `json:"certificates"`
	// MetadataURL is asked for new certificates in the background.
	MetadataURL string `json:"metadata_url,omitempty"`

	// NameIDFormat is asked for by name; "" leaves the choice to the provider.
	NameIDFormat string `json:"name_id_format,omitempty"`
	// SubjectAttribute is the attribute that names people for good, in place of the name ID. It cannot
	// change once somebody has signed in (S4).
	SubjectAttribute string           `json:"subject_attribute,omitempty"`
	Attributes       upstream.Mapping `json:"attributes,omitzero"`

	SignRequests bool `json:"sign_requests,omitempty"`
	// RequestAlgorithm is "RS256", also when empty, or "ES256".
	RequestAlgorithm string `json:"request_algorithm,omitempty"`
	// ForceAuthn asks the provider to ask the person, at each sign-in.
	ForceAuthn bool `json:"force_authn,omitempty"`
	// RequestedAuthnContext is left out by default: Entra ID and AD FS refuse requests that hold it.
	RequestedAuthnContext []string `json:"requested_authn_context,omitempty"`
	// LoginHint says how the typed address is passed on: "" not at all, "subject" in the request,
	// "query" as login_hint in the URL.
	LoginHint string `json:"login_hint,omitempty"`

	// RequireEncrypted refuses assertions in the clear; AllowCBC takes AES-CBC, which is malleable.
	RequireEncrypted bool `json:"require_encrypted,omitempty"`
	AllowCBC         bool `json:"allow_cbc,omitempty"`

	// EntityID and ACSURL are what another product used before, for migrations; "" means our own.
	EntityID string `json:"entity_id,omitempty"`
	ACSURL   string `json:"acs_url,omitempty"`
}

const (
	bindRedirect = "redirect"
	bindPost     = "post"

	defaultSkew = 180 * time.Second
	maxSkew     = 300 * time.Second

	maxCertificates = 10
)

func parseConfig(raw json.RawMessage) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(raw))
	// A setting that this binary does not know may be one that keeps somebody out.
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, upstream.ErrConfig.With(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return c, upstream.ErrConfig.Because("more than one document")
	}
	return c, nil
}

// Check validates and normalises a connection before it is stored: URLs are written anew (S36),
// certificates are read and stored without wrapping, wishes are ones that can be met.
func Check(c upstream.Connection) (upstream.Connection, error) {
	cfg, err := parseConfig(c.Config)
	if err != nil {
		return c, err
	}
	if !goodName(c.Issuer) {
		return c, upstream.ErrConfig.Because("the identity provider's entity ID is missing or malformed")
	}
	if c.Skew < 0 || c.Skew > maxSkew {
		return c, upstream.ErrConfig.Because("the clock may be off by 300 s at most")
	}
	if err := cfg.choices(); err != nil {
		return c, err
	}
	if err := cfg.urls(c.Private); err != nil {
		return c, err
	}
	if err := cfg.certificates(); err != nil {
		return c, err
	}
	if err := checkSecret(c.Secret, cfg); err != nil {
		return c, err
	}
	c.Config, err = json.Marshal(cfg)
	return c, err
}

func (c *Config) choices() error {
	if !slices.Contains([]string{"", bindRedirect, bindPost}, c.Binding) {
		return upstream.ErrConfig.Because("binding is redirect or post")
	}
	if !slices.Contains([]string{"", "RS256", "ES256"}, c.RequestAlgorithm) {
		return upstream.ErrConfig.Because("request_algorithm is RS256 or ES256")
	}
	if !slices.Contains([]string{"", "subject", "query"}, c.LoginHint) {
		return upstream.ErrConfig.Because("login_hint is subject or query")
	}
	if c.NameIDFormat == formatTransient && c.SubjectAttribute == "" {
		return ErrTransient
	}
	for _, s := range append([]string{c.NameIDFormat, c.SubjectAttribute, c.EntityID}, c.RequestedAuthnContext...) {
		if s != "" && !goodName(s) {
			return upstream.ErrConfig.Because("a name that is too long or malformed")
		}
	}
	if len(c.RequestedAuthnContext) > 16 {
		return upstream.ErrConfig.Because("too many authentication contexts")
	}
	return c.Attributes.Check()
}

// Pins is what decides who a person is, besides the issuer.
func Pins(c upstream.Connection) string {
	cfg, err := parseConfig(c.Config)
	if err != nil {
		return "unreadable"
	}
	if cfg.SubjectAttribute != "" {
		return "attribute " + cfg.SubjectAttribute
	}
	return "name ID"
}

func (c *Config) urls(private []string) error {
	for _, u := range []*string{&c.SSORedirectURL, &c.SSOPostURL, &c.MetadataURL, &c.ACSURL} {
		if *u == "" {
			continue
		}
		clean, err := upstream.CleanURL(*u, private)
		if err != nil {
			return err
		}
		*u = clean
	}
	if _, at := c.target(); at == "" {
		return upstream.ErrConfig.Because("no sign-in URL for the chosen binding")
	}
	return nil
}

// target is the binding and where requests go.
func (c *Config) target() (binding, at string) {
	if c.Binding == bindPost || c.Binding == "" && c.SSORedirectURL == "" {
		return bindPost, c.SSOPostURL
	}
	return bindRedirect, c.SSORedirectURL
}

func (c *Config) certificates() error {
	if len(c.Certificates) == 0 || len(c.Certificates) > maxCertificates {
		return ErrCertificate.Because("one to ten certificates")
	}
	var out []string
	for _, text := range c.Certificates {
		ders, err := unwrap(text)
		if err != nil {
			return err
		}
		for _, der := range ders {
			if _, _, err := readKey(der); err != nil {
				return ErrCertificate.With(err)
			}
			if plain := base64.StdEncoding.EncodeToString(der); !slices.Contains(out, plain) {
				out = append(out, plain)
			}
		}
	}
	if len(out) > maxCertificates {
		return ErrCertificate.Because("one to ten certificates")
	}
	c.Certificates = out
	return nil
}

// unwrap reads certificates as people paste them: PEM blocks, or the bare base64 out of metadata.
func unwrap(text string) ([][]byte, error) {
	if !strings.Contains(text, "-----") {
		der, err := unbase64(text)
		if err != nil {
			return nil, ErrCertificate.With(err)
		}
		return [][]byte{der}, nil
	}
	var out [][]byte
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			return nil, ErrCertificate.Because("a " + b.Type + " was pasted where a certificate belongs")
		}
		out = append(out, b.Bytes)
	}
	if len(out) == 0 {
		return nil, ErrCertificate.With(errors.New("no PEM block"))
	}
	return out, nil
}
