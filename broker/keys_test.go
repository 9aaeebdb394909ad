package broker

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

// cluster is a database and the nodes on it, in memory: nodes read late and tell late, as real ones do.
type cluster struct {
	now     time.Time
	list    []Key
	log     []audit.Entry
	nodes   []*member
	written int
}

// member is one node: how its clock is off, what it last read, what the others know of it.
type member struct {
	*Keyring
	of    *cluster
	skew  time.Duration
	view  []Key // what the change log has brought here
	stuck bool  // it reads nothing new
	dead  bool
	held  []string // what it holds
	told  []string // what the others were told of it
}

func (m *member) Keys(_ context.Context, use string) ([]Key, error) {
	return slices.DeleteFunc(slices.Clone(m.view), func(k Key) bool { return k.Use != use }), nil
}

func (m *member) UpdateKeys(_ context.Context, use string, fn func([]Key) ([]Key, error)) error {
	for range 2 { // it may run twice
		list, err := fn(slices.Clone(m.of.list))
		if err != nil {
			return err
		}
		defer func() { m.of.list = list }()
	}
	m.of.written++
	return nil
}

func (m *member) Clock(context.Context) (time.Time, error) { return m.of.now, nil }

func (m *member) Others(context.Context) (out []Node, _ error) {
	for _, n := range m.of.nodes {
		if n != m && !n.dead {
			out = append(out, Node{Keys: n.told})
		}
	}
	return out, nil
}

func (m *member) Hold(_ string, kids []string) { m.held = slices.Clone(kids) }

func (m *member) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (m *member) Record(_ context.Context, e audit.Entry) error {
	m.of.log = append(m.of.log, e)
	return nil
}

// join starts a node: it reads what there is, and serves from then on.
func (c *cluster) join(t *testing.T, s KeySchedule, algs ...string) *member {
	t.Helper()
	m := &member{of: c, view: slices.Clone(c.list)}
	m.Keyring = &Keyring{Store: m, Nodes: m, Tx: m, Audit: m, Algs: algs, Schedule: s, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return c.now.Add(m.skew) }}
	for range 4 {
		done, err := m.step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.view = slices.Clone(c.list)
		if done {
			break
		}
	}
	m.told = m.held
	c.nodes = append(c.nodes, m)
	return m
}

// pass lets time go by; every node reads, plans and tells once in each step.
func (c *cluster) pass(t *testing.T, d, step time.Duration) {
	t.Helper()
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(step)
		for _, m := range c.nodes {
			if m.dead {
				continue
			}
			if !m.stuck {
				m.view = slices.Clone(c.list)
			}
			if _, err := m.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.told = m.held
		}
	}
}

