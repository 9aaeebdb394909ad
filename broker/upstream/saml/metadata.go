package saml

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	crewjam "github.com/crewjam/saml"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Federations publish tens of megabytes; one entity of them is small.
const (
	maxMetadata = 32 << 20
	maxEntity   = 2 << 20
	maxNesting  = 8
)

// Metadata is what an identity provider says about itself, parsed once and kept as settings.
type Metadata struct {
	EntityID       string
	SSORedirectURL string
	SSOPostURL     string
	Certificates   []Certificate // for signing, all of them
	WantSigned     bool          // it refuses requests that are not signed
	NameIDFormats  []string
	ValidUntil     time.Time // zero: not said
	CacheDuration  time.Duration
}

// Certificate is one that an administrator recognizes by its name and dates.
type Certificate struct {
	Base64    string
	Print     string // SHA-256, hex
	Subject   string
	NotBefore time.Time
	NotAfter  time.Time
}

// Valid says whether the metadata still holds (SAML Metadata 2.3.2).
func (m Metadata) Valid(now time.Time) error {
	if !m.ValidUntil.IsZero() && now.After(m.ValidUntil) {
		return ErrMetadataOver
	}
	return nil
}

// Fill writes what the metadata says over the settings, and leaves the rest of them alone.
func (m Metadata) Fill(c Config) Config {
	c.SSORedirectURL, c.SSOPostURL = m.SSORedirectURL, m.SSOPostURL
	c.SignRequests = c.SignRequests || m.WantSigned
	c.Certificates = nil
	for _, k := range m.Certificates[:min(len(m.Certificates), maxCertificates)] {
		c.Certificates = append(c.Certificates, k.Base64)
	}
	return c
}

// ParseMetadata reads an entity or an aggregate, nested ones too, for the identity provider with that
// entityID; "" takes the only one, and ErrSeveral when there are more. It keeps one entity in memory
// at a time. Whether it is still valid is Metadata.Valid's answer.
func ParseMetadata(r io.Reader, entityID string) (Metadata, error) {
	m := &meter{from: r, left: maxMetadata}
	s := search{meter: m, decoder: xml.NewDecoder(m), wanted: entityID}
	return s.run()
}

// meter ends a document that goes on for too long.
type meter struct {
	from io.Reader
	left int64
}

var errTooLong = errors.New("the metadata is too long")

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLong
	}
	n, err := m.from.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

type search struct {
	meter   *meter
	decoder *xml.Decoder
	wanted  string
	within  []bounds // of the aggregates around
	found   []Metadata
	problem error // why the only candidate was none
}

type bounds struct {
	until time.Time
	cache time.Duration
}

func (s *search) run() (Metadata, error) {
	for {
		tok, err := s.decoder.Token()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.take(tok)
		}
		if err != nil {
			return Metadata{}, asMetadata(err)
		}
	}
	switch {
	case len(s.found) == 1:
		return s.found[0], nil
	case len(s.found) > 1:
		return Metadata{}, ErrSeveral
	case s.problem != nil:
		return Metadata{}, s.problem
	default:
		return Metadata{}, ErrNoEntity
	}
}

func asMetadata(err error) error {
	if errors.Is(err, ErrSeveral) {
		return err
	}
	return ErrMetadata.With(err)
}

func (s *search) take(tok xml.Token) error {
	switch t := tok.(type) {
	case xml.Directive:
		return errDoctype
	case xml.EndElement:
		s.within = s.within[:max(len(s.within)-1, 0)]
		return nil
	case xml.StartElement:
		return s.element(t)
	default:
		return nil
	}
}

func (s *search) element(t xml.StartElement) error {
	switch t.Name {
	case xml.Name{Space: nsMetadata, Local: "EntitiesDescriptor"}:
		if len(s.within) == maxNesting {
			return errTooBig
		}
		b, err := boundsOf(t)
		s.within = append(s.within, b)
		return err
	case xml.Name{Space: nsMetadata, Local: "EntityDescriptor"}:
		if id := startAttr(t, "entityID"); s.wanted != "" && id != s.wanted {
			return s.decoder.Skip()
		}
		return s.entity(t)
	default:
		if len(s.within) == 0 {
			return errStrange
		}
		return s.decoder.Skip()
	}
}

func startAttr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func boundsOf(t xml.StartElement) (bounds, error) {
	var b bounds
	if v := startAttr(t, "validUntil"); v != "" {
		var rt crewjam.RelaxedTime
		if err := rt.UnmarshalText([]byte(v)); err != nil {
			return b, err
		}
		b.until = time.Time(rt)
	}
	if v := startAttr(t, "cacheDuration"); v != "" {
		var d crewjam.Duration
		if err := d.UnmarshalText([]byte(v)); err != nil {
			return b, err
		}
		b.cache = time.Duration(d)
	}
	return b, nil
}

