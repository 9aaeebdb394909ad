package totp_test

import (
	"encoding/base32"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	lib "github.com/pquerna/otp/totp"

	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/mfatest"
	"github.com/vestibule-id/vestibule/mfa/totp"
	"github.com/vestibule-id/vestibule/templates"
)

// app is an authenticator app on somebody's phone.
type app struct {
	t   *testing.T
	h   *mfatest.House
	key string
}

func (a *app) code(later time.Duration) string {
	a.t.Helper()
	code, err := lib.GenerateCodeCustom(a.key, a.h.Time().Add(later), lib.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
	if err != nil {
		a.t.Fatal(err)
	}
	return code
}

func (a *app) setUp(p templates.Page) url.Values {
	a.key = strings.ReplaceAll(p.(templates.TOTPEnrollPage).Key, " ", "")
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(a.key); err != nil {
		a.t.Fatal(err)
	}
	return url.Values{"code": {a.code(0)}}
}

func (a *app) wrong(templates.Page) url.Values {
	for _, code := range []string{"000000", "111111", "222222", "333333"} {
		if code != a.code(0) && code != a.code(-30*time.Second) && code != a.code(30*time.Second) {
			return url.Values{"code": {code}}
		}
	}
	return url.Values{"code": {"444444"}}
}

func TestTheFactorKeepsItsPromises(t *testing.T) {
	mfatest.Run(t, mfatest.Kind{
		New: func(*mfatest.House) mfa.Factor { return totp.Factor{} },
		Device: func(t *testing.T, h *mfatest.House) mfatest.Device {
			a := &app{t: t, h: h}
			return mfatest.Device{SetUp: a.setUp, Right: func(templates.Page) url.Values { return url.Values{"code": {a.code(0)}} }, Wrong: a.wrong}
		},
		Shows: mfa.Possession, AMR: []string{"otp"}, Wait: time.Minute,
	})
}
