package themes

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func px(n int) *int { return &n }

// No value that somebody can set reaches a style rule, a script or a link as anything but itself.
func TestS34EverySettingIsBounded(t *testing.T) {
	line := func(s string) map[string]string { return map[string]string{"en": s} }
	for name, tc := range map[string]struct {
		theme Theme
		want  error
	}{
		"a color":                {Theme{Brand: "#0F6b73"}, nil},
		"a short color":          {Theme{Brand: "#fff"}, ErrColor},
		"a named color":          {Theme{Brand: "red"}, ErrColor},
		"a color and a rule":     {Theme{Brand: "#0f6b73;}*{background:url(//evil.example)}"}, ErrColor},
		"a function":             {Theme{Accent: "rgb(0 0 0)"}, ErrColor},
		"seven odd characters":   {Theme{Accent: "#12g456"}, ErrColor},
		"sharp":                  {Theme{Radius: px(0)}, nil},
		"round":                  {Theme{Radius: px(16)}, nil},
		"too round":              {Theme{Radius: px(17)}, ErrRadius},
		"less than sharp":        {Theme{Radius: px(-1)}, ErrRadius},
		"a layout":               {Theme{Layout: "split"}, nil},
		"an unknown layout":      {Theme{Layout: "card\" onload=\""}, ErrLayout},
		"an unknown background":  {Theme{Background: "url(x)"}, ErrBackground},
		"an unknown scheme":      {Theme{Scheme: "sepia"}, ErrScheme},
		"a logo":                 {Theme{Logo: "acme-bank.svg"}, nil},
		"a logo elsewhere":       {Theme{Logo: "https://evil.example/x.svg"}, ErrLogoName},
		"a logo above":           {Theme{LogoDark: "../secret.svg"}, ErrLogoName},
		"a logo that is none":    {Theme{Logo: "page.html"}, ErrLogoName},
		"a line":                 {Theme{Tagline: line("¡Tu tesorería, {organization}!")}, nil},
		"120 characters":         {Theme{Intro: line(strings.Repeat("ñ", 120))}, nil},
		"121 characters":         {Theme{Intro: line(strings.Repeat("n", 121))}, ErrLine},
		"a line break":           {Theme{Intro: line("one\ntwo")}, ErrLine},
		"an unknown placeholder": {Theme{Intro: line("Hello {person}")}, ErrLine},
		"a direction override":   {Theme{Intro: line("gro.elpmaxe\u202e")}, ErrLine},
		"invisible":              {Theme{Intro: line("a\u200bb")}, ErrLine},
		"broken UTF-8":           {Theme{Intro: line("a\xffb")}, ErrLine},
		"a strange language":     {Theme{Intro: map[string]string{"en\"": "x"}}, ErrLocale},
		"help by web":            {Theme{Help: "https://acme.example/help?a=b#c"}, nil},
		"help by mail":           {Theme{Help: "mailto:help@acme.example"}, nil},
		"plain http":             {Theme{Help: "http://acme.example"}, ErrLink},
		"a script":               {Theme{Privacy: "javascript:alert(1)"}, ErrLink},
		"a script in capitals":   {Theme{Privacy: "JavaScript:alert(1)"}, ErrLink},
		"a document":             {Theme{Privacy: "data:text/html,x"}, ErrLink},
		"relative":               {Theme{Terms: "/logout"}, ErrLink},
		"another host":           {Theme{Terms: "//evil.example"}, ErrLink},
		"a lookalike":            {Theme{Terms: "https://acme.example@evil.example/"}, ErrLink},
		"a space":                {Theme{Terms: "https://acme.example/ x"}, ErrLink},
		"a tab":                  {Theme{Terms: "java\tscript:alert(1)"}, ErrLink},
		"mail to nobody":         {Theme{Terms: "mailto:"}, ErrLink},
		"long":                   {Theme{Terms: "https://acme.example/" + strings.Repeat("x", 500)}, ErrLink},
		"a language":             {Theme{Locale: "es-MX"}, nil},
		"no language":            {Theme{Locale: "\"><script>"}, ErrLocale},
	} {
		err := tc.theme.Validate()
		if tc.want == nil && err != nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		if _, cssErr := CSS(tc.theme); (cssErr != nil) != (tc.want != nil) {
			t.Errorf("%s: CSS says %v", name, cssErr)
		}
	}
}

var oneRule = regexp.MustCompile(`^:root\{(--org-[a-z-]+:(#[0-9a-f]{6}|[0-9]{1,2}px);?)+\}\n$`)

func TestS34TheStylesheetIsOneRuleOfColors(t *testing.T) {
	for name, file := range map[string]string{
		"techcorp": "techcorp", "mexbanco": "mexbanco", "acme-bank": "acme-bank",
		"mightybank-americas": "mightybank-americas", "vestibule": "vestibule",
	} {
		theme, err := ShippedTheme(name)
		if err != nil {
			t.Fatal(err)
		}
		css, err := CSS(theme)
		if err != nil {
			t.Fatal(err)
		}
		if !oneRule.Match(css) {
			t.Errorf("%s: %s", name, css)
		}
		want, err := os.ReadFile("testdata/" + file + ".css")
		if err != nil {
			t.Fatal(err)
		}
		if string(css) != string(want) {
			t.Errorf("%s:\n got %s\nwant %s", name, css, want)
		}
	}
}

func TestInheritanceIsPerSetting(t *testing.T) {
	bank := Theme{Brand: "#12377f", Radius: px(6), Logo: "bank.svg", LogoDark: "bank-dark.svg", HideName: true,
		Help: "mailto:help@bank.example", Tagline: map[string]string{"en": "Bank", "es": "Banco"}}
	branch := Theme{Brand: "#5747d8", Logo: "branch.svg", Tagline: map[string]string{"en": "Branch"}}
	got := Effective(bank, branch)
	if got.Brand != "#5747d8" || *got.Radius != 6 || got.Help != bank.Help || got.Accent != Default().Accent || got.Layout != "card" {
		t.Errorf("%+v", got)
	}
	if got.Logo != "branch.svg" || got.LogoDark != "" || got.HideName {
		t.Error("a logo, its dark form and whether it says the name are one setting", got)
	}
	if !maps.Equal(got.Tagline, map[string]string{"en": "Branch", "es": "Banco"}) {
		t.Error("lines inherit by language", got.Tagline)
	}
	if len(bank.Tagline) != 2 || bank.Tagline["en"] != "Bank" {
		t.Error("the parent was changed")
	}
}

// A setting that Merge forgets would silently stop at the child.
func TestMergeForgetsNoSetting(t *testing.T) {
	full := Theme{Brand: "#000000", Accent: "#000000", Radius: px(0), Logo: "a.svg", LogoDark: "b.svg", HideName: true, Layout: "plain",
		Background: "plain", Scheme: "dark", Tagline: map[string]string{"en": "a"}, Intro: map[string]string{"en": "b"},
		Help: "mailto:a@b.example", Privacy: "mailto:a@b.example", Terms: "mailto:a@b.example", Locale: "es"}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("the test forgets %s", v.Type().Field(i).Name)
		}
	}
	if got := Effective(full, Theme{}); !reflect.DeepEqual(got, full) {
		t.Errorf("%+v", got)
	}
}

func TestAnAddressNamesItsContent(t *testing.T) {
	a, b := Address("acme", []byte("a"), "css"), Address("acme", []byte("b"), "css")
	if a == b || !regexp.MustCompile(`^/theme/acme\.[a-z2-7]{10}\.css$`).MatchString(a) {
		t.Error(a, b)
	}
}
