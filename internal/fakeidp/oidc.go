package fakeidp

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Client is an application at an OpenID provider. It proves itself by whichever of Secret
// (client_secret_basic, client_secret_post) and Keys (private_key_jwt) it has; without either it is
// public.
type Client struct {
	ID         string
	Name       string // shown; empty means the id
	Secret     string
	Keys       []crypto.PublicKey
	Redirects  []string // exact
	PostLogout []string // exact
}

func (c Client) name() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// grant is what a code stands for, and later an access token.
type grant struct {
	client, redirect string
	challenge        string
	nonce            string
	scopes           []string
	person           Person
	misbehavior      Misbehavior
	at               time.Time
}

func (p *Provider) routeOIDC(mux *http.ServeMux) {
	mux.HandleFunc("GET /.well-known/openid-configuration", p.backChannel(p.discovery))
	mux.HandleFunc("GET /jwks", p.backChannel(p.jwks))
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.backChannel(p.token))
	mux.HandleFunc("GET /userinfo", p.backChannel(p.userinfo))
	mux.HandleFunc("POST /userinfo", p.backChannel(p.userinfo))
	mux.HandleFunc("GET /end_session", p.endSession)
	mux.HandleFunc("POST /end_session", p.endSession)
}

// discovery is OpenID Connect Discovery section 3.
func (p *Provider) discovery(w http.ResponseWriter, r *http.Request) {
	var algorithms []string
	for _, k := range p.published() {
		if !slices.Contains(algorithms, k.algorithm()) {
			algorithms = append(algorithms, k.algorithm())
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                           p.Base,
		"authorization_endpoint":                           p.Base + "/authorize",
		"token_endpoint":                                   p.Base + "/token",
		"userinfo_endpoint":                                p.Base + "/userinfo",
		"jwks_uri":                                         p.Base + "/jwks",
		"end_session_endpoint":                             p.Base + "/end_session",
		"response_types_supported":                         []string{"code"},
		"response_modes_supported":                         []string{"query", "form_post"},
		"grant_types_supported":                            []string{"authorization_code"},
		"subject_types_supported":                          []string{"public"},
		"id_token_signing_alg_values_supported":            algorithms,
		"code_challenge_methods_supported":                 []string{"S256"},
		"token_endpoint_auth_methods_supported":            []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"ES256", "RS256", "EdDSA"},
		"scopes_supported":                                 []string{"openid", "profile", "email"},
		"prompt_values_supported":                          []string{"none", "login"},
		"authorization_response_iss_parameter_supported":   true,
	})
}

func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) {
	var set jose.JSONWebKeySet
	for _, k := range p.published() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Signer.Public(), KeyID: k.ID, Algorithm: k.algorithm(), Use: "sig"})
	}
	writeJSON(w, http.StatusOK, set)
}

func (p *Provider) client(id string) (Client, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := slices.IndexFunc(p.Clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, false
	}
	return p.Clients[i], true
}

// authorize is OpenID Connect Core section 3.1.2. Until the application and where it wants its answer
// are known to belong together, nothing is sent anywhere.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.note(w, http.StatusBadRequest, "The request cannot be read", "Go back to the application and start again.")
		return
	}
	q := r.Form
	client, ok := p.client(q.Get("client_id"))
	if !ok || !slices.Contains(client.Redirects, q.Get("redirect_uri")) {
		p.note(w, http.StatusBadRequest, "Unknown application", "No application is registered here with this client_id and redirect_uri. Whoever set up the connection has to register it.")
		return
	}
	if code := p.refusal(q, client); code != "" {
		p.deliver(w, client, q, url.Values{"error": {code}})
		return
	}
	p.ask(w, r, &request{
		app: client.name(), hint: q.Get("login_hint"), again: q.Get("prompt") == "login",
		answer: func(w http.ResponseWriter, _ *http.Request, who Person, m Misbehavior) {
			p.deliver(w, client, q, url.Values{"code": {p.issueCode(client, q, who, m)}})
		},
		refuse: func(w http.ResponseWriter, _ *http.Request) {
			p.deliver(w, client, q, url.Values{"error": {"access_denied"}})
		},
	})
}

// refusal is the error code for a request that cannot be answered, or "".
func (p *Provider) refusal(q url.Values, client Client) string {
	for name, values := range q {
		if len(values) > 1 { // RFC 6749 section 3.1
			return "invalid_request"
		} else if name == "request" || name == "request_uri" {
			return name + "_not_supported"
		}
	}
	if q.Get("response_type") != "code" {
		return "unsupported_response_type"
	}
	if !slices.Contains(strings.Fields(q.Get("scope")), "openid") {
		return "invalid_scope"
	}
	if !slices.Contains([]string{"", "query", "form_post"}, q.Get("response_mode")) {
		return "invalid_request"
	}
	public := client.Secret == "" && len(client.Keys) == 0
	if challenged := q.Get("code_challenge") != ""; challenged != (q.Get("code_challenge_method") == "S256") || public && !challenged {
		return "invalid_request"
	}
	if q.Get("prompt") == "none" && !p.silent() {
		return "login_required" // nobody is ever signed in here already
	}
	return ""
}

func (p *Provider) issueCode(client Client, q url.Values, who Person, m Misbehavior) string {
	code := rand.Text()
	p.codes.put(p.Now(), code, grant{
		client: client.ID, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
		nonce: q.Get("nonce"), scopes: strings.Fields(q.Get("scope")),
		person: who, misbehavior: m, at: p.Now(),
	})
	return code
}

// deliver sends the browser back. Every answer names us (RFC 9207), errors too.
func (p *Provider) deliver(w http.ResponseWriter, client Client, q, answer url.Values) {
	answer.Set("iss", p.Base)
	if q.Has("state") {
		answer.Set("state", q.Get("state"))
	}
	if q.Get("response_mode") == "form_post" {
		var fields []field
		for _, name := range []string{"code", "error", "state", "iss"} {
			if answer.Has(name) {
				fields = append(fields, field{name, answer.Get(name)})
			}
		}
		p.send(w, client.name(), q.Get("redirect_uri"), fields...)
		return
	}
	redirect(w, q.Get("redirect_uri"), answer)
}

func redirect(w http.ResponseWriter, to string, more url.Values) {
	join := "?"
	if strings.Contains(to, "?") {
		join = "&"
	}
	w.Header().Set("Location", to+join+more.Encode())
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusFound)
}

// endSession is OpenID Connect RP-Initiated Logout. There is no session to end, so it only sends back.
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	to := r.FormValue("post_logout_redirect_uri")
	client, ok := p.client(r.FormValue("client_id"))
	if !ok || !slices.Contains(client.PostLogout, to) {
		p.note(w, http.StatusOK, "You are signed out", "You are signed out of "+p.Name+".")
		return
	}
	state := url.Values{}
	if r.Form.Has("state") {
		state.Set("state", r.Form.Get("state"))
	}
	redirect(w, to, state)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
