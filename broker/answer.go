package broker

// This file sends the browser back to the app, with a code or an error.

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/templates"
)

// returnTo is where and how the answer to a request goes back to its app.
type returnTo struct {
	RedirectURI string `json:"uri"`
	State       string `json:"st,omitempty"`
	Mode        string `json:"mod,omitempty"` // modeForm, or "" for the query
}

// modeForm is OAuth 2.0 Form Post Response Mode 1.0.
const modeForm = "form_post"

// backTo is the way back of a request that was not read yet.
func backTo(redirect string, v url.Values) returnTo {
	to := returnTo{RedirectURI: redirect, State: one(v, "state")}
	if one(v, "response_mode") == modeForm && postable(redirect) {
		to.Mode = modeForm
	}
	return to
}

// postable says whether a form can be posted there: an app's private-use scheme takes none.
func postable(redirect string) bool {
	return strings.HasPrefix(redirect, "https://") || strings.HasPrefix(redirect, "http://")
}

// answerError sends an error to the app, with iss (RFC 9207) and state. In development it says how the
// request differs from what is registered.
func (b *Broker) answerError(w http.ResponseWriter, r *http.Request, to returnTo, err error) error {
	e, ok := errors.AsType[*authError](err)
	if !ok {
		e = b.asAuthError(r.Context(), err)
	}
	told := b.told(b.from(r), begins(err), e.code, e.description)
	return b.answer(w, r, to, url.Values{"error": {e.code}, "error_description": {told}})
}

// asAuthError says a fault in OAuth's words, without its cause.
func (b *Broker) asAuthError(ctx context.Context, err error) *authError {
	f := fault.Of(err)
	if errors.Is(err, ErrUnmet) {
		return errUnmet
	}
	switch f.Kind {
	case fault.Denied, fault.NotFound:
		return &authError{"access_denied", "the person may not use this app in this organization"}
	case fault.Unavailable, fault.Throttled, fault.Upstream:
		return &authError{"temporarily_unavailable", "try again in a moment"}
	}
	b.Log.ErrorContext(ctx, "authorization failed", "code", f.Code, "error", err)
	return &authError{"server_error", "something broke on our side"}
}

// Decline is how a person who may not in goes back to their app: with its error, by a link or a form
// (flows.Decliner).
func (b *Broker) Decline(ctx context.Context, payload json.RawMessage, why error) (flows.Decline, error) {
	var req authRequest
	if err := json.Unmarshal(payload, &req); err != nil {
		return flows.Decline{}, err
	}
	app, err := b.Apps.AppByID(ctx, req.App)
	if err != nil {
		return flows.Decline{}, err
	}
	if app.Status != directory.Active {
		return flows.Decline{Stopped: true}, nil
	}
	if !app.allows(req.RedirectURI) || !postable(req.RedirectURI) {
		return flows.Decline{}, nil // given up, or an address that no page of ours links to
	}
	e := b.asAuthError(ctx, why)
	q := url.Values{"error": {e.code}, "error_description": {e.description}}
	b.complete(req.returnTo, q)
	if req.Mode == modeForm {
		return flows.Decline{URL: req.RedirectURI, Fields: fieldsOf(q)}, nil
	}
	return flows.Decline{URL: withQuery(req.RedirectURI, q)}, nil
}

// answer sends the browser back to the app's registered address, which keeps its own query.
func (b *Broker) answer(w http.ResponseWriter, r *http.Request, to returnTo, q url.Values) error {
	b.complete(to, q)
	if to.Mode == modeForm {
		return b.postAnswer(w, r, to, q)
	}
	w.Header().Set("Location", withQuery(to.RedirectURI, q))
	w.WriteHeader(http.StatusSeeOther) // RFC 9700 section 4.12: never a status that repeats a POST
	return nil
}

// complete adds what every answer carries: the app's state, and who answers (RFC 9207).
func (b *Broker) complete(to returnTo, q url.Values) {
	if to.State != "" {
		q.Set("state", to.State)
	}
	q.Set("iss", b.Issuer)
}

// postAnswer lets the browser post the answer to the app: at once by script, else by a button.
func (b *Broker) postAnswer(w http.ResponseWriter, r *http.Request, to returnTo, q url.Values) error {
	page := templates.PostAnswerPage{URL: to.RedirectURI, Host: hostOf(to.RedirectURI), Fields: fieldsOf(q)}
	return b.page(w, r, "", "", page)
}

func fieldsOf(q url.Values) []templates.FormField {
	var out []templates.FormField
	for _, name := range slices.Sorted(maps.Keys(q)) {
		out = append(out, templates.FormField{Name: name, Value: q.Get(name)})
	}
	return out
}

// hostOf names an address for people: its host.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// withQuery adds parameters to a registered address and leaves the rest of it as it is.
func withQuery(address string, q url.Values) string {
	if strings.Contains(address, "?") {
		return address + "&" + q.Encode()
	}
	return address + "?" + q.Encode()
}
