package saml

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Probe looks at the connection without a person: the certificates' dates, and the metadata where
// there is a URL. Dates are a warning and keys decide, so they fail no login.
func (p *provider) Probe(ctx context.Context) (upstream.Report, error) {
	var n notes
	now := p.env.Now()
	if p.fresh == nil && len(p.pinned()) == 0 { // all that there were are distrusted
		n.add("certificate", false, "none", "one that is believed")
		return n.report, ErrCertificate
	}
	for _, k := range p.pinned() {
		c, err := x509.ParseCertificate(k.der)
		if err != nil {
			return n.report, ErrCertificate.With(err)
		}
		n.add("certificate", !now.After(c.NotAfter) && !now.Before(c.NotBefore), brief(k.print)+" until "+at(c.NotAfter), "valid at "+at(now))
	}
	if p.fresh == nil {
		return n.report, nil
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	m, err := FetchMetadata(ctx, p.env.Client, p.config.MetadataURL, p.connection.Issuer)
	if err == nil {
		err = m.Valid(now)
	}
	if !n.add("metadata", err == nil, validity(m.ValidUntil), "metadata of "+p.connection.Issuer) {
		return n.report, err
	}
	for _, c := range m.Certificates {
		n.add("metadata_certificate", now.Before(c.NotAfter), brief(c.Print)+" until "+at(c.NotAfter), "valid at "+at(now))
	}
	return n.report, nil
}

func validity(until time.Time) string {
	if until.IsZero() {
		return ""
	}
	return "valid until " + at(until)
}
