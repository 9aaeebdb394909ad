package flows

import "net/http"

// Abandon takes away the right to the logins that this browser has open.
func (e *Engine) Abandon(w http.ResponseWriter) { e.Cookies.Clear(w, browserCookie) }

// Forget takes away what this browser remembers and the right to the logins that it has open.
func (e *Engine) Forget(w http.ResponseWriter) {
	e.Abandon(w)
	e.Cookies.Clear(w, rememberCookie)
}
