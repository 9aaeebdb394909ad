package themes

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// This file holds the list of what a theme may set and the bounds of each.

var (
	ErrColor      = fault.New(fault.Invalid, "themes.bad_color", "A color is written as # and six hexadecimal digits, like #0f6b73.")
	ErrRadius     = fault.New(fault.Invalid, "themes.bad_radius", "The corner radius is a whole number of pixels from 0 to 16.")
	ErrLayout     = fault.New(fault.Invalid, "themes.bad_layout", "The layout is card, split or plain.")
	ErrBackground = fault.New(fault.Invalid, "themes.bad_background", "The background is plain or tint.")
	ErrScheme     = fault.New(fault.Invalid, "themes.bad_scheme", "The color scheme is auto, light or dark.")
	ErrLine       = fault.New(fault.Invalid, "themes.bad_line", "A line of text has at most 120 characters, no line breaks, and no placeholders but {application} and {organization}.")
	ErrLink       = fault.New(fault.Invalid, "themes.bad_link", "A link starts with https:// or mailto: and has at most 500 characters.")
	ErrLocale     = fault.New(fault.Invalid, "themes.bad_locale", "A language is written like en or es-MX.")
	ErrLogoName   = fault.New(fault.Invalid, "themes.bad_logo_name", "A logo is named by lower-case letters, digits and hyphens, and ends in .svg or .png.")
)

const (
	maxRadius = 16
	maxLine   = 120
	maxLink   = 500
)

var (
	localeForm   = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z]{2})?$`)
	logoNameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}\.(svg|png)$`)
	placeholders = strings.NewReplacer("{application}", "", "{organization}", "")
)

// ParseColor reads #rrggbb and nothing else: no names, no short forms, no functions.
func ParseColor(s string) (Color, error) {
	if len(s) != 7 || s[0] != '#' {
		return Color{}, ErrColor
	}
	b, err := hex.DecodeString(s[1:])
	if err != nil {
		return Color{}, ErrColor
	}
	return Color{b[0], b[1], b[2]}, nil
}

// Validate says the first thing that is wrong with what the theme sets; unset values are right.
func (t Theme) Validate() error {
	return errors.Join(
		named("brand", colorOrUnset(t.Brand)),
		named("accent", colorOrUnset(t.Accent)),
		named("radius", radius(t.Radius)),
		named("logo", logoName(t.Logo)),
		named("logo_dark", logoName(t.LogoDark)),
		named("layout", oneOf(ErrLayout, t.Layout, "card", "split", "plain")),
		named("background", oneOf(ErrBackground, t.Background, "plain", "tint")),
		named("scheme", oneOf(ErrScheme, t.Scheme, "auto", "light", "dark")),
		named("tagline", lines(t.Tagline)),
		named("intro", lines(t.Intro)),
		named("help", link(t.Help)),
		named("privacy", link(t.Privacy)),
		named("terms", link(t.Terms)),
		named("locale", locale(t.Locale)),
	)
}

func named(setting string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", setting, err)
}

func colorOrUnset(s string) error {
	if s == "" {
		return nil
	}
	_, err := ParseColor(s)
	return err
}

func radius(r *int) error {
	if r != nil && (*r < 0 || *r > maxRadius) {
		return ErrRadius.Because(strconv.Itoa(*r))
	}
	return nil
}

func oneOf(otherwise error, s string, allowed ...string) error {
	if s == "" {
		return nil
	}
	for _, a := range allowed {
		if s == a {
			return nil
		}
	}
	return otherwise
}

func logoName(s string) error {
	if s == "" || logoNameForm.MatchString(s) {
		return nil
	}
	return ErrLogoName
}

func locale(s string) error {
	if s == "" || localeForm.MatchString(s) {
		return nil
	}
	return ErrLocale
}

func lines(byLanguage map[string]string) error {
	for lang, s := range byLanguage {
		if !localeForm.MatchString(lang) {
			return ErrLocale
		}
		if !plainLine(s) {
			return ErrLine
		}
	}
	return nil
}

// plainLine refuses what could pass for something else: control and invisible characters, direction
// overrides, braces that are no placeholder.
func plainLine(s string) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxLine {
		return false
	}
	for _, r := range placeholders.Replace(s) {
		if !unicode.IsPrint(r) || r == '{' || r == '}' {
			return false
		}
	}
	return true
}

func link(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || len(s) > maxLink || strings.ContainsFunc(s, unicode.IsSpace) {
		return ErrLink
	}
	web := u.Scheme == "https" && u.Host != "" && u.User == nil
	mail := u.Scheme == "mailto" && strings.Count(u.Opaque, "@") == 1
	if !web && !mail {
		return ErrLink
	}
	return nil
}
