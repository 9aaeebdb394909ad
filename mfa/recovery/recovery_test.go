package recovery_test

import (
	"net/url"
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
				Hold: func(s mfa.Subject) {
					made, public, err := h.Factor.(recovery.Factor).Make(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					codes = made
					h.Keep(t, s, mfa.Enrollment{Public: public})
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
