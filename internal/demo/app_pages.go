package demo

import (
	"context"
	"net/http"
	"net/url"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
)

// appPage is the app, signed out or in.
type appPage struct {
	App, Tagline, Initials string
	Note                   *note
	// Signed in:
	Who, Email, Org  string
	Company          *card
	Claims           []claim
	Rules            []rule
	Story            *storyLine // nil: no step was needed, or an earlier start of the world saw it
	Steps            []step
	Silent           bool // single sign-on: the story is that of the sign-in that opened the session
	Others           []place
	OtherApp         string
	OtherURL         string
	RawID, RawAccess string
}

// place is another organization to go to.
type place struct{ Name, Part, URL, Brand, Logo, LogoDark string }

func (a *app) show(w http.ResponseWriter, r *http.Request) error {
	v := a.visitOf(w, r)
	a.mu.Lock()
	s, said := v.signedIn, v.note
	v.note = nil
	a.mu.Unlock()
	page := appPage{App: a.name, Tagline: a.tagline, Initials: a.name[:1], Note: said}
	name := "app_out.html"
	if s == nil {
		page.Others = a.world.others("/login", nil)
	} else {
		name = "app_in.html"
		if err := a.fill(r, &page, s); err != nil {
			return err
		}
	}
	return a.world.pages.show(w, http.StatusOK, name, frame{Title: a.name, Sheet: a.sheet, Home: a.world.issuer + "/", Page: page})
}

func (a *app) fill(r *http.Request, page *appPage, s *signedIn) error {
	w := a.world
	page.Who, _ = s.Claims["name"].(string)
	page.Email, _ = s.Claims["email"].(string)
	page.Org, _ = s.Claims["org_name"].(string)
	page.RawID, page.RawAccess = s.Raw, s.Access
	rules, err := w.policyOf(r.Context(), directory.OrgID(s.Org), w.appID(a.handle))
	if err != nil {
		return err
	}
	page.Rules = rules
	here := w.companyOf(directory.OrgID(s.Org))
	through := here
	story, err := w.storyOf(r.Context(), a, s)
	if err != nil {
		return err
	}
	if story != nil {
		line := w.storyLine(*story)
		line.URL = w.issuer + line.URL
		page.Story, page.Steps, page.Silent = &line, stepsOf(*story), story.App != string(w.appID(a.handle))
		if c := w.cameThrough(*story); c != nil {
			through = c
		}
	}
	entered, err := w.entered(r.Context(), s)
	if err != nil {
		return err
	}
	page.Claims = w.claimsOf(s, origin{through, rules, entered})
	page.Others = w.others("/switch", here)
	if here != nil {
		page.Company = &card{Name: here.name, Part: here.part, Brand: here.brand, Logo: here.logo, LogoDark: here.logoDark}
		page.OtherApp, page.OtherURL = w.otherApp(a, here)
	}
	return nil
}

// entered says whether somebody made the account by hand.
func (w *World) entered(ctx context.Context, s *signedIn) (bool, error) {
	realm, _ := s.Claims["realm"].(string)
	p, err := w.Directory.PersonInRealm(ctx, directory.RealmID(realm), directory.PersonID(s.Subject))
	return p.Source != "jit", err
}

// others are the organizations that one may go to, by an address of the app.
func (w *World) others(by string, here *company) []place {
	var out []place
	for _, c := range w.companies {
		if c == here {
			continue
		}
		u := by + "?" + url.Values{"organization": {c.asked()}}.Encode()
		out = append(out, place{Name: c.name, Part: c.part, URL: u, Brand: c.brand, Logo: c.logo, LogoDark: c.logoDark})
	}
	return out
}

// otherApp is the other of the two, signed in to for the same organization.
func (w *World) otherApp(a *app, here *company) (name, address string) {
	for _, o := range w.apps {
		if o != a {
			return o.name, o.base + "/login?" + url.Values{"organization": {here.asked()}}.Encode()
		}
	}
	return "", ""
}

// errorPage is what the app says when it is at a loss itself.
func (a *app) errorPage(w http.ResponseWriter, r *http.Request, err error) {
	page := appPage{App: a.name, Tagline: a.tagline, Initials: a.name[:1], Note: &note{Title: "That did not work", Text: fault.Of(err).Public}, Others: a.world.others("/login", nil)}
	f := frame{Title: "Error: " + a.name, Sheet: a.sheet, Home: a.world.issuer + "/", Page: page}
	if err := a.world.pages.show(w, web.Status(err), "app_out.html", f); err != nil {
		a.world.Log.ErrorContext(r.Context(), "an app's page could not be drawn", "app", a.handle, "error", err)
	}
}
