package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	lib "github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

// desk is a provider and our open connection to it.
type desk struct {
	*idp
	up    upstream.Upstream
	clock func() time.Time
	algs  []string
}

func newDesk(t testing.TB, edit func(*upstream.Connection, *Config)) *desk {
	t.Helper()
	p := newIDP(t)
	d := &desk{idp: p, clock: time.Now, algs: slices.Clone(signatures)}
	d.up = d.open(t, Protocol(), p.connection(t, "con_1", edit))
	return d
}

func (d *desk) open(t testing.TB, pr upstream.Protocol, c upstream.Connection) upstream.Upstream {
	t.Helper()
	up, err := pr.Open(c, upstream.Env{
		Client: new(outbound.Guard).Client(c.Private), Base: "https://login.vestibule.example",
		Now:        func() time.Time { return d.clock() },
		Algorithms: func(context.Context, upstream.Connection) []string { return d.algs },
	})
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func (d *desk) login(t testing.TB, a upstream.Attempt, edit func(url.Values)) (upstream.Assertion, upstream.Report, error) {
	t.Helper()
	dep, err := d.up.Depart(t.Context(), a)
	if err != nil {
		t.Fatalf("depart: %v", err)
	}
	in := d.arrival(t, dep, "alice", upstreamtest.None)
	if edit != nil {
		edit(in.Values)
	}
	return d.up.Arrive(t.Context(), a, in)
}

func attempt() upstream.Attempt { return upstreamtest.Attempt(time.Now()) }

func with(pairs ...any) func(map[string]any) {
	return func(m map[string]any) {
		for i := 0; i < len(pairs); i += 2 {
			if name := pairs[i].(string); pairs[i+1] == nil {
				delete(m, name)
			} else {
				m[name] = pairs[i+1]
			}
		}
	}
}

func TestAClientThatIsNotGuardedIsRefused(t *testing.T) {
	p := newIDP(t)
	for _, c := range []*http.Client{nil, {}} {
		if _, err := Protocol().Open(p.connection(t, "con_1", nil), upstream.Env{Client: c}); !errors.Is(err, upstream.ErrConfig) {
			t.Errorf("got %v", err)
		}
	}
}

type checkLine = audit.Check

func hashOf(token string) (string, error) { return lib.ClaimHash(token, jose.ES256) }

func jsonOf(v any) ([]byte, error) { return json.Marshal(v) }

// Start-up opens thousands of connections; a provider that is down must not hold it up.
func TestOpeningCallsNobody(t *testing.T) {
	d := newDesk(t, nil)
	if n := d.hit("/openid-configuration") + d.hit("/jwks"); n != 0 {
		t.Fatalf("%d calls", n)
	}
	if _, err := d.up.Depart(t.Context(), attempt()); err != nil || d.hit("/jwks") != 0 {
		t.Fatalf("a departure: %v, %d calls for keys", err, d.hit("/jwks"))
	}
}
