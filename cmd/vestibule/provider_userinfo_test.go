package main

import (
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// askUserinfo asks userinfo in any way.
func (w *world) askUserinfo(method, query, contentType, body string, header ...string) *page {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/userinfo"+query, strings.NewReader(body))
	w.must(err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, h := range header {
		req.Header.Add("Authorization", h)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	return &page{req.URL, resp.StatusCode, resp.Header, string(raw)}
}

// RFC 6750 section 2: a token comes by the header or the body, from one place, and never in an address.
func TestUserinfoTakesATokenFromOnePlaceOnly(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	_, tok := w.signedIn(acme.org)
	const form = "application/x-www-form-urlencoded"
	inBody := url.Values{"access_token": {tok.Access}}.Encode()
	for _, c := range []struct {
		name, method, query, contentType, body string
		header                                 []string
		status                                 int
		code                                   string
	}{
		{"header, GET", "GET", "", "", "", []string{"Bearer " + tok.Access}, 200, ""},
		{"header, POST", "POST", "", "", "", []string{"Bearer " + tok.Access}, 200, ""},
		{"header in another case", "GET", "", "", "", []string{"bearer " + tok.Access}, 200, ""},
		{"body", "POST", "", form, inBody, nil, 200, ""},
		{"twice", "POST", "", form, inBody, []string{"Bearer " + tok.Access}, 400, "invalid_request"},
		{"two headers", "GET", "", "", "", []string{"Bearer " + tok.Access, "Bearer " + tok.Access}, 400, "invalid_request"},
		{"twice in the body", "POST", "", form, inBody + "&" + inBody, nil, 400, "invalid_request"},
		{"query", "GET", "?access_token=" + tok.Access, "", "", nil, 401, ""},
		{"query and header", "GET", "?access_token=" + tok.Access, "", "", []string{"Bearer " + tok.Access}, 400, "invalid_request"},
		{"body by GET", "GET", "", form, inBody, nil, 401, ""},
		{"nothing", "GET", "", "", "", nil, 401, ""},
		{"basic", "GET", "", "", "", []string{"Basic " + tok.Access}, 401, ""},
		{"an empty token", "GET", "", "", "", []string{"Bearer "}, 401, "invalid_token"},
		{"junk", "GET", "", "", "", []string{"Bearer junk"}, 401, "invalid_token"},
		{"a kilobyte of dots", "GET", "", "", "", []string{"Bearer " + strings.Repeat(".", 1024)}, 401, "invalid_token"},
		{"another method", "DELETE", "", "", "", []string{"Bearer " + tok.Access}, 405, "invalid_request"},
	} {
		p := w.askUserinfo(c.method, c.query, c.contentType, c.body, c.header...)
		if p.status != c.status || c.status == 200 != strings.Contains(p.body, `"sub"`) || c.code != "" && !strings.Contains(p.body, `"error":"`+c.code+`"`) {
			t.Errorf("%s: %d %s, want %d %s", c.name, p.status, p.body, c.status, c.code)
		}
		if challenge := p.header.Get("WWW-Authenticate"); c.status == 401 && (!strings.HasPrefix(challenge, "Bearer ") || c.code != "" && !strings.Contains(challenge, c.code)) {
			t.Errorf("%s: WWW-Authenticate %q (RFC 6750 section 3)", c.name, challenge)
		}
		if p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", c.name, p.header.Get("Cache-Control"))
		}
	}
}

// S25: a token of ours is good for its own use alone, whoever signed it.
func TestS25OnlyAnAccessTokenIsAnAccessToken(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	other := newWorld(t)
	theirs := other.addOIDC("acme", nil)
	_, foreign := other.signedIn(theirs.org)
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		app := w.entitledApp("with-"+alg, acme.org, func(a *broker.App) { a.IDTokenAlg = alg })
		code, r := app.freshCode(acme.org, nil)
		tok := app.redeem(code, r.verifier)
		parts := strings.Split(tok.Access, ".")
		encode := base64.RawURLEncoding.EncodeToString
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		none := encode([]byte(`{"alg":"none","typ":"at+jwt"}`))
		for name, bad := range map[string]string{
			"an id token":             tok.ID,
			"a code":                  code,
			"no signature":            parts[0] + "." + parts[1] + ".",
			"alg none":                none + "." + parts[1] + ".",
			"alg none, signed":        none + "." + parts[1] + "." + parts[2],
			"another typ":             encode([]byte(strings.Replace(string(header), "at+jwt", "JWT", 1))) + "." + parts[1] + "." + parts[2],
			"another person":          parts[0] + "." + encode([]byte(strings.Replace(string(payload), `"sub":"per_`, `"sub":"per_0`, 1))) + "." + parts[2],
			"an id token's signature": parts[0] + "." + parts[1] + "." + strings.Split(tok.ID, ".")[2],
			"an HMAC by a public key": encode([]byte(strings.Replace(string(header), "ES256", "HS256", 1))) + "." + parts[1] + "." + parts[2],
			"another issuer's":        foreign.Access,
		} {
			if status, info := w.userinfo(bad); status != 401 || info["error"] != "invalid_token" {
				t.Errorf("app with %s, %s: %d %v", alg, name, status, info)
			}
		}
		if status, _ := w.userinfo(tok.Access); status != 200 {
			t.Errorf("app with %s, the token itself: %d", alg, status)
		}
	}
}

// resigned is a token's claims, changed, under another typ, signed by our own key: what another door of
// this house might one day sign.
func (w *world) resigned(token, typ string, change func(map[string]any)) string {
	w.t.Helper()
	keys, err := w.h.store.Keys(w.t.Context(), "oidc")
	w.must(err)
	key := keys[slices.IndexFunc(keys, func(k broker.Key) bool { return k.Alg == "ES256" })]
	private, err := x509.ParsePKCS8PrivateKey(key.Private)
	w.must(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: key.KID}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	w.must(err)
	c := claims(w.t, token)
	if change != nil {
		change(c)
	}
	jws, err := signer.Sign(encode(w.t, c))
	w.must(err)
	out, err := jws.CompactSerialize()
	w.must(err)
	return out
}

func TestS25TypIssuerAudienceAndEndOfOurOwnTokensAreChecked(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, tok := w.signedIn(acme.org)
	if status, _ := w.userinfo(w.resigned(tok.Access, "at+jwt", nil)); status != 200 {
		t.Fatalf("the forgery is not even one: %d", status)
	}
	for name, bad := range map[string]string{
		"typ JWT":              w.resigned(tok.Access, "JWT", nil),
		"typ logout+jwt":       w.resigned(tok.Access, "logout+jwt", nil),
		"another issuer":       w.resigned(tok.Access, "at+jwt", func(c map[string]any) { c["iss"] = "https://evil.example" }),
		"another audience":     w.resigned(tok.Access, "at+jwt", func(c map[string]any) { c["aud"] = "payments" }),
		"no end":               w.resigned(tok.Access, "at+jwt", func(c map[string]any) { delete(c, "exp") }),
		"another grant":        w.resigned(tok.Access, "at+jwt", func(c map[string]any) { c["jti"] = "grt_x" }),
		"another person":       w.resigned(tok.Access, "at+jwt", func(c map[string]any) { c["sub"] = "per_x" }),
		"no organization":      w.resigned(tok.Access, "at+jwt", func(c map[string]any) { delete(c, "org_id") }),
		"another organization": w.resigned(tok.Access, "at+jwt", func(c map[string]any) { c["org_id"] = string(w.addOrg("retail", "")) }),
	} {
		if status, info := w.userinfo(bad); status != 401 || info["error"] != "invalid_token" {
			t.Errorf("%s: %d %v", name, status, info)
		}
	}
	for name, hint := range map[string]string{
		"typ at+jwt":     w.resigned(tok.ID, "at+jwt", nil),
		"another issuer": w.resigned(tok.ID, "JWT", func(c map[string]any) { c["iss"] = "https://evil.example" }),
	} {
		if p := b.logout(w, url.Values{"id_token_hint": {hint}}); p.status != http.StatusBadRequest {
			t.Errorf("logout hint, %s: %d", name, p.status)
		}
	}
}

func TestAnExpiredAccessTokenIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	_, tok := w.signedIn(acme.org)
	w.clock.pass(time.Duration(tok.Expires)*time.Second + time.Second)
	if status, info := w.userinfo(tok.Access); status != 401 || info["error"] != "invalid_token" {
		t.Errorf("%d %v", status, info)
	}
}

