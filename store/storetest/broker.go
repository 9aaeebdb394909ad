package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/themes"
)

func connections(t *testing.T, w *World) {
	v := w.acme
	c, err := w.ConnectionByID(w.ctx, v.Connection.ID)
	ok(t, err)
	same(t, c, v.Connection)
	whole(t, c)
	offered := v.Connection
	offered.ID, offered.Offered = directory.NewConnectionID(w.clock.Now()), true
	ok(t, w.CreateConnection(w.ctx, w.parent.ID, offered))
	kept := offered
	kept.ID, kept.Offered = directory.NewConnectionID(w.clock.Now()), false
	ok(t, w.CreateConnection(w.ctx, w.parent.ID, kept))
	list, err := w.ConnectionsFor(w.ctx, v.Org.ID)
	ok(t, err)
	same(t, []any{len(list), list[0].ID, list[1].ID}, []any{2, v.Connection.ID, offered.ID})

	// S4: whom a connection trusts is fixed by its first identity.
	for name, change := range map[string]func(*upstream.Connection) error{
		"issuer": func(c *upstream.Connection) error { c.Issuer = "https://evil.example"; return nil },
		"type":   func(c *upstream.Connection) error { c.Type = "saml"; return nil },
	} {
		if err := w.UpdateConnection(w.ctx, v.Org.ID, v.Connection.ID, change); !errors.Is(err, upstream.ErrImmutable) {
			t.Errorf("%s: %v", name, err)
		}
		ok(t, w.UpdateConnection(w.ctx, w.parent.ID, offered.ID, change)) // nobody signs in by this one
	}
	ok(t, w.UpdateConnection(w.ctx, v.Org.ID, v.Connection.ID, func(c *upstream.Connection) error {
		c.Status, c.Secret = upstream.Disabled, []byte(`{"secret":"new"}`)
		return nil
	}))
	c, err = w.ConnectionByID(w.ctx, v.Connection.ID)
	ok(t, err)
	same(t, []any{c.Status, string(c.Secret), c.Version}, []any{upstream.Disabled, `{"secret":"new"}`, int64(2)})
	list, err = w.ConnectionsFor(w.ctx, v.Org.ID)
	ok(t, err)
	same(t, list[0].Status, upstream.Disabled)
}

func apps(t *testing.T, w *World) {
	a, err := w.AppByClientID(w.ctx, "acme-app")
	ok(t, err)
	same(t, a, w.acme.App)
	whole(t, a)
	whole(t, a.Secrets[0])
	_, err = w.AppByClientID(w.ctx, "nobody")
	is(t, err, broker.ErrAppNotFound)
	_, err = w.AppByClientID(w.ctx, "a\x00b")
	is(t, err, broker.ErrAppNotFound)
	// S40: never given out again.
	again := a
	again.ID = directory.NewAppID(w.clock.Now())
	is(t, w.CreateApp(w.ctx, again), broker.ErrClientIDTaken)
	ok(t, w.UpdateApp(w.ctx, a.ID, func(a *broker.App) error {
		a.Status, a.Secrets, a.AnyEmail = directory.Archived, []broker.Secret{{Hash: [32]byte{2}}, {Hash: [32]byte{3}}}, true
		return nil
	}))
	is(t, w.CreateApp(w.ctx, again), broker.ErrClientIDTaken)
	a, err = w.AppByID(w.ctx, a.ID)
	ok(t, err)
	same(t, []any{a.Status, len(a.Secrets), a.Secrets[0].Hash[0], a.AnyEmail}, []any{directory.Archived, 2, byte(2), true})
}

