package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// cpu reports what one operation costs of all processors, which wall time hides behind the disk.
func cpu(b *testing.B, run func()) {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	run()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	spent := func(r syscall.Rusage) int64 { return r.Utime.Nano() + r.Stime.Nano() }
	b.ReportMetric(float64(spent(after)-spent(before))/float64(b.N)/1000, "cpu-us/op")
}

// treeOf makes a chain of organizations and gives the deepest.
func treeOf(b testing.TB, s *Store, depth int) directory.Org {
	now := s.now()
	realm := directory.Realm{ID: directory.NewRealmID(now), Handle: "bench", Scope: directory.ScopeRealm, Status: directory.Active}
	must(b, s.CreateRealm(b.Context(), realm))
	var o directory.Org
	for i := range depth {
		o = directory.Org{ID: directory.NewOrgID(now), Realm: realm.ID, Parent: o.ID, Handle: fmt.Sprint("o", i), Status: directory.Active}
		must(b, s.CreateOrg(b.Context(), o))
	}
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What a login leaves: a session with its organization, a grant, an audit entry, in one transaction.
func BenchmarkDurable(b *testing.B) {
	for _, parallel := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("parallel=", parallel), func(b *testing.B) {
			o := options(b, storetest.NewClock())
			o.Now = time.Now
			s := openTest(b, o)
			org := treeOf(b, s, 2)
			var n atomic.Int64
			b.SetParallelism((parallel + 1) / 2)
			b.ReportAllocs()
			cpu(b, func() {
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						benchLogin(b, s, org, n.Add(1))
					}
				})
			})
		})
	}
}

func benchLogin(b *testing.B, s *Store, org directory.Org, i int64) {
	now := s.now()
	var hash [32]byte
	copy(hash[:], directory.NewSecret())
	id := directory.NewSessionID(now)
	err := s.InTx(b.Context(), func(ctx context.Context) error {
		if err := s.CreateSession(ctx, org.ID, broker.Session{ID: id, TokenHash: hash, CreatedAt: now, Ends: now.Add(time.Hour),
			Orgs: []broker.OrgMark{{Org: org.ID, Since: now}}}); err != nil {
			return err
		}
		if err := s.CreateToken(ctx, org.ID, broker.TokenGrant{ID: directory.NewGrantID(now), Session: id, CodeHash: hash, BoundHash: hash, ExpiresAt: now.Add(time.Hour)}); err != nil {
			return err
		}
		return s.Record(ctx, audit.Entry{ID: string(directory.NewEntryID(now)), At: now, Org: string(org.ID), Action: "session.created",
			Actor: audit.Ref{Kind: "person", ID: "per_x"}, Detail: map[string]string{"app": "app_x"}})
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkBriefPutTake(b *testing.B) {
	o := options(b, storetest.NewClock())
	o.Now = time.Now
	s := openTest(b, o)
	value := make([]byte, 2048)
	var n atomic.Int64
	b.ReportAllocs()
	cpu(b, func() {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				key := fmt.Sprint("login/", n.Add(1))
				must(b, s.Brief().Put(b.Context(), key, value, time.Minute))
				if _, err := s.Brief().Take(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// The same when memory is full of abandoned logins and every value goes by the disk.
func BenchmarkBriefSpilled(b *testing.B) {
	o := options(b, storetest.NewClock())
	o.Now = time.Now
	s := openTest(b, o)
	value := make([]byte, 2048)
	for i := range 50_000 {
		must(b, s.Brief().Put(b.Context(), fmt.Sprint("old/", i), value, time.Hour))
	}
	var n int
	b.ReportAllocs()
	for b.Loop() {
		n++
		key := fmt.Sprint("login/", n)
		must(b, s.Brief().Put(b.Context(), key, value, time.Minute))
		if _, err := s.Brief().Take(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOrgChainCached(b *testing.B) {
	s := openTest(b, options(b, storetest.NewClock()))
	org := treeOf(b, s, 3)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.OrgChain(b.Context(), org.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPersonRead(b *testing.B) {
	s := openTest(b, options(b, storetest.NewClock()))
	org := treeOf(b, s, 1)
	p := directory.Person{ID: directory.NewPersonID(s.now()), Name: "Ana", Email: "ana@acme.example", Status: directory.Active}
	must(b, s.CreatePerson(b.Context(), org.ID, p, nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Person(b.Context(), org.ID, p.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	o := options(b, storetest.NewClock())
	s, err := Open(b.Context(), o)
	must(b, err)
	must(b, s.Close())
	for b.Loop() {
		s, err := Open(b.Context(), o)
		must(b, err)
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
}

// policy.md: what holds for somebody costs less than 20 us on a cached chain, 200 us uncached at depth 8.
func BenchmarkEffective(b *testing.B) {
	s := openTest(b, options(b, storetest.NewClock()))
	org := treeOf(b, s, 8)
	d := &directory.Service{Realms: s, Orgs: s, Entitlements: s, Policies: s, Tx: s, Audit: s, Now: s.now}
	chain, err := d.OrgChain(b.Context(), org.ID)
	must(b, err)
	by := directory.Actor{Kind: directory.Operator}
	set := func(o directory.OrgID, lifetime string) {
		must(b, d.SetPolicy(b.Context(), by, o, map[string]json.RawMessage{
			"session.lifetime": json.RawMessage(`"` + lifetime + `"`), "session.idle": json.RawMessage(`"20m"`), "mfa.requirement": json.RawMessage(`"always"`),
			"mfa.methods": json.RawMessage(`["passkey","totp"]`), "login.networks": json.RawMessage(`["192.0.2.0/24","2001:db8::/32"]`),
			"password.min_length": json.RawMessage(`14`), "sso.protocols": json.RawMessage(`["oidc"]`), "tokens.access_lifetime": json.RawMessage(`"5m"`)}))
	}
	for _, o := range chain {
		set(o.ID, "8h")
	}
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := d.Effective(b.Context(), chain, "")
			must(b, err)
		}
	})
	b.Run("uncached", func(b *testing.B) { // the documents are in memory, what they make together is not
		b.ReportAllocs()
		for b.Loop() {
			fresh := directory.Service{Realms: s, Policies: s}
			_, err := fresh.Effective(b.Context(), chain, "")
			must(b, err)
		}
	})
}
