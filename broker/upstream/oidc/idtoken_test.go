package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Each line is one check of Core 3.1.3.7, and what becomes of an answer that fails it.
func TestIDTokenValidation(t *testing.T) {
	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, test := range map[string]struct {
		claims func(map[string]any)
		want   error
	}{
		"right":                               {with(), nil},
		"another issuer":                      {with("iss", "https://evil.example"), ErrIssuer},
		"issuer with a slash more":            {func(m map[string]any) { m["iss"] = m["iss"].(string) + "/" }, ErrIssuer},
		"no issuer":                           {with("iss", nil), ErrIssuer},
		"issuer is a list":                    {func(m map[string]any) { m["iss"] = []any{m["iss"]} }, ErrIssuer},
		"another audience":                    {with("aud", "other"), ErrAudience},
		"no audience":                         {with("aud", nil), ErrAudience},
		"audience in another case":            {with("aud", strings.ToUpper(clientID)), ErrAudience},
		"two audiences, no azp":               {with("aud", []string{clientID, "other"}), ErrAudience},
		"two audiences, azp another":          {with("aud", []string{clientID, "other"}, "azp", "other"), ErrAudience},
		"two audiences, azp ours":             {with("aud", []string{clientID, "other"}, "azp", clientID), nil},
		"one audience, azp another":           {with("azp", "other"), ErrAudience},
		"one audience, azp ours":              {with("azp", clientID), nil},
		"azp is a list":                       {with("azp", []string{clientID}), ErrAudience},
		"no nonce":                            {with("nonce", nil), ErrNonce},
		"empty nonce":                         {with("nonce", ""), ErrNonce},
		"another nonce":                       {with("nonce", "x"), ErrNonce},
		"nonce is a list":                     {func(m map[string]any) { m["nonce"] = []any{m["nonce"]} }, ErrNonce},
		"expired":                             {with("exp", in(-3*time.Minute)), ErrExpired},
		"expired within the skew":             {with("exp", in(-time.Minute)), nil},
		"no exp":                              {with("exp", nil), ErrExpired},
		"exp is text":                         {with("exp", "9999999999"), ErrExpired},
		"exp is zero":                         {with("exp", 0), ErrExpired},
		"no iat":                              {with("iat", nil), ErrExpired},
		"issued in the future":                {with("iat", in(10*time.Minute), "exp", in(time.Hour)), ErrNotYet},
		"issued ahead within the skew":        {with("iat", in(time.Minute)), nil},
		"issued before the departure":         {with("iat", in(-10*time.Minute), "exp", in(time.Hour)), ErrExpired},
		"not before the future":               {with("nbf", in(10*time.Minute)), ErrNotYet},
		"authenticated in the future":         {with("auth_time", in(10*time.Minute)), ErrNotYet},
		"no auth_time, nobody asked":          {with("auth_time", nil), nil},
		"wrong at_hash":                       {with("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), ErrAccessToken},
		"at_hash is a number":                 {with("at_hash", 1), ErrAccessToken},
		"empty at_hash":                       {with("at_hash", ""), ErrAccessToken},
		"right at_hash":                       {with("at_hash", atHash("at-alice")), nil},
		"no subject":                          {with("sub", nil), ErrSubject},
		"subject is a number":                 {with("sub", 7), ErrSubject},
		"subject is a list":                   {with("sub", []string{"alice"}), ErrSubject},
		"a subject of 256 characters":         {with("sub", strings.Repeat("x", 256)), ErrSubject},
		"NUL in a claim":                      {with("name", "a\x00b"), ErrIDToken},
		"NUL in a claim's name":               {with("a\x00b", 1), ErrIDToken},
		"NUL deep inside":                     {with("x", map[string]any{"y": []any{"a\x00b"}}), ErrIDToken},
		"a line break in the address":         {with("email", "alice@acme.example\r\nBcc: eve@evil.example"), ErrEmail},
		"two addresses":                       {with("email", "alice@acme.example,eve@evil.example"), ErrEmail},
		"two at signs":                        {with("email", "alice@evil.example@acme.example"), ErrEmail},
		"no address":                          {with("email", nil), nil},
		"an address that is no text":          {with("email", map[string]any{"a": "b"}), ErrEmail},
		"five thousand claims":                {func(m map[string]any) { many(m, 5000) }, ErrIDToken},
		"claims that nobody can make text of": {with("groups", map[string]any{"a": 1}, "amr", 5, "acr", []int{1}, "sid", false), nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.claims = test.claims
			as, r, err := d.login(t, attempt(), nil)
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v\n%+v", err, test.want, r)
			}
			if failed := slices.ContainsFunc(r, func(c checkLine) bool { return !c.OK }); failed != (err != nil) {
				t.Errorf("the report does not say what the error says: %+v", r)
			}
			if err == nil && as.Key.Subject != "alice" {
				t.Errorf("key %+v", as.Key)
			}
		})
	}
}

