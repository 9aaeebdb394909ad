package saml

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func idpMetadata() samltest.Metadata {
	return samltest.Metadata{
		EntityID: idp, Redirect: "https://idp.example/sso?idpid=1", Post: "https://idp.example/post",
		Signing: []*x509.Certificate{idpRSA().Cert, idpNext().Cert},
	}
}

func xmlOf(e *etree.Element) string { return string(must(samltest.Bytes(e))) }

func other(n int) *etree.Element {
	m := idpMetadata()
	m.EntityID = fmt.Sprintf("https://other%d.example", n)
	return m.Element()
}

func TestMetadataOfOneProvider(t *testing.T) {
	m := idpMetadata()
	m.WantSigned, m.CacheDuration, m.ValidUntil = true, "PT6H", noon.Add(time.Hour)
	for _, wanted := range []string{"", idp} {
		got, err := ParseMetadata(bytes.NewReader(must(m.XML())), wanted)
		if err != nil {
			t.Fatal(err)
		}
		if got.EntityID != idp || got.SSORedirectURL != m.Redirect || got.SSOPostURL != m.Post || !got.WantSigned {
			t.Errorf("%+v", got)
		}
		if len(got.Certificates) != 2 || got.Certificates[1].Print != fingerprint(idpNext().Cert.Raw) || !strings.Contains(got.Certificates[0].Subject, "idp") {
			t.Errorf("certificates %+v", got.Certificates)
		}
		if got.CacheDuration != 6*time.Hour || !got.ValidUntil.Equal(noon.Add(time.Hour)) {
			t.Errorf("until %s, %s", got.ValidUntil, got.CacheDuration)
		}
		if got.Valid(noon) != nil || !errors.Is(got.Valid(noon.Add(2*time.Hour)), ErrMetadataOver) {
			t.Error("validity")
		}
	}
}

func TestMetadataFillsSettingsThatSignIn(t *testing.T) {
	w := newWorld(t)
	m := must(ParseMetadata(bytes.NewReader(must(idpMetadata().XML())), idp))
	w.cfg = m.Fill(Config{NameIDFormat: samltest.EmailFormat})
	if w.cfg.NameIDFormat != samltest.EmailFormat {
		t.Error("other settings were lost")
	}
	got, report, err := w.arrive(w.good())
	accepted(t, got, report, err)
}

func TestAggregates(t *testing.T) {
	nested := samltest.Aggregate("outer", other(1),
		samltest.Aggregate("middle", other(2), samltest.Aggregate("inner", other(3), idpMetadata().Element())))
	nested.CreateAttr("validUntil", "2026-03-04T13:00:00Z")
	nested.CreateAttr("cacheDuration", "PT2H")
	got, err := ParseMetadata(strings.NewReader(xmlOf(nested)), idp)
	if err != nil || got.EntityID != idp {
		t.Fatalf("%+v, %v", got, err)
	}
	if !got.ValidUntil.Equal(noon.Add(time.Hour)) || got.CacheDuration != 2*time.Hour {
		t.Errorf("the aggregate's bounds are lost: %s %s", got.ValidUntil, got.CacheDuration)
	}
	if _, err := ParseMetadata(strings.NewReader(xmlOf(nested)), ""); !errors.Is(err, ErrSeveral) {
		t.Errorf("any of several: %v", err)
	}
	// What a sibling aggregate says binds nobody outside of it.
	brother := samltest.Aggregate("", other(1))
	brother.CreateAttr("validUntil", "2020-01-01T00:00:00Z")
	got, err = ParseMetadata(strings.NewReader(xmlOf(samltest.Aggregate("", brother, idpMetadata().Element()))), idp)
	if err != nil || !got.ValidUntil.IsZero() {
		t.Errorf("%s, %v", got.ValidUntil, err)
	}
	// Old Keycloaks wrap their only provider.
	got, err = ParseMetadata(strings.NewReader(xmlOf(samltest.Aggregate("urn:keycloak", idpMetadata().Element()))), "")
	if err != nil || got.EntityID != idp {
		t.Errorf("wrapped: %v", err)
	}
}

