package templatestest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/themes"
)

// Letters is one example of every letter in every state, one with all that may be known and one with as
// little as there may be.
func Letters() []templates.Letter {
	at := time.Date(2026, 11, 22, 9, 40, 0, 0, time.UTC)
	const link = "https://login.example.com/l/8Kd2-vQx7mT2cL5rB8nW1yH4dS6gJ0fA"
	return []templates.Letter{
		templates.CodeMail{Code: "482913", App: "Treasury Hub", Org: "Acme Bank", Browser: "Chrome on Windows", Place: "Lyon, France", At: at, Minutes: 10},
		templates.CodeMail{Code: "482913", At: at, Minutes: 10},
		templates.LinkMail{URL: link, App: "Treasury Hub", Org: "Acme Bank", Browser: "Firefox on Linux", Place: "Lyon, France", At: at, Minutes: 15},
		templates.LinkMail{URL: link, Minutes: 15},
		templates.ResetMail{URL: link, Account: "priya.raman@acmebank.example", App: "Treasury Hub", Org: "Acme Bank", Browser: "Safari on iPhone", At: at, Minutes: 30},
		templates.FactorChangedMail{Change: templates.FactorAdded, Factor: "passkey", Name: "My laptop", Org: "Acme Bank", Browser: "Chrome on Windows", Place: "Lyon, France", At: at, URL: link},
		templates.FactorChangedMail{Change: templates.FactorRemoved, Factor: "totp", Org: "Acme Bank", At: at},
		templates.FactorChangedMail{Change: templates.FactorReplaced, Factor: "password", At: at},
		templates.RecoveryUsedMail{Left: 7, App: "Treasury Hub", Org: "Acme Bank", Browser: "Chrome on Windows", Place: "Lyon, France", At: at, URL: link},
		templates.OperatorInvitationMail{URL: link, By: "Priya Raman", Host: "login.example.com", Until: at.Add(72 * time.Hour)},
		templates.OperatorInvitationMail{URL: link, Host: "login.example.com", Until: at.Add(72 * time.Hour)},
		templates.CodeSMS{Code: "482913", App: "Treasury Hub", Host: "login.example.com"},
		templates.CodeSMS{Code: "482913"},
	}
}

// LetterLook dresses letters in a shipped theme; org "" is the platform's.
func (k Kit) LetterLook(t testing.TB, theme, org string) templates.LetterLook {
	t.Helper()
	own, err := themes.ShippedTheme(theme)
	if err != nil {
		t.Fatal(err)
	}
	return templates.LetterLook{Org: org, Theme: own, Base: "https://login.example.com"}
}

// RunLetters holds every letter to the contract.
func RunLetters(t *testing.T, letters []templates.Letter) {
	kit := New(t)
	seen := map[string]int{}
	for _, l := range letters {
		name := l.Template()
		seen[name]++
		if seen[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, seen[name])
		}
		t.Run(name, func(t *testing.T) {
			for _, lang := range templates.Languages() {
				w := kit.Write(t, kit.LetterLook(t, "acme-bank", "Acme Bank"), lang, l)
				golden(t, name+"."+lang+".txt", []byte("Subject: "+w.Subject+"\n\n"+w.Text))
				if w.HTML != "" {
					golden(t, name+"."+lang+".html", []byte(w.HTML))
				}
				complete(t, w, l)
				complete(t, kit.Write(t, kit.LetterLook(t, "techcorp", ""), lang, l), l)
				kit.unharmed(t, lang, l)
			}
		})
	}
}

// Write writes a letter out.
func (k Kit) Write(t testing.TB, look templates.LetterLook, lang string, l templates.Letter) templates.Written {
	t.Helper()
	w, err := k.Renderer.Letter(look, lang, l)
	if err != nil {
		t.Fatalf("%T: %v", l, err)
	}
	return w
}

// complete says whether everything that the letter was given can be read in both of its parts, on one line
// of a subject, and whether nothing was left unsaid.
func complete(t *testing.T, w templates.Written, l templates.Letter) {
	t.Helper()
	whole := w.HTML != ""
	if whole == (w.Subject == "") || strings.ContainsAny(w.Subject, "\r\n{}") || strings.ContainsAny(w.Text, "\r{}") || w.Text == "" {
		t.Errorf("%q\n%s", w.Subject, w.Text)
	}
	read := html.UnescapeString(w.HTML)
	v := reflect.ValueOf(l)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if f.Kind() != reflect.String || f.String() == "" || name == "Change" || name == "Factor" {
			continue
		}
		if !strings.Contains(w.Text, f.String()) || whole && !strings.Contains(read, f.String()) {
			t.Errorf("%s is missing: %q", name, f.String())
		}
	}
	if code := reflect.Indirect(v).FieldByName("Code"); code.IsValid() && strings.Contains(w.Subject, code.String()) {
		t.Error("the code stands in the subject, which mail servers log")
	}
}

// letterAttack is a name as an attacker would choose it: markup, a header, a link, another direction.
const letterAttack = "Evil\r\nBcc: all@x.example\u202e <b>Bank</b> https://evil.example/a?b visit evil.example or www.evil.example\u200b, a@evil.example\u2066"

// unharmed says whether names that were chosen badly stay names (S45).
func (k Kit) unharmed(t *testing.T, lang string, l templates.Letter) {
	t.Helper()
	v := reflect.New(reflect.TypeOf(l)).Elem()
	v.Set(reflect.ValueOf(l))
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("letter") == "" && v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString(letterAttack)
		}
	}
	look := k.LetterLook(t, "acme-bank", letterAttack)
	w := k.Write(t, look, lang, v.Interface().(templates.Letter))
	for _, part := range []string{w.Subject, w.Text, w.HTML} {
		for _, bad := range []string{"\r", "\u202e", "\u200b", "\u2066", "<b>", "&lt;b", "://evil", "evil.example", "www.", "@x.example", "@evil"} {
			if strings.Contains(part, bad) {
				t.Errorf("%q got into\n%s", bad, part)
			}
		}
	}
	if strings.Contains(w.Subject, "\n") {
		t.Errorf("a header of two lines: %q", w.Subject)
	}
	// What is not a code, a link, a host or an address is refused, and nothing is sent.
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("letter"); tag != "" {
			broken := reflect.New(reflect.TypeOf(l)).Elem()
			broken.Set(reflect.ValueOf(l))
			for _, bad := range []string{letterAttack, "javascript:alert(1)", "http://evil.example/", "https://a.example/\r\nX: y", "a b", "<b>"} {
				broken.Field(i).SetString(bad)
				if _, err := k.Renderer.Letter(look, lang, broken.Interface().(templates.Letter)); err == nil {
					t.Errorf("%s (%s) may be %q", v.Type().Field(i).Name, tag, bad)
				}
			}
		}
	}
}