func many(m map[string]any, n int) {
	for i := range n {
		m[fmt.Sprint("c", i)] = i
	}
}

func atHash(token string) string {
	sum, _ := hashOf(token)
	return sum
}

func TestSignatures(t *testing.T) {
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	keys := map[string]signingKey{
		"RS256": {"r", rsaKey, jose.RS256}, "PS256": {"r", rsaKey, jose.PS256}, "EdDSA": {"e", edKey, jose.EdDSA}, "ES384": {"p", p384, jose.ES384},
	}
	for alg, key := range keys {
		for name, test := range map[string]struct {
			edit func(*upstream.Connection, *Config)
			algs []string
			want error
		}{
			"allowed":                   {nil, signatures, nil},
			"not by policy":             {nil, []string{"ES256"}, ErrAlg},
			"not by the connection":     {func(_ *upstream.Connection, c *Config) { c.Algorithms = []string{"ES256"} }, signatures, ErrAlg},
			"the two have none common":  {func(_ *upstream.Connection, c *Config) { c.Algorithms = []string{alg} }, []string{"ES256"}, ErrAlg},
			"policy allows it alone":    {nil, []string{alg}, nil},
			"policy allows nothing":     {nil, nil, ErrAlg},
			"policy allows HS256, none": {nil, []string{"HS256", "none"}, ErrAlg},
		} {
			t.Run(alg+" "+name, func(t *testing.T) {
				d := newDesk(t, test.edit)
				pub := key.public()
				pub.Algorithm = ""
				d.signer, d.publish, d.algs = key, []jose.JSONWebKey{pub}, test.algs
				if _, r, err := d.login(t, attempt(), nil); !errors.Is(err, test.want) {
					t.Errorf("%v, want %v: %+v", err, test.want, r)
				}
			})
		}
	}
}

// The classics: the public key as an HMAC secret, the client secret as one, alg none in every spelling,
// a key brought along in the header.
func TestForgedSignatures(t *testing.T) {
	evil := newKey(t)
	for name, forge := range map[string]func(d *desk, payload []byte) string{
		"HS256 with the client secret": func(_ *desk, p []byte) string { return hmacToken(p, []byte(strings.Repeat(clientSecret, 4))) },
		"HS256 with the public key": func(d *desk, p []byte) string {
			raw, _ := json.Marshal(d.signer.public())
			return hmacToken(p, raw)
		},
		"none": func(_ *desk, p []byte) string { return b64(`{"alg":"none"}`) + "." + b64(string(p)) + "." },
		"None": func(_ *desk, p []byte) string { return b64(`{"alg":"None"}`) + "." + b64(string(p)) + "." },
		"no alg": func(_ *desk, p []byte) string {
			return b64(`{}`) + "." + b64(string(p)) + "."
		},
		"empty signature": func(d *desk, p []byte) string {
			s := d.signer.jws(p)
			return s[:strings.LastIndex(s, ".")+1]
		},
		"a zero signature": func(d *desk, p []byte) string {
			s := d.signer.jws(p)
			return s[:strings.LastIndex(s, ".")+1] + b64(string(make([]byte, 64)))
		},
		"a key in the header": func(_ *desk, p []byte) string {
			s, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: evil.key}, &jose.SignerOptions{EmbedJWK: true})
			o, _ := s.Sign(p)
			out, _ := o.CompactSerialize()
			return out
		},
		"the right id, another key": func(d *desk, p []byte) string { return signingKey{d.signer.id, evil.key, jose.ES256}.jws(p) },
		"an unknown critical header": func(d *desk, p []byte) string {
			s, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: d.signer.key}, (&jose.SignerOptions{}).WithHeader("crit", []string{"x"}).WithHeader("x", 1))
			o, _ := s.Sign(p)
			out, _ := o.CompactSerialize()
			return out
		},
		"JSON serialization": func(d *desk, p []byte) string {
			s, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: d.signer.key}, nil)
			o, _ := s.Sign(p)
			return o.FullSerialize()
		},
		"five parts":   func(*desk, []byte) string { return "a.b.c.d.e" },
		"two parts":    func(*desk, []byte) string { return "a.b" },
		"three dots":   func(*desk, []byte) string { return ".." },
		"a megabyte":   func(*desk, []byte) string { return strings.Repeat("a", 400<<10) + ".b.c" },
		"not a string": func(*desk, []byte) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.sign = func(payload []byte) string { return forge(d, payload) }
			as, r, err := d.login(t, attempt(), nil)
			if err == nil || as.Key.Subject != "" {
				t.Fatalf("believed: %+v", as.Key)
			}
			if !slices.ContainsFunc(r, func(c checkLine) bool { return !c.OK }) {
				t.Errorf("no failed check: %+v", r)
			}
		})
	}
}