func TestUserinfoTellsWhatTheScopesAsked(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for scope, want := range map[string][]string{
		"openid":                            {},
		"openid profile":                    {"name", "given_name", "family_name"},
		"openid email":                      {"email", "email_verified"},
		"openid organization.path":          {"org_path"},
		"openid profile email organization": {"name", "given_name", "family_name", "email", "email_verified"},
	} {
		code, r := w.freshCode(acme.org, set("scope", scope))
		tok := w.redeem(code, r.verifier)
		status, info := w.userinfo(tok.Access)
		if status != 200 || info["sub"] != claims(t, tok.ID)["sub"] || info["org_id"] != string(acme.org) || info["org_name"] != "Acme" {
			t.Errorf("%s: %d %v", scope, status, info)
		}
		for _, claim := range []string{"name", "given_name", "family_name", "email", "email_verified", "org_path"} {
			asked := false
			for _, w := range want {
				asked = asked || w == claim
			}
			if _, told := info[claim]; told != asked {
				t.Errorf("%s: %s told %v, want %v", scope, claim, told, asked)
			}
		}
	}
}

// S6: userinfo asks the door again; whoever was suspended since is not told of.
func TestS6UserinfoOfSomebodySuspendedSince(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	_, tok := w.signedIn(acme.org)
	person := directory.PersonID(claims(t, tok.ID)["sub"].(string))
	w.must(w.h.directory.SetPersonStatus(t.Context(), operator, acme.org, person, directory.Suspended))
	if status, info := w.userinfo(tok.Access); status != 401 || info["error"] != "invalid_token" {
		t.Errorf("%d %v", status, info)
	}
}
