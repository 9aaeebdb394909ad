package code_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/code"
	"github.com/vestibule-id/vestibule/mfa/mfatest"
	"github.com/vestibule-id/vestibule/templates"
)

func way(h *mfatest.House) code.Way {
	return code.Way{Messages: h.Messages(), Pepper: h.Pepper, Fold: strings.ToLower, Host: "login.example"}
}

func typed(text string) url.Values { return url.Values{"code": {text}} }

// mailed is the last code that went to an address.
func mailed(h *mfatest.House, to string) string {
	code := ""
	for _, m := range h.Mails() {
		if m.To == to {
			code = m.Message.(templates.CodeMail).Code
		}
	}
	return code
}

func texted(h *mfatest.House, to string) string {
	code := ""
	for _, m := range h.Texts() {
		if m.To == to {
			code = m.Message.(templates.CodeSMS).Code
		}
	}
	return code
}

// not is a code that is another one.
func not(right string) string {
	if right == "123456" {
		return "654321"
	}
	return "123456"
}

func TestACodeByEmailKeepsItsPromises(t *testing.T) {
	mfatest.Run(t, mfatest.Kind{
		New: func(h *mfatest.House) mfa.Factor { return code.Email{Way: way(h)} },
		Device: func(_ *testing.T, h *mfatest.House) mfatest.Device {
			var to string
			return mfatest.Device{
				Hold:  func(s mfa.Subject) { to = s.Email },
				Right: func(templates.Page) url.Values { return typed(mailed(h, to)) },
				Wrong: func(templates.Page) url.Values { return typed(not(mailed(h, to))) },
			}
		},
		Shows: mfa.Possession, AMR: []string{"otp"},
	})
}

func TestACodeByTextMessageKeepsItsPromises(t *testing.T) {
	numbers := []string{"+491700000001", "+491700000002", "+491700000003"}
	mfatest.Run(t, mfatest.Kind{
		New: func(h *mfatest.House) mfa.Factor { return code.SMS{Way: way(h)} },
		Device: func(_ *testing.T, h *mfatest.House) mfatest.Device {
			number := numbers[0]
			numbers = append(numbers[1:], number) // everybody has another one
			return mfatest.Device{
				SetUp: func(p templates.Page) url.Values {
					if _, first := p.(templates.PhonePage); first {
						return url.Values{"number": {number}}
					}
					return typed(texted(h, number))
				},
				Right: func(templates.Page) url.Values { return typed(texted(h, number)) },
				Wrong: func(templates.Page) url.Values { return typed(not(texted(h, number))) },
			}
		},
		Shows: mfa.Possession, AMR: []string{"sms"},
	})
}

func ask(h *mfatest.House) mfa.Question {
	return mfa.Question{Bound: "login", Method: h.Factor.Method(), Subject: mfatest.Ada()}
}

func shown(t *testing.T, h *mfatest.House, q *mfa.Question) templates.CodePage {
	t.Helper()
	p, id, err := h.Show(t.Context(), *q)
	if err != nil {
		t.Fatal(err)
	}
	q.ID = id
	return p.(templates.CodePage)
}

func TestACodeIsSentOnceHoweverOftenThePageIsLookedAtAndAgainWhenAsked(t *testing.T) {
	h := mfatest.NewHouse(t)
	h.With(code.Email{Way: way(h)})
	q := ask(h)
	for range 3 {
		if p := shown(t, h, &q); p.Resend || p.To != "a…@acme.example" || p.Sent != 1 {
			t.Errorf("%+v", p)
		}
	}
	first := mailed(h, "ada@acme.example")
	m := h.Mails()[0]
	if len(h.Mails()) != 1 || !m.NotAfter.Equal(h.Time().Add(10*time.Minute)) || m.Org != "org_acme" || m.Person != "per_ada" {
		t.Fatalf("%+v", h.Mails())
	}
	// Too early nothing is sent, and no try is lost; three are the most.
	again := url.Values{"resend": {"1"}}
	for range 8 {
		if _, err := h.Answer(t.Context(), q, again); !errors.Is(err, mfa.ErrAgain) {
			t.Fatal(err)
		}
	}
	if len(h.Mails()) != 1 {
		t.Errorf("%d were sent at once", len(h.Mails()))
	}
	for range 5 {
		h.Pass(31 * time.Second)
		if _, err := h.Answer(t.Context(), q, again); !errors.Is(err, mfa.ErrAgain) {
			t.Fatal(err)
		}
	}
	if p := shown(t, h, &q); len(h.Mails()) != 3 || p.Resend {
		t.Errorf("%d were sent, resend %v", len(h.Mails()), p.Resend)
	}
	// The first may arrive last.
	if _, err := h.Answer(t.Context(), q, typed(first[:3]+" "+first[3:])); err != nil {
		t.Error(err)
	}
}

