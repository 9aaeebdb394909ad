package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

// desk is a provider and our open connection to it.
type desk struct {
	*idp
	up    upstream.Upstream
	clock func() time.Time
	algs  []string
}

func newDesk(t testing.TB, edit func(*upstream.Connection, *Config)) *desk {
	t.Helper()
	p := newIDP(t)
	d := &desk{idp: p, clock: time.Now, algs: slices.Clone(signatures)}
	d.up = d.open(t, Protocol(), p.connection(t, "con_1", edit))
	return d
}

func (d *desk) open(t testing.TB, pr upstream.Protocol, c upstream.Connection) upstream.Upstream {
	t.Helper()
	up, err := pr.Open(c, upstream.Env{
		Client: new(outbound.Guard).Client(c.Private), Base: "https://login.vestibule.example",
		Now:        func() time.Time { return d.clock() },
		Algorithms: func(context.Context, upstream.Connection) []string { return d.algs },
	})
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func (d *desk) login(t testing.TB, a upstream.Attempt, edit func(url.Values)) (upstream.Assertion, upstream.Report, error) {
	t.Helper()
	dep, err := d.up.Depart(t.Context(), a)
	if err != nil {
		t.Fatalf("depart: %v", err)
	}
	in := d.arrival(t, dep, "alice", upstreamtest.None)
	if edit != nil {
		edit(in.Values)
	}
	return d.up.Arrive(t.Context(), a, in)
}

func attempt() upstream.Attempt { return upstreamtest.Attempt(time.Now()) }

func with(pairs ...any) func(map[string]any) {
	return func(m map[string]any) {
		for i := 0; i < len(pairs); i += 2 {
			if name := pairs[i].(string); pairs[i+1] == nil {
				delete(m, name)
			} else {
				m[name] = pairs[i+1]
			}
		}
	}
}

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

func TestRepeatedClaimsAreRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.sign = func(payload []byte) string {
		return d.signer.jws([]byte(`{"sub":"admin",` + string(payload[1:])))
	}
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrIDToken) {
		t.Fatalf("got %v", err)
	}
}

func TestInvalidUTF8InClaimsIsRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.sign = func(payload []byte) string {
		return d.signer.jws([]byte(strings.Replace(string(payload), "alice", "al\xffce", 1)))
	}
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrIDToken) {
		t.Fatalf("got %v", err)
	}
}

func TestSomethingBehindTheClaimsIsRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.sign = func(payload []byte) string { return d.signer.jws(append(payload, `{"sub":"admin"}`...)) }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrIDToken) {
		t.Fatalf("got %v", err)
	}
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

func TestTheIssParameter(t *testing.T) {
	for name, test := range map[string]struct {
		announced bool
		edit      func(url.Values)
		want      error
	}{
		"announced and right":   {true, nil, nil},
		"announced and missing": {true, func(v url.Values) { v.Del("iss") }, ErrIssuer},
		"announced and foreign": {true, func(v url.Values) { v.Set("iss", "https://evil.example") }, ErrIssuer},
		"silent and missing":    {false, func(v url.Values) { v.Del("iss") }, nil},
		"silent and foreign":    {false, func(v url.Values) { v.Set("iss", "https://evil.example") }, ErrIssuer},
		"silent and empty":      {false, func(v url.Values) { v.Set("iss", "") }, ErrIssuer},
		"a slash more":          {true, func(v url.Values) { v.Set("iss", v.Get("iss")+"/") }, ErrIssuer},
		"a foreign refusal": {true, func(v url.Values) {
			v.Set("iss", "https://evil.example")
			v.Del("code")
			v.Set("error", "access_denied")
		}, ErrIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.doc = with("authorization_response_iss_parameter_supported", test.announced)
			if _, _, err := d.login(t, attempt(), test.edit); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != nil && d.hit("/token") != 0 {
				t.Error("the code was shown to the token endpoint all the same")
			}
		})
	}
}

func TestAForeignStateIsRefusedBeforeTheCodeIsUsed(t *testing.T) {
	d := newDesk(t, nil)
	for _, state := range []string{"", "x", strings.Repeat("x", 65)} {
		if _, _, err := d.login(t, attempt(), func(v url.Values) { v.Set("state", state) }); !errors.Is(err, ErrState) {
			t.Errorf("%q: %v", state, err)
		}
	}
	if d.hit("/token") != 0 {
		t.Error("the code was used")
	}
}