func newCluster() *cluster { return &cluster{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

var boss = directory.Actor{Kind: directory.Operator}

func sign(t *testing.T, m *member, alg string) (token, kid string) {
	t.Helper()
	token, err := (&Broker{Keys: m.Keyring}).sign(alg, false, map[string]int{"n": 1})
	if err != nil {
		return "", ""
	}
	s, _ := m.signer(alg)
	return token, s.kid
}

func (m *member) believes(token string) bool { _, err := m.verify(token, "JWT"); return err == nil }

// S25: however nodes come, die, hang and rotate, what one signs all others believe, apps had time to read
// the key, and tokens are believed until they are over.
func TestS25WhateverNodesDoEveryTokenIsBelievedEverywhere(t *testing.T) {
	schedule := KeySchedule{Every: 8 * time.Hour, Ahead: 2 * time.Hour}
	for seed := range uint64(3) {
		dice := rand.New(rand.NewPCG(seed, 1))
		c := newCluster()
		for range 3 {
			m := c.join(t, schedule, "ES256", "EdDSA")
			m.skew = time.Duration(dice.IntN(8000)-4000) * time.Millisecond
		}
		type issued struct {
			token string
			at    time.Time
		}
		var out []issued
		used := map[string]bool{}
		for minute := range 2500 {
			c.pass(t, time.Minute, time.Minute)
			switch dice.IntN(60) {
			case 0:
				if len(c.nodes) > 2 { // one is gone for good
					c.nodes = slices.Delete(c.nodes, 0, 1)
				}
			case 1:
				if len(c.nodes) < 5 {
					c.join(t, schedule, "ES256", "EdDSA")
				}
			case 2:
				m := c.nodes[dice.IntN(len(c.nodes))]
				m.stuck = !m.stuck
			case 3:
				m := c.nodes[dice.IntN(len(c.nodes))]
				_, _ = m.Rotate(t.Context(), boss, []string{"ES256", "EdDSA"}[dice.IntN(2)])
			}
			for _, m := range c.nodes {
				alg := []string{"ES256", "EdDSA"}[dice.IntN(2)]
				token, kid := sign(t, m, alg)
				if token == "" {
					t.Fatalf("seed %d: a node cannot sign", seed)
				}
				used[kid] = true
				out = append(out, issued{token, c.now})
				at := slices.IndexFunc(c.list, func(k Key) bool { return k.KID == kid })
				first := !slices.ContainsFunc(c.list[:at], func(k Key) bool { return k.Alg == alg })
				if since := c.now.Sub(c.list[at].CreatedAt); !first && since < 25*time.Minute-5*time.Second {
					t.Fatalf("seed %d: %s signs %v after it was published", seed, kid, since)
				}
			}
			for len(out) > 0 && c.now.Sub(out[0].at) > time.Hour {
				out = out[1:]
			}
			for range 2 - 2*min(minute%4, 1) {
				token := out[dice.IntN(len(out))]
				for i, m := range c.nodes {
					if !m.believes(token.token) {
						t.Fatalf("seed %d: node %d does not believe what was signed %v ago", seed, i, c.now.Sub(token.at))
					}
				}
			}
		}
		if len(used) < 6 {
			t.Errorf("seed %d: only %d keys signed in two days", seed, len(used))
		}
	}
}

// S25: a key that one live node lacks does not sign, however long it takes, and the old one goes on.
func TestS25AKeySignsOnlyWhenEveryLiveNodeHasIt(t *testing.T) {
	c := newCluster()
	a, b := c.join(t, KeySchedule{Every: -1}, "ES256"), c.join(t, KeySchedule{Every: -1}, "ES256")
	_, old := sign(t, a, "ES256")
	b.stuck = true
	next, err := a.Rotate(t.Context(), boss, "ES256")
	if err != nil {
		t.Fatal(err)
	}
	c.pass(t, 6*time.Hour, 30*time.Second)
	if _, kid := sign(t, a, "ES256"); kid != old {
		t.Fatalf("signs with %s, which a live node does not have", kid)
	}
	if r := report(t, a); r[old].State != KeyActive || r[next.KID].State != KeyNext || !r[old].ExpiresAt.After(c.now.Add(24*time.Hour)) {
		t.Errorf("%+v", r)
	}
	b.stuck = false
	c.pass(t, keyDelay+keyMargin, time.Second)
	if _, kid := sign(t, a, "ES256"); kid != next.KID {
		t.Error("the new key does not sign though everybody has it")
	}
	if _, kid := sign(t, b, "ES256"); kid != next.KID {
		t.Error("the other node still signs with the old one")
	}
	// The old one is published until the last token it can have signed is over, then gone.
	token, _ := sign(t, a, "ES256")
	for _, m := range c.nodes {
		if len(m.set.Load().public) != 2 || !m.believes(token) {
			t.Error("the old key is not published any more")
		}
	}
	c.pass(t, keyLag+time.Minute, 10*time.Minute)
	if len(a.set.Load().public) != 1 || report(t, a)[old].State != KeyGone {
		t.Error("the old key is published for ever")
	}
}

func report(t *testing.T, m *member) map[string]KeyReport {
	t.Helper()
	list, _, err := m.Report(t.Context(), boss)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]KeyReport{}
	for _, k := range list {
		if len(k.Private) > 0 {
			t.Error("the report holds a private key")
		}
		out[k.KID] = k
	}
	return out
}

// S25: states change by the database's time, so that a node whose clock is wrong does what the others do.
func TestS25StatesFollowTheDatabasesClock(t *testing.T) {
	c := newCluster()
	a, b := c.join(t, KeySchedule{Every: -1}, "ES256"), c.join(t, KeySchedule{Every: -1}, "ES256")
	b.skew = 3 * time.Hour
	next, err := a.Rotate(t.Context(), boss, "ES256")
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		c.pass(t, time.Minute, time.Minute)
		_, ka := sign(t, a, "ES256")
		_, kb := sign(t, b, "ES256")
		if early := c.now.Before(next.ActiveAt); ka != kb || early == (ka == next.KID) {
			t.Fatalf("at %v one signs with %s, the other with %s; %s is due at %v", c.now, ka, kb, next.KID, next.ActiveAt)
		}
	}
}

