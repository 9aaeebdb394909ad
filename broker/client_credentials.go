package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/policy"
)

var (
	errAppNotAdmitted = &oauthError{"unauthorized_client", "the app may not act in this organization", http.StatusBadRequest}
	errPublicClient   = &oauthError{"unauthorized_client", "only an app that can keep a secret or a key may do this", http.StatusBadRequest}
	errNoOrganization = &oauthError{"invalid_request", "organization is missing: an app acts in one", http.StatusBadRequest}
)

// acting is a client credentials request (RFC 6749 section 4.4) of an app that proved itself.
type acting struct {
	organization string // as at the authorization endpoint
	scope        string // "" is every scope that the app has
	resource     string
	jkt          string // the DPoP key that the request was proved with; "" is none
}

// clientCredentials gives an app a token for itself, in one organization. It carries no person: sub is the
// client_id.
func (b *Broker) clientCredentials(ctx context.Context, app App, in acting) (tokens, error) {
	if !app.confidential() {
		return tokens{}, errPublicClient
	}
	scope := app.Scopes
	if in.scope != "" {
		var err error
		if scope, err = narrowed(in.scope, app.Scopes); err != nil {
			return tokens{}, err
		}
	}
	aud, err := b.audience(app, in.resource, nil)
	if err != nil {
		return tokens{}, err
	}
	org, err := b.actsIn(ctx, app, in.organization)
	if err != nil {
		return tokens{}, err
	}
	var out minted
	for range 3 {
		if out, err = b.act(ctx, app, org, minting{scope: scope, aud: aud, jkt: in.jkt}); !errors.Is(err, ErrMoved) {
			break
		}
	}
	return out.tokens, err
}

func (b *Broker) act(ctx context.Context, app App, org directory.OrgID, m minting) (minted, error) {
	a, err := b.admitApp(ctx, app.ID, org)
	if err != nil {
		return minted{}, notAdmitted(err, errAppNotAdmitted)
	}
	out, err := b.mintApp(a, m)
	if err != nil {
		return minted{}, err
	}
	return out, b.noteActing(ctx, a, out)
}

// noteActing writes what must be written of a token that an app was given for itself. Apps fetch them all
// day, so the record is told once an hour that an app acts in an organization, not of each token: what each
// may do stands in the app's settings and entitlements, whose changes are recorded.
func (b *Broker) noteActing(ctx context.Context, a appAdmission, m minted) error {
	app, org := a.app.ID, a.org.Org().ID
	key, now := string(app)+"/"+string(org), b.Now()
	said := b.acted.since(key, now.Add(-time.Hour))
	if said && m.opaque == nil {
		return nil
	}
	err := b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.appStands(ctx, a); err != nil {
			return err
		}
		if err := b.keepAccess(ctx, org, m); err != nil || said {
			return err
		}
		ref := audit.Ref{Kind: "app", ID: string(app)}
		return b.Audit.Record(ctx, audit.Entry{
			ID: string(directory.NewEntryID(now)), At: now, Org: string(org), Actor: ref, Action: audit.AppActed, Target: ref,
		})
	})
	if err == nil && !said {
		b.acted.note(key, now)
	}
	return err
}

// actsIn finds the organization that an app wants to act in, named as at the authorization endpoint.
func (b *Broker) actsIn(ctx context.Context, app App, name string) (directory.OrgID, error) {
	req := authRequest{organization: name}
	err := b.resolveOrg(ctx, app, &req)
	if e, ok := errors.AsType[*authError](err); ok {
		return "", asDiffering(err, &oauthError{e.code, e.description, http.StatusBadRequest})
	}
	if err == nil && req.org == "" {
		err = errNoOrganization
	}
	return req.org, err
}

// mintApp makes the token of an app that acts for itself.
func (b *Broker) mintApp(a appAdmission, m minting) (minted, error) {
	if a.app.ID == "" {
		return minted{}, ErrNotAdmitted.Because("minting without an admission")
	}
	now := b.Now()
	return b.mintAccess(a.app, accessClaims{
		Issuer: b.Issuer, Subject: a.app.ClientID, Audience: m.aud, Issued: now.Unix(),
		Expires: now.Add(policy.AccessLifetime.In(a.policy)).Unix(), ID: directory.NewSecret()[:22],
		Client: a.app.ClientID, Scope: strings.Join(m.scope, " "), orgClaims: orgClaimsOf(a.org, nil),
	}, m)
}

// lately remembers when something was last said, for a bounded number of things.
type lately struct {
	mu sync.Mutex
	at map[string]time.Time
}

const maxLately = 16384

func (l *lately) since(key string, at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at[key].After(at)
}

func (l *lately) note(key string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil || len(l.at) >= maxLately {
		l.at = map[string]time.Time{}
	}
	l.at[key] = now
}

// concerns says whether a token is for an app or was issued to it: nobody else learns anything of it. Our
// own audience is no app's, whatever one is called.
func (b *Broker) concerns(app App, c accessClaims) bool {
	return c.Client == app.ClientID || c.Audience == app.ClientID && c.Audience != b.Issuer
}
