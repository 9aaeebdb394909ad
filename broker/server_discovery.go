package broker

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// metadata is the provider's configuration (OpenID Connect Discovery section 3, RFC 8414 section 2): both
// documents are this one, for all that it says is true of both.
type metadata struct {
	Issuer              string   `json:"issuer"`
	Authorization       string   `json:"authorization_endpoint"`
	Token               string   `json:"token_endpoint"`
	Userinfo            string   `json:"userinfo_endpoint"`
	Keys                string   `json:"jwks_uri"`
	EndSession          string   `json:"end_session_endpoint"`
	Push                string   `json:"pushed_authorization_request_endpoint"`
	Registration        string   `json:"registration_endpoint"`
	Introspection       string   `json:"introspection_endpoint"`
	Revocation          string   `json:"revocation_endpoint"`
	Device              string   `json:"device_authorization_endpoint,omitempty"`
	ResponseTypes       []string `json:"response_types_supported"`
	ResponseModes       []string `json:"response_modes_supported"`
	GrantTypes          []Grant  `json:"grant_types_supported"`
	SubjectTypes        []string `json:"subject_types_supported"`
	IDTokenAlgs         []string `json:"id_token_signing_alg_values_supported"`
	RequestObjectAlgs   []string `json:"request_object_signing_alg_values_supported"`
	DPoPAlgs            []string `json:"dpop_signing_alg_values_supported"`
	TokenAuth           []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs       []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuth   []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAlgs   []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationAuth      []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgs      []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	Scopes              []string `json:"scopes_supported"`
	ClaimTypes          []string `json:"claim_types_supported"`
	Claims              []string `json:"claims_supported"`
	ACRs                []string `json:"acr_values_supported"`
	Challenges          []string `json:"code_challenge_methods_supported"`
	Prompts             []string `json:"prompt_values_supported"`
	Languages           []string `json:"ui_locales_supported"`
	IssInResponse       bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter     bool     `json:"claims_parameter_supported"`
	RequestParameter    bool     `json:"request_parameter_supported"`
	RequestURIParameter bool     `json:"request_uri_parameter_supported"`
	RequirePush         bool     `json:"require_pushed_authorization_requests"`
	BackChannel         bool     `json:"backchannel_logout_supported"`
	BackChannelSession  bool     `json:"backchannel_logout_session_supported"`
}

func (b *Broker) metadata() metadata {
	at := func(path string) string { return b.Issuer + path }
	proved := []string{string(SecretBasic), string(SecretPost), string(PrivateKey)}
	any := append(slices.Clone(proved), string(NoSecret))
	m := metadata{
		Issuer: b.Issuer, Authorization: at("/authorize"), Token: at("/token"), Userinfo: at("/userinfo"), Keys: at("/keys"),
		EndSession: at("/logout"), Push: at("/par"), Registration: at("/register"), Introspection: at("/introspect"), Revocation: at("/revoke"),
		ResponseTypes: []string{"code"}, ResponseModes: []string{"query", modeForm}, GrantTypes: grantTypes,
		SubjectTypes: []string{"public", "pairwise"}, IDTokenAlgs: signingAlgs, RequestObjectAlgs: algNames(appAlgs), DPoPAlgs: algNames(proofAlgs),
		TokenAuth: any, TokenAuthAlgs: algNames(appAlgs), IntrospectionAuth: proved, IntrospectionAlgs: algNames(appAlgs),
		RevocationAuth: any, RevocationAlgs: algNames(appAlgs),
		Scopes: append(slices.Clone(platformScopes), scopeOrgs, scopeOffline), ClaimTypes: []string{"normal"}, Claims: claimNames(),
		ACRs: acrs[:b.top()], Challenges: []string{"S256"}, Prompts: []string{"none", "login", "select_account", "consent"}, Languages: templates.Languages(),
		IssInResponse: true, ClaimsParameter: true, RequestParameter: true, BackChannel: true, BackChannelSession: true,
	}
	if slices.Contains(grantTypes, GrantDevice) {
		m.Device = at("/device_authorization")
	}
	return m
}

// claimNames are all the claims that a token or userinfo may hold.
func claimNames() []string {
	out := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid",
		"org_id", "org_handle", "org_name", "org_path", "organizations", "realm"}
	for _, c := range personal {
		out = append(out, c.name)
	}
	return out
}

