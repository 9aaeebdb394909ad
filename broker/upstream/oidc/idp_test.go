package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
	"github.com/vestibule-id/vestibule/directory"
)

const (
	clientID     = "vestibule at acme" // with a space: basic authentication must encode it
	clientSecret = "s3cret/+% ü"
)

// idp is a provider for tests: strict towards us, and as wrong as it is told to be. It is ours alone; the
// house's fake provider is for people and shows pages.
type idp struct {
	server *httptest.Server
	issuer string
	now    func() time.Time

	mu      sync.Mutex
	signer  signingKey
	publish []jose.JSONWebKey
	mood    upstreamtest.Mood
	codes   map[string]grant
	hits    map[string]int
	doc     func(m map[string]any)                        // changes the metadata
	claims  func(cl map[string]any)                       // changes the id_token's claims
	sign    func(payload []byte) string                   // signs in another way
	answer  func(v map[string]any)                        // changes the token answer
	info    func() map[string]any                         // the user information
	refuse  func(w http.ResponseWriter, path string) bool // answers in its own way
}

type grant struct {
	subject, nonce, challenge, redirect string
	flaw                                upstreamtest.Flaw
}

type signingKey struct {
	id  string
	key crypto.Signer
	alg jose.SignatureAlgorithm
}

func newKey(t testing.TB) signingKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{id: rand.Text(), key: key, alg: jose.ES256}
}

func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.key.Public(), KeyID: k.id, Use: "sig", Algorithm: string(k.alg)}
}

func (k signingKey) jws(payload []byte) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: jose.JSONWebKey{Key: k.key, KeyID: k.id}}, nil)
	if err != nil {
		panic(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	p := &idp{signer: newKey(t), now: time.Now, codes: map[string]grant{}, hits: map[string]int{}}
	p.publish = []jose.JSONWebKey{p.signer.public()}
	p.server = httptest.NewServer(p)
	p.issuer = p.server.URL + "/" + rand.Text()
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

func (p *idp) set(change func()) { p.mu.Lock(); defer p.mu.Unlock(); change() }

func (p *idp) hit(path string) int { p.mu.Lock(); defer p.mu.Unlock(); return p.hits[path] }

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path[strings.LastIndex(r.URL.Path, "/"):]
	p.mu.Lock()
	p.hits[path]++
	mood, refuse := p.mood, p.refuse
	p.mu.Unlock()
	if misbehaves(w, r, mood) || refuse != nil && refuse(w, path) {
		return
	}
	switch path {
	case "/openid-configuration":
		p.serveMetadata(w)
	case "/jwks":
		p.mu.Lock()
		defer p.mu.Unlock()
		writeJSON(w, 200, jose.JSONWebKeySet{Keys: p.publish})
	case "/token":
		p.serveToken(w, r)
	case "/userinfo":
		p.mu.Lock()
		defer p.mu.Unlock()
		writeJSON(w, 200, p.info())
	default:
		http.NotFound(w, r)
	}
}

func misbehaves(w http.ResponseWriter, r *http.Request, m upstreamtest.Mood) bool {
	switch m {
	case upstreamtest.Slow:
		io.Copy(io.Discard, r.Body) // the context ends with the connection only when the body was read
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	case upstreamtest.Trickling:
		io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	case upstreamtest.Megabytes:
		for range 64 {
			if _, err := w.Write([]byte(strings.Repeat("x", 1<<20))); err != nil {
				break
			}
		}
	case upstreamtest.Dead:
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			c.Close()
		}
	default:
		return false
	}
	return true
}