func TestS11AMailboxIsOneChannelAndANumberToo(t *testing.T) {
	h := mfatest.NewHouse(t)
	h.With(code.Email{Way: way(h)})
	q := ask(h)
	q.Subject.Email = "Ada@ACME.example"
	shown(t, h, &q)
	p, err := h.Answer(t.Context(), q, typed(mailed(h, q.Subject.Email)))
	if err != nil || p.Channel != "mail:ada@acme.example" || p.Enrollment != "" {
		t.Errorf("%+v %v", p, err)
	}
}

func TestNobodyIsMailedAtAnAddressThatMayNotBeTheirs(t *testing.T) {
	h := mfatest.NewHouse(t)
	f := code.Email{Way: way(h)}
	h.With(f)
	q := ask(h)
	q.Subject.EmailGood = false
	if f.Has(q.Subject) {
		t.Error("it is offered")
	}
	if _, _, err := h.Show(t.Context(), q); !errors.Is(err, mfa.ErrNotFound) || len(h.Mails()) != 0 {
		t.Errorf("%v, %d sent", err, len(h.Mails()))
	}
}

func TestAUsedUpBudgetIsSaidOnThePage(t *testing.T) {
	h := mfatest.NewHouse(t)
	h.With(code.Email{Way: way(h)})
	h.Refuse(delivery.ErrBudget)
	q := ask(h)
	if p := shown(t, h, &q); p.Error != "delivery.budget" || p.Sent != 0 {
		t.Errorf("%+v", p)
	}
	if _, err := h.Answer(t.Context(), q, typed("000000")); !errors.Is(err, mfa.ErrWrong) {
		t.Error(err)
	}
}

func TestS30ANumberIsProvedBeforeItCountsAndKeptSealed(t *testing.T) {
	h := mfatest.NewHouse(t)
	h.With(code.SMS{Way: way(h)})
	q := ask(h)
	q.Enrol = true
	answer := func(v url.Values) error {
		_, id, err := h.Show(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.ID = id
		_, err = h.Answer(t.Context(), q, v)
		return err
	}
	if err := answer(url.Values{"number": {"170"}}); !errors.Is(err, mfa.ErrAgain) || len(h.Texts()) != 0 {
		t.Errorf("%v, %d sent", err, len(h.Texts()))
	}
	if p, _, _ := h.Show(t.Context(), q); p.(templates.PhonePage).Error != "delivery.number" {
		t.Errorf("%+v", p)
	}
	const mine, other = "+491701234567", "+491707654321"
	if err := answer(url.Values{"number": {other}}); !errors.Is(err, mfa.ErrAgain) {
		t.Fatal(err)
	}
	stale := texted(h, other)
	if err := answer(url.Values{"change": {"1"}}); !errors.Is(err, mfa.ErrAgain) {
		t.Fatal(err)
	}
	if err := answer(url.Values{"number": {mine}}); !errors.Is(err, mfa.ErrAgain) {
		t.Fatal(err)
	}
	if stale != texted(h, mine) {
		if err := answer(typed(stale)); !errors.Is(err, mfa.ErrWrong) {
			t.Errorf("the code of another number: %v", err)
		}
	}
	if err := answer(typed(texted(h, mine))); err != nil {
		t.Fatal(err)
	}
	list, _ := h.EnrollmentsOf(t.Context(), "org_acme", "per_ada")
	if len(list) != 1 || string(list[0].Secret) != mine || strings.Contains(string(list[0].Public)+list[0].Label, "1701234") || list[0].Label != "… 67" || h.Used() != 1 {
		t.Errorf("%+v", list)
	}
	// The same one is not set up twice.
	q.ID = ""
	if err := answer(url.Values{"number": {mine}}); !errors.Is(err, mfa.ErrAgain) {
		t.Fatal(err)
	}
	if p, _, _ := h.Show(t.Context(), q); p.(templates.PhonePage).Error != "mfa.taken" {
		t.Errorf("%+v", p)
	}
}
