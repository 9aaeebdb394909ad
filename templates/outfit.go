package templates

import (
	"regexp"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/themes"
)

// ErrThemeName: Publish was given a name that would not survive in an address.
var ErrThemeName = fault.New(fault.Internal, "templates.theme_name", "This look cannot be published under that name.")

var (
	themeName    = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	sheetAddress = regexp.MustCompile(`^/theme/([a-z0-9_-]{1,64})\.[a-z2-7]{10}\.css$`)
)

// maxSheets bounds the memory that organizations' stylesheets take, about a kilobyte each. One that was
// dropped is found again through Assets.Theme.
const maxSheets = 8192

// Outfit is a theme whose stylesheet and logos have addresses. Making the first of a theme derives its
// colors, which costs a tenth of a millisecond; a Look of an Outfit costs nothing.
type Outfit struct {
	theme                 themes.Theme
	sheet, logo, logoDark string
}

// sheetKey is all that the content of a stylesheet and its address depend on.
type sheetKey struct {
	name, brand, accent string
	radius              int
}

// Publish gives a theme its addresses. t is the organization's theme merged with its ancestors';
// name says whose it is: an organization's id.
func (a *Assets) Publish(name string, t themes.Theme) (Outfit, error) {
	if !themeName.MatchString(name) {
		return Outfit{}, ErrThemeName.Because(name)
	}
	if err := t.Validate(); err != nil {
		return Outfit{}, err
	}
	t = themes.Effective(t)
	sheet, err := a.publishSheet(name, t)
	if err != nil {
		return Outfit{}, err
	}
	return Outfit{theme: t, sheet: sheet, logo: a.names[t.Logo], logoDark: a.names[t.LogoDark]}, nil
}

func (a *Assets) publishSheet(name string, t themes.Theme) (string, error) {
	key := sheetKey{name, t.Brand, t.Accent, *t.Radius}
	a.mu.RLock()
	address := a.worn[key]
	a.mu.RUnlock()
	if address != "" {
		return address, nil
	}
	css, err := themes.CSS(t)
	if err != nil {
		return "", err
	}
	address = themes.Address(name, css, "css")
	a.keepSheet(key, address, newFile(".css", css))
	return address, nil
}

func (a *Assets) keepSheet(key sheetKey, address string, f *file) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for old, where := range a.worn {
		if len(a.worn) < maxSheets {
			break
		}
		delete(a.worn, old)
		delete(a.sheets, where)
	}
	a.worn[key], a.sheets[address] = address, f
}

// Look dresses a page of the organization org for one person: app fills the {application} of the
// theme's lines, lang is one of Languages.
func (o Outfit) Look(org, app, lang string) Look {
	fill := strings.NewReplacer("{application}", app, "{organization}", org)
	return Look{
		Org: org, Lang: lang, Theme: o.sheet,
		Logo: o.logo, LogoDark: o.logoDark, HideName: o.theme.HideName,
		Layout: o.theme.Layout, Background: o.theme.Background, Scheme: o.theme.Scheme,
		Tagline: fill.Replace(inLanguage(o.theme.Tagline, lang)),
		Intro:   fill.Replace(inLanguage(o.theme.Intro, lang)),
		Help:    o.theme.Help, Privacy: o.theme.Privacy, Terms: o.theme.Terms,
	}
}

// Locale is the language that the organization chose, or "".
func (o Outfit) Locale() string { return o.theme.Locale }

// inLanguage takes the line in that language: "es-MX" when it is written for that, else "es". A line
// in another language is worse than none.
func inLanguage(lines map[string]string, lang string) string {
	for written, line := range lines {
		if short(written) == lang {
			return line
		}
	}
	return ""
}
