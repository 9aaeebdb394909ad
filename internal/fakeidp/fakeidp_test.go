package fakeidp

import (
	"context"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

var ada = Person{
	ID: "00u-ada", Email: "ada@techcorp.example", EmailVerified: true,
	Name: "Ada Lovelace", Given: "Ada", Family: "Lovelace", Groups: []string{"engineering", "staff"},
}

var grace = Person{ID: "00u-grace", Email: "grace@techcorp.example", EmailVerified: true, Name: "Grace Hopper", Given: "Grace", Family: "Hopper"}

func start(t *testing.T, p *Provider) *Provider {
	t.Helper()
	if p.Name == "" {
		p.Name = "TechCorp"
	}
	if p.People == nil {
		p.People = []Person{ada, grace}
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	srv, err := p.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return p
}

// browser follows nothing by itself and keeps no cookies: a provider that needed them would fail here.
type browser struct{ t *testing.T }

type answer struct {
	status   int
	body     string
	header   http.Header
	location *url.URL
	cookies  []*http.Cookie
}

func (b browser) do(req *http.Request) answer {
	b.t.Helper()
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	to, _ := resp.Location()
	return answer{resp.StatusCode, string(body), resp.Header, to, resp.Cookies()}
}

func (b browser) get(at string) answer {
	b.t.Helper()
	req, err := http.NewRequest("GET", at, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b browser) post(at string, form url.Values) answer {
	b.t.Helper()
	req, err := http.NewRequest("POST", at, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// fields are the hidden fields of a page.
func fields(body string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

// press presses a button of a provider's page: on whom, and what is to go wrong.
func (b browser) press(p *Provider, page answer, who Person, m Misbehavior) answer {
	b.t.Helper()
	if page.status != http.StatusOK {
		b.t.Fatalf("the page has status %d: %s", page.status, page.body)
	}
	want := `name="person" value="` + who.ID + `"`
	if m != None {
		want = `name="misbehavior" value="` + string(m) + `"`
	}
	if !strings.Contains(page.body, want) {
		b.t.Fatalf("the page has no button %s", want)
	}
	return b.post(p.Base+"/answer", url.Values{
		"request": {fields(page.body).Get("request")}, "person": {who.ID}, "misbehavior": {string(m)},
	})
}

func TestS54OnlyLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80", "localhost:0", "example.com:80", "127.0.0.1", ""} {
		if l, err := Listen(addr, false); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("Listen(%q) = %v, %v; want ErrNotLoopback", addr, l, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.2:0", "[::1]:0", "[::ffff:127.0.0.1]:0"} {
		l, err := Listen(addr, false)
		if err != nil {
			t.Errorf("Listen(%q): %v", addr, err)
			continue
		}
		l.Close()
	}
	l, err := Listen("0.0.0.0:0", true)
	if err != nil {
		t.Fatalf("the flag does not open it: %v", err)
	}
	l.Close()
}

func TestS54TheHandlerRefusesOtherAddresses(t *testing.T) {
	for _, c := range []struct {
		local   string
		exposed bool
		want    int
	}{
		{"192.0.2.7", false, http.StatusForbidden},
		{"192.0.2.7", true, http.StatusOK},
		{"127.0.0.1", false, http.StatusOK},
		{"::1", false, http.StatusOK},
	} {
		p := &Provider{Name: "T", Kind: OIDC, Base: "http://127.0.0.1:1", Now: time.Now, Exposed: c.exposed}
		h, err := p.Handler()
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/jwks", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(c.local)}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("local %s exposed %v: status %d, want %d", c.local, c.exposed, w.Code, c.want)
		}
	}
}

func TestS54KeysAreMarked(t *testing.T) {
	for _, algorithm := range []string{"", "RS256", "EdDSA"} {
		k, err := NewKey(algorithm, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !Marked(k.Cert) || !MarkedID(k.ID) {
			t.Errorf("%q: a key of a made-up provider does not say so", algorithm)
		}
		text, err := k.PEM()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if back.ID != k.ID || !back.Cert.Equal(k.Cert) || back.algorithm() != k.algorithm() || !MarkedID(back.ID) {
			t.Errorf("%q: the key is another one after a restart", algorithm)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, p := range map[string]*Provider{
		"no clock":           {Kind: OIDC, Base: "http://127.0.0.1:1"},
		"no protocol":        {Base: "http://127.0.0.1:1", Now: time.Now},
		"trailing slash":     {Kind: OIDC, Base: "http://127.0.0.1:1/", Now: time.Now},
		"relative":           {Kind: OIDC, Base: "/here", Now: time.Now},
		"SAML with EdDSA":    {Kind: SAML, Base: "http://127.0.0.1:1", Now: time.Now, Algorithm: "EdDSA"},
		"algorithm unknown":  {Kind: OIDC, Base: "http://127.0.0.1:1", Now: time.Now, Algorithm: "HS256"},
		"person without id":  {Kind: OIDC, Base: "http://127.0.0.1:1", Now: time.Now, People: []Person{{Name: "A"}}},
		"one id, two people": {Kind: OIDC, Base: "http://127.0.0.1:1", Now: time.Now, People: []Person{ada, ada}},
	} {
		if _, err := p.Handler(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
	for _, text := range []string{"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := ParseKey([]byte(text)); !errors.Is(err, ErrConfig) {
			t.Errorf("ParseKey(%q): %v, want ErrConfig", text, err)
		}
	}
}

func TestAShelfForgets(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := shelf[int]{life: time.Minute}
	s.put(now, "a", 1)
	s.put(now.Add(50*time.Second), "b", 2)
	if _, ok := s.get(now.Add(61*time.Second), "a"); ok {
		t.Error("a is older than it may be")
	}
	s.put(now.Add(70*time.Second), "c", 3) // the next generation
	if v, ok := s.get(now.Add(100*time.Second), "b"); !ok || v != 2 {
		t.Error("b was forgotten with its generation")
	}
	if _, ok := s.take(now.Add(100*time.Second), "c"); !ok {
		t.Error("c is gone")
	}
	if _, ok := s.take(now.Add(100*time.Second), "c"); ok {
		t.Error("c was taken twice")
	}
	s.put(now.Add(140*time.Second), "d", 4)
	s.put(now.Add(210*time.Second), "e", 5)
	if n := len(s.young) + len(s.old); n != 2 {
		t.Errorf("%d things are kept, want 2", n)
	}
}

func TestItServesWhileItIsChanged(t *testing.T) {
	p := oidcProvider()
	p.Auto = Anyone
	a := newParty(t, start(t, p))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			p.SetPeople(grace)
			p.SetPeople()
			p.SetPeople(ada, grace)
			p.SetMisbehavior(NoEmail)
			p.SetMisbehavior(None)
			p.SetAuto(Anyone)
			p.AddClient(Client{ID: "another"})
			if err := p.Rotate(); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		back := a.get(a.depart())
		if back.location == nil {
			continue // nobody worked there for a moment
		}
		if _, err := a.redeem(back.location.Query().Get("code")); err != nil {
			t.Fatal(err)
		}
	}
}
