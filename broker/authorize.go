package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
)

// authRequest is an authorization request (OpenID Connect Core section 3.1.2.1) that was found good,
// as a login carries it.
type authRequest struct {
	App directory.AppID `json:"app"`
	returnTo
	Scope     []string `json:"scp"`
	Nonce     string   `json:"non,omitempty"`
	Challenge string   `json:"chl,omitempty"`
	Silent    bool     `json:"sil,omitempty"`
	// Consent: the person is asked for consent whatever they consented to before.
	Consent bool `json:"cns,omitempty"`
	// Meant are those of whom one must sign in, as the app knows them; nil is anybody. An id_token_hint
	// names one, a value of the sub claim others.
	Meant []string `json:"mnt,omitempty"`
	// Claims are the claims asked for by name, a claimsRequest; nil when there are none.
	Claims  json.RawMessage `json:"clm,omitempty"`
	Locales string          `json:"loc,omitempty"`
	// Resources are the audiences that the app wants access tokens for (RFC 8707 section 2.1).
	Resources []string `json:"rsc,omitempty"`
	// JKT is the thumbprint of the DPoP key that the code is bound to (RFC 9449 section 10); "" is none.
	JKT string `json:"jkt,omitempty"`
	// Device is the request of a device whose UserCode was typed; such a login goes back to no address.
	Device   string `json:"dev,omitempty"`
	UserCode string `json:"usr,omitempty"`

	// needed is how strong a sign-in the request and the app cannot do without, wished what it would like.
	needed, wished flows.Rung

	force, pick  bool
	ignored      []string // scopes that mean nothing here for the app
	maxAge       *time.Duration
	hint         string
	organization string
	org          directory.OrgID
}

// authError is an error that goes back to the app (RFC 6749 section 4.1.2.1).
type authError struct{ code, description string }

func (e *authError) Error() string { return e.code + ": " + e.description }

func invalid(description string) *authError { return &authError{"invalid_request", description} }

// The authorize parameters that are read. Others are ignored, as RFC 6749 section 3.1 says, but one
// that comes twice refuses the request, known or not.
const (
	maxState   = 4096
	maxHint    = 320
	maxLocales = 200
)