func sessions(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	s, err := w.SessionByToken(w.ctx, v.Session.TokenHash)
	ok(t, err)
	same(t, s, v.Session)
	s, err = w.Session(w.ctx, v.Org.ID, v.Session.ID)
	ok(t, err)
	same(t, s, v.Session)
	whole(t, s, "Ended")
	whole(t, s.Orgs[0])
	_, err = w.SessionByToken(w.ctx, hash("guess"))
	is(t, err, broker.ErrSessionNotFound)
	ok(t, w.UpdateSession(w.ctx, v.Org.ID, s.ID, func(s *broker.Session) error {
		s.TokenHash, s.Ended = hash("raised"), now
		s.Proofs = append(s.Proofs[:1:1], flows.Proof{Connection: w.mex.Connection.ID, At: now, Seen: now})
		s.Orgs = []broker.OrgMark{{Org: w.mex.Org.ID, Since: now, Seen: now, Held: now}}
		return nil
	}))
	_, err = w.SessionByToken(w.ctx, v.Session.TokenHash)
	is(t, err, broker.ErrSessionNotFound) // an id that was renewed opens nothing
	s, err = w.SessionByToken(w.ctx, hash("raised"))
	ok(t, err)
	same(t, []any{s.Ended, len(s.Proofs), s.Orgs, s.Version}, []any{now, 2, []broker.OrgMark{{Org: w.mex.Org.ID, Since: now, Seen: now, Held: now}}, int64(2)})

	first := broker.AppMark{App: v.App.ID, Org: v.Org.ID, SID: "sid-acme", First: now}
	kept, err := w.MarkApp(w.ctx, v.Org.ID, s.ID, broker.AppMark{App: v.App.ID, Org: v.Org.ID, SID: "later", First: now.Add(time.Hour)})
	ok(t, err)
	same(t, kept, first)
	list, err := w.AppsOf(w.ctx, v.Org.ID, s.ID)
	ok(t, err)
	same(t, list, []broker.AppMark{first})
	whole(t, list[0], "Ended")
}

func tokens(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	g, err := w.TokenByCode(w.ctx, v.Grant.CodeHash)
	ok(t, err)
	same(t, g, v.Grant)
	whole(t, g, "RevokedAt", "Reason", "Offline")

	// No code redeems twice: of sixteen at once, one.
	var won atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			g := v.Grant
			g.ID, g.CodeHash, g.Refresh = directory.NewGrantID(now), hash("race"), broker.Refresh{}
			if err := w.CreateToken(w.ctx, v.Org.ID, g); err == nil {
				won.Add(1)
			} else if !errors.Is(err, broker.ErrCodeUsed) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	same(t, won.Load(), int32(1))

	for i, reason := range []string{"reuse", "logout"} {
		ended, err := w.RevokeToken(w.ctx, v.Org.ID, g.ID, now.Add(time.Duration(i)*time.Hour), reason)
		ok(t, err)
		same(t, ended, i == 0) // what ended it first stays
	}
	g, err = w.Token(w.ctx, v.Org.ID, g.ID)
	ok(t, err)
	same(t, []any{g.RevokedAt, g.Reason}, []any{now, "reuse"})
	ok(t, w.RevokeTokensOf(w.ctx, v.Realm.ID, v.Session.ID, w.mex.Org.ID, now, "logout"))
	g, err = w.TokenByCode(w.ctx, hash("race"))
	ok(t, err)
	same(t, g.RevokedAt.IsZero(), true)
	ok(t, w.RevokeTokensOf(w.ctx, v.Realm.ID, v.Session.ID, "", now, "logout"))
	g, err = w.TokenByCode(w.ctx, hash("race"))
	ok(t, err)
	same(t, g.Reason, "logout")
}

