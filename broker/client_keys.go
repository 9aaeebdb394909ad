package broker

// This file holds the public keys of apps: registered by value, or fetched from where the app keeps them.

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

const (
	minRSA, maxRSA = 2048, 8192
	maxAppKeys     = 50
	maxKeyTries    = 8        // keys that one signature is tried with, when its header names none
	maxKeyDocument = 64 << 10 // of a key set, fetched or registered

	keysFetchTimeout = 8 * time.Second
	keysGrace        = time.Hour        // how long past its time a set serves while a new one is fetched
	keysMaxStale     = 24 * time.Hour   // how long a set serves while the app is down
	keysRetryAfter   = 30 * time.Second // least time between fetches of a set that is there
	keysAskAgain     = 10 * time.Second // least time between fetches because a key is not known, or nothing is there
)

var (
	errKeySet = errors.New("no JWK Set with a public key that can check signatures")
	errNoKey  = errors.New("no key of the app made this signature")
)

// clientKeys keeps the key sets of apps, parsed.
type clientKeys struct {
	given   upstream.Cache[string, *appKeySet]
	fetched upstream.Cache[string, *remoteKeys]
}

// appKeySet is an app's public keys.
type appKeySet struct{ keys []jose.JSONWebKey }

// parseAppKeys reads a JWK Set (RFC 7517 section 5). Keys that cannot check a signature are left out, a
// private or symmetric one among them: whatever it is called, it is everybody's by now.
func parseAppKeys(doc []byte) (*appKeySet, error) {
	var in struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(doc) > maxKeyDocument || json.Unmarshal(doc, &in) != nil {
		return nil, errKeySet
	}
	set := &appKeySet{}
	for _, raw := range in.Keys[:min(len(in.Keys), maxAppKeys)] {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && checksSignatures(k) {
			set.keys = append(set.keys, k)
		}
	}
	if len(set.keys) == 0 {
		return nil, errKeySet
	}
	return set, nil
}

// checksSignatures: for signatures, public, and strong enough.
func checksSignatures(k jose.JSONWebKey) bool {
	return (k.Use == "" || k.Use == "sig") && strongPublic(k.Key)
}

func strongPublic(key crypto.PublicKey) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA && key.E >= 3
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return true
	}
	return false
}

// fitsAlg binds an algorithm to its kind of key (RFC 7518 section 3.1, RFC 8037 section 3.1).
func fitsAlg(key crypto.PublicKey, alg string) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		return alg == "RS256" || alg == "PS256"
	case *ecdsa.PublicKey:
		return alg == "ES256"
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// fitting gives the keys that may have made a signature: those of its key id, or, where it names none,
// all of its algorithm.
func (s *appKeySet) fitting(kid, alg string) []jose.JSONWebKey {
	var out []jose.JSONWebKey
	for _, k := range s.keys {
		if (kid == "" || k.KeyID == kid || k.KeyID == "") && (k.Algorithm == "" || k.Algorithm == alg) && fitsAlg(k.Key, alg) {
			out = append(out, k)
		}
	}
	return out[:min(len(out), maxKeyTries)]
}

func (s *appKeySet) verify(jws *jose.JSONWebSignature) (payload []byte, known bool, err error) {
	h := jws.Signatures[0].Protected
	for _, k := range s.fitting(h.KeyID, h.Algorithm) {
		known = known || h.KeyID != "" && k.KeyID == h.KeyID
		if payload, err := jws.Verify(k.Key); err == nil {
			return payload, true, nil
		}
	}
	return nil, known, errNoKey
}

// verifyByApp checks a signature by the app's keys, in an algorithm that the app may use, and gives what
// was signed. Where no key is the one that the signature names, the app may have a new one: it is asked
// once, and not again for a while.
func (b *Broker) verifyByApp(ctx context.Context, app App, jws *jose.JSONWebSignature) ([]byte, error) {
	if alg := jws.Signatures[0].Protected.Algorithm; !slices.Contains(app.signAlgs(), jose.SignatureAlgorithm(alg)) {
		return nil, errors.New("algorithm " + alg)
	}
	if app.JWKSURI == "" {
		payload, _, err := b.appKeys.of(app).verify(jws)
		return payload, err
	}
	kept := b.appKeys.at(app, b.Now, b.Call)
	set, err := kept.get(ctx)
	if err != nil {
		return nil, err
	}
	payload, known, err := set.verify(jws)
	if err == nil || known {
		return payload, err
	}
	if set, ok := kept.renewed(ctx); ok {
		payload, _, err = set.verify(jws)
	}
	return payload, err
}

// of gives the keys that an app registered; none that can be read is none that fits.
func (c *clientKeys) of(app App) *appKeySet {
	return c.given.GetOr(string(app.JWKS), func() *appKeySet {
		set, err := parseAppKeys(app.JWKS)
		if err != nil {
			return &appKeySet{}
		}
		return set
	})
}

// at gives the keys at the app's address. What may be called is part of the name: an address that the
// operator opened for one app is not read for another.
func (c *clientKeys) at(app App, now func() time.Time, call func([]string) *http.Client) *remoteKeys {
	name := strings.Join(append([]string{app.JWKSURI}, slices.Sorted(slices.Values(app.Private))...), " ")
	return c.fetched.GetOr(name, func() *remoteKeys {
		return &remoteKeys{now: now, fetch: func(ctx context.Context) (*appKeySet, time.Duration, error) {
			return fetchKeys(ctx, call(app.Private), app.JWKSURI)
		}}
	})
}

