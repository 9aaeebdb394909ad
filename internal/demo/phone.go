package demo

import (
	"encoding/base32"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/vestibule-id/vestibule/internal/web"
)

// authenticator is the app on this world's phone: it is given keys as text, for it cannot scan. Keys are
// kept in memory, and shown on this machine alone (S54).
type authenticator struct {
	mu   sync.Mutex
	keys []string // the newest last
}

// phoneHolds is how many keys are kept; the oldest go.
const phoneHolds = 20

// take keeps a key; false when it is none.
func (a *authenticator) take(typed string) bool {
	key := strings.ToUpper(strings.Join(strings.Fields(typed), ""))
	if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key); err != nil || len(raw) < 10 || len(key) > 128 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = append(slices.DeleteFunc(a.keys, func(have string) bool { return have == key }), key)
	if len(a.keys) > phoneHolds {
		a.keys = a.keys[1:]
	}
	return true
}

func (a *authenticator) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = nil
}

// phoneCode is what the app shows for a key.
type phoneCode struct{ Name, Code, Next string }

// codes are those of now, the newest key first.
func (a *authenticator) codes(now time.Time) ([]phoneCode, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []phoneCode
	for _, key := range slices.Backward(a.keys) {
		code, err := totp.GenerateCodeCustom(key, now, totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
		if err != nil {
			return nil, err
		}
		next, err := totp.GenerateCodeCustom(key, now.Add(30*time.Second), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
		if err != nil {
			return nil, err
		}
		out = append(out, phoneCode{"Key " + key[:4] + "…", code[:3] + " " + code[3:], next[:3] + " " + next[3:]})
	}
	return out, nil
}

type phonePage struct {
	Codes []phoneCode
	Wrong bool
}

func (w *World) phone(out http.ResponseWriter, r *http.Request) error {
	codes, err := w.codes.codes(w.now())
	if err != nil {
		return err
	}
	return w.pages.show(out, http.StatusOK, "phone.html", frame{Title: "Phone", Home: "/", Page: phonePage{Codes: codes, Wrong: r.URL.Query().Has("wrong")}})
}

func (w *World) phoneTakes(out http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	to := "/demo/phone"
	if !w.codes.take(form.Get("key")) {
		to += "?wrong"
	}
	http.Redirect(out, r, to, http.StatusSeeOther)
	return nil
}
