package flows

import (
	"context"
	"net/http"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/themes"
)

// Looks dresses pages as the organizations they belong to.
type Looks struct {
	Orgs   directory.Orgs
	Themes Themes
	Assets *templates.Assets
}

// Dress is an organization's look, ready for any request.
type Dress struct {
	outfit templates.Outfit
	name   string
	locale string // what the organization chose, or ""
}

// Of gives an organization's look, inherited setting by setting; "" is the platform's.
func (l *Looks) Of(ctx context.Context, org directory.OrgID) (Dress, error) {
	if org == "" {
		outfit, err := l.Assets.Publish(platformLook, themes.Theme{})
		return Dress{outfit: outfit}, err
	}
	chain, err := l.Orgs.OrgChain(ctx, org)
	if err != nil {
		return Dress{}, err
	}
	merged, err := l.merged(ctx, chain)
	if err != nil {
		return Dress{}, err
	}
	outfit, err := l.Assets.Publish(string(org), merged)
	return Dress{outfit: outfit, name: chain.Org().Name, locale: merged.Locale}, err
}

// Letter is what an organization's e-mails look like now; "" is the platform's. base is the issuer, under
// which pictures are found.
func (l *Looks) Letter(ctx context.Context, org directory.OrgID, base string) (templates.LetterLook, error) {
	if org == "" {
		return templates.LetterLook{Base: base}, nil
	}
	chain, err := l.Orgs.OrgChain(ctx, org)
	if err != nil {
		return templates.LetterLook{}, err
	}
	merged, err := l.merged(ctx, chain)
	return templates.LetterLook{Org: chain.Org().Name, Theme: merged, Base: base}, err
}

// platformLook names the stylesheet of pages that are no organization's.
const platformLook = "platform"

func (l *Looks) merged(ctx context.Context, chain directory.Chain) (themes.Theme, error) {
	merged := themes.Theme{}
	for _, o := range chain {
		own, err := l.Themes.Theme(ctx, o.ID)
		if err != nil {
			return merged, err
		}
		merged = themes.Merge(merged, own)
	}
	return merged, nil
}

// Named is for Assets: it finds the theme of a stylesheet that this node has not made yet.
func (l *Looks) Named(ctx context.Context, name string) (themes.Theme, error) {
	if name == platformLook {
		return themes.Theme{}, nil
	}
	chain, err := l.Orgs.OrgChain(ctx, directory.OrgID(name))
	if err != nil {
		return themes.Theme{}, err
	}
	return l.merged(ctx, chain)
}

// Look is the dress for one request. The page speaks the language that the app wished (ui_locales),
// else the organization's, else the browser's.
func (d Dress) Look(r *http.Request, app, wish string) templates.Look {
	return d.outfit.Look(d.name, app, templates.Language(wish, d.locale, r.Header.Get("Accept-Language")))
}

// Name is the organization's; "" is the platform's.
func (d Dress) Name() string { return d.name }

// Logos are the addresses of the organization's logo for light and dark pages.
func (d Dress) Logos() (light, dark string) {
	look := d.outfit.Look(d.name, "", "")
	return look.Logo, look.LogoDark
}
