package broker

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const fuzzIssuer = "https://login.example"

// pen signs whatever it is given, and gives "" for what cannot be signed.
type pen struct {
	private ed25519.PrivateKey
	set     *appKeySet
}

func newPen(f *testing.F) pen {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	return pen{private, &appKeySet{[]jose.JSONWebKey{{Key: public, KeyID: "k"}}}}
}

func (p pen) sign(typ string, jwk any, payload []byte) string {
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	if typ != "" {
		options.WithType(jose.ContentType(typ))
	}
	if jwk != nil {
		options.WithHeader("jwk", jwk)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: p.private, KeyID: "k"}}, options)
	if err != nil {
		return ""
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return ""
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		return ""
	}
	return out
}

var claimSeeds = []string{
	``, `{}`, `null`, `[]`, `"x"`, `{"iss":"app","sub":"app","aud":"https://login.example","exp":1000060,"jti":"1"}`,
	`{"iss":"app","sub":"app","aud":["https://login.example"],"exp":1000060,"jti":"1"}`, `{"aud":"https://login.example","exp":1e300}`,
	`{"aud":"https://login.example","exp":-1}`, `{"aud":"https://login.example","aud":"x","exp":1000060}`, `{"aud": "https://login.example" ,"exp":1000060,"iat":1e-7}`,
	`{"aud":null,"exp":null}`, `{"AUD":"https://login.example","EXP":1000060}`, `{"aud":"https:\/\/login.example","exp":1000060.5,"nbf":1000000}`,
}

// FuzzClientAssertion: whatever an app signs, what is accepted names us alone and lives for minutes, and
// nothing that nobody signed is.
func FuzzClientAssertion(f *testing.F) {
	p := newPen(f)
	for _, seed := range claimSeeds {
		f.Add(seed, "JWT", false)
		f.Add(seed, "", true)
	}
	now := time.Unix(1000000, 0)
	f.Fuzz(func(t *testing.T, payload, typ string, raw bool) {
		token := payload
		if !raw {
			token = p.sign(typ, nil, []byte(payload))
		}
		jws, _, err := readAssertion(credentials{assertion: token})
		if err != nil {
			return
		}
		body, _, err := p.set.verify(jws)
		if raw && err == nil {
			t.Fatalf("verified %q", token)
		}
		c, err := readAppClaims(body)
		if err != nil || c.check(now, fuzzIssuer) != nil {
			return
		}
		var said struct {
			Audience string  `json:"aud"`
			Expires  float64 `json:"exp"`
		}
		if json.Unmarshal([]byte(payload), &said) != nil || said.Audience != fuzzIssuer || said.Expires <= 1000000 || said.Expires > 1000000+330 {
			t.Fatalf("accepted %q", payload)
		}
		if typ != "" && !strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "jwt") &&
			!strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "client-authentication+jwt") {
			t.Fatalf("typ %q", typ)
		}
	})
}

// FuzzRequestObject: whatever an app signs, the parameters are its own, hold no other request, and none of
// the claims that are about the JWT.
func FuzzRequestObject(f *testing.F) {
	for _, seed := range append(claimSeeds, `{"client_id":"app","scope":"openid","max_age":5,"claims":{"id_token":{}},"resource":["a","b"]}`,
		`{"client_id":"other"}`, `{"request":"x"}`, `{"request_uri":"x"}`, `{"resource":[1]}`, `{"resource":[]}`, `{"client_id":["other"]}`, `{"client_id":[]}`, `{"state":null}`, `{"":""}`) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		values, err := objectParameters(App{ClientID: "app"}, []byte(payload))
		if err != nil {
			return
		}
		if ids := values["client_id"]; len(ids) != 1 || ids[0] != "app" || values.Has("request") || values.Has("request_uri") {
			t.Fatalf("%q gives %v", payload, values)
		}
		for name := range notParameters {
			if values.Has(name) {
				t.Fatalf("%q gives %s", payload, name)
			}
		}
	})
}

// FuzzProof: whatever a proof holds, what is accepted was signed by the key that it names.
func FuzzProof(f *testing.F) {
	p := newPen(f)
	public, _ := json.Marshal(p.set.keys[0])
	for _, seed := range append(claimSeeds, `{"jti":"1","htm":"POST","htu":"https://login.example/token","iat":1000000,"nonce":"x"}`) {
		f.Add(seed, "dpop+jwt", string(public), false)
		f.Add(seed, "JWT", `{"kty":"oct","k":"c2VjcmV0"}`, false)
		f.Add(seed, "", "", true)
	}
	f.Fuzz(func(t *testing.T, payload, typ, jwk string, raw bool) {
		token := payload
		if !raw {
			var key any
			if json.Unmarshal([]byte(jwk), &key) != nil {
				return
			}
			token = p.sign(typ, key, []byte(payload))
		}
		c, jkt, err := openProof(token)
		if err != nil {
			return
		}
		want, _ := p.set.keys[0].Thumbprint(crypto.SHA256)
		if raw || jkt != base64.RawURLEncoding.EncodeToString(want) || c.ID == "" || c.Issued == nil || !sameType("dpop+jwt", typ) {
			t.Fatalf("accepted %q", token)
		}
		sameTarget(c.Target, fuzzIssuer+"/token")
	})
}
