package recovery_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/mfatest"
	"github.com/vestibule-id/vestibule/mfa/recovery"
	"github.com/vestibule-id/vestibule/templates"
)

func TestTheFactorKeepsItsPromises(t *testing.T) {
	mfatest.Run(t, mfatest.Kind{
		New: func(h *mfatest.House) mfa.Factor { return recovery.Factor{Pepper: h.Pepper} },
		Device: func(t *testing.T, h *mfatest.House) mfatest.Device {
			var codes []string
			return mfatest.Device{
				SetUp: func(p templates.Page) url.Values {
					codes = slices.Clone(p.(templates.RecoveryCodesPage).Codes)
					return url.Values{"kept": {"1"}}
				},
				Right: func(templates.Page) url.Values {
					code := codes[0]
					codes = codes[1:]
					return url.Values{"code": {" " + strings.ToUpper(code) + " "}}
				},
				Wrong: func(templates.Page) url.Values { return url.Values{"code": {"aaaa-bbbb-cccc"}} },
			}
		},
		Lasting: true,
	})
}

// shown begins to set a set up for Ada, and gives what is shown.
func shown(t *testing.T, h *mfatest.House) ([]string, mfa.Question) {
	t.Helper()
	q := mfa.Question{Bound: "login", Method: h.Factor.Method(), Enrol: true, Subject: mfatest.Ada()}
	page, id, err := h.Show(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	q.ID = id
	return page.(templates.RecoveryCodesPage).Codes, q
}

func TestASetIsKeptOnceItsOwnerSaysSo(t *testing.T) {
	h := mfatest.NewHouse(t)
	h.With(recovery.Factor{Pepper: h.Pepper})
	var told []mfa.Change
	h.Told = func(_ context.Context, _ mfa.Subject, c mfa.Change) error { told = append(told, c); return nil }
	codes, q := shown(t, h)
	if len(codes) != 10 {
		t.Fatalf("%d codes", len(codes))
	}
	if _, err := h.Answer(t.Context(), q, url.Values{}); !errors.Is(err, mfa.ErrAgain) {
		t.Errorf("without a word of its owner: %v", err)
	}
	again, _, err := h.Show(t.Context(), q)
	if err != nil || !slices.Equal(again.(templates.RecoveryCodesPage).Codes, codes) {
		t.Errorf("another set is shown: %v", err)
	}
	if passed, err := h.Answer(t.Context(), q, url.Values{"kept": {"1"}}); err != nil || passed.Shows != 0 {
		t.Fatalf("%+v %v", passed, err)
	}
	// What is stored gives no code away (S24).
	list, _ := h.EnrollmentsOf(t.Context(), mfatest.Ada().Home, mfatest.Ada().Person)
	for _, code := range codes {
		if strings.Contains(string(list[0].Public), strings.ReplaceAll(code, "-", "")) || len(list[0].Secret) > 0 {
			t.Error("a code is stored as it is")
		}
	}
	// A used code counts, and its owner is told; a new set takes the place of the old one.
	ask := mfa.Question{Bound: "later", Method: q.Method, Subject: mfatest.Ada()}
	_, ask.ID, err = h.Show(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Answer(t.Context(), ask, url.Values{"code": {codes[3]}}); err != nil {
		t.Fatal(err)
	}
	_, q = shown(t, h)
	if _, err := h.Answer(t.Context(), q, url.Values{"kept": {"1"}}); err != nil {
		t.Fatal(err)
	}
	_, ask.ID, _ = h.Show(t.Context(), mfa.Question{Bound: "later", Method: q.Method, Subject: mfatest.Ada()})
	if _, err := h.Answer(t.Context(), ask, url.Values{"code": {codes[4]}}); !errors.Is(err, mfa.ErrWrong) {
		t.Errorf("a code of the old set: %v", err)
	}
	var whats []string
	for _, c := range told {
		whats = append(whats, c.What)
	}
	if !slices.Equal(whats, []string{mfa.FactorAdded, mfa.RecoveryUsed, mfa.FactorReplaced}) || told[1].Left != 9 {
		t.Errorf("told %+v", told)
	}
}