func TestRefusalsHaveNames(t *testing.T) {
	for code, want := range map[string]error{
		"access_denied": ErrDenied, "login_required": upstream.ErrDeclined, "server_error": upstream.ErrDeclined,
		"invalid_scope": ErrRequest, "unauthorized_client": ErrRequest, "<script>": ErrRequest, "": ErrRequest,
	} {
		d := newDesk(t, nil)
		_, r, err := d.login(t, attempt(), func(v url.Values) {
			v.Del("code")
			v.Set("error", code)
			v.Set("error_description", "AADSTS50105: <b>Alice</b> is not assigned")
		})
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", code, err, want)
		}
		got := r[len(r)-1].Got
		if !strings.HasSuffix(got, " AADSTS50105") || strings.ContainsAny(got, "<>") {
			t.Errorf("%q is shown as %q", code, got)
		}
	}
}

func TestAnAnswerThatOnlyABrowserBroughtNeverBlamesTheNetwork(t *testing.T) {
	d := newDesk(t, nil)
	for _, code := range []string{"temporarily_unavailable", "server_error", "x"} {
		_, _, err := d.login(t, attempt(), func(v url.Values) { v.Del("code"); v.Set("error", code) })
		if errors.Is(err, upstream.ErrUnreachable) {
			t.Errorf("%s opens the circuit for everybody", code)
		}
	}
}

func TestTheTokenEndpointsRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"wrong secret":             {401, `{"error":"invalid_client","error_description":"AADSTS7000215: eyJraWQ"}`, ErrClientAuth},
		"wrong secret, as a 400":   {400, `{"error":"invalid_client"}`, ErrClientAuth},
		"a bare 401":               {401, `nope`, ErrClientAuth},
		"the code is used":         {400, `{"error":"invalid_grant"}`, ErrTokenEndpoint},
		"broken":                   {500, `<html>stack trace</html>`, ErrTokenEndpoint},
		"a gateway":                {502, `<html></html>`, upstream.ErrUnreachable},
		"too many requests":        {429, `{"error":"slow_down"}`, upstream.ErrBusy},
		"away":                     {503, ``, upstream.ErrUnreachable},
		"no JSON":                  {200, `hello`, ErrTokenEndpoint},
		"nothing":                  {200, ``, ErrTokenEndpoint},
		"no access token":          {200, `{"id_token":"x"}`, ErrTokenEndpoint},
		"no id_token":              {200, `{"access_token":"x"}`, ErrTokenEndpoint},
		"an id_token of numbers":   {200, `{"access_token":"x","id_token":7}`, ErrTokenEndpoint},
		"an error with status 200": {200, `{"error":"invalid_grant","access_token":"x","id_token":"x"}`, ErrTokenEndpoint},
		"a redirect":               {302, ``, ErrTokenEndpoint},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.refuse = func(w http.ResponseWriter, path string) bool {
				if path != "/token" {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Location", "https://evil.example/")
				w.WriteHeader(test.status)
				w.Write([]byte(test.body))
				return true
			}
			_, r, err := d.login(t, attempt(), nil)
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.want != upstream.ErrUnreachable && errors.Is(err, upstream.ErrUnreachable) {
				t.Errorf("an answer counts as none: %v", err)
			}
			for _, c := range r {
				if strings.ContainsAny(c.Got, "<>") || strings.Contains(c.Got, "eyJ") {
					t.Errorf("raw text: %+v", c)
				}
			}
		})
	}
}

func TestATokenAnswerLargerThanWeReadIsRefused(t *testing.T) {
	d := newDesk(t, nil)
	d.answer = func(v map[string]any) { v["padding"] = strings.Repeat("x", maxAnswer) }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrTokenEndpoint) || !errors.Is(err, outbound.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
}

func TestWhatIsNoTextNeverReachesTheProvider(t *testing.T) {
	d := newDesk(t, nil)
	for _, bad := range []string{"\x00", "\xff", strings.Repeat("x", maxParameter)} {
		for _, name := range []string{"code", "session_state"} {
			_, _, err := d.login(t, attempt(), func(v url.Values) { v.Set(name, v.Get(name)+bad) })
			if !errors.Is(err, upstream.ErrMalformed) || d.hit("/token") != 0 {
				t.Errorf("%s with %.4q: %v after %d calls", name, bad, err, d.hit("/token"))
			}
		}
	}
	_, _, err := d.login(t, attempt(), func(v url.Values) { v["session_state"] = []string{"a", "b"} })
	if !errors.Is(err, upstream.ErrMalformed) || d.hit("/token") != 0 {
		t.Errorf("repeated: %v", err)
	}
}

