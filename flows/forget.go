package flows

import "net/http"

// Forget takes away what this browser remembers and the right to the logins that it has open.
func (e *Engine) Forget(w http.ResponseWriter) {
	e.Cookies.Clear(w, browserCookie)
	e.Cookies.Clear(w, rememberCookie)
}
