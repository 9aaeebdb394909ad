package upstreamtest

import (
	"context"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

const subject = "00u-Alice/7@example"

// Run tells whether a protocol is fit for strangers.
func Run(t *testing.T, h Harness) {
	t.Run("a right answer is believed", func(t *testing.T) { right(t, h) })
	t.Run("S4 each subject has its own key", func(t *testing.T) { keys(t, h) })
	t.Run("flaws are refused", func(t *testing.T) { flaws(t, h) })
	t.Run("an old proof is told and judged", func(t *testing.T) { stale(t, h) })
	t.Run("an answer is good for its attempt alone", func(t *testing.T) { foreign(t, h) })
	t.Run("an answer is good once", func(t *testing.T) { replay(t, h) })
	t.Run("an answer is good for its connection alone", func(t *testing.T) { otherConnection(t, h) })
	t.Run("rubbish at the door", func(t *testing.T) { rubbish(t, h) })
	t.Run("mangled answers name nobody else", func(t *testing.T) { mangled(t, h) })
	t.Run("S23 a provider's machine misbehaves", func(t *testing.T) { moods(t, h) })
	t.Run("many at once", func(t *testing.T) { parallel(t, h) })
	t.Run("no algorithm allowed, nobody believed", func(t *testing.T) { algorithms(t, h) })
	t.Run("settings", func(t *testing.T) { settings(t, h) })
}

// stage is a party, opened.
type stage struct {
	Party
	up    upstream.Upstream
	world World
	algs  []string
}

func open(t *testing.T, h Harness) *stage {
	t.Helper()
	s := &stage{
		world: World{ID: directory.NewConnectionID(time.Now()), Base: "https://login.vestibule.example", Now: time.Now},
		algs:  []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
	}
	s.Party = h.Start(t, s.world)
	up, err := h.Protocol.Open(s.Connection, s.env())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s.up = up
	return s
}

func (s *stage) env() upstream.Env {
	var mu sync.Mutex
	spent := map[string]bool{}
	return upstream.Env{
		Client: new(outbound.Guard).Client(s.Connection.Private),
		Now:    s.world.Now,
		Base:   s.world.Base,
		Spend: func(_ context.Context, c upstream.Connection, kind, key string, _ time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			id := string(c.ID) + "/" + kind + "/" + key
			if spent[id] {
				return upstream.ErrReplay
			}
			spent[id] = true
			return nil
		},
		Algorithms: func(context.Context, upstream.Connection) []string { return s.algs },
	}
}

// Attempt makes an attempt like the flow engine's.
func Attempt(now time.Time) upstream.Attempt {
	return upstream.Attempt{
		ID:    directory.NewSecret() + directory.NewSecret()[:22],
		Nonce: directory.NewSecret(), Verifier: directory.NewSecret(),
		At: now, Until: now.Add(time.Hour),
	}
}

func (s *stage) depart(t *testing.T, a upstream.Attempt) upstream.Departure {
	t.Helper()
	d, err := s.up.Depart(t.Context(), a)
	if err != nil {
		t.Fatalf("depart: %v", err)
	}
	if u, err := url.Parse(d.URL); err != nil || u.Host == "" {
		t.Fatalf("the departure's address %q is not absolute", d.URL)
	}
	return d
}

// login departs, lets the provider answer, and arrives.
func (s *stage) login(t *testing.T, a upstream.Attempt, who string, f Flaw) (upstream.Assertion, upstream.Report, error) {
	t.Helper()
	in := s.Answer(t, s.depart(t, a), who, f)
	return s.up.Arrive(t.Context(), a, in)
}

// believed fails unless the answer was believed and names who.
func (s *stage) believed(t *testing.T, who string, as upstream.Assertion, r upstream.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("refused: %v\n%+v", err, r)
	}
	if as.Key != s.Key(who) {
		t.Errorf("key %+v, want %+v", as.Key, s.Key(who))
	}
	if as.Key.Connection != s.world.ID || as.Key.Issuer != s.Connection.Issuer {
		t.Errorf("key %+v is not of this connection and issuer", as.Key)
	}
	if as.AuthTime.IsZero() {
		t.Error("no time of authentication")
	}
	checkReport(t, r)
}

// disbelieved fails unless the answer was refused in a way that can be shown.
func disbelieved(t *testing.T, as upstream.Assertion, r upstream.Report, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("believed: %+v", as.Key)
	}
	if f := fault.Of(err); f.Kind == fault.Internal || f.Public == "" {
		t.Errorf("not a fault to show: %v", err)
	}
	if !reflect.DeepEqual(as, upstream.Assertion{}) {
		t.Errorf("an assertion was given all the same: %+v", as)
	}
	checkReport(t, r)
}

