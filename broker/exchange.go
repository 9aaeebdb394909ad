package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/policy"
)

// accessTokenType is the only type of token that is taken and given (RFC 8693 section 3).
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

var (
	errSubjectToken = &oauthError{"invalid_request", "the subject_token is no good access token of a person that this app holds or is the audience of", http.StatusBadRequest}
	errActorToken   = &oauthError{"invalid_request", "the actor_token is no good access token of the same organization that this app holds or is the audience of", http.StatusBadRequest}
	errExchange     = &oauthError{"invalid_request", "subject_token with subject_token_type " + accessTokenType + ", and audience or resource, are needed; other types of tokens are not taken or given", http.StatusBadRequest}
	errMayNotUse    = &oauthError{"invalid_target", "the person may not use this app in this organization", http.StatusBadRequest}
	// A third party needs the person's consent, which nobody asks here; to an unshared app a sign-in to another
	// is none.
	errNoExchange = &oauthError{"unauthorized_client", "this app takes no tokens of others", http.StatusBadRequest}
	errUnbound    = &oauthError{"invalid_request", "a token that is bound to a key is exchanged for one that is: a DPoP proof is needed", http.StatusBadRequest}
)

// exchanging is a token exchange request (RFC 8693 section 2.1) of an app that proved itself.
type exchanging struct {
	subject, subjectType string
	actor, actorType     string // "" where the app itself acts
	requested            string // the type of token that is wanted; "" is an access token
	audience, resource   string
	scope                string // narrower than the subject token's, or "" for as much of it as the app may have
	jkt                  string // the DPoP key that the request was proved with; "" is none
}

// target is whom the new token is for, which has to be named: a token that was given for one audience is
// not turned into one for another by leaving it out.
func (in exchanging) target(app App) (string, error) {
	known := in.subject != "" && in.subjectType == accessTokenType && (in.requested == "" || in.requested == accessTokenType) &&
		(in.actor == "") == (in.actorType == "") && (in.actor == "" || in.actorType == accessTokenType)
	switch {
	case !known:
		return "", differs(errExchange, "sent was subject_token_type "+word(in.subjectType)+", requested_token_type "+word(in.requested)+", actor_token_type "+word(in.actorType))
	case in.audience == "" && in.resource == "":
		return "", differs(errExchange, "sent was neither audience nor resource")
	case in.audience != "" && in.resource != "" && in.audience != in.resource:
		return "", differs(errTarget, "audience and resource differ")
	}
	aud := in.audience
	if aud == "" {
		aud = in.resource
	}
	if !slices.Contains(app.Audiences, aud) || in.resource != "" && !absolute(in.resource) {
		return "", errTarget
	}
	return aud, nil
}

// exchange gives an app a token for another audience in the place of one that it holds or that was shown to
// it. Organization, realm, person and auth_time stay; acr is never raised; the new token ends with the old
// one, by time or by revocation (S6).
func (b *Broker) exchange(ctx context.Context, app App, in exchanging) (tokens, error) {
	if !app.confidential() || app.ThirdParty || app.Unshared {
		return tokens{}, differs(errNoExchange, "it must be confidential, and neither third-party nor unshared")
	}
	aud, err := in.target(app)
	if err != nil {
		return tokens{}, err
	}
	subject, err := b.shownBy(ctx, app, in.subject, errSubjectToken)
	if err != nil {
		return tokens{}, err
	}
	if subject.grant.ID == "" || subject.depth >= maxExchanges {
		return tokens{}, errSubjectToken
	}
	if subject.claims.Confirm != nil && in.jkt == "" {
		return tokens{}, errUnbound
	}
	actor, err := b.actorOf(ctx, app, in, subject)
	if err != nil {
		return tokens{}, err
	}
	scope, err := exchanged(app, in.scope, strings.Fields(subject.claims.Scope))
	if err != nil {
		return tokens{}, err
	}
	var out tokens
	for range 3 {
		if out, err = b.exchangeOnce(ctx, app, subject, minting{scope: scope, aud: aud, jkt: in.jkt, noID: true, subject: &subject.claims, actor: actor}); !errors.Is(err, ErrMoved) {
			break
		}
	}
	return out, err
}