func TestAClientThatIsNotGuardedIsRefused(t *testing.T) {
	p := newIDP(t)
	for _, c := range []*http.Client{nil, {}} {
		if _, err := Protocol().Open(p.connection(t, "con_1", nil), upstream.Env{Client: c}); !errors.Is(err, upstream.ErrConfig) {
			t.Errorf("got %v", err)
		}
	}
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

func TestS4EntraIDIsKeyedByTenantAndObjectID(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.Tenant, c.SubjectClaim = tenant, "oid" })
	d.claims = with("tid", strings.ToUpper(tenant), "oid", "o-1", "email", "other@acme.example")
	as, _, err := d.login(t, attempt(), nil)
	want := directory.IdentityKey{Connection: "con_1", Issuer: d.issuer, Subject: "o-1", Qualifiers: tenant}
	if err != nil || as.Key != want {
		t.Fatalf("%+v, %v", as.Key, err)
	}
}

func TestWhatIsVouchedFor(t *testing.T) {
	authoritative := func(c *upstream.Connection, _ *Config) { c.Authoritative = true }
	mapped := func(_ *upstream.Connection, c *Config) { c.Mapping.Email = []string{"upn"} }
	both := func(c *upstream.Connection, cfg *Config) { authoritative(c, cfg); mapped(c, cfg) }
	for name, test := range map[string]struct {
		edit   func(*upstream.Connection, *Config)
		claims func(map[string]any)
		want   bool
	}{
		"verified":                           {nil, with(), true},
		"verified, as text":                  {nil, with("email_verified", "true"), true},
		"not verified":                       {nil, with("email_verified", false), false},
		"not verified, as text":              {nil, with("email_verified", "false"), false},
		"not said":                           {nil, with("email_verified", nil), false},
		"said as a number":                   {nil, with("email_verified", 1), false},
		"not said, authoritative":            {authoritative, with("email_verified", nil), true},
		"not verified, authoritative":        {authoritative, with("email_verified", false), false},
		"another claim than the verified":    {mapped, with("upn", "ceo@acme.example"), false},
		"another claim, authoritative":       {both, with("upn", "ceo@acme.example", "email_verified", nil), true},
		"another claim, authoritative, said": {both, with("upn", "ceo@acme.example"), true},
		"no address at all":                  {authoritative, with("email", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.edit)
			d.claims = test.claims
			as, _, err := d.login(t, attempt(), nil)
			if err != nil || as.EmailVouched != test.want {
				t.Errorf("vouched %v for %q, %v; want %v", as.EmailVouched, as.Email, err, test.want)
			}
		})
	}
}

func TestTheProfileIsRead(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.Mapping.Groups = []string{"missing", "/realm_access/roles"} })
	d.claims = with("realm_access", map[string]any{"roles": []string{"a", "b"}}, "locale", "de", "big", strings.Repeat("ü", 2000))
	as, _, err := d.login(t, attempt(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(as.Email, as.Name, as.Given, as.Family, as.Locale, as.Groups, as.AMR, as.ACR, as.SID)
	if want := "alice@acme.exampleAlice ExampleAliceExamplede[a b] [pwd otp]2s1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, hidden := range []string{"nonce", "at_hash", "jti"} {
		if _, ok := as.Claims[hidden]; ok {
			t.Errorf("%s is among the claims", hidden)
		}
	}
	if v := as.Claims["big"]; len(v) != 1 || len(v[0]) > upstream.MaxClaimValue || !strings.HasSuffix(v[0], "ü") {
		t.Errorf("a large claim is not cut at a letter")
	}
}

func TestClaimsShownAreBounded(t *testing.T) {
	d := newDesk(t, nil)
	d.claims = func(m map[string]any) {
		many(m, 200)
		m["groups"] = make([]string, 3000)
	}
	as, _, err := d.login(t, attempt(), nil)
	if err != nil || len(as.Claims) != upstream.MaxClaims {
		t.Fatalf("%d claims, %v", len(as.Claims), err)
	}
}

