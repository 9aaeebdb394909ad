package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/smtptest"
)

// These stories are about second steps that are sent, and about what people are told.

var sixDigits = regexp.MustCompile(`(?m)^\s*([0-9]{6})\s*$`)

// mailsOf waits for a number of e-mails.
func mailsOf(t *testing.T, s *smtptest.Server, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got := s.Taken(); len(got) >= n {
			var out []string
			for _, m := range got {
				out = append(out, m.Data)
			}
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d e-mails, not %d", len(s.Taken()), n)
		}
	}
}

// Row 60, S11: a code to the mailbox is a second step where the address is the person's beyond doubt.
func TestACodeByEmailIsASecondStep(t *testing.T) {
	s := &smtptest.Server{}
	w := worldIn(t, t.TempDir(), through(t, s))
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["passkey", "email"]`})
	b := newBrowser(t)
	r := w.request(in(acme.org))
	p := b.authorize(w, r)
	if text := textOf(p.body); !strings.Contains(text, "Look in your mailbox") || !strings.Contains(text, "a…@acme.example") || strings.Contains(p.body, "ada@acme.example\"") {
		t.Fatalf("%s %d: %s", p.url, p.status, text)
	}
	mail := mailsOf(t, s, 1)[0]
	found := sixDigits.FindStringSubmatch(mail)
	if found == nil {
		t.Fatalf("no code in %s", mail)
	}
	code := found[1]
	wrong := "000000"
	if code == wrong {
		wrong = "111111"
	}
	if p = b.answer(p, "code", wrong); !strings.Contains(textOf(p.body), "4 tries left") {
		t.Errorf("%s", textOf(p.body))
	}
	// Another login of the same person has another code.
	other := newBrowser(t)
	q := other.authorize(w, w.request(in(acme.org)))
	if q = other.answer(q, "code", code); !strings.Contains(textOf(q.body), "didn’t match") {
		t.Errorf("a code of another login: %s", textOf(q.body))
	}
	tok := w.redeem(b.answer(p, "code", code).code(t), r.verifier)
	if got := claims(t, tok.ID); got["acr"] != "urn:vestibule:acr:2fa" {
		t.Errorf("acr %v", got["acr"])
	}
	if strings.Contains(w.logged.String(), code) {
		t.Error("the code stands in the log")
	}
}

// Row 62, S12: whoever's second steps change is told, and it stands in the record.
func TestPeopleAreToldOfEveryChangeOfTheirSecondSteps(t *testing.T) {
	s := &smtptest.Server{}
	w := worldIn(t, t.TempDir(), through(t, s))
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["totp", "passkey"]`})
	b := newBrowser(t)
	p := b.enrols(w, w.request(in(acme.org)))
	p = b.answer(p, "code", w.keyOn(p).code(0))
	codes := recoveryCodes(t, p)
	b.keeps(p).code(t)
	other := newBrowser(t)
	p = other.authorize(w, w.request(in(acme.org))).asksCode(t)
	p = other.answer2(other.answer2(p, "method", ""), "method", "recovery_code")
	other.answer(p, "code", codes[0]).code(t)
	all := strings.Join(mailsOf(t, s, 3), "")
	for _, want := range []string{"authenticator app", "recovery codes", "ada@acme.example"} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody was told of %q: %s", want, all)
		}
	}
	for _, code := range codes {
		if strings.Contains(all, code) {
			t.Error("a recovery code stands in an e-mail")
		}
	}
	if got := w.recorded(acme.org, "factor.recovery_used"); len(got) != 1 {
		t.Errorf("recorded %v", got)
	}
}
