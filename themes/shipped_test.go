package themes

import (
	"errors"
	"slices"
	"testing"
)

func TestShippedThemesAreComplete(t *testing.T) {
	logos, err := ShippedLogos()
	if err != nil {
		t.Fatal(err)
	}
	names := Shipped()
	for _, want := range []string{"acme-bank", "globalretail", "harbor", "mexbanco", "mightybank-americas", "mightybank-emea", "techcorp", "vestibule"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, name := range names {
		theme, err := ShippedTheme(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if theme.Logo != name+".svg" || logos[theme.Logo] == nil {
			t.Errorf("%s: its logo is %q, want its own", name, theme.Logo)
		}
		if theme.LogoDark != "" && logos[theme.LogoDark] == nil {
			t.Errorf("%s: there is no %s", name, theme.LogoDark)
		}
		if theme.Brand == "" || theme.Radius == nil {
			t.Errorf("%s: brand or radius is missing", name)
		}
		if theme.Layout == "split" && (theme.Tagline["en"] == "" || theme.Tagline["es"] == "") {
			t.Errorf("%s: a split layout needs a line in both languages", name)
		}
		brand, err := ParseColor(theme.Brand)
		if err != nil {
			t.Error(name, err)
		}
		readableTheme(t, brand)
	}
}

func TestTheDefaultThemeIsTheShippedOne(t *testing.T) {
	theme, err := ShippedTheme("vestibule")
	if err != nil {
		t.Fatal(err)
	}
	own, _ := CSS(theme)
	byDefault, _ := CSS(Theme{})
	if string(own) != string(byDefault) || theme.Background != Default().Background || theme.Layout != Default().Layout {
		t.Error("vestibule/theme.json and Default differ")
	}
}

func TestAThemeWithAnUnknownSettingIsRefused(t *testing.T) {
	for _, raw := range []string{`{"colour":"#000000"}`, `{"css":"*{}"}`, `[]`, `{`, `{"radius":"8"}`} {
		if _, err := Parse([]byte(raw)); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v, want %v", raw, err, ErrDocument)
		}
	}
	if _, err := ShippedTheme("../themes"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