func refreshTokens(t *testing.T, w *World) {
	v, now := w.mex, w.clock.Now()
	g, err := w.TokenByFamily(w.ctx, v.Grant.Refresh.Family)
	ok(t, err)
	same(t, g, v.Grant)
	_, err = w.TokenByFamily(w.ctx, hash("guess"))
	is(t, err, broker.ErrGrantNotFound)
	plain := v.Grant // a grant without refresh tokens is in nobody's family, however many there are
	for _, code := range []string{"plain-1", "plain-2"} {
		plain.ID, plain.CodeHash, plain.Refresh = directory.NewGrantID(now), hash(code), broker.Refresh{}
		ok(t, w.CreateToken(w.ctx, v.Org.ID, plain))
	}
	_, err = w.TokenByFamily(w.ctx, [32]byte{})
	is(t, err, broker.ErrGrantNotFound)

	// Of sixteen at once that show one token, one rotates it.
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			next := broker.Refresh{Hash: hash("next" + string(rune('a'+i))), Prev: g.Refresh.Hash, Echo: []byte("echo"), At: now}
			did, err := w.RotateRefresh(w.ctx, v.Org.ID, g.ID, g.Refresh.Hash, next)
			if err != nil {
				t.Error(err)
			}
			if did {
				won.Add(1)
			}
		})
	}
	all.Wait()
	same(t, won.Load(), int32(1))
	after, err := w.TokenByFamily(w.ctx, g.Refresh.Family)
	ok(t, err)
	same(t, []any{after.Refresh.Prev, string(after.Refresh.Echo), after.Refresh.At, after.Refresh.Until}, []any{g.Refresh.Hash, "echo", now, g.Refresh.Until})

	// The end of a session ends what it opened, but not what goes on while the person is away.
	offline := v.Grant
	offline.ID, offline.CodeHash, offline.Offline, offline.Refresh.Family = directory.NewGrantID(now), hash("offline"), true, hash("offline")
	ok(t, w.CreateToken(w.ctx, v.Org.ID, offline))
	ok(t, w.RevokeTokensOf(w.ctx, v.Realm.ID, v.Session.ID, "", now, "logout"))
	still, err := w.TokenByFamily(w.ctx, offline.Refresh.Family)
	ok(t, err)
	same(t, []any{still.RevokedAt.IsZero(), still.Offline}, []any{true, true})
	gone, err := w.TokenByFamily(w.ctx, g.Refresh.Family)
	ok(t, err)
	same(t, gone.RevokedAt, now)
	did, err := w.RotateRefresh(w.ctx, v.Org.ID, g.ID, gone.Refresh.Hash, broker.Refresh{Hash: hash("late"), At: now})
	ok(t, err)
	same(t, did, false) // a family that was revoked rotates no more
}

func accessTokens(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	a, err := w.AccessByHash(w.ctx, v.Opaque.Hash)
	ok(t, err)
	same(t, a, v.Opaque)
	whole(t, a)
	ok(t, w.DropAccess(w.ctx, v.Org.ID, v.Opaque.Hash))
	_, err = w.AccessByHash(w.ctx, v.Opaque.Hash)
	is(t, err, broker.ErrGrantNotFound)
	for range 2 {
		ok(t, w.CallBack(w.ctx, v.Org.ID, "jti-1", now.Add(time.Minute)))
	}
	back, err := w.CalledBack(w.ctx, v.Org.ID, "jti-1")
	ok(t, err)
	same(t, back, true)
	back, err = w.CalledBack(w.ctx, w.mex.Org.ID, "jti-1")
	ok(t, err)
	same(t, back, false)
}

func keys(t *testing.T, w *World) {
	now := w.clock.Now()
	k := broker.Key{KID: "k1", Use: "oidc", Alg: "ES256", Private: []byte("private part"), CreatedAt: now, ReadyAt: now, ActiveAt: now}
	list, err := w.Keys(w.ctx, "oidc")
	ok(t, err)
	same(t, len(list), 0)
	add := func(more ...broker.Key) error {
		return w.UpdateKeys(w.ctx, "oidc", func(list []broker.Key) ([]broker.Key, error) { return append(list, more...), nil })
	}
	rsa := k
	rsa.KID, rsa.Alg, rsa.CreatedAt = "k2", "RS256", now.Add(time.Second)
	ok(t, add(k, rsa))
	second := k
	second.KID = "k9"
	if err := add(second); err == nil {
		t.Error("two keys of one use and algorithm have no end planned")
	}
	// A successor comes with its predecessor's end, in one transaction.
	next := broker.Key{KID: "k3", Use: "oidc", Alg: "ES256", Private: []byte("next"), CreatedAt: now.Add(time.Minute), ReadyAt: now.Add(time.Hour),
		ActiveAt: now.Add(2 * time.Hour), RetireAt: now.Add(4 * time.Hour), ExpiresAt: now.Add(5 * time.Hour), RevokedAt: now.Add(6 * time.Hour)}
	k.RetireAt, k.ExpiresAt = next.ActiveAt, now.Add(3*time.Hour)
	ok(t, w.UpdateKeys(w.ctx, "oidc", func(list []broker.Key) ([]broker.Key, error) {
		list[0].RetireAt, list[0].ExpiresAt = k.RetireAt, k.ExpiresAt
		return append(list, next), nil
	}))
	list, err = w.Keys(w.ctx, "oidc")
	ok(t, err)
	same(t, list, []broker.Key{k, rsa, next})
	whole(t, list[2])
	is(t, w.UpdateKeys(w.ctx, "oidc", func(list []broker.Key) ([]broker.Key, error) { list[0].RevokedAt = now; return nil, errChanged }), errChanged)
	list, err = w.Keys(w.ctx, "oidc")
	ok(t, err)
	same(t, list, []broker.Key{k, rsa, next})
	list, err = w.Keys(w.ctx, "anchor")
	ok(t, err)
	same(t, len(list), 0)
}

