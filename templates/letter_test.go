package templates_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/templates/templatestest"
	"github.com/vestibule-id/vestibule/themes"
)

func TestEverySentenceOfLettersIsSaid(t *testing.T) {
	kit := templatestest.New(t)
	said := strings.Builder{}
	letters := templatestest.Letters()
	for _, factor := range []string{"passkey", "security_key", "totp", "push", "sms", "email", "password", "recovery_code", "other"} {
		letters = append(letters, templates.FactorChangedMail{Change: templates.FactorAdded, Factor: factor, Org: "Acme Bank"})
	}
	for _, l := range letters {
		for _, org := range []string{"", "Acme Bank"} {
			w := kit.Write(t, kit.LetterLook(t, "acme-bank", org), "en", l)
			said.WriteString(strings.Join(strings.Fields(w.Subject+" "+w.Text+" "+w.HTML), " "))
		}
	}
	for _, key := range templates.Keys("mail.", "sms.") {
		text := templates.Say("en", key)
		if key == "mail.months" {
			text = "November"
		}
		for _, part := range strings.FieldsFunc(strings.NewReplacer("{1}", "|", "{2}", "|", "{3}", "|", "{4}", "|").Replace(text), func(r rune) bool { return r == '|' }) {
			if !strings.Contains(said.String(), strings.TrimSpace(part)) {
				t.Errorf("no letter says %s: %q", key, part)
			}
		}
	}
}

func TestALetterComesThroughJSONAsItWas(t *testing.T) {
	for _, l := range templatestest.Letters() {
		raw, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		back, err := templates.ReadLetter(l.Template(), raw)
		if err != nil || back != l {
			t.Errorf("%+v came back as %+v (%v)", l, back, err)
		}
	}
	for name, raw := range map[string]string{"mail/nothing": "{}", "mail/code": "[]", "login/identify": "{}"} {
		if _, err := templates.ReadLetter(name, []byte(raw)); !errors.Is(err, templates.ErrLetter) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLettersWearTheColorsOfTheOrganization(t *testing.T) {
	kit := templatestest.New(t)
	letter := templatestest.Letters()[2]
	for _, name := range []string{"acme-bank", "mexbanco", "techcorp", "vestibule"} {
		look := kit.LetterLook(t, name, "An organization")
		brand, err := themes.ParseColor(themes.Effective(look.Theme).Brand)
		if err != nil {
			t.Fatal(err)
		}
		light, dark := themes.Derive(brand)
		page := kit.Write(t, look, "en", letter).HTML
		bright, night, _ := strings.Cut(page, "@media (prefers-color-scheme:dark)")
		night, after, _ := strings.Cut(night, "</style>")
		for _, c := range []themes.Color{light.Brand, light.OnBrand, light.BrandText} {
			if !strings.Contains(bright+after, c.String()) {
				t.Errorf("%s: no %s in light", name, c)
			}
		}
		for _, c := range []themes.Color{dark.Brand, dark.OnBrand, dark.BrandText} {
			if !strings.Contains(night, c.String()) {
				t.Errorf("%s: no %s in dark", name, c)
			}
		}
		if strings.Contains(page, "ZgotmplZ") || strings.Contains(page, ".svg") {
			t.Errorf("%s: %s", name, page)
		}
	}
}

// Names keep what makes them names.
func TestS45NamesStayReadable(t *testing.T) {
	kit := templatestest.New(t)
	for name, want := range map[string]string{
		"Acme Bank": "Acme Bank", "Müller & Söhne GmbH": "Müller & Söhne GmbH", "Kaufhaus “Zum Löwen”": "Kaufhaus “Zum Löwen”", "日本銀行": "日本銀行",
		"J. P. Smith Ltd.": "J. P. Smith Ltd.", "Amazon.com": "Amazon com", "A/B Testing": "A B Testing", "see https://evil.example/x": "see evil example x",
		"HTTPS://EVIL.EXAMPLE": "EVIL EXAMPLE", "evil。example": "evil example", "a.b.c.d": "a b c d", "tel:+4912345": "+4912345", "x@y": "x y",
		"line\u2028break\tand\x00more": "line break andmore", "\u202eknaB": "knaB", strings.Repeat("ä", 90): strings.Repeat("ä", 79) + "…",
	} {
		w := kit.Write(t, templates.LetterLook{Org: name}, "en", templates.CodeMail{Code: "123456"})
		if !strings.Contains(w.Text, "Sent for "+want+". Secured") {
			t.Errorf("%q is written %q", name, w.Text[strings.Index(w.Text, "Sent for"):])
		}
	}
}
