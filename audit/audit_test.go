package audit

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestEveryActionHasANameAndASentence(t *testing.T) {
	name := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	for a, sentence := range sentences {
		if !name.MatchString(string(a)) || !strings.HasSuffix(sentence, ".") {
			t.Errorf("%s: %q", a, sentence)
		}
		if !strings.Contains(sentence, "{target}") && a != SessionStarted {
			t.Errorf("%s does not say to whom", a)
		}
	}
}

func TestTwoActionsCannotHaveOneName(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a second org.created was taken")
		}
	}()
	says("org.created", "Again.")
}

func TestAnEntryIsReadAsASentence(t *testing.T) {
	names := func(r Ref) string { return map[string]string{"per_1": "Ana", "org_1": "Acme"}[r.ID] }
	for _, c := range []struct {
		entry Entry
		want  string
	}{
		{Entry{Actor: Ref{"person", "per_1"}, Action: OrgCreated, Target: Ref{"org", "org_1"}}, "Ana made the organization Acme."},
		{Entry{Actor: Ref{"person", "per_1"}, Action: OrgStatusChanged, Target: Ref{"org", "org_1"}, Detail: map[string]string{"status": "suspended"}},
			"Ana set the organization Acme to suspended."},
		{Entry{Actor: Ref{"person", "per_gone"}, Action: MembershipRemoved, Target: Ref{"person", "per_1"}}, "per_gone ended the membership of Ana."},
		{Entry{Action: KeyCreated, Target: Ref{"key", "key_1"}}, "Vestibule made the signing key key_1."},
		{Entry{Action: "factor.enrolled_by_a_newer_release"}, "factor.enrolled_by_a_newer_release"},
	} {
		if got := c.entry.Sentence(names); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// security.md S44: codes have 40 random bits.
func TestS44CodesAreFortyRandomBits(t *testing.T) {
	seen, bits := map[string]bool{}, [40]int{}
	for range 4000 {
		code := NewCode()
		if len(code) != 8 || seen[code] {
			t.Fatalf("code %q", code)
		}
		seen[code] = true
		raw, err := encoding.DecodeString(code)
		if err != nil {
			t.Fatal(err)
		}
		for i := range bits {
			bits[i] += int(raw[i/8] >> (i % 8) & 1)
		}
	}
	for i, n := range bits { // 2000 expected, 32 is one standard deviation
		if n < 1700 || n > 2300 {
			t.Errorf("bit %d was one %d times of 4000", i, n)
		}
	}
}

func TestACodeIsFoundInWhatPeopleType(t *testing.T) {
	for typed, want := range map[string]string{
		"VB-7Q4K-29TM": "7Q4K29TM", "vb-7q4k-29tm": "7Q4K29TM", "7Q4K29TM": "7Q4K29TM", " 7q4k 29tm ": "7Q4K29TM",
		"VB7Q4K29TM": "7Q4K29TM", "VB-O1IL-OOOO": "01110000", "VB7Q4K29": "VB7Q4K29", "VB-VBVB-VBVB": "VBVBVBVB",
		"": "", "7Q4K29T": "", "7Q4K29TMM": "", "7Q4K29TU": "", "7Q4K29T!": "", "XX-7Q4K-29TM": "", "７Q4K29TM": "",
		"../../../x": "", "7Q4K29T\x00": "",
	} {
		code, ok := ParseCode(typed)
		if code != want || ok != (want != "") {
			t.Errorf("%q was read as %q, %v", typed, code, ok)
		}
	}
	for range 100 {
		code := NewCode()
		if got, ok := ParseCode(ShowCode(code)); !ok || got != code {
			t.Errorf("%s is shown as %s and read as %s", code, ShowCode(code), got)
		}
	}
	if ShowCode("7Q4K29TM") != "VB-7Q4K-29TM" || ShowCode("") != "" {
		t.Error("shown otherwise")
	}
}

const (
	token  = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
	secret = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // 256 bits
	xml    = `<samlp:Response ID="_1"><saml:Assertion>ana@acme.example</saml:Assertion></samlp:Response>`
)

// security.md S44: signature values, tokens, codes, cookies, RelayState, state and raw XML are never stored.
func TestS44ATraceHoldsOnlyAllowedFacts(t *testing.T) {
	var trace Trace
	trace.Add(Step{Name: "arrive", Facts: map[string]string{
		"state": secret, "RelayState": "short", "code": "short", "cookie": "short", "id_token": token, "access_token": "short",
		"SAMLResponse": "PHNhbWw+", "signature": "short", "email": "ana@acme.example", "login_hint": "ana@acme.example",
		"client_secret": "short", "nonce": "short", "verifier": "short", "connection": "con_1", "issuer": "https://idp.example/realms/one",
	}})
	want := map[string]string{"connection": "con_1", "issuer": "https://idp.example/realms/one"}
	if got := trace.Steps[0].Facts; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("kept %v", got)
	}
	for name := range AllowedFacts {
		for _, part := range []string{"secret", "token", "cookie", "state", "nonce", "code", "password", "signature", "email", "hint", "assertion", "xml"} {
			if strings.Contains(strings.ToLower(name), part) {
				t.Errorf("the fact %q is allowed and sounds like a secret", name)
			}
		}
	}
}

func TestS44SecretsAreRemovedUnderAnyName(t *testing.T) {
	for name, c := range map[string]struct{ text, gone string }{
		"a token":             {"got " + token, "eyJ"},
		"an unsigned token":   {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.", "eyJ"},
		"a 256-bit secret":    {"state was " + secret + " there", secret},
		"XML":                 {"answer: " + xml, "ana@acme.example"},
		"XML that is cut":     {"<saml:Assertion ID", "Assertion"},
		"a declaration":       {"<?xml version=1?>x", "xml"},
		"a signature value":   {strings.Repeat("MEUCIQ/a+b", 30), "MEUCIQ/a+b"},
		"a base64 response":   {strings.Repeat("PHNhbWxwOlJlc3BvbnNl", 20), "PHNhbWxw"},
		"a secret behind XML": {"x <b>" + secret, secret},
	} {
		var trace Trace
		trace.Add(Step{Name: c.text, Text: c.text, Code: c.text, Facts: map[string]string{"issuer": c.text, "value": c.text},
			Checks: []Check{{Name: "audience", Got: c.text, Expected: c.text}, {Name: c.text}}})
		kept, err := json.Marshal(trace)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(kept), c.gone) {
			t.Errorf("%s was kept: %s", name, kept)
		}
	}
}

func TestWhatHelpsIsKept(t *testing.T) {
	for _, text := range []string{
		"Acme signs its answers with a certificate that is not on file.",
		"https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
		"urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
		"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", // a certificate's digest
		"con_01k8xw2m3n4p5q6r7s8t9v0w1x", "2026-03-01T10:00:00Z", "5 < 6", "Zoë Ångström", "日本語",
	} {
		if got := tidy(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	var trace Trace
	trace.Add(Step{Facts: map[string]string{"kid": secret}, Checks: []Check{{Name: "key", Got: secret}}})
	if s := trace.Steps[0]; s.Facts["kid"] != secret || s.Checks[0].Got != secret {
		t.Errorf("a key's name was removed: %+v", s)
	}
}

func TestTextsAreCutAndCannotAct(t *testing.T) {
	var trace Trace
	trace.Add(Step{Text: strings.Repeat("long words ", 5000), Facts: map[string]string{
		"issuer": "a\r\nb\x00c\x1b[31md\u202eevil\u2028x\xff", "kid": strings.Repeat("k", 9000)}})
	s := trace.Steps[0]
	if n := utf8.RuneCountInString(s.Text); n != maxText || !strings.HasSuffix(s.Text, "…") {
		t.Errorf("text of %d runes", n)
	}
	if n := utf8.RuneCountInString(s.Facts["kid"]); n != maxText {
		t.Errorf("kid of %d runes", n)
	}
	if strings.ContainsAny(s.Facts["issuer"], "\r\n\x00\x1b\u202e\u2028") || !utf8.ValidString(s.Facts["issuer"]) {
		t.Errorf("%q acts", s.Facts["issuer"])
	}
}

func TestATraceStaysSmall(t *testing.T) {
	var trace Trace
	for i := range 1000 {
		trace.Add(Step{At: time.Unix(int64(i), 0), Name: fmt.Sprint("step ", i), Checks: make([]Check, 500)})
	}
	if n := len(trace.Steps); n != maxSteps {
		t.Fatalf("%d steps", n)
	}
	if trace.Steps[0].Name != "step 0" || trace.Steps[maxSteps-1].Name != "step 999" || len(trace.Steps[5].Checks) != maxChecks {
		t.Errorf("the beginning or the end is lost: %s … %s", trace.Steps[0].Name, trace.Steps[maxSteps-1].Name)
	}
}

func TestAddKeepsNothingOfItsCaller(t *testing.T) {
	facts := map[string]string{"issuer": "a"}
	checks := []Check{{Name: "audience", Got: "b"}}
	var trace Trace
	trace.Add(Step{Facts: facts, Checks: checks})
	facts["issuer"], checks[0].Got = token, token
	if s := trace.Steps[0]; s.Facts["issuer"] != "a" || s.Checks[0].Got != "b" {
		t.Error("what was added can be changed afterwards")
	}
}

func FuzzTidy(f *testing.F) {
	for _, s := range []string{token, secret, xml, "plain", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := tidy(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxText || jwt.MatchString(got) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func FuzzParseCode(f *testing.F) {
	f.Add("VB-7Q4K-29TM")
	f.Fuzz(func(t *testing.T, s string) {
		if code, ok := ParseCode(s); ok {
			if again, ok := ParseCode(ShowCode(code)); !ok || again != code {
				t.Errorf("%q is %q is %q", s, code, again)
			}
		}
	})
}
