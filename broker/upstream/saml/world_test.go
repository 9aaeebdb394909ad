package saml

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
	"github.com/vestibule-id/vestibule/directory"
)

const (
	base = "https://login.example"
	idp  = "https://idp.example/metadata"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// Keys lie in a file, because RSA takes its time and because the processes of a fuzz run must have the
// same: else no mutation would get past the signature.
var (
	keyFile = sync.OnceValue(func() (f struct {
		IDP map[string]KeyPair `json:"idp"`
		SP  Secret             `json:"sp"`
	}) {
		if err := json.Unmarshal(must(os.ReadFile("testdata/keys.json")), &f); err != nil {
			panic(err)
		}
		return f
	})
	idpRSA      = sync.OnceValue(func() samltest.Key { return keyOf("idp") })
	idpNext     = sync.OnceValue(func() samltest.Key { return keyOf("idp next") })
	idpEC       = sync.OnceValue(func() samltest.Key { return keyOf("idp ec") })
	strangerRSA = sync.OnceValue(func() samltest.Key { return keyOf("stranger") })
)

func keyOf(name string) samltest.Key {
	p := keyFile().IDP[name]
	return must(samltest.ParseKey(p.Key, p.Certificate))
}

func ourSecret() Secret { return keyFile().SP }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// world is one connection with its identity provider, and the memory of what was spent.
type world struct {
	t       testing.TB
	now     time.Time
	conn    upstream.Connection
	cfg     Config
	attempt upstream.Attempt
	mu      sync.Mutex
	spent   map[string]time.Time
	allowed []string
	client  *http.Client
	opened  upstream.Upstream
}

func newWorld(t testing.TB) *world {
	nonce := strings.Repeat("n", 43)
	return &world{
		t: t, now: noon.Add(time.Minute), spent: map[string]time.Time{},
		cfg: Config{
			SSORedirectURL: "https://idp.example/sso",
			Certificates:   []string{idpRSA().CertPEM(), idpNext().CertPEM(), idpEC().CertPEM()},
		},
		conn: upstream.Connection{
			ID: directory.NewConnectionID(noon), Type: Type, Name: "IdP", Status: upstream.Active, Issuer: idp,
			Secret: must(json.Marshal(ourSecret())),
		},
		attempt: upstream.Attempt{
			ID: "login." + strings.Repeat("x", 43), Nonce: nonce, At: noon, Until: noon.Add(30 * time.Minute),
		},
	}
}

func (w *world) acs() string      { return upstream.ReturnURL(base, w.conn.ID) }
func (w *world) entityID() string { return upstream.MetadataURL(base, w.conn.ID) }

func (w *world) env() upstream.Env {
	return upstream.Env{
		Client: w.client,
		Now:    func() time.Time { return w.now },
		Base:   base,
		Spend: func(_ context.Context, _ upstream.Connection, kind, key string, until time.Time) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if _, spent := w.spent[kind+" "+key]; spent {
				return upstream.ErrReplay
			}
			w.spent[kind+" "+key] = until
			return nil
		},
		Algorithms: func(context.Context, upstream.Connection) []string {
			if w.allowed != nil {
				return w.allowed
			}
			return []string{"RS256", "PS256", "ES256", "RS384", "RS512", "ES384"}
		},
	}
}

// open checks and opens the connection once.
func (w *world) open() upstream.Upstream {
	w.t.Helper()
	if w.opened != nil {
		return w.opened
	}
	w.conn.Config = must(json.Marshal(w.cfg))
	c, err := Check(w.conn)
	if err != nil {
		w.t.Fatalf("check: %v", err)
	}
	u, err := Open(c, w.env())
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.opened = u
	return u
}

// good is a response that must be accepted.
func (w *world) good() samltest.Response {
	return samltest.Good(idpRSA(), idp, w.entityID(), w.acs(), "_"+w.attempt.Nonce, "ada@acme.example", noon.Add(30*time.Second))
}

func (w *world) arrive(r samltest.Response) (upstream.Assertion, upstream.Report, error) {
	w.t.Helper()
	doc, err := r.XML()
	if err != nil {
		w.t.Fatal(err)
	}
	return w.bring(doc)
}

func (w *world) bring(doc []byte) (upstream.Assertion, upstream.Report, error) {
	w.t.Helper()
	in := upstream.Arrival{Method: "POST", Values: samltest.Form(doc, w.attempt.ID)}
	return w.open().Arrive(w.t.Context(), w.attempt, in)
}

// refused fails unless err is want and nothing came with it.
func refused(t *testing.T, got upstream.Assertion, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if got.Key.Subject != "" || got.Email != "" {
		t.Errorf("a refused answer gave %+v", got)
	}
}

func accepted(t *testing.T, got upstream.Assertion, report upstream.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("refused: %v; %+v", err, report)
	}
	if got.Key.Subject == "" || got.AuthTime.IsZero() {
		t.Errorf("accepted as %+v", got)
	}
}

// find gives the first element with that local name, wherever it is.
func find(e *etree.Element, tag string) *etree.Element {
	if e.Tag == tag {
		return e
	}
	for _, c := range e.ChildElements() {
		if f := find(c, tag); f != nil {
			return f
		}
	}
	return nil
}

func check(report upstream.Report, name string) (ok, found bool, got, expected string) {
	for _, c := range report {
		if c.Name == name {
			return c.OK, true, c.Got, c.Expected
		}
	}
	return false, false, "", ""
}
