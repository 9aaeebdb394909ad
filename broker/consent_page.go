package broker

import (
	"net/http"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/templates"
)

// scopeWords are the scopes that have words of their own on the consent page, with their pictures, in the
// order in which they are shown. What openid alone says stands first.
var scopeWords = []struct{ scope, kind string }{
	{scopeOpenID, "building"}, {scopeProfile, "person"}, {scopeEmail, "mail"}, {scopePhone, "person"}, {scopeAddress, "person"},
	{scopePath, "building"}, {scopeOrgs, "building"}, {scopeOffline, "clock"},
}

// consentPage draws the question in the organization's look.
func (b *Broker) consentPage(w http.ResponseWriter, r *http.Request, c waitingConsent, app App, person directory.Person) error {
	dress, err := b.Looks.Of(r.Context(), c.Org)
	if err != nil {
		return err
	}
	look := dress.Look(r, app.Name, c.Request.Locales)
	page := templates.ConsentPage{
		Action: "/consent/" + r.PathValue("consent"), App: app.Name, Org: look.Org, Who: person.Email, Host: hostOf(c.Request.RedirectURI),
		Policy: webLink(app.PolicyURI), Terms: webLink(app.TermsURI), Items: consentItems(look.Lang, look.Org, app, c.Request),
	}
	if page.Who == "" {
		page.Who = person.Name
	}
	return flows.WritePage(w, b.Pages, http.StatusOK, look, page)
}

// webLink is an address that a page may link to: what an app registered may be anything.
func webLink(address string) string {
	if strings.HasPrefix(address, "https://") {
		return address
	}
	return ""
}

// consentItems says what a request asks for, in plain words.
func consentItems(lang, org string, app App, req authRequest) []templates.ConsentItem {
	var items []templates.ConsentItem
	say := func(kind, key string, args ...string) {
		items = append(items, templates.ConsentItem{
			Kind: kind, Title: templates.Say(lang, "consent."+key, args...), Detail: templates.Say(lang, "consent."+key+".detail", args...),
		})
	}
	for _, s := range scopeWords {
		if slices.Contains(req.Scope, s.scope) && app.tells(s.scope) {
			say(s.kind, "scope."+s.scope, org)
		}
	}
	var more []string
	for _, name := range asked(req.Claims).all() {
		if slices.Contains(req.Scope, scopeOf(name)) {
			continue // its scope says it
		}
		if words := templates.Say(lang, "consent.claim."+name); !slices.Contains(more, words) {
			more = append(more, words)
		}
	}
	if len(more) > 0 {
		say("person", "claims", strings.Join(more, ", "))
	}
	for _, s := range req.Scope {
		if slices.Contains(app.Scopes, s) && !slices.ContainsFunc(scopeWords, func(w struct{ scope, kind string }) bool { return w.scope == s }) {
			say("plug", "scope.other", s, app.Name)
		}
	}
	return items
}

// tells says whether anything of a scope remains when the app's list of claims is applied.
func (s Settings) tells(scope string) bool {
	any := false
	for _, p := range personal {
		if p.scope == scope {
			if s.mayLearn(p.name) {
				return true
			}
			any = true
		}
	}
	return !any
}