func hmacToken(payload, secret []byte) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, nil)
	if err != nil {
		panic(err)
	}
	o, _ := s.Sign(payload)
	out, _ := o.CompactSerialize()
	return out
}

func TestAFreshProofMustBeShownToBeFresh(t *testing.T) {
	hour := time.Hour
	ago := func(d time.Duration) func(map[string]any) { return with("auth_time", time.Now().Add(-d).Unix()) }
	lenient := func(_ *upstream.Connection, c *Config) { c.NoAuthTime = true }
	for name, test := range map[string]struct {
		edit   func(*upstream.Connection, *Config)
		force  bool
		maxAge *time.Duration
		claims func(map[string]any)
		want   error
	}{
		"max_age, fresh":              {nil, false, &hour, ago(30 * time.Minute), nil},
		"max_age, old":                {nil, false, &hour, ago(2 * time.Hour), ErrAuthTime},
		"max_age, not said":           {nil, false, &hour, with("auth_time", nil), ErrAuthTime},
		"forced, fresh":               {nil, true, nil, ago(0), nil},
		"forced, old":                 {nil, true, nil, ago(10 * time.Minute), ErrAuthTime},
		"forced, not said":            {nil, true, nil, with("auth_time", nil), ErrAuthTime},
		"forced, not said, tolerated": {lenient, true, nil, with("auth_time", nil), nil},
		"forced, old, not tolerated":  {lenient, true, nil, ago(10 * time.Minute), ErrAuthTime},
		"forced, said as text":        {nil, true, nil, with("auth_time", "9999999999"), ErrAuthTime},
		"forced beats max_age":        {nil, true, &hour, ago(30 * time.Minute), ErrAuthTime},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.edit)
			d.claims = test.claims
			a := attempt()
			a.Force, a.MaxAge = test.force, test.maxAge
			as, _, err := d.login(t, a, nil)
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if err == nil && as.AuthTime.IsZero() {
				t.Error("no time of authentication")
			}
		})
	}
}

func TestTheConnectionsSkewIsUsed(t *testing.T) {
	d := newDesk(t, func(c *upstream.Connection, _ *Config) { c.Skew = 5 * time.Minute })
	d.claims = with("iat", time.Now().Add(4*time.Minute).Unix())
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Errorf("within: %v", err)
	}
	d.claims = with("iat", time.Now().Add(6*time.Minute).Unix(), "exp", time.Now().Add(time.Hour).Unix())
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrNotYet) {
		t.Errorf("beyond: %v", err)
	}
}

const tenant = "11111111-2222-3333-4444-555555555555"

func TestS55TheGateClaimDecides(t *testing.T) {
	entra := func(_ *upstream.Connection, c *Config) { c.Tenant, c.SubjectClaim = tenant, "oid" }
	google := func(_ *upstream.Connection, c *Config) { c.HostedDomain = "acme.example" }
	for name, test := range map[string]struct {
		edit   func(*upstream.Connection, *Config)
		claims func(map[string]any)
		want   error
	}{
		"the tenant":              {entra, with("tid", tenant, "oid", "o-1"), nil},
		"another tenant":          {entra, with("tid", personal, "oid", "o-1"), ErrTenant},
		"no tenant":               {entra, with("oid", "o-1"), ErrTenant},
		"a list of tenants":       {entra, with("tid", []string{tenant}, "oid", "o-1"), ErrTenant},
		"no object id":            {entra, with("tid", tenant), ErrSubject},
		"the domain":              {google, with("hd", "acme.example"), nil},
		"another domain":          {google, with("hd", "evil.example"), ErrHostedDomain},
		"a private account":       {google, with("email", "eve@acme.example"), ErrHostedDomain},
		"a domain below":          {google, with("hd", "x.acme.example"), ErrHostedDomain},
		"the domain with a point": {google, with("hd", "acme.example."), ErrHostedDomain},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.edit)
			d.claims = test.claims
			if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}