func TestMetadataOfMoreThanAProvider(t *testing.T) {
	e := idpMetadata().Element()
	sp := etree.NewElement("md:SPSSODescriptor")
	sp.CreateAttr("protocolSupportEnumeration", nsProtocol)
	e.InsertChildAt(0, sp)
	fed := etree.NewElement("md:RoleDescriptor")
	fed.CreateAttr("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
	fed.CreateAttr("xmlns:fed", "http://docs.oasis-open.org/wsfed/federation/200706")
	fed.CreateAttr("xsi:type", "fed:SecurityTokenServiceType")
	fed.CreateAttr("protocolSupportEnumeration", "http://docs.oasis-open.org/wsfed/federation/200706")
	fed.CreateElement("fed:ClaimTypesOffered").CreateElement("x")
	e.InsertChildAt(0, fed)
	idpRole := find(e, "IDPSSODescriptor")
	enc := find(idpRole, "KeyDescriptor").Copy()
	enc.CreateAttr("use", "encryption")
	find(enc, "X509Certificate").SetText(base64.StdEncoding.EncodeToString(strangerRSA().Cert.Raw))
	idpRole.InsertChildAt(0, enc)
	find(e, "IDPSSODescriptor").CreateElement("md:NameIDFormat").SetText("\n" + samltest.EmailFormat + "\n")
	got, err := ParseMetadata(strings.NewReader(`<?xml version="1.0"?><!-- AD FS -->`+xmlOf(e)), "")
	if err != nil || len(got.Certificates) != 2 || got.NameIDFormats[0] != samltest.EmailFormat {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAKeyWithoutUseIsForBoth(t *testing.T) {
	e := idpMetadata().Element()
	find(e, "KeyDescriptor").RemoveAttr("use")
	if got, err := ParseMetadata(strings.NewReader(xmlOf(e)), ""); err != nil || len(got.Certificates) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusedMetadata(t *testing.T) {
	edit := func(f func(*etree.Element)) string { e := idpMetadata().Element(); f(e); return xmlOf(e) }
	good := xmlOf(idpMetadata().Element())
	deep := idpMetadata().Element()
	for range maxNesting + 1 {
		deep = samltest.Aggregate("", deep)
	}
	for name, c := range map[string]struct {
		doc, wanted string
		want        error
	}{
		"empty":           {"", "", ErrNoEntity},
		"HTML":            {"<html><body>Sign in</body></html>", "", ErrMetadata},
		"unfinished":      {good[:len(good)-9], "", ErrMetadata},
		"DOCTYPE":         {"<!DOCTYPE x>" + good, "", ErrMetadata},
		"entity":          {`<!DOCTYPE x [<!ENTITY a "b">]>` + good, "", ErrMetadata},
		"other encoding":  {`<?xml version="1.0" encoding="UTF-16"?>` + good, "", ErrMetadata},
		"another entity":  {good, "https://wanted.example", ErrNoEntity},
		"in another case": {good, strings.ToUpper(idp), ErrNoEntity},
		"no key": {edit(func(e *etree.Element) {
			r := find(e, "IDPSSODescriptor")
			r.RemoveChild(find(r, "KeyDescriptor"))
			r.RemoveChild(find(r, "KeyDescriptor"))
		}), "", ErrNoKey},
		"broken key": {edit(func(e *etree.Element) {
			find(e, "X509Certificate").SetText("AAAA")
			r := find(e, "IDPSSODescriptor")
			r.RemoveChild(r.SelectElements("md:KeyDescriptor")[1])
		}), "", ErrNoKey},
		"no endpoint": {edit(func(e *etree.Element) {
			r := find(e, "IDPSSODescriptor")
			for _, s := range r.SelectElements("md:SingleSignOnService") {
				r.RemoveChild(s)
			}
		}), "", ErrNoEndpoint},
		"SAML 1.1": {edit(func(e *etree.Element) {
			find(e, "IDPSSODescriptor").CreateAttr("protocolSupportEnumeration", "urn:oasis:names:tc:SAML:1.1:protocol")
		}), "", ErrNoEntity},
		"service provider": {edit(func(e *etree.Element) { find(e, "IDPSSODescriptor").Tag = "SPSSODescriptor" }), "", ErrNoEntity},
		"no entityID":      {edit(func(e *etree.Element) { e.RemoveAttr("entityID") }), "", ErrMetadata},
		"twice":            {xmlOf(samltest.Aggregate("", idpMetadata().Element(), idpMetadata().Element())), idp, ErrSeveral},
		"too deep":         {xmlOf(deep), "", ErrMetadata},
		"bad duration":     {edit(func(e *etree.Element) { e.CreateAttr("cacheDuration", "six hours") }), "", ErrMetadata},
		"bad date":         {xmlOf(dated(samltest.Aggregate("", idpMetadata().Element()))), "", ErrMetadata},
		"javascript":       {edit(func(e *etree.Element) { find(e, "SingleSignOnService").CreateAttr("Location", "javascript:alert(1)") }), "", ErrMetadata},
		"huge entity": {edit(func(e *etree.Element) {
			e.CreateElement("md:Organization").SetText(strings.Repeat("x", maxEntity+1<<16))
		}), "", ErrMetadata},
	} {
		if got, err := ParseMetadata(strings.NewReader(c.doc), c.wanted); !errors.Is(err, c.want) || got.EntityID != "" {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func dated(e *etree.Element) *etree.Element {
	e.CreateAttr("validUntil", "tomorrow")
	return e
}

// endless is an aggregate that never ends.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	const head, body = `<EntitiesDescriptor xmlns="` + nsMetadata + `">`, `<EntityDescriptor entityID="x"></EntityDescriptor>`
	const filler = "                                                                "
	if e.read == 0 {
		e.read = 1
		return copy(p, head), nil
	}
	n := copy(p, body)
	for n+len(filler) <= len(p) {
		n += copy(p[n:], filler)
	}
	e.read += int64(n)
	return n, nil
}

func TestAnEndlessAggregateEnds(t *testing.T) {
	e := &endless{}
	if _, err := ParseMetadata(io.LimitReader(e, 4*maxMetadata), "https://wanted.example"); !errors.Is(err, ErrMetadata) {
		t.Errorf("got %v", err)
	}
	if e.read > maxMetadata+(1<<20) {
		t.Errorf("%d bytes were read", e.read)
	}
}

// provider of metadata that can be changed, and counts.
type publisher struct {
	*httptest.Server
	asked chan struct{}
	serve func(w http.ResponseWriter)
}

func publish(t *testing.T, m samltest.Metadata) *publisher {
	p := &publisher{asked: make(chan struct{}, 100)}
	p.serve = func(w http.ResponseWriter) { w.Write(must(m.XML())) }
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked <- struct{}{}
		p.serve(w)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) world(t *testing.T) *world {
	w := newWorld(t)
	w.client = p.Client()
	w.cfg.MetadataURL = p.URL
	w.conn.Private = []string{strings.TrimPrefix(p.URL, "http://")}
	w.cfg.Certificates = []string{idpRSA().CertPEM()}
	return w
}

// idle waits for the refresh under way to end.
func idle(t *testing.T, u upstream.Upstream) {
	t.Helper()
	for range 500 {
		if !u.(*provider).fresh.busy.Load() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the refresh does not end")
}

// Capabilities row 15: a rotated certificate is learned without anybody doing anything.
func TestARotatedCertificateIsLearned(t *testing.T) {
	m := idpMetadata()
	m.Signing = m.Signing[1:]
	p := publish(t, m)
	w := p.world(t)
	r := w.good()
	r.Signature.Key = idpNext()
	_, _, err := w.arrive(r)
	if err != nil && !errors.Is(err, ErrBadCert) {
		t.Fatal(err)
	}
	idle(t, w.open())
	got, report, err := w.arrive(r)
	if errors.Is(err, upstream.ErrReplay) {
		return // the first one was fast enough
	}
	accepted(t, got, report, err)
	// The pinned certificate still counts.
	got, report, err = w.arrive(w.good())
	accepted(t, got, report, err)
	if len(p.asked) != 1 {
		t.Errorf("asked %d times", len(p.asked))
	}
}

func TestAnotherEntityIsNeverTakenSilently(t *testing.T) {
	m := idpMetadata()
	m.EntityID, m.Signing = "https://evil.example", []*x509.Certificate{strangerRSA().Cert}
	p := publish(t, m)
	w := p.world(t)
	w.depart()
	idle(t, w.open())
	r := w.good()
	r.Signature.Key = strangerRSA()
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrBadCert)
}

func TestExpiredMetadataIsNotTaken(t *testing.T) {
	m := idpMetadata()
	m.ValidUntil = noon.Add(-time.Hour)
	p := publish(t, m)
	w := p.world(t)
	w.depart()
	idle(t, w.open())
	if w.open().(*provider).fresh.known.Load() != nil {
		t.Error("taken")
	}
}

// Protocols.md section 2 and 5: a provider that hangs holds up nobody, and is not asked again and again.
func TestAHangingProviderHoldsUpNobody(t *testing.T) {
	p := publish(t, idpMetadata())
	release := make(chan struct{})
	p.serve = func(http.ResponseWriter) { <-release }
	defer close(release)
	w := p.world(t)
	start := time.Now()
	for range 20 {
		w.depart()
		w.spent = map[string]time.Time{}
		got, report, err := w.arrive(w.good())
		accepted(t, got, report, err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("twenty logins took %s", took)
	}
	<-p.asked
	if len(p.asked) > 0 {
		t.Error("asked more than once at a time")
	}
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("a bug in a parser") }

func TestAPanicInTheBackgroundEndsNothing(t *testing.T) {
	p := publish(t, idpMetadata())
	w := p.world(t)
	w.client = &http.Client{Transport: panicking{}}
	w.depart()
	idle(t, w.open())
	got, report, err := w.arrive(w.good())
	accepted(t, got, report, err)
}

func TestRefreshesAreRateLimited(t *testing.T) {
	p := publish(t, idpMetadata())
	p.serve = func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }
	w := p.world(t)
	count := func(want int, when string) {
		t.Helper()
		idle(t, w.open())
		if len(p.asked) != want {
			t.Errorf("%s: asked %d times, want %d", when, len(p.asked), want)
		}
	}
	w.depart()
	count(1, "at first")
	w.depart()
	count(1, "at once")
	r := w.good()
	r.Signature.Key = strangerRSA()
	w.arrive(r)
	count(1, "unknown certificate, at once")
	w.now = w.now.Add(refreshHurry + time.Second)
	w.depart()
	count(2, "a minute after the unknown certificate")
	w.arrive(r)
	count(2, "another one, at once")
	w.now = w.now.Add(refreshHurry / 2)
	w.depart()
	count(2, "half a minute later")
	w.now = w.now.Add(refreshRetry + time.Second)
	w.depart()
	count(3, "after the retry time")
	p.serve = func(w http.ResponseWriter) { w.Write(must(idpMetadata().XML())) }
	w.now = w.now.Add(refreshRetry + time.Second)
	w.depart()
	count(4, "well again")
	w.now = w.now.Add(11 * time.Hour)
	w.depart()
	count(4, "eleven hours later")
	w.now = w.now.Add(2 * time.Hour)
	w.depart()
	count(5, "thirteen hours later")
}

func TestTheRefreshIntervalIsBounded(t *testing.T) {
	for said, want := range map[time.Duration]time.Duration{
		0: refreshDefault, time.Second: refreshLeast, 6 * time.Hour: 6 * time.Hour, 9000 * time.Hour: refreshMost, -time.Hour: refreshDefault,
	} {
		if got := interval(said); got != want {
			t.Errorf("%s: %s, want %s", said, got, want)
		}
	}
}

func TestFetchMetadata(t *testing.T) {
	p := publish(t, idpMetadata())
	if m, err := FetchMetadata(t.Context(), p.Client(), p.URL, idp); err != nil || m.EntityID != idp {
		t.Errorf("%+v, %v", m, err)
	}
	p.serve = func(w http.ResponseWriter) { w.WriteHeader(http.StatusFound) }
	if _, err := FetchMetadata(t.Context(), p.Client(), p.URL, idp); !errors.Is(err, ErrUnreachable) {
		t.Errorf("not OK: %v", err)
	}
	p.serve = func(w http.ResponseWriter) { <-t.Context().Done() }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := FetchMetadata(ctx, p.Client(), p.URL, idp); !errors.Is(err, ErrUnreachable) {
		t.Errorf("too slow: %v", err)
	}
	if _, err := FetchMetadata(t.Context(), p.Client(), "http://%zz", idp); !errors.Is(err, upstream.ErrConfig) {
		t.Errorf("no URL: %v", err)
	}
}

func TestProbe(t *testing.T) {
	p := publish(t, idpMetadata())
	w := p.world(t)
	report, err := w.open().(upstream.Prober).Probe(t.Context())
	if err != nil || len(report) != 4 {
		t.Errorf("%+v, %v", report, err)
	}
	w.now = noon.AddDate(11, 0, 0)
	report, err = w.open().(upstream.Prober).Probe(t.Context())
	if ok, _, _, _ := check(report, "certificate"); ok || err != nil {
		t.Errorf("an old certificate is no error, but told: %+v, %v", report, err)
	}
	p.serve = func(w http.ResponseWriter) { w.Write(must(samltest.Bytes(other(1)))) }
	if _, err = w.open().(upstream.Prober).Probe(t.Context()); !errors.Is(err, ErrNoEntity) {
		t.Errorf("another entity: %v", err)
	}
}
