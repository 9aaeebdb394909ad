package broker

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What access tokens are for (RFC 8707). An app may ask for the audiences that the operator gave it; a
// token is for one of them, or for this provider's own userinfo.

const maxResources = 8

// targetError says that an app may not have a token for what it named (RFC 8707 section 2).
const targetError = "invalid_target"

var errTarget = &oauthError{targetError, "the resource is not one that this app may have tokens for, or more than one is named", http.StatusBadRequest}

// parseResources reads the resources of an authorization request: the one parameter that may come more
// than once.
func (b *Broker) parseResources(req *authRequest, app App, v url.Values) error {
	for _, r := range v["resource"] {
		if !b.mayTarget(app, r) || len(req.Resources) == maxResources {
			return differs(&authError{targetError, errTarget.description}, otherTarget("registered", app.Audiences, r))
		}
		if !slices.Contains(req.Resources, r) {
			req.Resources = append(req.Resources, r)
		}
	}
	return nil
}

// mayTarget says whether an app may have tokens for an audience: this provider, or one of its own. They
// are absolute URIs without a fragment (RFC 8707 section 2).
func (b *Broker) mayTarget(app App, audience string) bool {
	return audience == b.Issuer || absolute(audience) && slices.Contains(app.Audiences, audience)
}

func absolute(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && !strings.ContainsFunc(uri, notVisible) && !strings.Contains(uri, "#") && u.Scheme != "" && (u.Host != "" || u.Opaque != "") && u.User == nil
}

// checkTargets refuses audiences that are no absolute URIs (RFC 8707 section 2), scopes that are none (RFC
// 6749 section 3.3) or that mean something to us, and refresh tokens that stay where nothing else protects
// them (S48).
func (a App) checkTargets() error {
	for _, aud := range a.Audiences {
		if !absolute(aud) {
			return ErrAppSettings.Because("an audience is an absolute URI without user and fragment: " + aud)
		}
	}
	for _, s := range a.Scopes {
		ours := slices.Contains(platformScopes, s) || s == scopeOffline || s == scopeOrgs || strings.HasPrefix(s, scopeOrg+":")
		if s == "" || ours || strings.ContainsFunc(s, notVisible) || strings.ContainsAny(s, `"\`) {
			return ErrAppSettings.Because("a scope of the app's own, without spaces and quotes: " + s)
		}
	}
	if a.KeepRefresh && !a.keepsRefresh() {
		return ErrAppSettings.Because("refresh tokens stay only where the app is confidential and its tokens are bound to its keys")
	}
	return nil
}

// audience says whom a token is for: the resource that is asked for now, else the one that the grant is
// for. Where it is for none or for several, the token is for this provider. What was asked for at the
// authorization endpoint is never widened.
func (b *Broker) audience(app App, asked string, granted []string) (string, error) {
	switch {
	case asked == "" && len(granted) == 1:
		asked = granted[0] // judged anew: the app may have lost it since
	case asked == "":
		return b.Issuer, nil
	}
	switch {
	case !b.mayTarget(app, asked):
		return "", differs(errTarget, otherTarget("registered", app.Audiences, asked))
	case len(granted) > 0 && asked != b.Issuer && !slices.Contains(granted, asked):
		return "", differs(errTarget, otherTarget("granted", granted, asked))
	}
	return asked, nil
}

// otherTarget says which audiences there are for an app, and which was sent.
func otherTarget(what string, audiences []string, sent string) string {
	switch len(audiences) {
	case 0:
		what += " is none"
	case 1:
		what += " is " + shownURI(audiences[0])
	default:
		what += " are " + uris(audiences)
	}
	return what + ", sent was " + shownURI(sent)
}

// without is the values but for one parameter.
func without(v url.Values, name string) url.Values {
	c := maps.Clone(v)
	delete(c, name)
	return c
}
