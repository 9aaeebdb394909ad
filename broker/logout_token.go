package broker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

// This file is OpenID Connect Back-Channel Logout 1.0: an app that wants it is told, server to server, that
// a session it was signed in to is over.

// LogoutToken is the kind of delivery that carries logout tokens.
const LogoutToken delivery.Kind = "logout_token"

const (
	// logoutTries is how long an app that does not answer is told again. Whoever was away for longer has
	// to ask: its access tokens are long over.
	logoutTries = 24 * time.Hour
	// logoutLife is how long a logout token is good for (Back-Channel Logout section 4 recommends two
	// minutes at most): each try mints its own.
	logoutLife = 2 * time.Minute
	// logoutEvent names what a logout token says (section 2.4).
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutAnswer is how much of an answer is read before its connection is used again.
	logoutAnswer = 4 << 10
)

// Outbox is where logout tokens wait, and what became of them.
type Outbox interface {
	delivery.Outbox
	Deliveries(ctx context.Context, org string, q delivery.Query) ([]delivery.Delivery, error)
}

// ended is what a logout token is made of when it is sent.
type ended struct {
	App     directory.AppID     `json:"app"`
	Person  directory.PersonID  `json:"per"`
	Session directory.SessionID `json:"ses"`
	SID     string              `json:"sid"`
	At      time.Time           `json:"at"`
}

// tellLogout has an app told that its part of a session is over, if it wants to be, in the transaction
// that ends it.
func (b *Broker) tellLogout(ctx context.Context, s SessionRef, m AppMark, at time.Time, known apps) error {
	app, err := b.appOf(ctx, m.App, known)
	if err != nil || app.BackChannelLogoutURI == "" {
		return err
	}
	payload, err := json.Marshal(ended{App: m.App, Person: s.Person, Session: s.ID, SID: m.SID, At: at})
	if err != nil {
		return err
	}
	now := b.Now()
	return b.Outbox.Enqueue(ctx, delivery.Job{
		ID: string(directory.NewJobID(now)), Kind: LogoutToken, Org: string(m.Org), Target: string(m.App), Host: hostFor(app.BackChannelLogoutURI),
		Payload: payload, CreatedAt: now, NotAfter: now.Add(logoutTries),
	})
}

func hostFor(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// logoutClaims is a logout token (Back-Channel Logout section 2.4). It has no nonce, so that it can be taken
// for no id token.
type logoutClaims struct {
	Issuer   string              `json:"iss"`
	Subject  string              `json:"sub"`
	Audience string              `json:"aud"`
	Issued   int64               `json:"iat"`
	Expires  int64               `json:"exp"`
	ID       string              `json:"jti"`
	Events   map[string]struct{} `json:"events"`
	SID      string              `json:"sid"`
}

// Logouts sends logout tokens.
type Logouts struct{ Broker *Broker }

var (
	_ delivery.Sender = Logouts{}
	_ delivery.Noter  = Logouts{}
)

// Send mints a token of now and posts it. The app took it when it answers 200 or 204, refused it with
// 400, and anything else may pass (section 2.8).
func (l Logouts) Send(ctx context.Context, j delivery.Job) error {
	b := l.Broker
	var e ended
	if err := json.Unmarshal(j.Payload, &e); err != nil {
		return delivery.Never("payload", err)
	}
	app, err := b.Apps.AppByID(ctx, e.App)
	if errors.Is(err, ErrAppNotFound) || err == nil && app.BackChannelLogoutURI == "" {
		return delivery.Never("no address", err)
	}
	if err != nil {
		return err
	}
	token, err := b.logoutToken(app, e, j.ID)
	if err != nil {
		return err
	}
	return b.postLogout(ctx, app, token)
}

func (b *Broker) logoutToken(app App, e ended, jti string) (string, error) {
	now := b.Now()
	body, err := json.Marshal(logoutClaims{
		Issuer: b.Issuer, Subject: b.subject(app, e.Person), Audience: app.ClientID, Issued: now.Unix(), Expires: now.Add(logoutLife).Unix(),
		ID: jti, Events: map[string]struct{}{logoutEvent: {}}, SID: e.SID,
	})
	if err != nil {
		return "", err
	}
	s, ok := b.Keys.signer(app.IDTokenAlg)
	if !ok {
		return "", ErrAppSettings.Because("no key for " + app.IDTokenAlg)
	}
	return s.logout.write(body)
}

// postLogout calls the app through the guarded dialer: no redirect is followed, no cookie kept, and a
// private address is open only where the operator opened it for this app (S23).
func (b *Broker) postLogout(ctx context.Context, app App, token string) error {
	form := url.Values{"logout_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, app.BackChannelLogoutURI, strings.NewReader(form.Encode()))
	if err != nil {
		return delivery.Never("address", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.Call(app.Private).Do(req)
	if err != nil {
		return delivery.Fail(callClass(err), err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, logoutAnswer) // so that the connection can be used again
	switch status := "status " + strconv.Itoa(resp.StatusCode); resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusBadRequest:
		return delivery.Never(status, nil)
	default:
		return delivery.Fail(status, nil)
	}
}

// callClass names why a call brought no answer.
func callClass(err error) string {
	switch {
	case errors.Is(err, outbound.ErrAddress):
		return "address"
	case errors.Is(err, outbound.ErrRefused):
		return "refused"
	case errors.Is(err, outbound.ErrRedirect):
		return "redirect"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "unreachable"
}

// Note writes into the record how long it took until the app knew, or that it never did.
func (l Logouts) Note(j delivery.Job, d delivery.Delivery) (audit.Entry, bool) {
	var e ended
	_ = json.Unmarshal(j.Payload, &e) // what cannot be read has no session to name
	entry := audit.Entry{
		ID: string(directory.NewEntryID(d.At)), At: d.At, Org: j.Org, Actor: audit.Ref{Kind: string(directory.Engine)}, Action: audit.LogoutDelivered,
		Target: audit.Ref{Kind: "app", ID: j.Target}, Detail: map[string]string{"session": string(e.Session), "delivery": j.ID, "attempts": strconv.Itoa(d.Attempts)},
	}
	if d.Outcome == delivery.Delivered {
		entry.Detail["after"] = d.At.Sub(e.At).Round(time.Millisecond).String()
		return entry, true
	}
	entry.Action, entry.Detail["class"] = audit.LogoutUndelivered, d.Class
	return entry, true
}