// endTokensOf ends what was made or refreshed in a span, hangs on a session and is affected, and nothing
// else.
func endTokensOf(t *testing.T, w *World) {
	v := w.acme
	now := w.clock.Now()
	make := func(code string, at time.Time, session directory.SessionID) broker.TokenGrant {
		g := v.Grant
		g.ID, g.CodeHash, g.Refresh, g.CreatedAt, g.Session = directory.NewGrantID(at), hash(code), broker.Refresh{}, at, session
		ok(t, w.CreateToken(w.ctx, v.Org.ID, g))
		return g
	}
	opened := v.Grant
	opened.ID, opened.CodeHash, opened.CreatedAt = directory.NewGrantID(now), hash("refreshed"), now
	opened.Refresh = broker.Refresh{Family: hash("family of it"), Hash: hash("one"), Until: now.Add(24 * time.Hour)}
	ok(t, w.CreateToken(w.ctx, v.Org.ID, opened))
	did, err := w.RotateRefresh(w.ctx, v.Org.ID, opened.ID, hash("one"), broker.Refresh{Hash: hash("two"), Prev: hash("one"), At: now.Add(2*time.Minute + time.Second)})
	ok(t, err)
	same(t, did, true)
	before := make("before", now.Add(time.Minute), v.Session.ID)
	since := now.Add(2 * time.Minute)
	at, offline := make("at", since, v.Session.ID), make("offline", since.Add(time.Second), "")
	for i := range 250 { // more than one batch
		make(fmt.Sprint("later", i), since.Add(time.Minute), v.Session.ID)
	}
	after := make("after", since.Add(2*time.Minute), v.Session.ID)
	for _, c := range []struct {
		affected bool
		count    int
	}{{false, 0}, {true, 252}, {true, 0}} {
		ended, err := w.EndTokensOf(w.ctx, broker.Span{Since: since, Until: since.Add(time.Minute)}, since.Add(time.Hour), "key_revoked", func(directory.AppID) (bool, error) { return c.affected, nil })
		ok(t, err)
		same(t, ended[v.App.ID], c.count)
	}
	for _, g := range []struct {
		broker.TokenGrant
		ended bool
	}{{before, false}, {opened, true}, {at, true}, {after, false}, {offline, false}, {v.Grant, false}} {
		got, err := w.Token(w.ctx, v.Org.ID, g.ID)
		ok(t, err)
		same(t, !got.RevokedAt.IsZero(), g.ended)
	}
}

func secrets(t *testing.T, w *World) {
	got := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i], _ = w.SecretNamed(w.ctx, "one", []byte{1, byte(i)}) })
	}
	all.Wait()
	for _, v := range got {
		same(t, len(v), 2)
		same(t, v, got[0])
	}
	other, err := w.SecretNamed(w.ctx, "other", []byte("another"))
	ok(t, err)
	same(t, string(other), "another")
	again, err := w.SecretNamed(w.ctx, "other", []byte("later"))
	ok(t, err)
	same(t, string(again), "another")
}

