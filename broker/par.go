package broker

// This file finds which parameters of an authorization request count: those that were pushed (RFC 9126),
// those that the app signed (RFC 9101), or those that the browser brought.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
)

const (
	// pushedPrefix begins the request_uri of a pushed request (RFC 9126 section 2.2); 256 random bits follow.
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	// pushedLife is how long a pushed request waits for its browser. The login that it begins may take longer.
	pushedLife = 60 * time.Second
)

// requested is an authorization request with the parameters that count.
type requested struct {
	app      App
	redirect string // registered for the app; "" when errors cannot go there
	values   url.Values
}

// back is the way back to the app, once redirect is known.
func (q requested) back() returnTo { return backTo(q.redirect, q.values) }

// pushedRequest is what a request_uri stands for.
type pushedRequest struct {
	App    directory.AppID `json:"app"`
	Form   string          `json:"frm"`
	Issued time.Time       `json:"at"`
}

// requested finds the app and the parameters that count. spend uses up what may be used once; a look
// before the browser comes again does not. What is wrong is told to the app only where the answer's
// redirect is set, else to the person.
func (b *Broker) requested(ctx context.Context, values url.Values, spend bool) (requested, error) {
	app, err := b.client(ctx, values)
	if err != nil {
		return requested{}, err
	}
	q := requested{app: app, values: values}
	if pushed := one(values, "request_uri"); strings.HasPrefix(pushed, pushedPrefix) && !values.Has("request") {
		// RFC 9126 section 4, FAPI 2.0 section 5.3.2.2: what else the browser brings is ignored.
		if q.values, err = b.pushed(ctx, app, pushed, spend); err != nil {
			return q, err
		}
		return b.answerable(q)
	}
	if values.Has("request_uri") || app.pushes() {
		q, err := b.answerable(q)
		switch {
		case err != nil:
			return q, err
		case values.Has("request") && values.Has("request_uri"):
			return q, invalid("request and request_uri exclude one another")
		case values.Has("request_uri"):
			return q, &authError{"request_uri_not_supported", "the only request_uri is one that this service gave out"}
		}
		return q, differs(invalid("this app's requests must be pushed"), "registered is require_pushed_authorization_requests, sent was a request by the browser")
	}
	return b.byValue(ctx, q, spend)
}

var errUnsigned = differs(invalid("this app's requests must be signed"), "registered is require_signed_request_object, sent was no request object")

// byValue reads the request that stands in the parameters themselves, signed or not.
func (b *Broker) byValue(ctx context.Context, q requested, spend bool) (requested, error) {
	signed := q.values.Has("request")
	if !signed && q.app.RequestObject {
		q, err := b.answerable(q)
		if err != nil {
			return q, err
		}
		return q, errUnsigned
	}
	if !signed {
		return b.answerable(q)
	}
	outer := q
	values, err := b.requestObject(ctx, q.app, one(q.values, "request"), spend)
	if _, told := errors.AsType[*authError](err); told {
		if outer, e := b.answerable(outer); e == nil {
			return outer, err // to where the browser's parameters say, as that is registered
		}
		return q, &flows.Failure{Err: ErrRequest.With(err), App: q.app.facts(), At: b.Now()}
	}
	if err != nil {
		return q, err
	}
	q.values = values
	return b.answerable(q)
}

// client finds the app that a request names.
func (b *Broker) client(ctx context.Context, values url.Values) (App, error) {
	id := one(values, "client_id")
	if id == "" {
		return App{}, ErrRequest.Because("client_id is missing or comes twice")
	}
	app, err := b.Apps.AppByClientID(ctx, id)
	if errors.Is(err, ErrAppNotFound) {
		return App{}, ErrUnknownClient.With(err)
	}
	return app, err
}

// answerable checks where the answers go. What is wrong here is told to the person and to nobody else: a
// browser is never sent to an address that is not registered.
func (b *Broker) answerable(q requested) (requested, error) {
	redirect := one(q.values, "redirect_uri")
	if !q.app.allows(redirect) {
		return q, &flows.Failure{Err: ErrRedirectURI.Because(difference("redirect_uri", q.app.RedirectURIs, redirect)), App: q.app.facts(), At: b.Now()}
	}
	if q.app.Status != directory.Active {
		return q, &flows.Failure{Err: ErrApp, App: q.app.facts(), At: b.Now()}
	}
	q.redirect = redirect
	return q, nil
}

// refuse answers a request that is not good: to the app where it may know, else to the person.
func (b *Broker) refuse(w http.ResponseWriter, r *http.Request, q requested, err error) error {
	if _, told := errors.AsType[*authError](err); !told || q.redirect == "" {
		return err
	}
	return b.answerError(w, r, q.back(), sentBy(q.app, err))
}

// pushed gives what a request_uri stands for. It is the app's that pushed it, and good for one login; that
// of another app is left as it is.
func (b *Broker) pushed(ctx context.Context, app App, uri string, spend bool) (url.Values, error) {
	key := pushedKey(uri)
	raw, err := b.Brief.Get(ctx, key)
	if err == nil {
		var p pushedRequest
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
		if p.App != app.ID || b.Now().Sub(p.Issued) > pushedLife {
			err = brief.ErrGone
		} else if spend {
			_, err = b.Brief.Take(ctx, key)
		}
		if err == nil {
			return url.ParseQuery(p.Form)
		}
		return nil, b.overPushed(app, err)
	}
	return nil, b.overPushed(app, err)
}