func (p *idp) serveMetadata(w http.ResponseWriter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := map[string]any{
		"issuer": p.issuer, "authorization_endpoint": p.issuer + "/authorize", "token_endpoint": p.issuer + "/token",
		"userinfo_endpoint": p.issuer + "/userinfo", "jwks_uri": p.issuer + "/jwks",
		"code_challenge_methods_supported":               []string{"plain", "S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if p.doc != nil {
		p.doc(m)
	}
	writeJSON(w, 200, m)
}

// grantFor plays the authorization endpoint for somebody who is signed in.
func (p *idp) grantFor(d upstream.Departure, subject string, f upstreamtest.Flaw) (url.Values, string) {
	u, _ := url.Parse(d.URL)
	q := u.Query()
	code := "code-" + rand.Text()
	p.set(func() {
		p.codes[code] = grant{subject: subject, nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"), flaw: f}
	})
	return q, code
}

func (p *idp) arrival(t testing.TB, d upstream.Departure, subject string, f upstreamtest.Flaw) upstream.Arrival {
	q, code := p.grantFor(d, subject, f)
	v := url.Values{"state": {q.Get("state")}, "iss": {p.issuer}, "code": {code}}
	switch f {
	case upstreamtest.Declined:
		v.Del("code")
		v.Set("error", "access_denied")
		v.Set("error_description", "<b>AADSTS50105</b>: Alice is not assigned xxxxxxxxxxxxxxxx")
	case upstreamtest.Garbage:
		v.Set("code", "no such code")
	}
	return upstream.Arrival{Method: http.MethodGet, Values: v}
}

func (p *idp) serveToken(w http.ResponseWriter, r *http.Request) {
	if why := p.badClient(r); why != "" {
		writeJSON(w, 401, map[string]any{"error": "invalid_client", "error_description": why + " xxxxxxxxxxxxxxxx"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := r.PostFormValue("code")
	g, ok := p.codes[code]
	delete(p.codes, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || g.redirect != r.PostFormValue("redirect_uri") || g.challenge != "" && g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		writeJSON(w, 400, map[string]any{"error": "invalid_grant", "error_description": "xxxxxxxxxxxxxxxx"})
		return
	}
	v := map[string]any{"access_token": "at-" + g.subject, "token_type": "Bearer", "expires_in": 300, "id_token": p.idToken(g)}
	if p.answer != nil {
		p.answer(v)
	}
	writeJSON(w, 200, v)
}

func (p *idp) badClient(r *http.Request) string {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return "no basic authentication"
	}
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if id != clientID || secret != clientSecret {
		return "wrong client"
	}
	return ""
}

func (p *idp) idToken(g grant) string {
	now := p.now()
	cl := map[string]any{
		"iss": p.issuer, "sub": g.subject, "aud": clientID, "nonce": g.nonce,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "auth_time": now.Unix(),
		"email": "alice@acme.example", "email_verified": true, "name": "Alice Example", "given_name": "Alice", "family_name": "Example",
		"groups": []string{"staff", "admins"}, "amr": []string{"pwd", "otp"}, "acr": "2", "sid": "s1",
	}
	spoil(cl, g.flaw, now)
	if p.claims != nil {
		p.claims(cl)
	}
	payload, _ := json.Marshal(cl)
	if p.sign != nil {
		return p.sign(payload)
	}
	return p.signed(payload, g.flaw)
}

func spoil(cl map[string]any, f upstreamtest.Flaw, now time.Time) {
	day := 24 * time.Hour
	maps.Copy(cl, map[upstreamtest.Flaw]map[string]any{
		upstreamtest.WrongAudience: {"aud": "somebody-else"},
		upstreamtest.WrongIssuer:   {"iss": "https://evil.example"},
		upstreamtest.Old:           {"iat": now.Add(-day).Unix(), "exp": now.Add(-day + time.Hour).Unix()},
		upstreamtest.NotYet:        {"iat": now.Add(day).Unix(), "exp": now.Add(day + time.Hour).Unix()},
		upstreamtest.NoSubject:     {"sub": ""},
		upstreamtest.NULSubject:    {"sub": cl["sub"].(string) + "\x00admin"},
		upstreamtest.Stale:         {"auth_time": now.Add(-2 * time.Hour).Unix()},
	}[f])
}

func (p *idp) signed(payload []byte, f upstreamtest.Flaw) string {
	good := p.signer.jws(payload)
	parts := strings.Split(good, ".")
	switch f {
	case upstreamtest.UnknownKey:
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return signingKey{id: p.signer.id, key: key, alg: jose.ES256}.jws(payload)
	case upstreamtest.Unsigned:
		return b64(`{"alg":"none"}`) + "." + parts[1] + "."
	case upstreamtest.Altered:
		return parts[0] + "." + b64(strings.Replace(string(payload), `"sub":"`, `"sub":"admin`, 1)) + "." + parts[2]
	}
	return good
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// connection is a checked connection to the provider, with settings changed by edit.
func (p *idp) connection(t testing.TB, id directory.ConnectionID, edit func(*upstream.Connection, *Config)) upstream.Connection {
	t.Helper()
	cfg := Config{ClientID: clientID}
	secret, _ := json.Marshal(Secret{ClientSecret: clientSecret})
	c := upstream.Connection{
		ID: id, Org: "org_1", Type: "oidc", Name: "Test", Status: upstream.Active, Issuer: p.issuer, Secret: secret,
		Private: []string{strings.TrimPrefix(p.server.URL, "http://")}, Version: 1,
	}
	if edit != nil {
		edit(&c, &cfg)
	}
	c.Config, _ = json.Marshal(cfg)
	checked, err := Check(c)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return checked
}

func TestConformance(t *testing.T) {
	upstreamtest.Run(t, upstreamtest.Harness{
		Protocol: Protocol(),
		Start: func(t *testing.T, w upstreamtest.World) upstreamtest.Party {
			p := newIDP(t)
			p.now = w.Now
			return upstreamtest.Party{
				Connection: p.connection(t, w.ID, nil),
				Key: func(s string) directory.IdentityKey {
					return directory.IdentityKey{Connection: w.ID, Issuer: p.issuer, Subject: s}
				},
				Answer: func(t *testing.T, d upstream.Departure, s string, f upstreamtest.Flaw) upstream.Arrival {
					return p.arrival(t, d, s, f)
				},
				Mood: func(m upstreamtest.Mood) { p.set(func() { p.mood = m }) },
			}
		},
	})
}
