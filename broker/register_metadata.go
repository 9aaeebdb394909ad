package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// clientMetadata is what an app says of itself (RFC 7591 section 2, OpenID Connect Registration section
// 2). Members that are not here are ignored; those that are and cannot be met are refused.
type clientMetadata struct {
	ClientID      string `json:"client_id,omitempty"`     // RFC 7592 section 2.2
	ClientSecret  string `json:"client_secret,omitempty"` // the same
	IssuedAt      any    `json:"client_id_issued_at,omitempty"`
	SecretExpires any    `json:"client_secret_expires_at,omitempty"`
	Access        any    `json:"registration_access_token,omitempty"`
	AccessURI     any    `json:"registration_client_uri,omitempty"`

	RedirectURIs   []string     `json:"redirect_uris"`
	Method         ClientMethod `json:"token_endpoint_auth_method"`
	MethodAlg      string       `json:"token_endpoint_auth_signing_alg,omitempty"`
	GrantTypes     []Grant      `json:"grant_types"`
	ResponseTypes  []string     `json:"response_types"`
	Name           string       `json:"client_name"`
	URI            string       `json:"client_uri,omitempty"`
	LogoURI        string       `json:"logo_uri,omitempty"`
	Scope          string       `json:"scope,omitempty"`
	Contacts       []string     `json:"contacts,omitempty"`
	TermsURI       string       `json:"tos_uri,omitempty"`
	PolicyURI      string       `json:"policy_uri,omitempty"`
	JWKSURI        string       `json:"jwks_uri,omitempty"`
	JWKS           jsonDoc      `json:"jwks,omitempty"`
	Statement      string       `json:"software_statement,omitempty"`
	Kind           string       `json:"application_type"`
	SectorURI      string       `json:"sector_identifier_uri,omitempty"`
	SubjectType    string       `json:"subject_type"`
	IDTokenAlg     string       `json:"id_token_signed_response_alg"`
	IDTokenCipher  string       `json:"id_token_encrypted_response_alg,omitempty"`
	UserinfoAlg    string       `json:"userinfo_signed_response_alg,omitempty"`
	UserinfoCipher string       `json:"userinfo_encrypted_response_alg,omitempty"`
	ObjectAlg      string       `json:"request_object_signing_alg,omitempty"`
	ObjectCipher   string       `json:"request_object_encryption_alg,omitempty"`
	MaxAge         *int64       `json:"default_max_age,omitempty"`
	InitiateLogin  string       `json:"initiate_login_uri,omitempty"`
	RequestURIs    []string     `json:"request_uris,omitempty"`
	PostLogoutURIs []string     `json:"post_logout_redirect_uris,omitempty"`
	BackChannel    string       `json:"backchannel_logout_uri,omitempty"`
	FrontChannel   string       `json:"frontchannel_logout_uri,omitempty"`
	PAR            bool         `json:"require_pushed_authorization_requests,omitempty"`
	RequestObject  bool         `json:"require_signed_request_object,omitempty"`
	DPoP           bool         `json:"dpop_bound_access_tokens,omitempty"`
	MTLS           bool         `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

// jsonDoc is a JSON object as it came.
type jsonDoc = json.RawMessage

func badMetadata(why string) *oauthError {
	return &oauthError{"invalid_client_metadata", why, http.StatusBadRequest}
}

// metadataError says what is wrong with settings in the words of RFC 7591 section 3.2.2.
func metadataError(err error) error {
	if errors.Is(err, ErrAppSettings) {
		why := "the metadata are incomplete or contradict one another"
		if cause := errors.Unwrap(err); cause != nil {
			why = shownText(cause.Error())
		}
		return badMetadata(why)
	}
	return err
}

// shownText is text of ours that may quote the app's.
func shownText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1 // RFC 6749 section 5.2: what error_description may hold
		}
		return r
	}, s)
	return s[:min(len(s), 200)]
}

// selfGrants are the grant types that an app may give itself; the others are the operator's to give.
var selfGrants = []Grant{GrantCode, GrantRefresh}

const maxURIs = 50

// apply gives an app the settings that the metadata ask for.
func (m clientMetadata) apply(app App) (App, error) {
	for _, check := range []func() error{m.checkSupported, m.checkRedirects, m.checkName} {
		if err := check(); err != nil {
			return app, err
		}
	}
	s := &app.Settings
	held := app.held()
	app.Name = m.Name
	if app.Name == "" {
		app.Name = app.ClientID
	}
	s.Method, s.Native, s.Grants = m.Method, m.Kind == "native", m.grants(held.Grants)
	if s.Method == "" {
		s.Method = SecretBasic
	}
	s.RedirectURIs, s.PostLogoutURIs, s.Home = m.RedirectURIs, m.PostLogoutURIs, m.URI
	if s.IDTokenAlg = m.IDTokenAlg; s.IDTokenAlg == "" {
		s.IDTokenAlg = "RS256" // OpenID Connect Registration section 2
		if s.FAPI {
			s.IDTokenAlg = "ES256"
		}
	}
	if s.JWKS, s.JWKSURI = m.JWKS, m.JWKSURI; string(s.JWKS) == "null" {
		s.JWKS = nil
	}
	m.holds(s, held)
	s.BackChannelLogoutURI, s.InitiateLogin = m.BackChannel, m.InitiateLogin
	s.LogoURI, s.PolicyURI, s.TermsURI, s.Contacts = m.LogoURI, m.PolicyURI, m.TermsURI, m.Contacts
	return app, m.checkAddresses(app)
}

// held is what an operator holds a registered app to: settings that it did not ask for, and grants that it
// cannot give itself.
func (a App) held() Settings {
	mine := func(name string) bool { return slices.Contains(a.Asked, name) }
	h := Settings{
		PAR: a.PAR && !mine("par"), RequestObject: a.RequestObject && !mine("request_object"), DPoP: a.DPoP && !mine("dpop"),
		Pairwise: a.Pairwise && !mine("pairwise"),
	}
	if !mine("max_age") {
		h.MaxAge = a.MaxAge
	}
	for _, g := range a.Grants {
		if !slices.Contains(selfGrants, g) {
			h.Grants = append(h.Grants, g)
		}
	}
	return h
}

// holds gives an app what it asks to be held to, beside what an operator holds it to: metadata that leave
// that out do not take it back.
func (m clientMetadata) holds(s *Settings, held Settings) {
	s.Asked = nil
	ask := func(name string, wanted, held bool) bool {
		if wanted && !held {
			s.Asked = append(s.Asked, name)
		}
		return wanted || held
	}
	s.PAR = ask("par", m.PAR, held.PAR)
	s.RequestObject = ask("request_object", m.RequestObject, held.RequestObject)
	s.DPoP = ask("dpop", m.DPoP, held.DPoP)
	s.Pairwise = ask("pairwise", m.SubjectType == "pairwise", held.Pairwise)
	s.MaxAge = held.MaxAge
	if m.MaxAge == nil || *m.MaxAge == 0 {
		return
	}
	wish := time.Duration(*m.MaxAge) * time.Second
	if ask("max_age", true, held.MaxAge > 0); held.MaxAge == 0 || wish < held.MaxAge {
		s.MaxAge = wish
	}
}

// grants are those that an app asks for, and those that an operator gave it besides.
func (m clientMetadata) grants(given []Grant) []Grant {
	out := slices.Clone(m.GrantTypes)
	if len(out) == 0 && len(given) > 0 {
		out = []Grant{GrantCode}
	}
	return append(out, given...)
}

// checkSupported refuses what this provider does not do, rather than let the app believe it did.
func (m clientMetadata) checkSupported() error {
	switch {
	case m.Statement != "":
		return &oauthError{"unapproved_software_statement", "software statements are not accepted", http.StatusBadRequest}
	case slices.ContainsFunc(m.GrantTypes, func(g Grant) bool { return !slices.Contains(selfGrants, g) }):
		return differs(badMetadata("grant_types: authorization_code and refresh_token; the operator may add others"), "sent was "+words(grantNames(m.GrantTypes)))
	case len(m.GrantTypes) > 0 && !slices.Contains(m.GrantTypes, GrantCode):
		return badMetadata("grant_types: authorization_code is needed")
	case slices.ContainsFunc(m.ResponseTypes, func(t string) bool { return t != "code" }):
		return differs(badMetadata("response_types: code alone"), "sent was "+words(m.ResponseTypes))
	case m.Kind != "" && m.Kind != "web" && m.Kind != "native":
		return badMetadata("application_type: web or native")
	case m.SubjectType != "" && m.SubjectType != "public" && m.SubjectType != "pairwise":
		return badMetadata("subject_type: public or pairwise")
	case m.IDTokenAlg != "" && !slices.Contains(signingAlgs, m.IDTokenAlg):
		return differs(badMetadata("id_token_signed_response_alg: "+strings.Join(signingAlgs, ", ")), "sent was "+word(m.IDTokenAlg))
	case m.IDTokenCipher != "" || m.UserinfoCipher != "" || m.ObjectCipher != "":
		return badMetadata("encryption is not supported")
	case m.UserinfoAlg != "":
		return badMetadata("userinfo is not signed")
	case m.ObjectAlg != "" && !slices.Contains(algNames(appAlgs), m.ObjectAlg):
		return differs(badMetadata("request_object_signing_alg: "+strings.Join(algNames(appAlgs), ", ")), "sent was "+word(m.ObjectAlg))
	case m.MethodAlg != "" && !slices.Contains(algNames(appAlgs), m.MethodAlg):
		return differs(badMetadata("token_endpoint_auth_signing_alg: "+strings.Join(algNames(appAlgs), ", ")), "sent was "+word(m.MethodAlg))
	case len(m.RequestURIs) > 0:
		return badMetadata("request_uris: requests are pushed instead")
	case m.FrontChannel != "":
		return badMetadata("frontchannel_logout_uri: back-channel logout alone")
	case m.MTLS:
		return badMetadata("tokens are bound by DPoP alone")
	case m.MaxAge != nil && (*m.MaxAge < 0 || *m.MaxAge > 1<<31):
		return badMetadata("default_max_age: seconds")
	}
	return nil
}

func (m clientMetadata) checkRedirects() error {
	bad := func(why string) error { return &oauthError{"invalid_redirect_uri", why, http.StatusBadRequest} }
	if len(m.RedirectURIs) == 0 || len(m.RedirectURIs) > maxURIs || len(m.PostLogoutURIs) > maxURIs {
		return bad("1 to 50 redirect_uris")
	}
	like := App{Settings: Settings{Native: m.Kind == "native"}}
	for _, u := range slices.Concat(m.RedirectURIs, m.PostLogoutURIs) {
		if len(u) > 2000 || like.checkURI(u) != nil {
			return bad("an address that a browser may be sent to: https, http on this machine, or a native app's own scheme")
		}
	}
	return nil
}

// checkName: the name stands on pages where people decide. It is text, on one line, in one direction.
func (m clientMetadata) checkName() error {
	if len(m.Name) > 200 || strings.ContainsFunc(m.Name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		return badMetadata("client_name: one line of text")
	}
	if len(m.Contacts) > 10 || slices.ContainsFunc(m.Contacts, func(c string) bool { return len(c) > 320 }) {
		return badMetadata("contacts: at most ten")
	}
	return nil
}

// checkAddresses judges the addresses that people are shown, and those that we call (S23).
func (m clientMetadata) checkAddresses(app App) error {
	for _, u := range []string{m.URI, m.LogoURI, m.TermsURI, m.PolicyURI, m.InitiateLogin} {
		if u != "" && (len(u) > 2000 || (App{}).checkURI(u) != nil) {
			return badMetadata("an address that a browser may be sent to: https")
		}
	}
	for _, u := range []string{m.JWKSURI, m.BackChannel, m.SectorURI} {
		if u != "" && app.checkCalled(u) != nil {
			return badMetadata("an address that can be called: https on port 443")
		}
	}
	return nil
}

// maxSector bounds a sector's document: fifty thousand addresses are nobody's.
const maxSector = 256 << 10

// applySector finds the sector of a pairwise app (OpenID Connect Core section 8.1): the host of its
// sector_identifier_uri, whose document must list every redirect URI, or the one host of these.
//
// A sector that an operator named stays. One that followed from the addresses goes on following them, or an
// app could register in another's sector and then move.
func (b *Broker) applySector(ctx context.Context, app *App, before App, m clientMetadata) error {
	if derived, _ := before.sector(); before.held().Pairwise && before.Sector != derived {
		app.Sector = before.Sector
		return nil
	}
	if m.SectorURI == "" {
		app.Sector = ""
		if _, one := app.sector(); app.Pairwise && !one {
			return badMetadata("sector_identifier_uri is needed where redirect_uris have several hosts")
		}
		return nil
	}
	body, _, err := fetchDocument(ctx, b.Call(app.Private), m.SectorURI, maxSector)
	if err != nil {
		b.Log.InfoContext(ctx, "sector identifier not read", "reason", err)
		return badMetadata("sector_identifier_uri does not answer with a list of redirect URIs")
	}
	var list []string
	if json.Unmarshal(body, &list) != nil {
		return badMetadata("sector_identifier_uri does not answer with a list of redirect URIs")
	}
	for _, u := range app.RedirectURIs {
		if !slices.Contains(list, u) {
			return badMetadata("sector_identifier_uri does not list every redirect_uri")
		}
	}
	u, err := url.Parse(m.SectorURI)
	if err != nil {
		return badMetadata("sector_identifier_uri is no address")
	}
	app.Sector = strings.ToLower(u.Hostname())
	return nil
}

// checkUpdate: an update names the client, shows the secret it has, if any, and sets nothing that is ours
// (RFC 7592 section 2.2).
func (m clientMetadata) checkUpdate(app App, now time.Time) error {
	switch {
	case m.ClientID != app.ClientID:
		return &oauthError{"invalid_request", "client_id must be the client's", http.StatusBadRequest}
	case m.IssuedAt != nil || m.SecretExpires != nil || m.Access != nil || m.AccessURI != nil:
		return &oauthError{"invalid_request", "an update sets no member that the server sets", http.StatusBadRequest}
	case m.ClientSecret != "" && !app.presents(m.ClientSecret, now):
		return &oauthError{"invalid_request", "client_secret is not the client's", http.StatusBadRequest}
	}
	return nil
}

// clientInformation is a registration as it stands (RFC 7591 section 3.2.1).
type clientInformation struct {
	ClientID      string `json:"client_id"`
	IssuedAt      int64  `json:"client_id_issued_at,omitempty"`
	Secret        string `json:"client_secret,omitempty"`
	SecretExpires *int64 `json:"client_secret_expires_at,omitempty"`
	Access        string `json:"registration_access_token"`
	AccessURI     string `json:"registration_client_uri"`

	RedirectURIs   []string     `json:"redirect_uris"`
	Method         ClientMethod `json:"token_endpoint_auth_method"`
	GrantTypes     []Grant      `json:"grant_types"`
	ResponseTypes  []string     `json:"response_types"`
	Name           string       `json:"client_name"`
	URI            string       `json:"client_uri,omitempty"`
	LogoURI        string       `json:"logo_uri,omitempty"`
	Scope          string       `json:"scope"`
	Contacts       []string     `json:"contacts,omitempty"`
	TermsURI       string       `json:"tos_uri,omitempty"`
	PolicyURI      string       `json:"policy_uri,omitempty"`
	JWKSURI        string       `json:"jwks_uri,omitempty"`
	JWKS           jsonDoc      `json:"jwks,omitempty"`
	Kind           string       `json:"application_type"`
	SubjectType    string       `json:"subject_type"`
	IDTokenAlg     string       `json:"id_token_signed_response_alg"`
	MaxAge         int64        `json:"default_max_age,omitempty"`
	RequireTime    bool         `json:"require_auth_time"`
	InitiateLogin  string       `json:"initiate_login_uri,omitempty"`
	PostLogoutURIs []string     `json:"post_logout_redirect_uris,omitempty"`
	BackChannel    string       `json:"backchannel_logout_uri,omitempty"`
	BackChannelSID bool         `json:"backchannel_logout_session_required,omitempty"`
	PAR            bool         `json:"require_pushed_authorization_requests"`
	RequestObject  bool         `json:"require_signed_request_object"`
	DPoP           bool         `json:"dpop_bound_access_tokens"`
}

// scopesOf are the scopes that an app may ask for.
func scopesOf(app App) []string {
	out := slices.Concat(platformScopes, app.Scopes)
	for _, s := range []string{scopeOrgs, scopeOffline} {
		if app.mayAsk(s) {
			out = append(out, s)
		}
	}
	return out
}

// describe tells an app how it stands: what it asked for, and what it got.
func (b *Broker) describe(app App, secret, access string) clientInformation {
	c := clientInformation{
		ClientID: app.ClientID, Secret: secret, Access: access, AccessURI: b.Issuer + "/register/" + url.PathEscape(app.ClientID),
		RedirectURIs: app.RedirectURIs, Method: app.Method, GrantTypes: app.Grants, ResponseTypes: []string{"code"},
		Name: app.Name, URI: app.Home, LogoURI: app.LogoURI, Contacts: app.Contacts, TermsURI: app.TermsURI, PolicyURI: app.PolicyURI,
		JWKSURI: app.JWKSURI, JWKS: app.JWKS, Kind: "web", SubjectType: "public", IDTokenAlg: app.IDTokenAlg,
		MaxAge: int64(app.MaxAge / time.Second), RequireTime: true, InitiateLogin: app.InitiateLogin, PostLogoutURIs: app.PostLogoutURIs,
		BackChannel: app.BackChannelLogoutURI, BackChannelSID: app.BackChannelLogoutURI != "",
		PAR: app.pushes(), RequestObject: app.RequestObject, DPoP: app.binds(),
		Scope: strings.Join(scopesOf(app), " "),
	}
	if len(c.GrantTypes) == 0 {
		c.GrantTypes = []Grant{GrantCode}
	}
	if app.Native {
		c.Kind = "native"
	}
	if app.Pairwise {
		c.SubjectType = "pairwise"
	}
	if secret != "" {
		never := int64(0)
		c.SecretExpires = &never
	}
	return c
}