// S25: a revoked key is out of the set at once, nothing it signed is believed, and its successor signs as
// soon as every live node has it.
func TestS25ARevokedKeyIsOutAtOnceAndItsSuccessorTakesOver(t *testing.T) {
	c := newCluster()
	a, b := c.join(t, KeySchedule{Every: -1}, "ES256"), c.join(t, KeySchedule{Every: -1}, "ES256")
	token, old := sign(t, a, "ES256")
	b.stuck = true
	if _, err := a.Revoke(t.Context(), boss, old, time.Time{}, nil, noGrants{}); err != nil {
		t.Fatal(err)
	}
	a.view = slices.Clone(c.list)
	if err := a.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if doc, _ := a.published(); a.believes(token) || strings.Contains(string(doc), old) {
		t.Error("it is believed still")
	}
	c.pass(t, 10*time.Second, time.Second)
	if _, kid := sign(t, a, "ES256"); kid != "" {
		t.Error("the successor signs before the other node has it")
	}
	b.stuck = false
	c.pass(t, 5*time.Second, time.Second)
	for _, m := range c.nodes {
		fresh, kid := sign(t, m, "ES256")
		if kid == "" || kid == old || m.believes(token) || !a.believes(fresh) || !b.believes(fresh) {
			t.Errorf("signs with %q", kid)
		}
	}
	if _, err := a.Revoke(t.Context(), boss, "nonsense", time.Time{}, nil, noGrants{}); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("answered %v", err)
	}
	if _, err := a.Revoke(t.Context(), directory.Actor{Kind: directory.Engine}, old, time.Time{}, nil, noGrants{}); !errors.Is(err, directory.ErrDenied) {
		t.Errorf("the engine revokes: %v", err)
	}
	if slices.IndexFunc(c.log, func(e audit.Entry) bool {
		return e.Action == audit.KeyRevoked && e.Target.ID == old && e.Actor.Kind == "operator"
	}) < 0 {
		t.Error("nothing in the record")
	}
}

// A successor that is revoked before it signed never does, and the key that signs goes on.
func TestS25ARevokedSuccessorNeverSigns(t *testing.T) {
	c := newCluster()
	a := c.join(t, KeySchedule{Every: -1}, "ES256")
	_, old := sign(t, a, "ES256")
	next, err := a.Rotate(t.Context(), boss, "ES256")
	if err != nil {
		t.Fatal(err)
	}
	c.pass(t, time.Minute, time.Second) // everybody has it: it is ready
	if _, err := a.Revoke(t.Context(), boss, next.KID, time.Time{}, nil, noGrants{}); err != nil {
		t.Fatal(err)
	}
	c.pass(t, 3*time.Hour, time.Minute)
	r := report(t, a)
	if _, kid := sign(t, a, "ES256"); kid != old || !r[old].ExpiresAt.IsZero() || !r[old].RetireAt.IsZero() || r[next.KID].State != KeyRevoked {
		t.Errorf("signs with %s; %+v", kid, r)
	}
}

// The leak of one key takes a published successor into its place, though apps had no time to read it:
// there is nothing else.
func TestS25TheSuccessorOfARevokedKeyDoesNotWaitForItsTime(t *testing.T) {
	c := newCluster()
	a := c.join(t, KeySchedule{Every: -1}, "ES256")
	_, old := sign(t, a, "ES256")
	next, err := a.Rotate(t.Context(), boss, "ES256")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke(t.Context(), boss, old, time.Time{}, nil, noGrants{}); err != nil {
		t.Fatal(err)
	}
	c.pass(t, 4*time.Second, time.Second)
	if _, kid := sign(t, a, "ES256"); kid != next.KID {
		t.Errorf("signs with %q", kid)
	}
	if len(c.list) != 2 {
		t.Errorf("%d keys", len(c.list))
	}
}

// Keys change by themselves, with the next one published ahead; asking twice brings it forward once.
func TestKeysChangeOnScheduleAndOnDemand(t *testing.T) {
	c := newCluster()
	a := c.join(t, KeySchedule{}, "ES256")
	_, first := sign(t, a, "ES256")
	c.pass(t, 82*24*time.Hour, time.Hour)
	if len(c.list) != 1 {
		t.Fatalf("%d keys after 82 days", len(c.list))
	}
	c.pass(t, 2*24*time.Hour, time.Hour)
	if len(c.list) != 2 {
		t.Fatalf("%d keys after 84 days: the next is not published", len(c.list))
	}
	if _, kid := sign(t, a, "ES256"); kid != first {
		t.Error("the next signs already")
	}
	next, err := a.Rotate(t.Context(), boss, "ES256")
	if err != nil || next.KID == first || next.ActiveAt.After(c.now.Add(2*keyMargin)) || len(c.list) != 2 {
		t.Errorf("not brought forward: %+v, %v", next, err)
	}
	if _, err := a.Rotate(t.Context(), boss, "ES256"); !errors.Is(err, ErrKeyWaiting) {
		t.Errorf("a third key: %v", err)
	}
	if _, err := a.Rotate(t.Context(), boss, "RS256"); !errors.Is(err, ErrKeyAlg) {
		t.Errorf("an algorithm that nobody uses: %v", err)
	}
	c.pass(t, 5*time.Minute, time.Minute)
	if _, kid := sign(t, a, "ES256"); kid != next.KID {
		t.Error("the next does not sign at its time")
	}
	c.pass(t, 91*24*time.Hour, time.Hour)
	if _, kid := sign(t, a, "ES256"); kid == next.KID || kid == first {
		t.Error("it does not change by itself")
	}
	written := c.written
	c.pass(t, time.Hour, time.Second)
	if c.written != written {
		t.Errorf("%d writes while nothing was due", c.written-written)
	}
}

