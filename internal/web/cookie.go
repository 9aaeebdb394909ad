package web

import (
	"net/http"
	"time"

	"github.com/gorilla/securecookie"
)

// Cookies names, sets and reads this service's cookies. All are host-only, HttpOnly, SameSite=Lax and
// for the whole path; on https they carry the __Host- prefix and Secure. Plain http is for localhost.
type Cookies struct {
	Secure bool
	// Sealed encrypts and authenticates what a cookie of ours says by itself; nil in parts that set none.
	Sealed *securecookie.SecureCookie
}

// Name is the cookie's name as the browser knows it.
func (c Cookies) Name(short string) string {
	if c.Secure {
		return "__Host-" + short
	}
	return short
}

// Get reads a cookie; "" when it is not there or comes twice, for then one of them is not ours.
func (c Cookies) Get(r *http.Request, short string) string {
	found := r.CookiesNamed(c.Name(short))
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// Set sets a cookie; life 0 lets it end with the browser.
func (c Cookies) Set(w http.ResponseWriter, short, value string, life time.Duration) {
	ck := &http.Cookie{Name: c.Name(short), Value: value, Path: "/", Secure: c.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if life > 0 {
		ck.MaxAge = int(life / time.Second)
	}
	http.SetCookie(w, ck)
}

// Clear removes a cookie.
func (c Cookies) Clear(w http.ResponseWriter, short string) {
	http.SetCookie(w, &http.Cookie{Name: c.Name(short), Path: "/", MaxAge: -1, Secure: c.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// Seal sets a cookie that holds v, unreadable and unchangeable by the browser's owner.
func (c Cookies) Seal(w http.ResponseWriter, short string, v any, life time.Duration) error {
	s, err := c.Sealed.Encode(short, v)
	if err != nil {
		return err
	}
	c.Set(w, short, s, life)
	return nil
}

// Open reads a sealed cookie into v; false when there is none that we sealed.
func (c Cookies) Open(r *http.Request, short string, v any) bool {
	s := c.Get(r, short)
	return s != "" && c.Sealed.Decode(short, s, v) == nil
}