func fetchKeys(ctx context.Context, client *http.Client, address string) (*appKeySet, time.Duration, error) {
	body, h, err := fetchDocument(ctx, client, address, maxKeyDocument)
	if err != nil {
		return nil, 0, err
	}
	set, err := parseAppKeys(body)
	return set, keysLifetime(h), err
}

// fetchDocument gets a JSON document of an app. No redirects are followed (outbound).
func fetchDocument(ctx context.Context, client *http.Client, address string, most int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	body, err := outbound.ReadAll(resp, most)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, errors.New("status " + strconv.Itoa(resp.StatusCode))
	}
	return body, resp.Header, nil
}

// keysLifetime reads Cache-Control: max-age within bounds: a key that the app withdrew must go soon.
func keysLifetime(h http.Header) time.Duration {
	for part := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				return min(max(time.Duration(n)*time.Second, time.Minute), time.Hour)
			}
		}
	}
	return 15 * time.Minute
}

// remoteKeys is a key set of an app: fetched by one for many, kept, and refreshed. A fetch runs on a
// context of its own: the first caller going away must not fail the others.
type remoteKeys struct {
	now   func() time.Time
	fetch func(ctx context.Context) (*appKeySet, time.Duration, error)

	mu      sync.Mutex
	set     *appKeySet
	fetched time.Time
	ttl     time.Duration
	tried   time.Time // when the last fetch began
	err     error     // how it ended
	running chan struct{}
}

// get gives the keys, at once when there are some that still serve.
func (r *remoteKeys) get(ctx context.Context) (*appKeySet, error) {
	r.mu.Lock()
	now := r.now()
	age, since := now.Sub(r.fetched), now.Sub(r.tried)
	switch {
	case r.set != nil && age < r.ttl:
		defer r.mu.Unlock()
		return r.set, nil
	case r.set != nil && age < keysMaxStale && (age < r.ttl+keysGrace || since < keysRetryAfter):
		defer r.mu.Unlock()
		if since >= keysRetryAfter {
			r.start(ctx)
		}
		return r.set, nil
	case r.err != nil && r.running == nil && since < keysAskAgain:
		defer r.mu.Unlock()
		return nil, r.err
	}
	done := r.start(ctx)
	r.mu.Unlock()
	return r.wait(ctx, done)
}

// renewed fetches the keys anew because one is not among them, unless that was done a moment ago: whoever
// names unknown keys must not make us ask the app each time.
func (r *remoteKeys) renewed(ctx context.Context) (*appKeySet, bool) {
	r.mu.Lock()
	if r.running == nil && r.now().Sub(r.tried) < keysAskAgain {
		defer r.mu.Unlock()
		return nil, false
	}
	done := r.start(ctx)
	r.mu.Unlock()
	set, err := r.wait(ctx, done)
	return set, err == nil
}

// start begins a fetch or joins the one that runs. r.mu is held.
func (r *remoteKeys) start(ctx context.Context) chan struct{} {
	if r.running == nil {
		r.tried, r.running = r.now(), make(chan struct{})
		go r.run(context.WithoutCancel(ctx))
	}
	return r.running
}

func (r *remoteKeys) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, keysFetchTimeout)
	defer cancel()
	set, ttl, err := r.safely(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err == nil {
		r.set, r.ttl, r.fetched = set, ttl, r.now()
	}
	close(r.running)
	r.running = nil
}

// safely turns a panic over a stranger's document into an error: out here it would end the process.
func (r *remoteKeys) safely(ctx context.Context) (set *appKeySet, ttl time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading the keys failed: %v", p)
		}
	}()
	return r.fetch(ctx)
}

func (r *remoteKeys) wait(ctx context.Context, done chan struct{}) (*appKeySet, error) {
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set != nil && r.now().Sub(r.fetched) < keysMaxStale {
		return r.set, nil
	}
	return nil, r.err
}

// checkKeys judges the keys of an app's settings: by value or by address, public ones alone.
func (s Settings) checkKeys() error {
	if len(s.JWKS) > 0 && s.JWKSURI != "" {
		return ErrAppSettings.Because("jwks and jwks_uri exclude one another")
	}
	if len(s.JWKS) > 0 {
		if hasPrivate(s.JWKS) {
			return ErrAppSettings.Because("jwks holds a private or symmetric key")
		}
		if _, err := parseAppKeys(s.JWKS); err != nil {
			return ErrAppSettings.With(err)
		}
	}
	if s.JWKSURI != "" {
		return s.checkCalled(s.JWKSURI)
	}
	return nil
}

func hasPrivate(jwks []byte) bool {
	var in struct {
		Keys []struct {
			D, K, P json.RawMessage
		} `json:"keys"`
	}
	return json.Unmarshal(jwks, &in) == nil && slices.ContainsFunc(in.Keys, func(k struct{ D, K, P json.RawMessage }) bool {
		return len(bytes.TrimSpace(k.D))+len(k.K)+len(k.P) > 0
	})
}

// checkCalled refuses an address that we would never call: https on 443, or what the operator opened for
// this app (S23).
func (s Settings) checkCalled(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") || strings.ContainsFunc(raw, notVisible) {
		return ErrAppSettings.Because("not an address that can be called: " + raw)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	public := u.Scheme == "https" && port == "443"
	opened := (u.Scheme == "https" || u.Scheme == "http") && slices.Contains(s.Private, u.Hostname()+":"+port)
	if !public && !opened {
		return ErrAppSettings.Because("https on port 443, or opened by the operator: " + raw)
	}
	return nil
}
