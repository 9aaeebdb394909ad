package fakeidp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// What our own SAML room says to each misbehavior. None of these is a fault of the answer there:
// whose address it is, and whether one is needed, is judged later.
var samlFaults = map[Misbehavior]*fault.Error{
	None: nil, NoEmail: nil, ForeignEmail: nil,
	WrongAudience:  saml.ErrBadAudience,
	WrongRecipient: saml.ErrBadRecipient,
	Old:            saml.ErrExpired,
	UnknownKey:     saml.ErrBadCert,
	Unsigned:       saml.ErrUnsigned,
	FastClock:      saml.ErrNotYet,
	OtherTenant:    saml.ErrBadIssuer,
	OtherRequest:   saml.ErrInResponseTo,
	Megabytes:      upstream.ErrMalformed,
	Garbage:        upstream.ErrMalformed,
}

// connection is one of ours to a made-up provider, set up by exchanging metadata as people do it.
type connection struct {
	browser
	p      *Provider
	opened upstream.Upstream
}

func connect(t *testing.T, p *Provider, secret saml.Secret, encrypt bool, config saml.Config) *connection {
	t.Helper()
	described, err := p.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := saml.ParseMetadata(bytes.NewReader(described), p.EntityID())
	if err != nil {
		t.Fatal(err)
	}
	secrets, _ := json.Marshal(secret)
	settings, _ := json.Marshal(metadata.Fill(config))
	c, err := saml.Check(upstream.Connection{
		ID: directory.NewConnectionID(time.Now()), Type: saml.Type, Issuer: p.EntityID(), Status: upstream.Active,
		Config: settings, Secret: secrets, Private: []string{strings.TrimPrefix(p.Base, "http://")},
	})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := saml.Open(c, upstream.Env{
		Now: time.Now, Base: "http://localhost:8080",
		Spend:      func(context.Context, upstream.Connection, string, string, time.Time) error { return nil },
		Algorithms: func(context.Context, upstream.Connection) []string { return []string{"RS256", "ES256"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	_, doc, err := opened.(upstream.Describer).Describe()
	if err != nil {
		t.Fatal(err)
	}
	sp, err := ParseSP(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !encrypt {
		sp.EncryptTo = nil
	}
	p.AddSP(sp)
	return &connection{browser{t}, p, opened}
}

func (c *connection) signIn(m Misbehavior) (upstream.Assertion, error) {
	c.t.Helper()
	nonce := rand.Text() + strings.Repeat("n", 17)
	attempt := upstream.Attempt{ID: "login." + nonce, Nonce: nonce, At: time.Now(), Until: time.Now().Add(time.Minute)}
	away, err := c.opened.Depart(c.t.Context(), attempt)
	if err != nil {
		c.t.Fatal(err)
	}
	var page answer
	if away.Form != nil {
		page = c.post(away.URL, away.Form)
	} else {
		page = c.get(away.URL)
	}
	sent := fields(c.press(c.p, page, ada, m).body)
	delete(sent, "request")
	a, _, err := c.opened.Arrive(c.t.Context(), attempt, upstream.Arrival{Method: "POST", Values: url.Values(sent)})
	return a, err
}

func TestOurSAMLRoomFindsEveryMisbehavior(t *testing.T) {
	secret, err := saml.NewSecret(rand.Reader, time.Now(), "Vestibule")
	if err != nil {
		t.Fatal(err)
	}
	for _, style := range []Style{Okta, Entra} {
		for _, algorithm := range []string{"RS256", "ES256"} {
			for _, encrypt := range []bool{false, true} {
				p := samlProvider()
				p.Look.Style, p.Algorithm = style, algorithm
				config := saml.Config{SignRequests: encrypt, RequestAlgorithm: algorithm, Binding: map[bool]string{true: "post", false: "redirect"}[style == Entra]}
				c := connect(t, start(t, p), secret, encrypt, config)
				for m, want := range samlFaults {
					a, err := c.signIn(m)
					if want == nil && err != nil || want != nil && !errors.Is(err, want) {
						t.Errorf("%s %s encrypted %v %q: %v, want %v", style, algorithm, encrypt, m, err, want)
					}
					address := map[Misbehavior]string{NoEmail: "", ForeignEmail: p.Foreign}
					expected, wrong := address[m]
					if !wrong {
						expected = ada.Email
					}
					if want == nil && (a.Key.Subject != ada.ID || a.Email != expected || a.Given != "Ada" || len(a.Groups) != 2) {
						t.Errorf("%s %q: %+v", style, m, a)
					}
				}
			}
		}
	}
}