func (b *Broker) overPushed(app App, err error) error {
	if errors.Is(err, brief.ErrGone) {
		return &flows.Failure{Err: ErrPushed.With(err), App: app.facts(), At: b.Now()}
	}
	return err
}

// pushedKey holds nothing that opens it.
func pushedKey(uri string) string {
	sum := sha256.Sum256([]byte(uri))
	return "par/" + hex.EncodeToString(sum[:])
}

// push is the pushed authorization request endpoint (RFC 9126): it checks now all that /authorize checks.
func (b *Broker) push(w http.ResponseWriter, r *http.Request) error {
	allowOrigin(w)
	ctx := r.Context()
	form, err := requestForm(r)
	if err != nil {
		return err
	}
	if form.Has("request_uri") {
		return &oauthError{"invalid_request", "a pushed request has no request_uri", http.StatusBadRequest} // section 2.1
	}
	b.offerNonce(w, r)
	app, p, err := b.proved(r, form, "/par")
	if err != nil {
		return b.asRefusal(ctx, err)
	}
	if err := b.limitPushed(r, app); err != nil {
		return err
	}
	values, err := b.judgePushed(ctx, app, form, p.jkt)
	if err != nil {
		return begins(sentBy(app, b.asPushed(ctx, err)))
	}
	uri := pushedPrefix + directory.NewSecret()
	kept, err := json.Marshal(pushedRequest{App: app.ID, Form: values.Encode(), Issued: b.Now()})
	if err != nil {
		return err
	}
	if err := b.Brief.Put(ctx, pushedKey(uri), kept, pushedLife); err != nil {
		return b.asRefusal(ctx, err)
	}
	writeJSON(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": int(pushedLife / time.Second)})
	return nil
}

// limitPushed counts what is kept. Whoever cannot prove to be the app is counted by network as well.
func (b *Broker) limitPushed(r *http.Request, app App) error {
	if !app.confidential() {
		if err := b.Limits.AuthorizePerNetwork.Check(r.Context(), b.Counter, b.network(r)); err != nil {
			return err
		}
	}
	return b.Limits.PushPerApp.Check(r.Context(), b.Counter, string(app.ID))
}

// clientParameters authenticate the client and are no part of the authorization request.
var clientParameters = []string{"client_secret", "client_assertion", "client_assertion_type"}

// judgePushed finds the parameters that count and checks them as /authorize does.
func (b *Broker) judgePushed(ctx context.Context, app App, form url.Values, jkt string) (url.Values, error) {
	if id := form.Get("client_id"); id != "" && id != app.ClientID {
		return nil, invalid("client_id is another's")
	}
	for _, name := range clientParameters {
		form.Del(name)
	}
	form.Set("client_id", app.ClientID)
	q := requested{app: app, values: form}
	signed := form.Has("request")
	if !signed && app.RequestObject {
		return nil, errUnsigned
	}
	var err error
	if signed {
		if q.values, err = b.requestObject(ctx, app, form.Get("request"), true); err != nil {
			return nil, err
		}
	}
	if q, err = b.answerable(q); err != nil {
		return nil, err
	}
	if err := bindsTo(q.values, jkt); err != nil {
		return nil, err
	}
	if _, err := b.parse(ctx, app, q.redirect, q.values); err != nil {
		return nil, err
	}
	return q.values, nil
}

// bindsTo notes the key of a DPoP proof as the one that the code is bound to (RFC 9449 section 10.1).
func bindsTo(values url.Values, jkt string) error {
	switch asked := values.Get("dpop_jkt"); {
	case jkt == "":
		return nil
	case asked != "" && asked != jkt:
		return &authError{"invalid_dpop_proof", "dpop_jkt and the proof's key differ"}
	}
	values.Set("dpop_jkt", jkt)
	return nil
}

// asPushed says a fault of an authorization request in the words of RFC 9126 section 2.3.
func (b *Broker) asPushed(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*authError](err); ok {
		status := http.StatusBadRequest
		if e.code == "server_error" || e.code == "temporarily_unavailable" {
			status = http.StatusServiceUnavailable
		}
		return asDiffering(err, &oauthError{e.code, e.description, status})
	}
	if errors.Is(err, ErrRedirectURI) {
		return differs(&oauthError{"invalid_request", "redirect_uri is not registered for this client", http.StatusBadRequest}, causeOf(err))
	}
	return b.asRefusal(ctx, err)
}

// requestForm reads a body that is an authorization request: a form whose parameters come once, but
// resource (RFC 8707 section 2.1).
func requestForm(r *http.Request) (url.Values, error) {
	form, err := web.Form(r)
	if errors.Is(err, web.ErrTooLarge) {
		return nil, err
	}
	if err != nil && (len(r.PostForm["resource"]) < 2 || web.Plain(without(r.PostForm, "resource")) != nil) {
		return nil, &oauthError{"invalid_request", "the body is not a form with each parameter once", http.StatusBadRequest}
	}
	return form, nil
}