func documents(t *testing.T, w *World) {
	theme, err := w.Theme(w.ctx, w.acme.Org.ID)
	ok(t, err)
	same(t, theme, themes.Theme{})
	ok(t, w.PutTheme(w.ctx, w.acme.Org.ID, themes.Theme{Brand: "#112233"}))
	ok(t, w.PutTheme(w.ctx, w.acme.Org.ID, themes.Theme{Brand: "#445566"}))
	theme, err = w.Theme(w.ctx, w.acme.Org.ID)
	ok(t, err)
	same(t, theme.Brand, "#445566")

	for _, at := range []directory.PolicyLevel{{}, {Realm: w.acme.Realm.ID}, {Org: w.acme.Org.ID}, {App: w.acme.App.ID}} {
		d, err := w.PolicyDoc(w.ctx, at)
		ok(t, err)
		same(t, d.Version, int64(0))
		d.Values = map[string]json.RawMessage{"session.lifetime": json.RawMessage(`"8h"`)}
		ok(t, w.PutPolicyDoc(w.ctx, at, d))
		is(t, w.PutPolicyDoc(w.ctx, at, d), directory.ErrMoved) // it was written from what is no more
		d, err = w.PolicyDoc(w.ctx, at)
		ok(t, err)
		same(t, []any{d.Version, string(d.Values["session.lifetime"])}, []any{int64(1), `"8h"`})
		d.Values = nil
		ok(t, w.PutPolicyDoc(w.ctx, at, d))
		d, err = w.PolicyDoc(w.ctx, at)
		ok(t, err)
		same(t, []any{d.Version, len(d.Values)}, []any{int64(2), 0})
	}
	is(t, w.PutPolicyDoc(w.ctx, directory.PolicyLevel{Org: "org_none"}, directory.PolicyDoc{}), directory.ErrOrgNotFound)
	at := directory.PolicyLevel{Org: w.acme.Org.ID}
	doc := func(value string) directory.PolicyDoc {
		return directory.PolicyDoc{Values: map[string]json.RawMessage{"session.lifetime": json.RawMessage(value)}, Keep: map[string]json.RawMessage{"mfa.methods": json.RawMessage(`["passkey"]`)},
			Notes: map[string]policy.Note{"session.lifetime": {By: "the operator", At: w.clock.Now(), Reason: "Auditors"}}}
	}
	for n, value := range []string{`"8h"`, `"4h"`, `"2h"`} {
		c := directory.PolicyChange{Version: int64(n + 1), At: w.clock.Now(), Actor: directory.Actor{Kind: directory.Operator, ID: "ada"}, Doc: doc(value)}
		ok(t, w.PutPolicyChange(w.ctx, at, c))
		c.Doc = doc(`"9h"`)
		ok(t, w.PutPolicyChange(w.ctx, at, c)) // history is not rewritten
	}
	changes, err := w.PolicyChanges(w.ctx, at, 2)
	ok(t, err)
	same(t, len(changes), 2)
	want := doc(`"2h"`)
	want.Version = 3
	same(t, fmt.Sprint(changes[0]), fmt.Sprint(directory.PolicyChange{Version: 3, At: w.clock.Now(), Actor: directory.Actor{Kind: directory.Operator, ID: "ada"}, Doc: want}))
	same(t, changes[1].Version, int64(2))
	changes, err = w.PolicyChanges(w.ctx, directory.PolicyLevel{Org: w.mex.Org.ID}, 2)
	ok(t, err)
	same(t, len(changes), 0)
	is(t, w.PutPolicyChange(w.ctx, directory.PolicyLevel{Org: "org_none"}, directory.PolicyChange{}), directory.ErrOrgNotFound)
}

// over is a change after which no session goes on.
func over(now time.Time) directory.SessionAges {
	return directory.SessionAges{Now: now, WasLife: time.Hour, WasIdle: time.Hour}
}

