package flows

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/templates"
)

// Remembered is an organization that this browser signed in to. It lives in a sealed cookie of the
// browser alone: no other browser learns of it, and it proves nothing.
type Remembered struct {
	Org  directory.OrgID
	Hint string // the address, masked
	// App is set when the person asked that this organization be taken for that app without asking.
	App directory.AppID
}

const (
	rememberCookie = "vr"
	rememberMost   = 5
	rememberLife   = 180 * 24 * time.Hour
)

func (e *Engine) remembered(r *http.Request) []Remembered {
	var list []Remembered
	if !e.Cookies.Open(r, rememberCookie, &list) || len(list) > rememberMost {
		return nil
	}
	return list
}

// remember puts the organization of a finished login first.
func (e *Engine) remember(w http.ResponseWriter, r *http.Request, t *Turn) {
	now := Remembered{Org: t.Login.Org, Hint: Mask(t.State.Person.Person.Email)}
	before := e.remembered(r)
	if t.Login.Keep {
		now.App = t.Login.Request.App.ID
	}
	for _, m := range before {
		if m.Org == now.Org && now.App == "" && t.Login.Route != RouteChosen {
			now.App = m.App
		}
	}
	if len(before) > 0 && before[0] == now {
		return
	}
	list := append([]Remembered{now}, slices.DeleteFunc(before, func(m Remembered) bool { return m.Org == now.Org })...)
	for i := range list[1:] {
		if list[i+1].App == now.App {
			list[i+1].App = "" // one organization is taken for an app
		}
	}
	if err := e.Cookies.Seal(w, rememberCookie, list[:min(len(list), rememberMost)], rememberLife); err != nil {
		e.Log.WarnContext(r.Context(), "the remembered organizations could not be sealed", "error", err)
	}
}

// Mask shows enough of an address to recognise one's own.
func Mask(address string) string {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" {
		return ""
	}
	first := []rune(local)[0]
	return string(first) + "…@" + domain
}

// rememberedOrgs are the cards of the identify page: those of the login's realm that may use the app.
func (e *Engine) rememberedOrgs(ctx context.Context, l *Login, list []Remembered) []templates.RememberedOrg {
	var out []templates.RememberedOrg
	for _, m := range list {
		facts, _, err := e.Judge.org(ctx, m.Org, l.Request.App)
		if err != nil || !facts.open(l.Request.Realm) {
			continue
		}
		dress, err := e.Looks.Of(ctx, m.Org)
		if err != nil {
			continue
		}
		card := templates.RememberedOrg{Value: string(m.Org), Name: facts.Chain.Org().Name, Hint: m.Hint}
		card.Logo, card.LogoDark = dress.Logos()
		out = append(out, card)
	}
	return out
}

// open says whether somebody could sign in to the organization now.
func (f *OrgFacts) open(realm directory.RealmID) bool {
	return f.Entitled && (len(f.Usable) > 0 || f.Local.Any()) && f.Chain.Status() == directory.Active && f.Chain.Org().Realm == realm
}

// routeRemembered follows a card. Only what the cookie holds can be chosen.
func (e *Engine) routeRemembered(ctx context.Context, l *Login, org directory.OrgID, list []Remembered) error {
	for _, m := range list {
		if m.Org != org {
			continue
		}
		facts, _, err := e.Judge.org(ctx, org, l.Request.App)
		if err != nil {
			return err
		}
		if !facts.open(l.Request.Realm) {
			return ErrOrgUnavailable
		}
		l.Org, l.Route, l.Identifier = org, RouteRemembered, ""
		return nil
	}
	return ErrOutOfOrder.Because("not an organization that this browser remembers")
}