var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`) // S256 of anything (RFC 7636 section 4.2)

// authorize is the authorization endpoint.
func (b *Broker) authorize(w http.ResponseWriter, r *http.Request) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return ErrRequest.With(err)
	}
	if kept := values.Get("continue"); kept != "" {
		if values, err = b.kept(r.Context(), kept); err != nil {
			return err
		}
	}
	return b.begin(w, r, values)
}

// keepAuthorize takes a request by POST from another site, which brings no cookie of ours: it checks
// it, keeps it, and lets the browser come again by GET. It neither reads nor sets a cookie.
func (b *Broker) keepAuthorize(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return web.ErrTooLarge.With(large)
		}
		return ErrRequest.With(err)
	}
	q, err := b.requested(r.Context(), r.PostForm, false)
	if err != nil {
		return b.refuse(w, r, q, err)
	}
	if _, err := b.parse(r.Context(), q.app, q.redirect, q.values); err != nil {
		return b.answerError(w, r, q.back(), sentBy(q.app, err))
	}
	return b.keep(w, r, "/authorize", r.PostForm)
}

// keptLife is how long the browser has to follow one redirect.
const keptLife = 10 * time.Minute

// keep keeps a request and sends the browser to fetch it.
func (b *Broker) keep(w http.ResponseWriter, r *http.Request, at string, form url.Values) error {
	id, err := b.put(r, form)
	if err != nil {
		return err
	}
	http.Redirect(w, r, at+"?continue="+id, http.StatusSeeOther)
	return nil
}

// put counts what it keeps as what begins a login is counted (S53).
func (b *Broker) put(r *http.Request, form url.Values) (id string, err error) {
	if err := b.Limits.AuthorizePerNetwork.Check(r.Context(), b.Counter, b.network(r)); err != nil {
		return "", err
	}
	id = directory.NewSecret()
	return id, b.Brief.Put(r.Context(), "request/"+id, []byte(form.Encode()), keptLife)
}

// where is where a browser is.
func (b *Broker) where(r *http.Request) *netip.Addr {
	a := b.Proxies.Address(r)
	return &a
}

func (b *Broker) network(r *http.Request) string { return web.Network(b.Proxies.Address(r)) }

func (b *Broker) kept(ctx context.Context, id string) (url.Values, error) {
	raw, err := b.Brief.Get(ctx, "request/"+id)
	if errors.Is(err, brief.ErrGone) {
		return nil, flows.ErrOver.With(err)
	}
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(raw))
}

// begin starts the login that a request asks for.
func (b *Broker) begin(w http.ResponseWriter, r *http.Request, values url.Values) error {
	ctx := r.Context()
	if err := b.Limits.AuthorizePerNetwork.Check(ctx, b.Counter, b.network(r)); err != nil {
		return err
	}
	q, err := b.requested(ctx, values, true)
	if err != nil {
		return b.refuse(w, r, q, err)
	}
	return b.login(w, r, q, "")
}

// login starts the login of a request; chosen is the session that the person chose for it, or another.
func (b *Broker) login(w http.ResponseWriter, r *http.Request, q requested, chosen directory.SessionID) error {
	ctx, app := r.Context(), q.app
	req, err := b.parse(ctx, app, q.redirect, q.values)
	if err != nil {
		return b.answerError(w, r, q.back(), sentBy(app, err))
	}
	if err := b.Limits.AuthorizePerApp.Check(ctx, b.Counter, string(app.ID)); err != nil {
		return err
	}
	list, err := b.accounts(ctx, r, app, &req)
	if err != nil {
		return err
	}
	if req.pick && chosen == "" && len(list) > 0 {
		return b.askAccount(w, r, q)
	}
	session := req.goingOn(list, chosen)
	payload, err := json.Marshal(req)
	if err != nil {
		return err
	}
	d, err := b.Flows.Start(w, r, flows.Request{
		Finisher: Finisher, Payload: payload, Realm: app.Realm, App: app.facts(), Org: req.org, Hint: req.hint, Session: session,
		Force: req.force, MaxAge: req.maxAge, Silent: req.Silent, Pick: req.pick, Locales: req.Locales, Network: b.network(r), Note: req.note(app), Needed: req.needed, Wished: req.wished, Place: device(r.UserAgent()),
	})
	if !req.Silent || err == nil && d.Done {
		return err
	}
	return b.answerError(w, r, req.returnTo, silentError(d, err, req.meets(session, b.Now()), req.org != ""))
}

// meets says whether the session is of whom the app means, and somebody there proved themselves as
// recently as the app asks. If not, nobody is signed in as far as this request goes.
func (req *authRequest) meets(s *flows.Held, now time.Time) bool {
	if s == nil || req.hint != "" && flows.NormalAddress(req.hint) != flows.NormalAddress(s.Email) {
		return false
	}
	return req.maxAge == nil || slices.ContainsFunc(s.Proofs, func(p flows.Proof) bool { return now.Sub(p.At) <= *req.maxAge })
}

// silentError is prompt=none's answer when a page would be needed (OpenID Connect Core section 3.1.2.6).
// In an organization that the app named there is no account to select: the page would ask how to sign in.
func silentError(d flows.Decision, err error, session, named bool) error {
	if err == nil && d.Refused != nil {
		err = d.Refused
	}
	switch {
	case err != nil:
		return err
	case d.Step == flows.StepChoose && session && !named:
		return &authError{"account_selection_required", "the person belongs to several organizations and must choose one"}
	case session && slices.Contains([]flows.StepName{flows.StepAuthenticate, flows.StepChoose, flows.StepFactor, flows.StepEnroll}, d.Step):
		return &authError{"interaction_required", "the session does not satisfy this organization's policy or this request"}
	}
	return &authError{"login_required", "nobody is signed in"}
}

// one gives a parameter that is there once and is text, else "".
func one(values url.Values, name string) string {
	v := values[name]
	if len(v) != 1 || !utf8.ValidString(v[0]) || strings.ContainsRune(v[0], 0) {
		return ""
	}
	return v[0]
}

// parse reads the request of a known app. Its errors go back to the app.
func (b *Broker) parse(ctx context.Context, app App, redirect string, values url.Values) (authRequest, error) {
	req := authRequest{
		App: app.ID, returnTo: backTo(redirect, values), Nonce: values.Get("nonce"), Locales: values.Get("ui_locales"),
		hint: values.Get("login_hint"), organization: values.Get("organization"),
	}
	if err := web.Plain(without(values, "resource")); err != nil {
		return req, invalid("a parameter comes twice or is not text")
	}
	if len(req.State) > maxState || len(req.Nonce) > maxState || len(req.hint) > maxHint {
		return req, invalid("a parameter is too long")
	}
	for _, check := range []func(*authRequest, App, url.Values) error{parseKind, parseScope, b.parseResources, parsePKCE, parseJKT, parsePrompt, parseAge, b.parseClaims, b.parseACR} {
		if err := check(&req, app, values); err != nil {
			return req, err
		}
	}
	if len(req.Locales) > maxLocales {
		req.Locales = "" // a wish that cannot be met is no error (OpenID Connect Core section 3.1.2.1)
	}
	if err := b.parseHint(&req, app, values.Get("id_token_hint")); err != nil {
		return req, err
	}
	return req, b.resolveOrg(ctx, app, &req)
}

// parseHint reads whom the app means by a token that we gave it, expired or not.
func (b *Broker) parseHint(req *authRequest, app App, hint string) error {
	if hint == "" {
		return nil
	}
	c, err := b.readHint(hint)
	switch refused := invalid("id_token_hint is no token that this app was given"); {
	case err != nil:
		return differs(refused, "its signature or issuer is another's")
	case c.Audience != app.ClientID:
		return differs(refused, "its audience is another client")
	}
	req.mean(c.Subject)
	return nil
}

// mean narrows whom the app means to those, and those it meant already.
func (req *authRequest) mean(subjects ...string) {
	if req.Meant != nil {
		subjects = slices.DeleteFunc(subjects, func(s string) bool { return !slices.Contains(req.Meant, s) })
	}
	if len(subjects) == 0 {
		subjects = []string{""} // nobody: a list that is empty would be lost on its way, and mean anybody
	}
	req.Meant = subjects
}

// means says whether the app means that person.
func (req *authRequest) means(subject string) bool {
	return req.Meant == nil || slices.Contains(req.Meant, subject)
}

func parseKind(req *authRequest, _ App, v url.Values) error {
	switch {
	case v.Has("registration"):
		return &authError{"registration_not_supported", "registration is not supported"}
	case v.Get("response_type") == "":
		return invalid("response_type is missing")
	case v.Get("response_type") != "code":
		return differs(&authError{"unsupported_response_type", "the only response_type is code"}, "sent was "+word(v.Get("response_type")))
	case v.Has("response_mode") && v.Get("response_mode") != "query" && v.Get("response_mode") != modeForm:
		return differs(invalid("the only response_modes are query and form_post"), "sent was "+word(v.Get("response_mode")))
	case v.Get("response_mode") == modeForm && req.Mode != modeForm:
		return invalid("form_post needs a redirect_uri of http or https")
	}
	return nil
}

// The scopes that mean something here.
const (
	scopeOpenID  = "openid"
	scopeProfile = "profile"
	scopeEmail   = "email"
	scopeAddress = "address"
	scopePhone   = "phone"
	scopeOrg     = "organization"
	scopePath    = "organization.path"
	scopeOrgs    = "organizations"  // all memberships (S38)
	scopeOffline = "offline_access" // OpenID Connect Core section 11
)

// platformScopes are those that every app may ask for; more are in its settings.
var platformScopes = []string{scopeOpenID, scopeProfile, scopeEmail, scopeAddress, scopePhone, scopeOrg, scopePath}

// mayAsk says whether a scope means something here for the app. Others are ignored, as OpenID Connect Core
// section 3.1.2.1 says, so nobody is told that an app has fewer than it asked for before its tokens say so.
func (s Settings) mayAsk(scope string) bool {
	switch scope {
	case scopeOrgs:
		return s.Memberships
	case scopeOffline:
		return s.may(GrantRefresh)
	}
	return slices.Contains(platformScopes, scope) || slices.Contains(s.Scopes, scope)
}

func parseScope(req *authRequest, app App, v url.Values) error {
	asked := strings.Fields(v.Get("scope"))
	if !slices.Contains(asked, scopeOpenID) {
		return differs(&authError{"invalid_scope", "the scope must contain openid"}, "sent was "+words(asked))
	}
	for _, s := range asked {
		if handle, ok := strings.CutPrefix(s, scopeOrg+":"); ok {
			if req.organization != "" && req.organization != handle {
				return invalid("organization and the organization scope differ")
			}
			req.organization = handle
			s = scopeOrg
		}
		switch {
		case !app.mayAsk(s):
			req.ignored = append(req.ignored, s)
		case !slices.Contains(req.Scope, s):
			req.Scope = append(req.Scope, s)
		}
	}
	return nil
}

// note is what the trace of a login says of the request: scopes that the app asked for and cannot have.
func (req *authRequest) note(app App) string {
	if len(req.ignored) == 0 {
		return ""
	}
	return "Ignored: registered are the scopes " + words(scopesOf(app)) + ", sent was " + words(req.ignored) + " too."
}

// parsePKCE demands S256 of everybody but confidential clients that were exempted (RFC 7636; plain is
// refused, RFC 9700 section 2.1.1).
func parsePKCE(req *authRequest, app App, v url.Values) error {
	req.Challenge = v.Get("code_challenge")
	method := v.Get("code_challenge_method")
	switch {
	case req.Challenge == "" && method != "":
		return invalid("code_challenge is missing")
	case req.Challenge == "" && app.PKCEExempt:
		return nil
	case req.Challenge == "":
		return differs(invalid("code_challenge is missing: PKCE with S256 is required"), "this app is not exempt from PKCE, and sent no code_challenge")
	case method == "":
		// RFC 7636 section 4.3
		return differs(invalid("the only code_challenge_method is S256"), "sent was none, which means plain")
	case method != "S256":
		return differs(invalid("the only code_challenge_method is S256"), "sent was "+word(method))
	case !challengeForm.MatchString(req.Challenge):
		return differs(invalid("code_challenge is not an S256 challenge"), fmt.Sprintf("one has 43 characters of base64url without padding, sent were %d", len(req.Challenge)))
	}
	return nil
}

// parseJKT reads the key that the code is to be bound to: a thumbprint is as long as a challenge.
func parseJKT(req *authRequest, _ App, v url.Values) error {
	if req.JKT = v.Get("dpop_jkt"); req.JKT != "" && !challengeForm.MatchString(req.JKT) {
		return invalid("dpop_jkt is not the SHA-256 thumbprint of a key")
	}
	return nil
}

func parsePrompt(req *authRequest, _ App, v url.Values) error {
	prompts := strings.Fields(v.Get("prompt"))
	for _, p := range prompts {
		switch p {
		case "none":
			req.Silent = true
		case "login":
			req.force = true
		case "select_account":
			req.pick = true
		case "consent":
			req.Consent = true
		case "create":
			// Whoever is new here gets an account by signing in, where their organization lets them: there
			// is no other registration, so this wish is not advertised (Initiating User Registration 1.0).
		default:
			return differs(invalid("this prompt value is not supported"), oneOf("there", []string{"none", "login", "consent", "select_account", "create"}, p))
		}
	}
	if req.Silent && len(prompts) > 1 {
		return invalid("prompt=none stands alone")
	}
	return nil
}

func parseAge(req *authRequest, app App, v url.Values) error {
	if age := v.Get("max_age"); age != "" {
		seconds, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return invalid("max_age is not a number of seconds")
		}
		d := time.Duration(seconds) * time.Second
		req.maxAge = &d
	} else if app.MaxAge > 0 {
		req.maxAge = &app.MaxAge // OpenID Connect Registration section 2, default_max_age
	}
	return nil
}

// resolveOrg finds the organization that the app named, by id, by handle in the app's realm, or by
// realm/handle. One that is unknown is carried on as one that nobody may sign in to: the answer is the
// same page (S31).
func (b *Broker) resolveOrg(ctx context.Context, app App, req *authRequest) error {
	name := req.organization
	switch {
	case name != "" && app.OrgMode == OrgNone:
		return differs(invalid("this app's requests name no organization"), "registered is organization_mode none, sent was organization "+word(name))
	case name == "" && app.Org != "":
		req.org = app.Org
		return nil
	case name == "" && app.OrgMode == OrgRequired:
		return differs(invalid("organization is missing: this app's requests name one"), "registered is organization_mode required, sent was none")
	case name == "":
		return nil
	}
	if err := b.findOrg(ctx, app, req); err != nil {
		return err
	}
	if app.Org != "" && req.org != app.Org {
		return differs(invalid("organization is not the one that this app is for"), "registered is "+string(app.Org)+", sent was "+word(name))
	}
	return nil
}

func (b *Broker) findOrg(ctx context.Context, app App, req *authRequest) error {
	name := req.organization
	req.org = directory.OrgID("unknown")
	if directory.ValidID("org_", name) {
		req.org = directory.OrgID(name)
		return nil
	}
	realm := app.Realm
	if in, handle, ok := strings.Cut(name, "/"); ok {
		r, err := b.Directory.RealmByHandle(ctx, in)
		if errors.Is(err, directory.ErrRealmNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		realm, name = r.ID, handle
	}
	if !directory.ValidHandle(name) {
		return nil
	}
	org, err := b.Directory.OrgByHandle(ctx, realm, name)
	if errors.Is(err, directory.ErrOrgNotFound) {
		return nil
	}
	if err == nil {
		req.org = org
	}
	return err
}
