package broker

// This file binds tokens to keys of apps: DPoP (RFC 9449).

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/vestibule-id/vestibule/internal/brief"
)

const (
	maxProof = 8 << 10
	// proofLife is how long a proof counts after its iat, nonceLife how long a nonce serves: a proof that
	// was made in advance is over when its nonce is (section 11.2).
	proofLife = 60 * time.Second
	nonceLife = 5 * time.Minute
)

// proofAlgs are the algorithms of proofs; FAPI 2.0 (section 5.4) leaves RS256 out, and so do we for everybody.
var proofAlgs = fapiAlgs

var errUseNonce = &oauthError{"use_dpop_nonce", "the DPoP proof must hold the nonce of the DPoP-Nonce header", http.StatusBadRequest}

func badProof(why string) *oauthError {
	return &oauthError{"invalid_dpop_proof", why, http.StatusBadRequest}
}

// proof is a DPoP proof that was found good; the zero value is none.
type proof struct {
	jkt   string // the SHA-256 thumbprint of its key (RFC 7638), in base64url
	jti   string
	until time.Time // when it counts no more
}

// proofClaims are a proof's claims (section 4.2).
type proofClaims struct {
	ID     string   `json:"jti"`
	Method string   `json:"htm"`
	Target string   `json:"htu"`
	Issued *float64 `json:"iat"`
	Access string   `json:"ath"`
	Nonce  string   `json:"nonce"`
}

// readProof checks the DPoP proof of a request to one of our endpoints (section 4.3), of which path is the
// part after the issuer: what a proxy made of the address does not matter. access is the access token that
// the proof must name, "" at endpoints that take none. Its jti is not spent: spendProof does that when the
// rest of the request was found good. Without a proof the answer is the zero proof.
func (b *Broker) readProof(h http.Header, method, path, access string) (proof, error) {
	shown := h.Values("DPoP")
	switch {
	case len(shown) == 0:
		return proof{}, nil
	case len(shown) > 1:
		return proof{}, badProof("there is more than one DPoP header")
	}
	c, jkt, err := openProof(shown[0])
	if err != nil {
		return proof{}, err
	}
	if c.Method != method || !sameTarget(c.Target, b.Issuer+path) {
		return proof{}, badProof("htm and htu are those of another request")
	}
	if err := c.checkAccess(access); err != nil {
		return proof{}, err
	}
	if !b.freshNonce(c.Nonce) {
		return proof{}, errUseNonce
	}
	now, issued := b.Now(), fromSeconds(*c.Issued)
	if issued.After(now.Add(appSkew)) || !now.Before(issued.Add(proofLife)) {
		return proof{}, badProof("iat is not now")
	}
	return proof{jkt: jkt, jti: c.ID, until: issued.Add(proofLife)}, nil
}

// openProof checks the signature, by the key that the proof itself brings, and reads the claims.
func openProof(token string) (proofClaims, string, error) {
	var c proofClaims
	if len(token) > maxProof {
		return c, "", badProof("the proof is too long")
	}
	jws, err := parseAppJWT(token, proofAlgs, []string{"dpop+jwt"})
	if err != nil || !typed(jws, "dpop+jwt") {
		return c, "", badProof("not a dpop+jwt in an algorithm that is supported")
	}
	h := jws.Signatures[0].Protected
	if h.JSONWebKey == nil || !strongPublic(h.JSONWebKey.Key) || !fitsAlg(h.JSONWebKey.Key, h.Algorithm) {
		return c, "", badProof("jwk is not a public key for its algorithm")
	}
	payload, err := jws.Verify(h.JSONWebKey.Key)
	if err != nil {
		return c, "", badProof("the signature is wrong")
	}
	if json.Unmarshal(payload, &c) != nil || c.ID == "" || len(c.ID) > maxJTI || c.Issued == nil {
		return c, "", badProof("jti, htm, htu and iat are needed")
	}
	sum, err := h.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return c, "", badProof("jwk cannot be read")
	}
	return c, base64.RawURLEncoding.EncodeToString(sum), nil
}

