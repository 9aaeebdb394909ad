package fakeidp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// tokenLife is how long an answer of ours is good.
const tokenLife = 5 * time.Minute

// token is OpenID Connect Core section 3.1.3: a code for an ID token.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	client, ok := p.authenticate(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	if r.PostFormValue("grant_type") != "authorization_code" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		return
	}
	g, ok := p.codes.take(p.Now(), r.PostFormValue("code"))
	if !ok || !g.redeemable(client, r.PostForm) {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	// What the whole provider suffers from has been suffered on the way in.
	if g.misbehavior != p.misbehavior() {
		if p.trouble(w, r, g.misbehavior) {
			return
		}
		w = padded(w, g.misbehavior)
	}
	access := rand.Text()
	id, err := p.idToken(g, access)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	p.tokens.put(p.Now(), access, g)
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()),
		"id_token": id, "scope": strings.Join(g.scopes, " "),
	})
}

func (g grant) redeemable(c Client, form url.Values) bool {
	if g.client != c.ID || g.redirect != form.Get("redirect_uri") {
		return false
	}
	verifier := form.Get("code_verifier")
	if g.challenge == "" {
		return verifier == "" // RFC 9700 section 2.1.1: a downgrade otherwise
	}
	sum := sha256.Sum256([]byte(verifier)) // RFC 7636 section 4.6
	return base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge
}

// authenticate finds out which application calls, by exactly one of the ways it may prove itself.
func (p *Provider) authenticate(r *http.Request) (Client, bool) {
	if assertion := r.PostFormValue("client_assertion"); assertion != "" {
		return p.authenticateByKey(r.PostFormValue("client_assertion_type"), assertion)
	}
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749 section 2.3.1: both are form-encoded first
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	client, ok := p.client(id)
	if !ok || client.Secret == "" && len(client.Keys) > 0 {
		return Client{}, false
	}
	return client, subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) == 1
}

// authenticateByKey is private_key_jwt: OpenID Connect Core section 9, RFC 7523 section 3.
func (p *Provider) authenticateByKey(kind, assertion string) (Client, bool) {
	token, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil || kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return Client{}, false
	}
	var claims jwt.Claims
	if token.UnsafeClaimsWithoutVerification(&claims) != nil { // to learn whose key must verify it
		return Client{}, false
	}
	client, ok := p.client(claims.Subject)
	if !ok || !signedByOneOf(token, client) {
		return Client{}, false
	}
	sound := claims.Validate(jwt.Expected{Issuer: client.ID, AnyAudience: jwt.Audience{p.Base, p.Base + "/token"}, Time: p.Now()}) == nil
	if _, used := p.seen.get(p.Now(), client.ID+" "+claims.ID); used || !sound || claims.ID == "" || claims.Expiry == nil {
		return Client{}, false
	}
	p.seen.put(p.Now(), client.ID+" "+claims.ID, true)
	return client, true
}

func signedByOneOf(token *jwt.JSONWebToken, c Client) bool {
	for _, key := range c.Keys {
		if token.Claims(key, &jwt.Claims{}) == nil {
			return true
		}
	}
	return false
}

// userinfo is OpenID Connect Core section 5.3.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	access, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g, known := p.tokens.get(p.Now(), access)
	if !ok || !known {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	writeJSON(w, http.StatusOK, p.profile(g))
}

// profile is what the provider says about the person, wrong as far as it was told to be.
func (p *Provider) profile(g grant) map[string]any {
	who := g.person
	claims := map[string]any{"sub": who.ID}
	if slices.Contains(g.scopes, "profile") {
		claims["name"], claims["given_name"], claims["family_name"] = who.Name, who.Given, who.Family
		claims["preferred_username"] = who.Email
	}
	if len(who.Groups) > 0 {
		claims["groups"] = who.Groups
	}
	if slices.Contains(g.scopes, "email") && who.Email != "" {
		claims["email"] = who.Email
		if p.Tenant == "" {
			claims["email_verified"] = who.EmailVerified
		}
	}
	if p.Tenant != "" {
		claims["tid"], claims["oid"] = p.Tenant, who.ID
	}
	for name, values := range who.Attributes {
		claims[name] = oneOrMany(values)
	}
	p.falsify(claims, g.misbehavior)
	return claims
}

func oneOrMany(values []string) any {
	if len(values) == 1 {
		return values[0]
	}
	return values
}

func (p *Provider) falsify(claims map[string]any, m Misbehavior) {
	switch m {
	case NoEmail:
		delete(claims, "email")
		delete(claims, "email_verified")
	case UnverifiedEmail:
		claims["email_verified"] = false
	case ForeignEmail:
		claims["email"] = p.foreign()
	case OtherTenant:
		if p.Tenant != "" {
			claims["tid"] = otherTenant
		}
	}
}

// otherTenant is a tenant of nobody.
const otherTenant = "00000000-0000-4000-8000-00000000beef"

func (p *Provider) foreign() string {
	if p.Foreign != "" {
		return p.Foreign
	}
	return "somebody@another-company.example"
}

// idToken is OpenID Connect Core section 2, wrong as far as it was told to be.
func (p *Provider) idToken(g grant, access string) (string, error) {
	made, signedIn := p.Now(), g.at
	switch g.misbehavior {
	case Old:
		made, signedIn = made.Add(-oldBy), signedIn.Add(-oldBy)
	case FastClock:
		made, signedIn = made.Add(fastBy), signedIn.Add(fastBy)
	}
	claims := p.profile(g)
	claims["iss"], claims["aud"] = p.Base, g.client
	claims["iat"], claims["exp"] = made.Unix(), made.Add(tokenLife).Unix()
	claims["auth_time"], claims["amr"] = signedIn.Unix(), methods(g.person)
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	switch g.misbehavior {
	case FastClock:
		claims["nbf"] = made.Unix()
	case WrongAudience:
		claims["aud"] = "another-application"
	case OtherTenant:
		claims["iss"] = p.Base + "/other-tenant"
	case OtherRequest:
		claims["nonce"] = rand.Text()
	}
	return p.sign(g.misbehavior, claims, access)
}

func methods(who Person) []string {
	if len(who.AMR) > 0 {
		return who.AMR
	}
	return []string{"pwd"}
}

func (p *Provider) sign(m Misbehavior, claims map[string]any, access string) (string, error) {
	key := p.signer(m)
	claims["at_hash"] = atHash(key.algorithm(), access)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	if m == Unsigned { // RFC 7519 section 6: as valid a JWT as any
		raw := base64.RawURLEncoding
		return raw.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + raw.EncodeToString(payload) + ".", nil
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(key.algorithm()),
		Key:       jose.JSONWebKey{Key: key.Signer, KeyID: key.ID},
	}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// atHash is OpenID Connect Core section 3.1.3.6. EdDSA with Ed25519 hashes with SHA-512.
func atHash(algorithm, access string) string {
	var sum []byte
	if algorithm == "EdDSA" {
		s := sha512.Sum512([]byte(access))
		sum = s[:]
	} else {
		s := sha256.Sum256([]byte(access))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