// discovery is written once and answered from memory.
func (b *Broker) discovery(w http.ResponseWriter, r *http.Request) error {
	b.once.Do(func() { b.described, b.describedErr = json.Marshal(b.metadata()) })
	if b.describedErr != nil {
		return b.describedErr
	}
	publicDocument(w, "public, max-age=300")
	_, err := w.Write(b.described)
	return err
}

// keysMaxAge is how long apps may keep the key set; rotation waits for it (S25).
const keysMaxAge = 10 * time.Minute

var keysCaching = "public, max-age=" + strconv.Itoa(int(keysMaxAge/time.Second))

func (b *Broker) jwks(w http.ResponseWriter, r *http.Request) error {
	doc, etag := b.Keys.published()
	publicDocument(w, keysCaching)
	w.Header().Set("ETag", etag)
	if holds(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, err := w.Write(doc)
	return err
}

// holds says whether an If-None-Match names the tag; a compressing proxy makes it weak (RFC 9110
// section 13.1.2).
func holds(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

func publicDocument(w http.ResponseWriter, cache string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", cache)
	allowOrigin(w)
}

// allowOrigin lets scripts of public clients read an answer that no cookie has a part in.
func allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "DPoP-Nonce, Retry-After, WWW-Authenticate")
}

// preflight answers what a browser asks before a script's request with an Authorization header.
func (b *Broker) preflight(w http.ResponseWriter, _ *http.Request) error {
	allowOrigin(w)
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Unwrap says whose fault it is, so that what a program did wrong is not logged as ours.
func (e *oauthError) Unwrap() error {
	if e.status < http.StatusInternalServerError {
		return ErrRequest
	}
	return nil
}

// writeOAuthError answers a program (RFC 6749 section 5.2).
func writeOAuthError(w http.ResponseWriter, _ *http.Request, err error) {
	e, ok := errors.AsType[*oauthError](err)
	if !ok {
		e = &oauthError{"server_error", "something broke on our side", web.Status(err)}
		if web.Status(err) < 500 {
			e.code, e.description = "invalid_request", "the request is not acceptable"
		}
		if errors.Is(err, web.ErrMethod) {
			e.description = "this address is asked with another method: the header Allow has it"
		}
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
	}
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

// writeRefusal answers a program, and in development says how its request differs.
func (b *Broker) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	writeOAuthError(w, r, b.toldOAuth(r, err))
}

func (b *Broker) writeRegistrationRefusal(w http.ResponseWriter, r *http.Request, err error) {
	writeRegistrationError(w, r, b.toldOAuth(r, err))
}

// toldOAuth is the error with the description that its answer has.
func (b *Broker) toldOAuth(r *http.Request, err error) error {
	if e, ok := errors.AsType[*oauthError](err); ok {
		return &oauthError{e.code, b.told(b.from(r), err, e.code, e.description), e.status}
	}
	return err
}

// writeBearerError answers a program that showed a token (RFC 6750 section 3, RFC 9449 section 7.1).
func writeBearerError(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*oauthError](err)
	if !ok {
		writeOAuthError(w, r, err)
		return
	}
	status, h := e.status, w.Header()
	if e.code == "invalid_dpop_proof" || e.code == errUseNonce.code {
		status = http.StatusUnauthorized
	}
	dpop := `DPoP algs="` + strings.Join(algNames(proofAlgs), " ") + `"`
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "DPoP") {
		h.Set("WWW-Authenticate", dpop+e.challenge())
	} else {
		h.Set("WWW-Authenticate", `Bearer realm="userinfo"`+e.challenge())
		h.Add("WWW-Authenticate", dpop)
	}
	if e.code == "" {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, map[string]string{"error": e.code, "error_description": e.description})
}

// challenge is the error as a WWW-Authenticate header says it; nothing when there was no token.
func (e *oauthError) challenge() string {
	if e.code == "" {
		return ""
	}
	return `, error="` + e.code + `", error_description="` + e.description + `"`
}

// writeRegistrationError answers a program at the registration endpoints, where tokens are bearer tokens
// (RFC 6750 section 3, RFC 7591 section 3.2.2).
func writeRegistrationError(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*oauthError](err)
	if !ok || e.status != http.StatusUnauthorized {
		writeOAuthError(w, r, err)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="registration"`+e.challenge())
	if e.code == "" {
		w.WriteHeader(e.status)
		return
	}
	writeJSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

// writeProblem answers a program that asked for a document.
func writeProblem(w http.ResponseWriter, _ *http.Request, err error) {
	writeJSON(w, web.Status(err), map[string]string{"error": "server_error"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A program that went away is no concern of ours.
	_ = json.NewEncoder(w).Encode(v)
}