// entity reads one descriptor. One that is no identity provider is passed over, with the reason kept
// in case it was the only one.
func (s *search) entity(t xml.StartElement) error {
	before := s.meter.left
	s.meter.left = min(before, maxEntity)
	given := s.meter.left
	var e crewjam.EntityDescriptor
	err := s.decoder.DecodeElement(&e, &t)
	s.meter.left = before - (given - s.meter.left)
	if err != nil {
		return err
	}
	m, problem := describeIDP(e)
	if problem != nil {
		s.problem = problem
		return nil
	}
	for _, b := range s.within {
		m.bound(b)
	}
	if s.found = append(s.found, m); len(s.found) > 1 {
		return ErrSeveral
	}
	return nil
}

func (m *Metadata) bound(b bounds) {
	if !b.until.IsZero() && (m.ValidUntil.IsZero() || b.until.Before(m.ValidUntil)) {
		m.ValidUntil = b.until
	}
	if b.cache > 0 && (m.CacheDuration <= 0 || b.cache < m.CacheDuration) {
		m.CacheDuration = b.cache
	}
}

func describeIDP(e crewjam.EntityDescriptor) (Metadata, error) {
	m := Metadata{EntityID: e.EntityID, ValidUntil: e.ValidUntil, CacheDuration: e.CacheDuration}
	if m.EntityID == "" || len(m.EntityID) > maxName {
		return m, ErrMetadata.Because("no entityID")
	}
	for _, d := range e.IDPSSODescriptors {
		if strings.Contains(d.ProtocolSupportEnumeration, nsProtocol) {
			return m.role(d)
		}
	}
	return m, ErrNoEntity.Because("no identity provider of SAML 2.0")
}

func (m Metadata) role(d crewjam.IDPSSODescriptor) (Metadata, error) {
	for _, s := range d.SingleSignOnServices {
		switch {
		case s.Binding == crewjam.HTTPRedirectBinding && m.SSORedirectURL == "":
			m.SSORedirectURL = s.Location
		case s.Binding == crewjam.HTTPPostBinding && m.SSOPostURL == "":
			m.SSOPostURL = s.Location
		}
	}
	if m.SSORedirectURL == "" && m.SSOPostURL == "" {
		return m, ErrNoEndpoint
	}
	m.WantSigned = d.WantAuthnRequestsSigned != nil && *d.WantAuthnRequestsSigned
	for _, f := range d.NameIDFormats {
		m.NameIDFormats = append(m.NameIDFormats, strings.TrimSpace(string(f)))
	}
	if d.ValidUntil != nil {
		m.bound(bounds{until: *d.ValidUntil})
	}
	m.bound(bounds{cache: d.CacheDuration})
	m.signingKeys(d.KeyDescriptors)
	if len(m.Certificates) == 0 {
		return m, ErrNoKey // SAML Metadata 2.4.3: an identity provider without a key cannot be believed
	}
	return m, nil
}

// signingKeys keeps every certificate that may sign; a descriptor without use is for both.
func (m *Metadata) signingKeys(list []crewjam.KeyDescriptor) {
	seen := map[string]bool{}
	for _, k := range list {
		if k.Use != "" && k.Use != "signing" {
			continue
		}
		for _, c := range k.KeyInfo.X509Data.X509Certificates {
			der, err := unbase64(c.Data)
			if err != nil {
				continue
			}
			kept, cert, err := readKey(der)
			if err != nil || seen[kept.print] {
				continue
			}
			seen[kept.print] = true
			m.Certificates = append(m.Certificates, certificateOf(kept, cert))
		}
	}
}

func certificateOf(k key, c *x509.Certificate) Certificate {
	return Certificate{
		Base64:    base64.StdEncoding.EncodeToString(k.der),
		Print:     k.print,
		Subject:   upstream.Shown(c.Subject.String()),
		NotBefore: c.NotBefore,
		NotAfter:  c.NotAfter,
	}
}

// FetchMetadata asks for metadata with the connection's guarded client, within ctx.
func FetchMetadata(ctx context.Context, client *http.Client, url, entityID string) (Metadata, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Metadata{}, upstream.ErrConfig.With(err)
	}
	req.Header.Set("Accept", "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8")
	res, err := client.Do(req)
	if err != nil {
		return Metadata{}, ErrUnreachable.With(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Metadata{}, ErrUnreachable.Because("status " + res.Status)
	}
	return ParseMetadata(res.Body, entityID)
}