// checkAccess: ath is the hash of the access token that comes with the proof.
func (c proofClaims) checkAccess(access string) error {
	if access == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(access))
	if subtle.ConstantTimeCompare([]byte(c.Access), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) != 1 {
		return badProof("ath is not the hash of this access token")
	}
	return nil
}

// sameTarget compares addresses as RFC 3986 section 6.2 normalises them, without query and fragment
// (section 4.3).
func sameTarget(got, want string) bool {
	g, ok := normalTarget(got)
	w, _ := normalTarget(want)
	return ok && g == w
}

func normalTarget(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return "", false
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname())
	port := u.Port()
	if port != "" && !(scheme == "https" && port == "443") && !(scheme == "http" && port == "80") {
		host += ":" + port
	}
	return scheme + "://" + host + u.Path, true
}

// spendProof uses up a proof. One minute is all it lives, and its nonce is of this epoch: where the
// short-lived store lost what it knew, the nonce is refused (S16).
func (b *Broker) spendProof(ctx context.Context, p proof) error {
	if p.jkt == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(p.jkt + "\x00" + p.jti))
	err := b.Brief.PutNew(ctx, "dpop/"+hex.EncodeToString(sum[:]), []byte{1}, max(p.until.Sub(b.Now()), 0)+10*time.Second)
	if errors.Is(err, brief.ErrTaken) {
		return badProof("jti was used before")
	}
	return err
}

// proved authenticates the client of a request to an endpoint for programs and checks its DPoP proof. An
// assertion is not spent on a request whose proof is wrong, so that a client that lacked the nonce may
// send it again; nor is a proof on one whose client is.
func (b *Broker) proved(r *http.Request, form url.Values, path string) (App, proof, error) {
	p, err := b.readProof(r.Header, r.Method, path, "")
	if err != nil {
		return App{}, proof{}, err
	}
	app, err := b.authenticate(r, form)
	if err != nil {
		return App{}, proof{}, err
	}
	return app, p, b.spendProof(r.Context(), p)
}

// boundTo checks that a token is used as what it is (section 7): one that is bound to a key with a proof
// by that key, which is spent, one that is not as a bearer token.
func (b *Broker) boundTo(ctx context.Context, c accessClaims, p proof, bound bool) error {
	if bound != (c.Confirm != nil) {
		return errInvalidToken
	}
	if !bound {
		return nil
	}
	if p.jkt == "" || p.jkt != c.Confirm.JKT {
		return badProof("the proof is by another key than the token's")
	}
	return b.spendProof(ctx, p)
}

// Nonces makes and knows DPoP nonces (section 8). They say when they were made, under a key that all
// nodes share; nothing is stored.
type Nonces struct{ key []byte }

// LoadNonces reads the key, or makes it.
func LoadNonces(ctx context.Context, s Secrets) (*Nonces, error) {
	fresh := make([]byte, 32)
	rand.Read(fresh)
	key, err := s.SecretNamed(ctx, "dpop nonces", fresh)
	if err != nil {
		return nil, err
	}
	return &Nonces{key}, nil
}

func (n *Nonces) seal(at []byte) []byte {
	mac := hmac.New(sha256.New, n.key)
	mac.Write(at)
	return mac.Sum(nil)[:16]
}

func (n *Nonces) made(now time.Time) string {
	at := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(at, n.seal(at)...))
}

// madeAt says when a nonce was made; false when we did not make it.
func (n *Nonces) madeAt(nonce string) (time.Time, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(raw) != 24 || !hmac.Equal(raw[8:], n.seal(raw[:8])) {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(raw))), true
}

func (b *Broker) freshNonce(nonce string) bool {
	at, ours := b.Nonces.madeAt(nonce)
	now := b.Now()
	// Another node's clock may be ahead of ours.
	return ours && now.Sub(at) < nonceLife && at.Before(now.Add(appSkew)) && !at.Before(b.Epoch())
}

// offerNonce gives whoever uses DPoP the nonce of their next proof.
func (b *Broker) offerNonce(w http.ResponseWriter, r *http.Request) {
	if len(r.Header.Values("DPoP")) > 0 {
		w.Header().Set("DPoP-Nonce", b.Nonces.made(b.Now()))
	}
}
