package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/store/storetest"
)

func somebody(t *testing.T, s *Store, org directory.Org) directory.Person {
	t.Helper()
	p := directory.Person{ID: directory.NewPersonID(time.Now()), Realm: org.Realm, Home: org.ID, Name: "Ada", Status: directory.Active, Source: "manual"}
	must(t, s.CreatePerson(t.Context(), org.ID, p, nil))
	return p
}

// A person who is suspended, renamed or removed is seen so by whoever asks after that was answered.
func TestS15APersonReadLatelyIsForgottenByTheChange(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	org := treeOf(t, s, 1)
	p := somebody(t, s, org)
	for i := range 20 {
		_, _, err := s.Person(t.Context(), org.ID, p.ID)
		must(t, err)
		want := fmt.Sprint(i)
		must(t, s.UpdatePerson(t.Context(), org.ID, p.ID, func(p *directory.Person) error { p.Name = want; return nil }))
		got, _, err := s.Person(t.Context(), org.ID, p.ID)
		must(t, err)
		if got.Name != want {
			t.Fatalf("read %q after %q was answered", got.Name, want)
		}
		must(t, s.PutMembership(t.Context(), org.ID, directory.Membership{Person: p.ID, Kind: "member", Status: directory.Suspended, Source: want}))
		if _, m, err := s.Person(t.Context(), org.ID, p.ID); err != nil || m.Source != want {
			t.Fatalf("membership %+v, %v", m, err)
		}
	}
	must(t, s.RemoveMembership(t.Context(), org.ID, p.ID))
	if _, _, err := s.Person(t.Context(), org.ID, p.ID); !errors.Is(err, directory.ErrPersonNotFound) {
		t.Errorf("a removed member is %v", err)
	}
}

// What another process changed is seen within a second.
func TestS15APersonIsReadAnewAfterASecond(t *testing.T) {
	clock := storetest.NewClock()
	o := options(t, clock)
	serve := openTest(t, o)
	o.Beside = true
	command := openTest(t, o)
	org := treeOf(t, serve, 1)
	p := somebody(t, serve, org)
	_, _, err := serve.Person(t.Context(), org.ID, p.ID)
	must(t, err)
	must(t, command.UpdatePerson(t.Context(), org.ID, p.ID, func(p *directory.Person) error { p.Status = directory.Suspended; return nil }))
	must(t, serve.InTx(t.Context(), func(ctx context.Context) error {
		if got, _, err := serve.Person(ctx, org.ID, p.ID); err != nil || got.Status != directory.Suspended {
			t.Errorf("a transaction read %s, %v", got.Status, err)
		}
		return nil
	}))
	clock.Advance(time.Second)
	if got, _, err := serve.Person(t.Context(), org.ID, p.ID); err != nil || got.Status != directory.Suspended {
		t.Errorf("after a second: %s, %v", got.Status, err)
	}
}

// The session that a write remembers is the one that the database gives back, and no write that was
// undone is remembered.
func TestASessionRememberedIsTheSessionStored(t *testing.T) {
	clock := storetest.NewClock()
	s := openTest(t, options(t, clock))
	org := treeOf(t, s, 1)
	p := somebody(t, s, org)
	now := time.Now() // with a monotonic reading and nanoseconds, which no database keeps
	v := broker.Session{
		ID: directory.NewSessionID(now), TokenHash: [32]byte{1}, Realm: org.Realm, Person: p.ID, Home: org.ID, CreatedAt: now, Ends: now.Add(time.Hour),
		Device: "Firefox on Linux", Proofs: []flows.Proof{{Connection: "con_x", Org: org.ID, At: now.Round(0), Seen: now.Round(0)}},
		Orgs: []broker.OrgMark{{Org: org.ID, Since: now, Seen: now, Held: now.Add(time.Hour)}},
	}
	must(t, s.CreateSession(t.Context(), org.ID, v))
	same := func(when string) {
		t.Helper()
		remembered, err := s.Session(t.Context(), org.ID, v.ID)
		must(t, err)
		var stored broker.Session
		must(t, s.InTx(t.Context(), func(ctx context.Context) error {
			stored, err = s.Session(ctx, org.ID, v.ID)
			return err
		}))
		for i := range remembered.Proofs {
			if !remembered.Proofs[i].At.Equal(stored.Proofs[i].At) {
				t.Errorf("%s: proof at %s and %s", when, remembered.Proofs[i].At, stored.Proofs[i].At)
			}
			remembered.Proofs[i], stored.Proofs[i] = flows.Proof{}, flows.Proof{}
		}
		if !reflect.DeepEqual(remembered, stored) {
			t.Errorf("%s:\nremembered %+v\nstored     %+v", when, remembered, stored)
		}
	}
	same("made")
	must(t, s.UpdateSession(t.Context(), org.ID, v.ID, func(v *broker.Session) error {
		v.Ended = now
		v.Orgs[0].Seen = now.Add(time.Minute)
		return nil
	}))
	same("ended")
	boom := errors.New("boom")
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		if err := s.UpdateSession(ctx, org.ID, v.ID, func(v *broker.Session) error { v.Ended = time.Time{}; return nil }); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	same("undone")
	got, _ := s.Session(t.Context(), org.ID, v.ID)
	got.Orgs[0].Held = time.Time{}
	same("after somebody changed what they were given")
}