// Two nodes that start together on nothing make one key.
func TestNodesThatStartTogetherMakeOneKey(t *testing.T) {
	c := newCluster()
	made := []*member{}
	for range 3 {
		m := &member{of: c}
		m.Keyring = &Keyring{Store: m, Nodes: m, Tx: m, Audit: m, Algs: []string{"ES256"}, Now: func() time.Time { return c.now }}
		made = append(made, m)
	}
	c.nodes = made
	for _, m := range made { // all of them see nothing
		if _, err := m.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.list) != 1 {
		t.Fatalf("%d keys", len(c.list))
	}
	c.pass(t, 5*time.Second, time.Second)
	kids := map[string]bool{}
	for _, m := range made {
		_, kid := sign(t, m, "ES256")
		kids[kid] = true
	}
	if len(kids) != 1 || kids[""] {
		t.Errorf("they sign with %v", slices.Collect(maps.Keys(kids)))
	}
}

// elsewhere signs as a key management service does: nobody here has the private key.
type elsewhere struct{ crypto.Signer }

// A key may lie in a key management service: what is stored is a reference, what signs is a crypto.Signer.
func TestSigningMayHappenElsewhere(t *testing.T) {
	c := newCluster()
	vault := map[string]crypto.Signer{}
	m := &member{of: c}
	m.Keyring = &Keyring{Store: m, Nodes: m, Tx: m, Audit: m, Algs: []string{"ES256", "RS256", "EdDSA"}, Now: func() time.Time { return c.now },
		Make: func(alg string) ([]byte, error) {
			der, err := GenerateKey(alg)
			if err != nil {
				return nil, err
			}
			s, err := parsePKCS8(Key{Private: der})
			ref := fmt.Sprint("kms://", len(vault))
			vault[ref] = elsewhere{s}
			return []byte(ref), err
		},
		Open: func(k Key) (crypto.Signer, error) { return vault[string(k.Private)], nil },
	}
	c.nodes = append(c.nodes, m)
	c.pass(t, 5*time.Second, time.Second)
	for _, alg := range m.Algs {
		token, kid := sign(t, m, alg)
		if kid == "" || !m.believes(token) {
			t.Errorf("%s: signed with %q, believed: %v", alg, kid, m.believes(token))
		}
	}
	doc, _ := m.published()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(doc, &set); err != nil || len(set.Keys) != 3 || strings.Contains(string(doc), `"d"`) {
		t.Errorf("%s, %v", doc, err)
	}
}

type noGrants struct{}

func (noGrants) EndTokensOf(context.Context, Span, time.Time, string, func(directory.AppID) (bool, error)) (map[directory.AppID]int, error) {
	return nil, nil
}

// S25: what a key may have signed is what was granted, or refreshed, while it signed: from then on, and until
// its successor took over. Of grants that the successor signed none is ended, also when the command is run
// again.
func TestS25WhatAKeyMayHaveSignedEndsWhereItsSuccessorBegan(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(1e9, 0).Add(time.Duration(minute) * time.Minute) }
	list := []Key{
		{KID: "first", Alg: "ES256", CreatedAt: at(0), ReadyAt: at(0), ActiveAt: at(0), RetireAt: at(100), ExpiresAt: at(2000)},
		{KID: "other", Alg: "RS256", CreatedAt: at(0), ReadyAt: at(0), ActiveAt: at(50)},
		{KID: "second", Alg: "ES256", CreatedAt: at(60), ReadyAt: at(110), ActiveAt: at(100)}, // it was late
		{KID: "third", Alg: "ES256", CreatedAt: at(190), ReadyAt: at(190), ActiveAt: at(300)}, // its time comes
	}
	for _, tc := range []struct {
		kid         string
		began, last int // minutes
		want        bool
	}{
		{"first", 10, 10, true}, {"first", 105, 105, true}, {"first", 111, 111, false}, {"first", 111, 150, false}, {"first", 90, 150, true},
		{"second", 90, 90, false}, {"second", 90, 120, true}, {"second", 199, 199, true},
		{"third", 150, 150, false}, {"third", 195, 199, false}, {"other", 60, 60, true}, {"nonsense", 60, 60, true},
	} {
		if got := signedIn(list, tc.kid, at(200)).Meets(at(tc.began), at(tc.last)); got != tc.want {
			t.Errorf("%s signed for what was granted at %d and refreshed at %d: %v", tc.kid, tc.began, tc.last, got)
		}
	}
}
