package broker

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/flows"
)

// claimsRequest is which personal claims an app asked for by name (OpenID Connect Core section 5.5). Its
// JSON travels with the login, the code and the grant.
type claimsRequest struct {
	IDToken  []string `json:"id_token,omitempty"`
	Userinfo []string `json:"userinfo,omitempty"`
}

// asked reads what a login, a code or a grant carries.
func asked(raw json.RawMessage) (c claimsRequest) {
	if len(raw) > 0 {
		_ = json.Unmarshal(raw, &c) // of our own making; what cannot be read asks for nothing
	}
	return c
}

// all are the names in either place, each once.
func (c claimsRequest) all() []string {
	out := slices.Clone(c.IDToken)
	for _, name := range c.Userinfo {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// claimWish is one member of a claims request. A null wishes for the claim and no more.
type claimWish struct {
	Essential bool  `json:"essential"`
	Value     any   `json:"value"`
	Values    []any `json:"values"`
}

// texts are the wished values that are text.
func (w *claimWish) texts() []string {
	if w == nil {
		return nil
	}
	var out []string
	for _, v := range append([]any{w.Value}, w.Values...) {
		if text, ok := v.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// maxClaims is how long a claims parameter may be, in bytes.
const maxClaims = 8 << 10

// parseClaims reads the claims parameter. Names that mean nothing here are ignored (OpenID Connect Core
// section 5.5.1); so are values of personal claims, which are told as they are.
func (b *Broker) parseClaims(req *authRequest, app App, v url.Values) error {
	if !b.reachable(app.MinACR) {
		return errUnmet
	}
	req.needed = rungOf(app.MinACR)
	raw := v.Get("claims")
	if raw == "" {
		return nil
	}
	var wishes struct {
		IDToken  map[string]*claimWish `json:"id_token"`
		Userinfo map[string]*claimWish `json:"userinfo"`
	}
	if err := json.Unmarshal([]byte(raw), &wishes); err != nil || len(raw) > maxClaims {
		return invalid("claims is not a claims request")
	}
	if err := b.wishACR(req, wishes.IDToken["acr"]); err != nil {
		return err
	}
	// Section 5.5.1: only the person of that sub may be answered for.
	if subs := wishes.IDToken["sub"].texts(); len(subs) > 0 {
		req.mean(subs...)
	}
	var c claimsRequest
	for _, p := range personal {
		if _, wished := wishes.IDToken[p.name]; wished && app.mayLearn(p.name) {
			c.IDToken = append(c.IDToken, p.name)
		}
		if _, wished := wishes.Userinfo[p.name]; wished && app.mayLearn(p.name) {
			c.Userinfo = append(c.Userinfo, p.name)
		}
	}
	if c.IDToken == nil && c.Userinfo == nil {
		return nil
	}
	var err error
	req.Claims, err = json.Marshal(c)
	return err
}

// errUnmet: OpenID Connect Core Error Code unmet_authentication_requirements 1.0.
var errUnmet = &authError{"unmet_authentication_requirements", "this authentication context cannot be reached"}

// wishACR reads which authentication contexts the app asks for by the acr claim, of which any will do. One
// that is essential and cannot be reached refuses the request (OpenID Connect Core section 5.5.1.1).
func (b *Broker) wishACR(req *authRequest, wish *claimWish) error {
	if wish == nil || wish.Value == nil && len(wish.Values) == 0 {
		return nil
	}
	least, any := b.least(wish.texts())
	switch {
	case !wish.Essential:
		req.wished = max(req.wished, least)
	case !any:
		return errUnmet
	default:
		req.needed = max(req.needed, least)
	}
	return nil
}

// parseACR reads acr_values: voluntary, any of them will do (OpenID Connect Core section 3.1.2.1; RFC 9470
// section 4).
func (b *Broker) parseACR(req *authRequest, _ App, v url.Values) error {
	least, _ := b.least(strings.Fields(v.Get("acr_values")))
	req.wished = max(req.wished, least)
	return nil
}

// least is the lowest of the contexts that can be reached, and whether any can.
func (b *Broker) least(acrs []string) (least flows.Rung, any bool) {
	for _, acr := range acrs {
		if at := rungOf(acr); at > flows.RungNone && at <= b.top() && (!any || at < least) {
			least, any = at, true
		}
	}
	return least, any
}
