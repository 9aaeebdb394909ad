package fakeidp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

// What our own OpenID Connect room says to each misbehavior. Whose address it is, and whether one is
// needed, is judged later.
var oidcFaults = map[Misbehavior]*fault.Error{
	None: nil, NoEmail: nil, UnverifiedEmail: nil, ForeignEmail: nil,
	WrongAudience: oidc.ErrAudience,
	Old:           oidc.ErrExpired,
	UnknownKey:    oidc.ErrSignature,
	Unsigned:      oidc.ErrAlg,
	FastClock:     oidc.ErrNotYet,
	OtherTenant:   oidc.ErrIssuer,
	OtherRequest:  oidc.ErrNonce,
	Slow:          upstream.ErrUnreachable,
	Down:          upstream.ErrUnreachable,
	Unavailable:   upstream.ErrUnreachable,
	Megabytes:     oidc.ErrTokenEndpoint,
	Garbage:       oidc.ErrTokenEndpoint,
}

func TestOurOIDCRoomFindsEveryMisbehavior(t *testing.T) {
	for _, mode := range []string{"query", "form_post"} {
		p := oidcProvider()
		p.Delay = 3 * time.Second
		start(t, p)
		c := upstream.Connection{ID: directory.NewConnectionID(time.Now()), Type: "oidc", Issuer: p.Base, Status: upstream.Active,
			Private: []string{strings.TrimPrefix(p.Base, "http://")}}
		c.Config, _ = json.Marshal(oidc.Config{ClientID: "vestibule", ResponseMode: mode, UserInfo: true})
		c.Secret, _ = json.Marshal(oidc.Secret{ClientSecret: "s e:cret%"})
		c, err := oidc.Protocol().Check(c)
		if err != nil {
			t.Fatal(err)
		}
		p.AddClient(Client{ID: "vestibule", Secret: "s e:cret%", Redirects: []string{upstream.ReturnURL("http://localhost:8080", c.ID)}})
		opened, err := oidc.Protocol().Open(c, upstream.Env{
			Client: (&outbound.Guard{Timeout: time.Second}).Client(c.Private), Now: time.Now, Base: "http://localhost:8080",
			Spend:      func(context.Context, upstream.Connection, string, string, time.Time) error { return nil },
			Algorithms: func(context.Context, upstream.Connection) []string { return []string{"RS256", "ES256"} },
		})
		if err != nil {
			t.Fatal(err)
		}
		for m, want := range oidcFaults {
			a, err := oidcSignIn(t, p, opened, m)
			if want == nil && err != nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s %q: %v, want %v", mode, m, err, want)
			}
			if want == nil && (a.Key.Subject != ada.ID || (a.Email == "") != (m == NoEmail) || a.EmailVouched != (m == None || m == ForeignEmail)) {
				t.Errorf("%s %q: %+v", mode, m, a)
			}
		}
	}
}

func oidcSignIn(t *testing.T, p *Provider, opened upstream.Upstream, m Misbehavior) (upstream.Assertion, error) {
	t.Helper()
	b := browser{t}
	secret := func() string { return rand.Text() + strings.Repeat("n", 17) }
	attempt := upstream.Attempt{ID: "login." + secret(), Nonce: secret(), Verifier: secret(), At: time.Now(), Until: time.Now().Add(time.Minute)}
	away, err := opened.Depart(t.Context(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	back := b.press(p, b.get(away.URL), ada, m)
	arrival := upstream.Arrival{Method: "POST", Values: fields(back.body)}
	if back.location != nil {
		arrival = upstream.Arrival{Method: "GET", Values: url.Values(back.location.Query())}
	}
	a, _, err := opened.Arrive(t.Context(), attempt, arrival)
	return a, err
}
