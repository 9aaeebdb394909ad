package saml

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
	"github.com/vestibule-id/vestibule/directory"
)

// party is a provider of the conformance suite: keys of its own, and a machine for its metadata.
type party struct {
	key    samltest.Key
	server *httptest.Server
	world  upstreamtest.World

	mu   sync.Mutex
	mood upstreamtest.Mood
}

func startParty(t *testing.T, w upstreamtest.World) upstreamtest.Party {
	p := &party{key: must(samltest.NewECDSA("party", w.Now())), world: w, mood: upstreamtest.Well}
	p.server = httptest.NewServer(p)
	t.Cleanup(func() { p.server.CloseClientConnections(); p.server.Close() })
	c := upstream.Connection{
		ID: w.ID, Type: Type, Name: "Party", Status: upstream.Active, Issuer: p.server.URL + "/metadata",
		Private: []string{strings.TrimPrefix(p.server.URL, "http://")},
		Config: must(json.Marshal(Config{
			SSORedirectURL: p.server.URL + "/sso", MetadataURL: p.server.URL + "/metadata", Certificates: []string{p.key.CertPEM()},
		})),
	}
	return upstreamtest.Party{
		Connection: must(Check(c)),
		Key: func(subject string) directory.IdentityKey {
			return directory.IdentityKey{Connection: w.ID, Issuer: c.Issuer, Subject: subject}
		},
		Answer: func(t *testing.T, d upstream.Departure, subject string, f upstreamtest.Flaw) upstream.Arrival {
			return p.answer(t, d, c.Issuer, subject, f)
		},
		Mood: func(m upstreamtest.Mood) { p.mu.Lock(); p.mood = m; p.mu.Unlock() },
	}
}

// ServeHTTP is the machine.
func (p *party) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	mood := p.mood
	p.mu.Unlock()
	switch mood {
	case upstreamtest.Slow:
		<-r.Context().Done()
	case upstreamtest.Trickling:
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	case upstreamtest.Megabytes:
		w.Write([]byte(strings.Repeat("<x/>", 16<<20)))
	case upstreamtest.Dead:
		panic(http.ErrAbortHandler)
	default:
		m := idpMetadata()
		m.EntityID, m.Signing = p.server.URL+"/metadata", nil
		m.Signing = append(m.Signing, p.key.Cert)
		w.Write(must(m.XML()))
	}
}

func (p *party) answer(t *testing.T, d upstream.Departure, issuer, subject string, f upstreamtest.Flaw) upstream.Arrival {
	t.Helper()
	q := must(url.Parse(d.URL)).Query()
	req, err := samltest.ReadRequest("GET", q)
	if err != nil {
		t.Fatal(err)
	}
	r := samltest.Good(p.key, issuer, req.Issuer, req.ACS, req.ID, "person@acme.example", p.world.Now())
	r.NameID = samltest.NameID{Value: subject, Format: samltest.PersistentFormat}
	bend(&r, f)
	doc, err := r.XML()
	if err != nil {
		t.Fatal(err)
	}
	switch f {
	case upstreamtest.Garbage:
		doc = []byte("no XML at all")
	case upstreamtest.NULSubject:
		doc = bytes.Replace(doc, []byte("NUL"), []byte("\x00"), 1) // no XML writer lets it through
	}
	return upstream.Arrival{Method: "POST", Values: samltest.Form(doc, req.RelayState)}
}

func bend(r *samltest.Response, f upstreamtest.Flaw) {
	const day = 24 * time.Hour
	switch f {
	case upstreamtest.WrongAudience:
		r.Audience = "https://other.example"
	case upstreamtest.WrongIssuer:
		r.Issuer = "https://other.example"
	case upstreamtest.Old:
		r.IssueInstant, r.NotBefore, r.NotOnOrAfter = r.IssueInstant.Add(-day), r.NotBefore.Add(-day), r.NotOnOrAfter.Add(-day)
	case upstreamtest.NotYet:
		r.IssueInstant, r.NotBefore, r.NotOnOrAfter = r.IssueInstant.Add(day), r.NotBefore.Add(day), r.NotOnOrAfter.Add(day)
	case upstreamtest.UnknownKey:
		r.Signature.Key = strangerRSA()
	case upstreamtest.Unsigned:
		r.SignAssertion = false
	case upstreamtest.Altered:
		r.Tamper = func(e *etree.Element) { find(e, "NameID").SetText("somebody else") }
	case upstreamtest.NoSubject:
		r.NameID.Value = ""
	case upstreamtest.NULSubject:
		r.NameID.Value += "NULand more"
	case upstreamtest.Declined:
		r.Status, r.SubStatus = statusPrefix+"Responder", statusPrefix+"AuthnFailed"
	case upstreamtest.Stale:
		r.AuthnInstant = r.IssueInstant.Add(-2 * time.Hour)
	}
}

func TestConformance(t *testing.T) {
	upstreamtest.Run(t, upstreamtest.Harness{Protocol: Protocol(), Start: startParty})
}