// checkReport: parsed fields, cut, printable, and never a piece of what came over the wire (S23).
func checkReport(t *testing.T, r upstream.Report) {
	t.Helper()
	for _, c := range r {
		if c.Name == "" {
			t.Errorf("a check without a name: %+v", c)
		}
		for _, text := range []string{c.Got, c.Expected} {
			if upstream.Shown(text) != text {
				t.Errorf("%s: %q cannot be shown as it is", c.Name, text)
			}
			for _, raw := range []string{"eyJ", "<?xml", "<saml", "PHNhbW", "xxxxxxxxxxxxxxxx"} {
				if strings.Contains(text, raw) {
					t.Errorf("%s: raw text %q in the report", c.Name, text)
				}
			}
		}
	}
}

func right(t *testing.T, h Harness) {
	s := open(t, h)
	as, r, err := s.login(t, Attempt(time.Now()), subject, None)
	s.believed(t, subject, as, r, err)
	if len(r) == 0 {
		t.Error("an empty report")
	}
	for _, c := range r {
		if !c.OK {
			t.Errorf("a check failed and nobody minded: %+v", c)
		}
	}
}

func keys(t *testing.T, h Harness) {
	s := open(t, h)
	seen := map[directory.IdentityKey]string{}
	for _, who := range []string{"alice", "Alice", "alice2", "älice", "a@b.example", "x|y", "0"} {
		as, r, err := s.login(t, Attempt(time.Now()), who, None)
		s.believed(t, who, as, r, err)
		if other, taken := seen[as.Key]; taken {
			t.Errorf("%q and %q are one", who, other)
		}
		seen[as.Key] = who
	}
}

func flaws(t *testing.T, h Harness) {
	for _, f := range refused {
		t.Run(string(f), func(t *testing.T) {
			s := open(t, h)
			as, r, err := s.login(t, Attempt(time.Now()), subject, f)
			disbelieved(t, as, r, err)
		})
	}
}

func stale(t *testing.T, h Harness) {
	s := open(t, h)
	as, r, err := s.login(t, Attempt(time.Now()), subject, Stale)
	s.believed(t, subject, as, r, err)
	if age := time.Since(as.AuthTime); age < 110*time.Minute || age > 130*time.Minute {
		t.Errorf("proved %v ago, want two hours", age)
	}
	hour := time.Hour
	aged := Attempt(time.Now())
	aged.MaxAge = &hour
	as, r, err = s.login(t, aged, subject, Stale)
	disbelieved(t, as, r, err)
	forced := Attempt(time.Now())
	forced.Force = true
	as, r, err = s.login(t, forced, subject, Stale)
	disbelieved(t, as, r, err)
	aged = Attempt(time.Now())
	aged.MaxAge = &hour
	as, r, err = s.login(t, aged, subject, None)
	s.believed(t, subject, as, r, err)
}

func foreign(t *testing.T, h Harness) {
	s := open(t, h)
	mine, theirs := Attempt(time.Now()), Attempt(time.Now())
	in := s.Answer(t, s.depart(t, theirs), subject, None)
	as, r, err := s.up.Arrive(t.Context(), mine, in)
	disbelieved(t, as, r, err)
	// The attempt's id is all that an attacker can put on: it is in the address bar.
	swapped := clone(in)
	for key := range swapped.Values {
		if swapped.Values.Get(key) == theirs.ID {
			swapped.Values.Set(key, mine.ID)
		}
	}
	as, r, err = s.up.Arrive(t.Context(), mine, swapped)
	disbelieved(t, as, r, err)
}

func replay(t *testing.T, h Harness) {
	s := open(t, h)
	a := Attempt(time.Now())
	in := s.Answer(t, s.depart(t, a), subject, None)
	as, r, err := s.up.Arrive(t.Context(), a, clone(in))
	s.believed(t, subject, as, r, err)
	as, r, err = s.up.Arrive(t.Context(), a, clone(in))
	disbelieved(t, as, r, err)
}

func otherConnection(t *testing.T, h Harness) {
	one, two := open(t, h), open(t, h)
	a := Attempt(time.Now())
	in := one.Answer(t, one.depart(t, a), subject, None)
	as, r, err := two.up.Arrive(t.Context(), a, in)
	disbelieved(t, as, r, err)
}

