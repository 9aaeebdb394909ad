package demo

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/themes"
)

// clientID is what every made-up OpenID provider calls the house.
const clientID = "vestibule"

// slow is longer than the house waits for a provider (ten seconds, or eight without a word).
const slow = 15 * time.Second

// makeCompanies gives every company its provider, on the door that it listens at.
func (w *World) makeCompanies() error {
	for _, c := range cast() {
		theme, err := themes.ShippedTheme(c.handle)
		if err != nil {
			return err
		}
		c.logo, c.logoDark, c.locale, c.brand = theme.Logo, theme.LogoDark, theme.Locale, "brand-"+c.handle
		if w.companies = append(w.companies, c); c.idp == "" {
			continue
		}
		key, err := fakeidp.ParseKey([]byte(w.kept.Keys[c.handle]))
		if err != nil {
			return ErrFile.With(err)
		}
		people := c.people
		for _, s := range stunts() {
			if s.company == c.handle {
				people = append(people, s.double(c.domain))
			}
		}
		c.provider = &fakeidp.Provider{
			Name: c.name, Kind: c.kind, Base: w.doors[c.handle].base, People: people,
			Look: fakeidp.Look{Style: c.style, Brand: theme.Brand}, Foreign: foreigner(c),
			Delay: slow, Keys: []*fakeidp.Key{key}, Now: w.now,
		}
	}
	return nil
}

// foreigner is an address of another company of this world: what ForeignEmail claims.
func foreigner(c *company) string {
	for _, other := range cast() {
		if other.handle != c.handle && other.realm == c.realm {
			return other.first().Email
		}
	}
	return "somebody@another-company.example"
}

// introduce tells a company's provider about the house, as its administrator would.
func (w *World) introduce(c *company) error {
	back := upstream.ReturnURL(w.issuer, c.connection.ID)
	if c.kind == fakeidp.OIDC {
		c.provider.AddClient(fakeidp.Client{
			ID: clientID, Name: "Vestibule", Secret: w.kept.Secrets[c.handle], Redirects: []string{back},
		})
		return nil
	}
	var secret saml.Secret
	if err := json.Unmarshal([]byte(w.kept.Secrets[c.handle]), &secret); err != nil {
		return err
	}
	if len(secret.Encryption) == 0 {
		return ErrFile.Because("a connection has no key to decrypt with")
	}
	sp := fakeidp.SP{EntityID: upstream.MetadataURL(w.issuer, c.connection.ID), Name: "Vestibule", ACS: []string{back}}
	for _, pair := range secret.Signing {
		cert, err := certificate(pair)
		if err != nil {
			return err
		}
		sp.Signing = append(sp.Signing, cert)
	}
	var err error
	sp.EncryptTo, err = certificate(secret.Encryption[0])
	c.provider.AddSP(sp)
	return err
}

func certificate(pair saml.KeyPair) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(pair.Certificate))
	if block == nil {
		return nil, ErrFile.Because("a certificate of a connection is no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
