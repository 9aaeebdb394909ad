package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// rule is one setting that holds.
type rule struct{ Key, Title, Value, By string }

// claim is one claim of the id token with where it came from.
type claim struct {
	Name, Value string
	From        string // "company", "house", "policy", "app"
	Label       string
	Why         string
}

// order is how claims are read: who, where, how, then the token's own.
var order = []string{
	"name", "given_name", "family_name", "email", "email_verified", "locale", "sub",
	"org_name", "org_id", "org_handle", "org_path", "realm",
	"auth_time", "amr", "acr", "exp", "iat", "sid", "nonce", "iss", "aud", "at_hash",
}

// claimsOf tells where each claim came from.
func (w *World) claimsOf(s *signedIn, from origin) []claim {
	var out []claim
	for name, value := range s.Claims {
		c := claim{Name: name, Value: written(name, value)}
		c.From, c.Why = from.of(name, s)
		c.Label = map[string]string{"house": "Vestibule", "policy": "Policy", "app": "This app"}[c.From]
		if c.From == "company" {
			c.Label = from.through.idp
		}
		out = append(out, c)
	}
	rank := func(c claim) int {
		if i := slices.Index(order, c.Name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(out, func(a, b claim) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// written is a value as people read it.
func written(name string, value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		at := time.Unix(int64(v), 0).UTC().Format("2 Jan 2006, 15:04:05 UTC")
		return fmt.Sprintf("%d (%s)", int64(v), at)
	case []any:
		if name == "org_path" {
			return written(name, pathNames(v))
		}
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(raw)
}

func pathNames(path []any) string {
	var names []string
	for _, up := range path {
		if m, ok := up.(map[string]any); ok {
			names = append(names, fmt.Sprint(m["name"]))
		}
	}
	return strings.Join(names, " › ")
}

// fixed are the sources of claims that do not depend on who signed in.
var fixed = map[string][2]string{
	"sub":        {"house", "Made for this person once. It stays when address, name or provider change."},
	"org_id":     {"house", "The organization this sign-in was for. The key for your data is sub and org_id."},
	"org_handle": {"house", "Its short name, never given out again."},
	"org_name":   {"house", "Its name today."},
	"org_path":   {"house", "It and the organizations above it."},
	"realm":      {"house", "The identity store that the person belongs to."},
	"acr":        {"house", "What the proofs are worth here, judged by Vestibule and not taken from anybody."},
	"iat":        {"house", "When this token was made."},
	"sid":        {"house", "This session as this app knows it. Other apps know it by other names."},
	"iss":        {"house", "The same for every company: your app trusts one issuer."},
	"at_hash":    {"house", "Ties the access token to this one."},
	"nonce":      {"app", "What the app sent along, so that it knows its own answer."},
	"aud":        {"app", "The app’s client id: for nobody else."},
}

// origin is what tells where a sign-in's claims came from.
type origin struct {
	through *company // whose provider vouched; nil when that is not known
	rules   []rule
	entered bool // the account was made by hand: a provider changes only the accounts it made
}

// of says where a claim came from, and why.
func (o origin) of(name string, s *signedIn) (from, why string) {
	if f, ok := fixed[name]; ok {
		return f[0], f[1]
	}
	switch name {
	case "exp":
		for _, r := range o.rules {
			if r.Key == "tokens.access_lifetime" {
				return "policy", fmt.Sprintf("%s: %s. %s.", r.Title, r.Value, r.By)
			}
		}
	case "email_verified":
		address, _ := s.Claims["email"].(string)
		_, domain, _ := strings.Cut(address, "@")
		return "house", "True because " + domain + " is verified for the person’s company, not because a provider says so."
	}
	switch {
	case o.entered && name != "amr" && name != "auth_time":
		return "house", "As an administrator entered it. A provider changes only the accounts that it made."
	case o.through != nil:
		return "company", sentAs(o.through, name)
	}
	return "house", "As kept from an earlier sign-in."
}

// The attributes that an Entra-like provider calls by long names.
const claimXMLSoap = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"

var samlNames = map[string]string{
	"name": claimMicrosoft + "displayname", "given_name": claimXMLSoap + "givenname", "family_name": claimXMLSoap + "surname",
	"email": claimXMLSoap + "emailaddress",
}

// sentAs is what the company's provider calls what became the claim.
func sentAs(c *company, name string) string {
	kind := "Claim "
	sent := name
	if c.kind == fakeidp.SAML {
		kind = "Attribute "
		if sent = samlNames[name]; sent == "" {
			return map[string]string{"auth_time": "AuthnInstant of the assertion.", "amr": "Attribute authnmethodsreferences of the provider’s answer."}[name]
		}
	}
	return kind + sent + " of the provider’s answer."
}

// storyOf is the trace of whoever is signed in; nil when this start of the world saw none.
func (w *World) storyOf(ctx context.Context, a *app, s *signedIn) (*audit.Trace, error) {
	t, found, err := w.Stories.of(ctx, sign{s.Subject, s.Org, string(w.appID(a.handle))})
	if err != nil || !found {
		return nil, err
	}
	return &t, nil
}

// appID is the house's name of an app.
func (w *World) appID(clientID string) directory.AppID {
	for _, a := range w.registered {
		if a.ClientID == clientID {
			return a.ID
		}
	}
	return ""
}
