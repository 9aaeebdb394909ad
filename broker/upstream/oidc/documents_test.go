package oidc

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
	"github.com/vestibule-id/vestibule/internal/fault"
)

func TestTheIssuerMustBeExactlyTheOneTyped(t *testing.T) {
	for name, change := range map[string]func(m map[string]any){
		"another":      with("issuer", "https://evil.example"),
		"a slash more": func(m map[string]any) { m["issuer"] = m["issuer"].(string) + "/" },
		"in capitals":  func(m map[string]any) { m["issuer"] = strings.ToUpper(m["issuer"].(string)) },
		"none":         with("issuer", nil),
		"the template": with("issuer", "https://login.microsoftonline.com/{tenantid}/v2.0"),
	} {
		d := newDesk(t, nil)
		d.doc = change
		if _, err := d.up.Depart(t.Context(), attempt()); !errors.Is(err, ErrIssuer) {
			t.Errorf("%s: %v, want ErrIssuer", name, err)
		}
	}
}

func TestTheTemplateStandsForThePinnedTenantAlone(t *testing.T) {
	for name, test := range map[string]struct {
		pinned string
		want   error
	}{
		"pinned": {tenant, nil}, "another": {strings.Replace(tenant, "1", "2", 1), ErrIssuer},
	} {
		d := newDesk(t, nil)
		base := d.issuer
		d.issuer = base + "/" + tenant + "/v2.0"
		d.doc = with("issuer", base+"/{tenantid}/v2.0")
		d.up = d.open(t, Protocol(), d.connection(t, "con_2", func(_ *upstream.Connection, c *Config) { c.Tenant = test.pinned }))
		if _, err := d.up.Depart(t.Context(), attempt()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestMetadataThatLies(t *testing.T) {
	for name, change := range map[string]func(m map[string]any){
		"a script to depart to":   with("authorization_endpoint", "javascript:alert(1)"),
		"a policy to depart to":   with("authorization_endpoint", "https://x; script-src *"),
		"no authorization":        with("authorization_endpoint", nil),
		"no token endpoint":       with("token_endpoint", nil),
		"no keys":                 with("jwks_uri", nil),
		"token endpoint by http":  with("token_endpoint", "http://idp.example/token"),
		"keys from a file":        with("jwks_uri", "file:///etc/passwd"),
		"user info with userinfo": with("userinfo_endpoint", "https://a:b@idp.example/"),
		"numbers for texts":       with("token_endpoint", 5),
		"NUL":                     with("token_endpoint", "https://idp.example/\x00"),
	} {
		d := newDesk(t, nil)
		d.doc = change
		if _, err := d.up.Depart(t.Context(), attempt()); !errors.Is(err, ErrDiscovery) {
			t.Errorf("%s: %v, want ErrDiscovery", name, err)
		}
	}
}

func TestS23MetadataThatPointsInwardsIsNotFollowed(t *testing.T) {
	// A private address and a name that does not exist must look alike: else they map our network.
	for inner, want := range map[string]error{
		"https://127.0.0.1/token": upstream.ErrUnreachable, "https://10.0.0.5/token": upstream.ErrUnreachable,
		"https://169.254.169.254/token": upstream.ErrUnreachable, "https://[::1]/token": upstream.ErrUnreachable,
		"https://localhost/token": upstream.ErrUnreachable, "https://no-such-name.invalid/token": upstream.ErrUnreachable,
		"https://localhost:22/token": ErrTokenEndpoint, "https://idp.example:6379/": ErrTokenEndpoint,
	} {
		d := newDesk(t, nil)
		d.doc = with("token_endpoint", inner)
		_, r, err := d.login(t, attempt(), nil)
		if f := fault.Of(err); f.Code != want.(*fault.Error).Code || f.Kind != fault.Upstream {
			t.Errorf("%s: %v, want %v: %+v", inner, err, want, r)
		}
		if last := r[len(r)-1]; last.Got != "no connection" {
			t.Errorf("%s: the report tells: %+v", inner, last)
		}
	}
}

func TestDiscoveryThatIsNoJSON(t *testing.T) {
	for _, body := range []string{"", "null", "[]", "<html>", `{"issuer":"a","issuer":"b"}`, strings.Repeat("[", 100000)} {
		d := newDesk(t, nil)
		d.refuse = func(w http.ResponseWriter, _ string) bool { w.Write([]byte(body)); return true }
		_, err := d.up.Depart(t.Context(), attempt())
		if !errors.Is(err, ErrDiscovery) && !errors.Is(err, ErrIssuer) {
			t.Errorf("%.20q: %v", body, err)
		}
	}
}

func TestDocumentsAreFetchedOnceForAll(t *testing.T) {
	d := newDesk(t, nil)
	protocol := Protocol()
	var wg sync.WaitGroup
	for i := range 20 {
		c := d.connection(t, "con_x", nil)
		c.ID = c.ID[:4] + "abc"
		up := d.open(t, protocol, c)
		wg.Go(func() {
			if _, err := up.Depart(t.Context(), attempt()); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := d.hit("/openid-configuration"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestS23DocumentsAreNotSharedWithConnectionsThatMayReachMore(t *testing.T) {
	d := newDesk(t, nil)
	protocol := Protocol()
	if _, err := d.open(t, protocol, d.connection(t, "con_a", nil)).Depart(t.Context(), attempt()); err != nil {
		t.Fatal(err)
	}
	c := d.connection(t, "con_b", nil)
	c.Private = nil
	if _, err := d.open(t, protocol, c).Depart(t.Context(), attempt()); err == nil {
		t.Fatal("a connection without private targets used what another fetched from one")
	}
}

func TestTheFirstCallersLeavingDoesNotFailTheOthers(t *testing.T) {
	d := newDesk(t, nil)
	release := make(chan struct{})
	d.refuse = func(http.ResponseWriter, string) bool { <-release; return false }
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := d.up.Depart(ctx, attempt()); first <- err }()
	for d.hit("/openid-configuration") == 0 {
		time.Sleep(time.Millisecond)
	}
	second := make(chan error)
	go func() { _, err := d.up.Depart(t.Context(), attempt()); second <- err }()
	leave()
	if err := <-first; !errors.Is(err, upstream.ErrUnreachable) {
		t.Errorf("who left: %v", err)
	}
	close(release)
	if err := <-second; err != nil || d.hit("/openid-configuration") != 1 {
		t.Errorf("who stayed: %v after %d fetches", err, d.hit("/openid-configuration"))
	}
}

func TestARotatedKeyIsFoundAtOnce(t *testing.T) {
	d := newDesk(t, nil)
	start := time.Now()
	d.clock = func() time.Time { return start }
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Fatal(err)
	}
	// A minute later, long before the keys are due, the provider signs with a new one.
	d.clock = func() time.Time { return start.Add(time.Minute) }
	d.signer = newKey(t)
	d.publish = append(d.publish, d.signer.public())
	if _, _, err := d.login(t, attempt(), nil); err != nil || d.hit("/jwks") != 2 {
		t.Fatalf("%v after %d fetches", err, d.hit("/jwks"))
	}
}

func TestUnknownKeysDoNotMakeUsAskEachTime(t *testing.T) {
	d := newDesk(t, nil)
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		d.signer = newKey(t)
		if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrSignature) {
			t.Fatalf("got %v", err)
		}
	}
	if n := d.hit("/jwks"); n > 2 {
		t.Errorf("fetched %d times", n)
	}
}

func TestKeptKeysServeWhileTheProvidersKeysAreAway(t *testing.T) {
	d := newDesk(t, nil)
	start := time.Now()
	d.clock = func() time.Time { return start }
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Fatal(err)
	}
	d.refuse = func(w http.ResponseWriter, path string) bool {
		away := path == "/jwks" || path == "/openid-configuration"
		if away {
			w.WriteHeader(503)
		}
		return away
	}
	for _, after := range []time.Duration{30 * time.Minute, 5 * time.Hour, 23 * time.Hour} {
		now := start.Add(after)
		d.clock = func() time.Time { return now }
		d.now = d.clock
		if _, _, err := d.login(t, upstreamtest.Attempt(now), nil); err != nil {
			t.Errorf("after %v: %v", after, err)
		}
	}
	now := start.Add(25 * time.Hour)
	d.clock = func() time.Time { return now }
	if _, err := d.up.Depart(t.Context(), upstreamtest.Attempt(now)); !errors.Is(err, upstream.ErrUnreachable) {
		t.Errorf("after a day: %v, want ErrUnreachable", err)
	}
}

func TestAWithdrawnKeySignsNobodyInForLong(t *testing.T) {
	d := newDesk(t, nil)
	start := time.Now()
	d.clock = func() time.Time { return start }
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Fatal(err)
	}
	old := d.signer
	d.publish = []jose.JSONWebKey{newKey(t).public()}
	d.signer = old
	now := start.Add(2 * time.Hour)
	d.clock = func() time.Time { return now }
	d.now = d.clock
	if _, _, err := d.login(t, upstreamtest.Attempt(now), nil); !errors.Is(err, ErrSignature) {
		t.Fatalf("got %v", err)
	}
}

func TestRemoteServesStaleAndRefreshesBehindTheBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		r := &remote[int64]{now: time.Now, fetch: func(ctx context.Context) (int64, time.Duration, error) {
			time.Sleep(3 * time.Second)
			return n.Add(1), 10 * time.Minute, ctx.Err()
		}}
		get := func(want int64, wait time.Duration) {
			t.Helper()
			start := time.Now()
			if v, err := r.get(t.Context()); err != nil || v != want || time.Since(start) != wait {
				t.Errorf("%d, %v after %v; want %d after %v", v, err, time.Since(start), want, wait)
			}
		}
		get(1, 3*time.Second) // nothing there: wait
		get(1, 0)
		time.Sleep(11 * time.Minute) // past its time: at once, and a refresh
		get(1, 0)
		get(1, 0)
		time.Sleep(4 * time.Second)
		get(2, 0)
		time.Sleep(2 * time.Hour) // long past: wait for a new one
		get(3, 3*time.Second)
		if n.Load() != 3 {
			t.Errorf("fetched %d times", n.Load())
		}
	})
}

func TestRemoteDoesNotHammerAProviderThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var n atomic.Int32
		r := &remote[int]{now: time.Now, fetch: func(context.Context) (int, time.Duration, error) {
			if n.Add(1); down.Load() {
				return 0, 0, upstream.ErrUnreachable
			}
			return 7, time.Minute, nil
		}}
		r.get(t.Context())
		down.Store(true)
		for range 600 { // ten minutes, one login a second
			time.Sleep(time.Second)
			synctest.Wait()
			if v, err := r.get(t.Context()); v != 7 || err != nil {
				t.Fatal(v, err)
			}
		}
		if n.Load() > 25 {
			t.Errorf("asked %d times in ten minutes", n.Load())
		}
	})
}

func TestAPanicOverADocumentIsAnError(t *testing.T) {
	r := &remote[int]{now: time.Now, fetch: func(context.Context) (int, time.Duration, error) { panic("odd") }}
	if _, err := r.get(t.Context()); !errors.Is(err, ErrDiscovery) {
		t.Fatalf("got %v", err)
	}
}

func TestLifetimes(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 15 * time.Minute, "max-age=1": time.Minute, "public, max-age=600": 10 * time.Minute, "Max-Age=999999": time.Hour,
		"max-age=-5": time.Minute, "max-age=x": 15 * time.Minute, "no-store": 15 * time.Minute, "max-age=99999999999999999999": 15 * time.Minute,
	} {
		if got := lifetime(http.Header{"Cache-Control": {header}}, time.Minute, 15*time.Minute, time.Hour); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestKeysThatCannotBeUsedAreLeftOut(t *testing.T) {
	good := newKey(t)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	enc := newKey(t).public()
	enc.Use = "enc"
	private := jose.JSONWebKey{Key: newKey(t).key, KeyID: "private"}
	for name, odd := range map[string]any{
		"symmetric": map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
		"unknown":   map[string]any{"kty": "XYZ"},
		"broken":    map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
		"not a key": 5, "weak": jose.JSONWebKey{Key: &small.PublicKey}, "for encryption": enc, "private": private,
	} {
		body, err := jsonOf(map[string]any{"keys": []any{odd, good.public()}})
		if err != nil {
			t.Fatal(err)
		}
		if ks, err := parseKeys(body); err != nil || len(ks.keys) != 1 || ks.keys[0].id != good.id {
			t.Errorf("%s: %d keys, %v", name, len(ks.keys), err)
		}
		body, _ = jsonOf(map[string]any{"keys": []any{odd}})
		if _, err := parseKeys(body); !errors.Is(err, ErrDiscovery) {
			t.Errorf("%s alone: %v", name, err)
		}
	}
}

func TestKeysAreChosenByIDKindAndAlgorithm(t *testing.T) {
	named, nameless, rsaKey := newKey(t).public(), newKey(t).public(), jose.JSONWebKey{KeyID: "r"}
	nameless.KeyID = ""
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	rsaKey.Key = &key.PublicKey
	bound := jose.JSONWebKey{KeyID: "b", Key: &key.PublicKey, Algorithm: "RS256"}
	body, _ := jsonOf(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{named, nameless, rsaKey, bound}})
	ks, err := parseKeys(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		id, alg string
		want    int
	}{
		{named.KeyID, "ES256", 1}, {"unknown", "ES256", 1}, {"", "ES256", 2}, {"r", "RS256", 1}, {"r", "PS512", 1},
		{"b", "RS256", 1}, {"b", "PS256", 0}, {"r", "ES256", 1}, {named.KeyID, "RS256", 0}, {named.KeyID, "ES384", 0}, {"r", "HS256", 0}, {"r", "none", 0}, {"", "EdDSA", 0},
	} {
		if got := ks.fitting(test.id, test.alg); len(got) != test.want {
			t.Errorf("%q %s: %d keys, want %d", test.id, test.alg, len(got), test.want)
		}
	}
}

func TestASignatureIsTriedWithFewKeys(t *testing.T) {
	var ks keySet
	for range 50 {
		ks.keys = append(ks.keys, publicKey{key: newKey(t).key.Public()})
	}
	if got := ks.fitting("", "ES256"); len(got) != maxTries {
		t.Fatal(fmt.Sprint(len(got)))
	}
}