// exchangeOnce asks the door for the person and the app that exchanges, and makes a grant below the
// subject token's, on condition that nothing moved in between.
func (b *Broker) exchangeOnce(ctx context.Context, app App, subject inspected, m minting) (tokens, error) {
	now, from := b.Now(), subject.grant
	a, err := b.admitGrant(ctx, from, app.ID)
	if err != nil {
		return tokens{}, notAdmitted(err, errMayNotUse)
	}
	ends := now.Add(policy.AccessLifetime.In(a.policy))
	if last := time.Unix(subject.claims.Expires, 0); last.Before(ends) {
		ends = last
	}
	g := TokenGrant{
		ID: directory.NewGrantID(now), Kind: ByExchange, Org: from.Org, Realm: from.Realm, App: app.ID, Person: from.Person, Session: from.Session,
		CodeHash: hashOf(directory.NewSecret()), Scope: m.scope, AuthTime: from.AuthTime, Offline: from.Offline, Proofs: from.Proofs, Opened: from.Opened,
		Actor: m.actor, Parent: from.ID, CreatedAt: now, ExpiresAt: ends,
	}
	m.grant = g.ID
	out, err := b.mint(ctx, a, m)
	if err != nil {
		return tokens{}, err
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.stands(ctx, a); err != nil {
			return err
		}
		if _, _, err := b.standing(ctx, from.Org, from.ID); err != nil {
			return err
		}
		return b.opens(ctx, g, out)
	})
	if errors.Is(err, errNotGood) {
		return tokens{}, errSubjectToken
	}
	if err != nil {
		return tokens{}, err
	}
	out.IssuedType = accessTokenType
	return out.tokens, nil
}

// shownBy checks a token that an app shows to have it exchanged: one that was issued to it or is for it.
func (b *Broker) shownBy(ctx context.Context, app App, token string, refused *oauthError) (inspected, error) {
	c, err := b.readAccess(ctx, token)
	if err == nil && !b.concerns(app, c) {
		err = errNotGood
	}
	var t inspected
	if err == nil {
		t, err = b.admitted(ctx, c)
	}
	if errors.Is(err, errNotGood) {
		return inspected{}, refused
	}
	return t, err
}

// actor is an act claim: who acts, through which app, and for whom they act in turn.
type actor struct {
	Subject string          `json:"sub"`
	Client  string          `json:"client_id"`
	Actor   json.RawMessage `json:"act,omitempty"`
}

// actorOf says who acts for the subject: whom the actor_token is of, else the app, unless the subject token
// was its own. Who acted before stays inside (RFC 8693 section 4.1).
func (b *Broker) actorOf(ctx context.Context, app App, in exchanging, subject inspected) (json.RawMessage, error) {
	who := actor{Subject: app.ClientID, Client: app.ClientID, Actor: subject.claims.Actor}
	switch {
	case in.actor != "":
		t, err := b.shownBy(ctx, app, in.actor, errActorToken)
		if err != nil {
			return nil, err
		}
		if t.claims.OrgID != subject.claims.OrgID {
			return nil, errActorToken
		}
		who.Subject, who.Client = t.claims.Subject, t.claims.Client
	case subject.claims.Client == app.ClientID:
		return subject.claims.Actor, nil
	}
	return json.Marshal(who)
}

// exchanged is the scope of a new token: within the subject token's and the app's own, and never one that
// goes on while the person is away.
func exchanged(app App, wished string, had []string) ([]string, error) {
	most := slices.DeleteFunc(slices.Clone(had), func(s string) bool { return s == scopeOffline || !app.mayAsk(s) })
	return narrowed(wished, most)
}
