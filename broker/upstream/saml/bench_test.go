package saml

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

// answers of about 5 kB, as providers with a dozen attributes send them.
func benchAnswer(w *world, edit func(*samltest.Response)) upstream.Arrival {
	r := w.good()
	for i := range 6 {
		r.Attributes = append(r.Attributes, samltest.Attribute{
			Name:       fmt.Sprintf("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/attribute%d", i),
			NameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:uri", Values: []string{"some value of an attribute"},
		})
	}
	edit(&r)
	return upstream.Arrival{Method: "POST", Values: samltest.Form(must(r.XML()), w.attempt.ID)}
}

func BenchmarkArrive(b *testing.B) {
	for name, edit := range map[string]func(*samltest.Response){
		"assertion": func(*samltest.Response) {},
		"response":  func(r *samltest.Response) { r.SignResponse, r.SignAssertion = true, false },
		"both":      func(r *samltest.Response) { r.SignResponse = true },
		"ECDSA":     func(r *samltest.Response) { r.Signature.Key = idpEC() },
		"encrypted": func(r *samltest.Response) { r.EncryptTo = ourKey(0).Cert },
		"500 groups": func(r *samltest.Response) {
			groups := make([]string, 500)
			for i := range groups {
				groups[i] = fmt.Sprintf("group-%d", i)
			}
			r.Attributes = append(r.Attributes, samltest.Attribute{Name: "groups", Values: groups})
		},
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			in := benchAnswer(w, edit)
			p := w.open().(*provider)
			p.env.Spend = func(context.Context, upstream.Connection, string, string, time.Time) error { return nil }
			b.ReportAllocs()
			b.ReportMetric(float64(len(in.Values.Get("SAMLResponse"))*3/4), "bytes")
			for b.Loop() {
				if _, _, err := p.Arrive(b.Context(), w.attempt, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDepart(b *testing.B) {
	for name, edit := range map[string]func(*Config){
		"unsigned": func(*Config) {},
		"ES256":    func(c *Config) { c.SignRequests, c.RequestAlgorithm = true, "ES256" },
		"RS256":    func(c *Config) { c.SignRequests = true },
		"ES256, post": func(c *Config) {
			c.SignRequests, c.RequestAlgorithm, c.SSOPostURL, c.Binding = true, "ES256", "https://idp.example/post", "post"
		},
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			edit(&w.cfg)
			u := w.open()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := u.Depart(b.Context(), w.attempt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Opening must be cheap: connections are opened on demand, by the hundred thousand.
func BenchmarkOpen(b *testing.B) {
	w := newWorld(b)
	c := w.open().(*provider).connection
	env := w.env()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(c, env); err != nil {
			b.Fatal(err)
		}
	}
}