// What a change of policy would do is counted on what there is.
func reach(t *testing.T, w *World) {
	for _, at := range []directory.PolicyLevel{{}, {Realm: w.acme.Realm.ID}, {Org: w.acme.Org.ID}, {App: w.acme.App.ID}} {
		ok(t, w.PutPolicyDoc(w.ctx, at, directory.PolicyDoc{Values: map[string]json.RawMessage{"session.lifetime": json.RawMessage(`"8h"`)}}))
	}
	ok(t, w.PutTheme(w.ctx, w.mex.Org.ID, themes.Theme{Brand: "#112233"}))
	found := map[string]bool{}
	for after := ""; ; {
		docs, err := w.PolicyDocsAfter(w.ctx, after, 2)
		ok(t, err)
		for _, d := range docs {
			same(t, []any{d.ID > after, d.Doc.Version, string(d.Doc.Values["session.lifetime"])}, []any{true, int64(1), `"8h"`})
			found[d.ID], after = true, d.ID
		}
		if len(docs) < 2 {
			break
		}
	}
	same(t, found, map[string]bool{string(w.acme.Realm.ID): true, string(w.acme.Org.ID): true, string(w.acme.App.ID): true})

	now, org := w.clock.Now(), w.acme.Org.ID
	count := func(a directory.SessionAges) int { n, err := w.SessionsOver(w.ctx, org, a); ok(t, err); return n }
	hour := directory.SessionAges{Now: now.Add(10 * time.Minute), Life: time.Hour, Idle: time.Hour, WasLife: time.Hour, WasIdle: time.Hour}
	same(t, count(hour), 0)
	shorter := hour
	shorter.Life = 5 * time.Minute
	same(t, count(shorter), 1)
	busier := hour
	busier.Idle = 5 * time.Minute
	same(t, count(busier), 1)
	gone := shorter
	gone.WasIdle = 5 * time.Minute // it was over before the change
	same(t, count(gone), 0)
	ok(t, w.UpdateSession(w.ctx, org, w.acme.Session.ID, func(s *broker.Session) error { s.Ended = now; return nil }))
	same(t, count(shorter), 0)

	without := func(mailed bool, methods ...policy.Method) int {
		n, err := w.MembersWithout(w.ctx, org, now, methods, mailed)
		ok(t, err)
		return n
	}
	had := policy.Method(w.acme.Factor.Method)
	same(t, []int{without(false), without(false, had), without(false, "other"), without(true, "other"), without(false, "other", had)}, []int{1, 0, 1, 0, 0})
	ok(t, w.PutMembership(w.ctx, org, directory.Membership{Org: org, Person: w.acme.Person.ID, Kind: "member", Status: directory.Suspended, Source: "manual"}))
	same(t, without(false), 0)
}

func spent(t *testing.T, w *World) {
	until := w.clock.Now().Add(time.Hour)
	spend := func(org directory.OrgID, kind, key string) error { return w.Spend(w.ctx, org, kind, key, until) }
	ok(t, spend(w.acme.Org.ID, "assertion", "a1"))
	is(t, spend(w.acme.Org.ID, "assertion", "a1"), upstream.ErrReplay)
	ok(t, spend(w.acme.Org.ID, "jti", "a1"))
	ok(t, spend(w.acme.Org.ID, "assertio", "na1")) // parts do not run together
	ok(t, spend(w.mex.Org.ID, "assertion", "a1"))
	err := w.InTx(w.ctx, func(ctx context.Context) error { return w.Spend(ctx, w.acme.Org.ID, "assertion", "a2", until) })
	if err == nil {
		t.Error("spent inside a transaction, which a rollback would undo")
	}
}

func traces(t *testing.T, w *World) {
	now := w.clock.Now()
	v := audit.Trace{Code: "ABCD2345", At: now, Org: string(w.acme.Org.ID), Outcome: "refused", Fault: "x.y", Steps: []audit.Step{{At: now, Name: "route", Text: "Found."}}}
	ok(t, w.SaveTrace(w.ctx, v))
	v.Outcome = "signed_in"
	ok(t, w.SaveTrace(w.ctx, v))
	got, found, err := w.TraceByCode(w.ctx, v.Code)
	ok(t, err)
	same(t, []any{got, found}, []any{v, true})
	_, found, err = w.TraceByCode(w.ctx, "none\x00")
	ok(t, err)
	same(t, found, false)
	w.clock.Advance(audit.TraceLife + time.Second)
	_, found, err = w.TraceByCode(w.ctx, v.Code)
	ok(t, err)
	same(t, found, false) // S44: fourteen days, swept or not
}
