// Package saml signs people in through SAML 2.0 identity providers: it is a service provider of the
// Web Browser SSO profile, one for each connection.
//
// Depart writes an AuthnRequest. Arrive reads the response, and its one idea is that strangers write
// it: bytes pass a strict reader (xml.go), then a signature must cover the very element that is read
// (signature.go), then every check of SAML Profiles 4.1.4.3 and stricter ones are made (response.go,
// assertion.go), each leaving a line in the report. Nothing is read from outside of what was verified,
// except to refuse. Identity providers are described by their metadata (metadata.go), and we by ours
// (describe.go). Logins, people and policy are unknown here.
package saml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Protocol is this package's line in the registry.
func Protocol() upstream.Protocol {
	return upstream.Protocol{Open: Open, Check: Check, Pins: Pins, Config: Config{}, Secret: Secret{}, Keys: newKeys, Import: importMetadata, Follow: follow}
}

func newKeys(rand io.Reader, now time.Time, name string) (json.RawMessage, error) {
	s, err := NewSecret(rand, now, name)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// importMetadata writes what an identity provider's metadata says over a connection. The entityID that
// the connection has, if any, chooses among several.
func importMetadata(doc []byte, c upstream.Connection, now time.Time) (upstream.Connection, error) {
	m, err := ParseMetadata(bytes.NewReader(doc), c.Issuer)
	if err != nil {
		return c, err
	}
	if err := m.Valid(now); err != nil {
		return c, err
	}
	var cfg Config
	if len(c.Config) > 0 {
		if cfg, err = parseConfig(c.Config); err != nil {
			return c, err
		}
	}
	c.Issuer = m.EntityID
	c.Config, err = json.Marshal(m.Fill(cfg))
	return c, err
}

// follow makes metadata_url the address of a connection's metadata.
func follow(c upstream.Connection, address string) (upstream.Connection, bool, error) {
	var cfg Config
	if len(c.Config) > 0 {
		var err error
		if cfg, err = parseConfig(c.Config); err != nil {
			return c, false, err
		}
	}
	if cfg.MetadataURL == address {
		return c, true, nil
	}
	cfg.MetadataURL = address
	raw, err := json.Marshal(cfg)
	c.Config = raw
	return c, false, err
}

// provider is an opened connection.
type provider struct {
	connection upstream.Connection
	config     Config
	env        upstream.Env
	entityID   string
	acs        string
	pinned     func() []key // the certificates of the settings
	secrets    *secrets
	fresh      *refresher // nil without a metadata URL
	turns      turnstile
}

var (
	_ upstream.Upstream  = (*provider)(nil)
	_ upstream.Describer = (*provider)(nil)
	_ upstream.Prober    = (*provider)(nil)
)

// Open makes a connection ready. It parses the settings and nothing else: keys are read when the first
// login needs them, and kept.
func Open(c upstream.Connection, env upstream.Env) (upstream.Upstream, error) {
	cfg, err := parseConfig(c.Config)
	if err != nil {
		return nil, err
	}
	p := &provider{
		connection: c, config: cfg, env: env,
		entityID: cfg.EntityID, acs: cfg.ACSURL,
		secrets: newSecrets(c.Secret, cfg.RequestAlgorithm),
		turns:   newTurnstile(),
	}
	p.pinned = sync.OnceValue(func() []key { return slices.DeleteFunc(cfg.keys(), p.distrusts) })
	if p.entityID == "" {
		p.entityID = upstream.MetadataURL(env.Base, c.ID)
	}
	if p.acs == "" {
		p.acs = upstream.ReturnURL(env.Base, c.ID)
	}
	if cfg.MetadataURL != "" {
		p.fresh = &refresher{url: cfg.MetadataURL, entityID: c.Issuer, client: env.Client, now: env.Now}
	}
	return p, nil
}

// keys reads the pinned certificates. Check has read them before; one that is broken now is left out,
// and what it signed is refused.
func (c *Config) keys() []key {
	var out []key
	for _, text := range c.Certificates {
		ders, err := unwrap(text)
		if err != nil {
			continue
		}
		for _, der := range ders {
			if k, _, err := readKey(der); err == nil {
				out = append(out, k)
			}
		}
	}
	return out
}

// keys are those of the settings, and those that the provider's metadata has announced since.
func (p *provider) keys() []key {
	if p.fresh == nil {
		return p.pinned()
	}
	all := p.fresh.join(p.pinned())
	if p.env.Distrusts == nil {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), p.distrusts)
}

func (p *provider) distrusts(k key) bool { return p.env.Distrusted("", k.der) }

func (p *provider) skew() time.Duration {
	if p.connection.Skew <= 0 {
		return defaultSkew
	}
	return min(p.connection.Skew, maxSkew)
}

// algorithms is what the policy of the connection's organization accepts among what we can check.
func (p *provider) algorithms(ctx context.Context) []string {
	if p.env.Algorithms == nil {
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
	}
	return p.env.Algorithms(ctx, p.connection)
}

// Arrive checks a response against the attempt that asked for it.
func (p *provider) Arrive(ctx context.Context, a upstream.Attempt, in upstream.Arrival) (out upstream.Assertion, report upstream.Report, err error) {
	if err := p.turns.enter(ctx); err != nil {
		return upstream.Assertion{}, nil, err
	}
	defer p.turns.leave()
	p.refresh(ctx)
	j := &judge{provider: p, attempt: a, now: p.env.Now(), skew: p.skew()}
	defer func() {
		// The parsers below are used by everybody, and have panicked on strangers' documents before.
		if r := recover(); r != nil {
			out, report, err = upstream.Assertion{}, j.notes.report, upstream.ErrMalformed.With(fmt.Errorf("panic: %v", r))
		}
	}()
	out, err = j.run(ctx, in)
	if err != nil {
		out = upstream.Assertion{}
	}
	return out, j.notes.report, err
}

func (p *provider) refresh(ctx context.Context) {
	if p.fresh != nil {
		p.fresh.perhaps(ctx)
	}
}

// unknownKey hurries the refresh when a certificate is not known: it was probably rotated.
func (p *provider) unknownKey(ctx context.Context, err error) {
	if p.fresh != nil && errors.Is(err, ErrBadCert) {
		p.fresh.hurry(ctx)
	}
}