func TestGroupsThatWereLeftOutAreNoted(t *testing.T) {
	d := newDesk(t, nil)
	d.claims = with("groups", nil, "_claim_names", map[string]any{"groups": "src1"}, "_claim_sources", map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/x"}})
	as, r, err := d.login(t, attempt(), nil)
	if err != nil || as.Groups != nil {
		t.Fatalf("%v %v", as.Groups, err)
	}
	if last := r[len(r)-1]; last.Name != "groups" || last.OK {
		t.Errorf("the doctor does not know: %+v", r)
	}
}

func TestUserInfo(t *testing.T) {
	asks := func(_ *upstream.Connection, c *Config) { c.UserInfo = true }
	for name, test := range map[string]struct {
		claims  func(map[string]any)
		info    map[string]any
		want    error
		email   string
		vouched bool
	}{
		"adds what is missing":       {with("email", nil, "email_verified", nil), map[string]any{"sub": "alice", "email": "a@acme.example", "email_verified": true}, nil, "a@acme.example", true},
		"another subject":            {with(), map[string]any{"sub": "eve"}, ErrUserInfo, "", false},
		"no subject":                 {with(), map[string]any{"email": "x@acme.example"}, ErrUserInfo, "", false},
		"the id_token stays":         {with(), map[string]any{"sub": "alice", "email": "eve@evil.example"}, nil, "alice@acme.example", true},
		"its word for its own":       {with("email_verified", nil), map[string]any{"sub": "alice", "email": "eve@evil.example", "email_verified": true}, nil, "alice@acme.example", false},
		"its word for the same":      {with("email_verified", nil), map[string]any{"sub": "alice", "email": "alice@acme.example", "email_verified": true}, nil, "alice@acme.example", true},
		"our word is not for theirs": {with("email", nil), map[string]any{"sub": "alice", "email": "eve@evil.example"}, nil, "eve@evil.example", false},
		"lists do not panic":         {with("email", []string{"a@b"}), map[string]any{"sub": "alice", "email": []string{"a@b"}, "email_verified": true}, nil, "a@b", false},
		"NUL":                        {with(), map[string]any{"sub": "alice", "x": "a\x00b"}, ErrUserInfo, "", false},
		"cannot say how it was":      {with("amr", nil, "acr", nil), map[string]any{"sub": "alice", "amr": []string{"mfa"}, "acr": "9"}, nil, "alice@acme.example", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, asks)
			d.claims, d.info = test.claims, func() map[string]any { return test.info }
			as, r, err := d.login(t, attempt(), nil)
			if !errors.Is(err, test.want) || as.Email != test.email || as.EmailVouched != test.vouched {
				t.Errorf("%q vouched %v, %v, want %q %v %v: %+v", as.Email, as.EmailVouched, err, test.email, test.vouched, test.want, r)
			}
			if slices.Contains(as.AMR, "mfa") || as.ACR == "9" {
				t.Error("an unsigned answer raised the strength of the proof")
			}
		})
	}
}

func TestS55TheGateClaimIsReadFromTheSignedTokenAlone(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.UserInfo, c.Tenant, c.SubjectClaim = true, tenant, "oid" })
	d.claims = with("tid", tenant)
	d.info = func() map[string]any { return map[string]any{"sub": "alice", "oid": "o-1", "tid": tenant} }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrSubject) {
		t.Fatalf("got %v", err)
	}
}

func TestS4TheSubjectIsReadFromTheSignedTokenAlone(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.UserInfo, c.SubjectClaim = true, "employee" })
	d.info = func() map[string]any { return map[string]any{"sub": "alice", "employee": "7"} }
	if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, ErrSubject) {
		t.Fatalf("got %v", err)
	}
}

func TestAUserInfoAnswerThatIsNoneIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		status      int
		contentType string
		want        error
	}{
		"a signed one":  {200, "application/jwt", ErrUserInfo},
		"a page":        {200, "text/html", ErrUserInfo},
		"refused":       {401, "application/json", ErrUserInfo},
		"behind nobody": {503, "application/json", upstream.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.UserInfo = true })
			d.refuse = func(w http.ResponseWriter, path string) bool {
				if path != "/userinfo" {
					return false
				}
				w.Header().Set("Content-Type", test.contentType)
				w.WriteHeader(test.status)
				w.Write([]byte(`{"sub":"alice"}`))
				return true
			}
			if _, _, err := d.login(t, attempt(), nil); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestTheAnswersMethodIsTheConfiguredOne(t *testing.T) {
	for mode, method := range map[string]string{"query": http.MethodGet, "form_post": http.MethodPost} {
		d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.ResponseMode = mode })
		for _, m := range []string{http.MethodGet, http.MethodPost, "", "get"} {
			a := attempt()
			dep, err := d.up.Depart(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			in := d.arrival(t, dep, "alice", upstreamtest.None)
			in.Method = m
			if _, _, err = d.up.Arrive(t.Context(), a, in); (err == nil) != (m == method) {
				t.Errorf("%s by %q: %v", mode, m, err)
			}
		}
	}
}