// rubbish makes each parameter in turn into what no browser brings.
func rubbish(t *testing.T, h Harness) {
	s := open(t, h)
	a := Attempt(time.Now())
	good := s.Answer(t, s.depart(t, a), subject, None)
	refuse := func(name string, in upstream.Arrival) {
		t.Helper()
		start := time.Now()
		as, r, err := s.up.Arrive(t.Context(), a, in)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		t.Run(name, func(t *testing.T) { disbelieved(t, as, r, err) })
	}
	for key, values := range good.Values {
		for name, next := range map[string][]string{
			"twice the same":  {values[0], values[0]},
			"twice different": {values[0], "x"},
			"NUL":             {values[0] + "\x00"},
			"not UTF-8":       {values[0] + "\xff\xfe"},
			"8 MiB":           {strings.Repeat("x", 8<<20)},
			"empty":           {""},
		} {
			in := clone(good)
			in.Values[key] = next
			refuse(key+" "+name, in)
		}
	}
	refuse("nothing", upstream.Arrival{Method: good.Method, Values: url.Values{}})
	refuse("not even values", upstream.Arrival{Method: good.Method})
	refuse("another method", upstream.Arrival{Method: "PUT", Values: clone(good).Values})
	// After all that the good answer is still good: refusing rubbish spends nothing.
	as, r, err := s.up.Arrive(t.Context(), a, good)
	s.believed(t, subject, as, r, err)
}

// mangled changes answers at random places: whatever is believed names who the provider named.
func mangled(t *testing.T, h Harness) {
	s := open(t, h)
	a := Attempt(time.Now())
	good := s.Answer(t, s.depart(t, a), subject, None)
	for key, values := range good.Values {
		for i := range 40 {
			in := clone(good)
			in.Values.Set(key, mangle(values[0], i))
			as, r, err := s.up.Arrive(t.Context(), a, in)
			checkReport(t, r)
			if err == nil && as.Key != s.Key(subject) {
				t.Fatalf("%s mangled %d names %+v", key, i, as.Key)
			}
		}
	}
}

func mangle(v string, i int) string {
	if v == "" {
		return "x"
	}
	at := i * 7919 % len(v)
	switch i % 4 {
	case 0:
		return v[:at]
	case 1:
		return v[:at] + "A" + v[at+1:]
	case 2:
		return v[:at] + v[at+1:]
	}
	return v[:at] + v[at:] + v[at:]
}

func parallel(t *testing.T, h Harness) {
	s := open(t, h)
	var wg sync.WaitGroup
	for i := range 12 {
		who := "person-" + string(rune('a'+i))
		a := Attempt(time.Now())
		in := s.Answer(t, s.depart(t, a), who, None)
		wg.Go(func() {
			as, r, err := s.up.Arrive(t.Context(), a, in)
			if err != nil || as.Key != s.Key(who) {
				t.Errorf("%s: %+v, %v, %+v", who, as.Key, err, r)
			}
		})
	}
	wg.Wait()
}

func algorithms(t *testing.T, h Harness) {
	s := open(t, h)
	for _, none := range [][]string{nil, {}, {"none"}, {"HS256"}, {"XX999"}} {
		s.algs = none
		as, r, err := s.login(t, Attempt(time.Now()), subject, None)
		disbelieved(t, as, r, err)
	}
}

func settings(t *testing.T, h Harness) {
	c := open(t, h).Connection
	again, err := h.Protocol.Check(c)
	if err != nil {
		t.Fatalf("checked settings do not pass a second time: %v", err)
	}
	if !reflect.DeepEqual(again, c) {
		t.Errorf("Check is not idempotent:\n%s\n%s", c.Config, again.Config)
	}
	for _, config := range []string{``, `null`, `[]`, `"x"`, `{`, `{"no_such_setting":1}`, `{}{}`, "{\"a\":\"\x00\"}"} {
		bad := c
		bad.Config = []byte(config)
		if _, err := h.Protocol.Check(bad); !isInvalid(err) {
			t.Errorf("config %q: %v, want an invalid fault", config, err)
		}
	}
	for _, issuer := range []string{"", "\x00", "\xff", strings.Repeat("x", 1<<20)} {
		bad := c
		bad.Issuer = issuer
		if _, err := h.Protocol.Check(bad); !isInvalid(err) {
			t.Errorf("issuer %.20q: %v, want an invalid fault", issuer, err)
		}
	}
	if h.Protocol.Pins != nil && h.Protocol.Pins(c) != h.Protocol.Pins(again) {
		t.Error("the pins of equal settings differ")
	}
}

func isInvalid(err error) bool { return err != nil && fault.Of(err).Kind == fault.Invalid }

func clone(in upstream.Arrival) upstream.Arrival {
	out := upstream.Arrival{Method: in.Method, Values: url.Values{}}
	for k, v := range in.Values {
		out.Values[k] = slices.Clone(v)
	}
	return out
}
