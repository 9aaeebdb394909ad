package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// fill makes that many organizations, each with a verified domain and an entitlement.
func fill(b testing.TB, s *Store, count int) []directory.OrgID {
	now := s.now()
	realm := directory.Realm{ID: directory.NewRealmID(now), Handle: "big", Scope: directory.ScopeRealm, Status: directory.Active}
	must(b, s.CreateRealm(b.Context(), realm))
	ids := make([]directory.OrgID, count)
	const batch = 1000
	for from := 0; from < count; from += batch {
		must(b, s.InTx(b.Context(), func(ctx context.Context) error {
			for i := from; i < min(from+batch, count); i++ {
				ids[i] = directory.NewOrgID(now)
				if err := s.CreateOrg(ctx, directory.Org{ID: ids[i], Realm: realm.ID, Handle: fmt.Sprint("o", i), Status: directory.Active}); err != nil {
					return err
				}
				if err := s.PutDomain(ctx, ids[i], directory.Domain{Name: fmt.Sprint("o", i, ".example"), VerifiedAt: now}); err != nil {
					return err
				}
				if err := s.PutEntitlement(ctx, ids[i], directory.Entitlement{App: "app_a"}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return ids
}

// What a login asks about its organization, each time of another one, so that many do not fit in memory.
func BenchmarkAnyOrganization(b *testing.B) {
	for _, count := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprint("organizations=", count), func(b *testing.B) {
			s := openTest(b, options(b, storetest.NewClock()))
			ids := fill(b, s, count)
			realm, err := s.OrgByID(b.Context(), ids[0])
			must(b, err)
			b.ReportAllocs()
			b.ResetTimer()
			n := 0
			cpu(b, func() {
				for range b.N {
					n++
					i := n * 7919 % count
					d, ok, err := s.OrgOfDomain(b.Context(), realm, fmt.Sprint("o", i, ".example"))
					if err != nil || !ok || d.Org != ids[i] {
						b.Fatal(d, ok, err)
					}
					if _, err := s.OrgChain(b.Context(), d.Org); err != nil {
						b.Fatal(err)
					}
					if yes, err := s.Entitled(b.Context(), d.Org, "app_a"); err != nil || !yes {
						b.Fatal(yes, err)
					}
				}
			})
		})
	}
}
