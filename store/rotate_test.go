package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// reads says whether every secret of the sealed world opens.
func reads(t *testing.T, s *Store, cons ...upstream.Connection) error {
	t.Helper()
	s.forgetAll()
	s.sealer.clear()
	var errs error
	for _, c := range cons {
		got, err := s.ConnectionByID(t.Context(), c.ID)
		if err == nil && string(got.Secret) != secretText {
			err = errors.New("another secret")
		}
		errs = errors.Join(errs, err)
	}
	_, err := s.Keys(t.Context(), "oidc")
	_, more := s.Secret(t.Context(), "cookies")
	return errors.Join(errs, err, more)
}

func keyOfStore(o Options) string {
	if o.KeyFile != "" {
		return o.KeyFile
	}
	return filepath.Join(filepath.Dir(o.Path), "vestibule.key")
}

// S24: the sealing key is changed while a service runs, and afterwards the old one opens nothing.
func TestS24TheSealingKeyIsChangedWhileEverythingRuns(t *testing.T) {
	eachEngine(t, storyTheSealingKeyIsChangedWhileEverythingRuns)
}

func storyTheSealingKeyIsChangedWhileEverythingRuns(t *testing.T, o Options, _ *storetest.Clock) {
	serve := openTest(t, o)
	one, two := sealedWorld(t, serve)
	must(t, reads(t, serve, one, two))
	old, err := os.ReadFile(keyOfStore(o))
	must(t, err)

	next := filepath.Join(t.TempDir(), "new.key")
	id, err := NewSealingKeyFile(next)
	must(t, err)
	added, err := AddKeyLine(keyOfStore(o), next)
	must(t, err)
	again, err := AddKeyLine(keyOfStore(o), next)
	must(t, err)
	if text, _ := os.ReadFile(keyOfStore(o)); added != id || again != id || strings.Count(string(text), keyPrefix) != 2 {
		t.Fatalf("%s, %s, %s", added, again, text)
	}
	beside := o
	beside.Beside = true
	command := openTest(t, beside)
	changed, err := command.SwitchSealingKey(t.Context(), id)
	for begun := time.Now(); errors.Is(err, ErrNodesLack); { // until the service has read its key file
		if time.Since(begun) > 20*time.Second {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		changed, err = command.SwitchSealingKey(t.Context(), id)
	}
	if err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	// The service makes a data key in the middle of it.
	realm, err := serve.RealmByHandle(t.Context(), "r")
	must(t, err)
	org := directory.Org{ID: directory.NewOrgID(serve.now()), Realm: realm.ID, Handle: "middle"}
	must(t, serve.CreateOrg(t.Context(), org))
	mid := upstream.Connection{ID: directory.NewConnectionID(serve.now()), Org: org.ID, Secret: []byte(secretText)}
	must(t, serve.CreateConnection(t.Context(), org.ID, mid))
	if n, err := command.RewrapDataKeys(t.Context()); err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := command.RewrapDataKeys(t.Context()); err != nil || n != 0 {
		t.Fatalf("again: %d, %v", n, err)
	}
	moved, err := KeepKeyLine(keyOfStore(o), id)
	must(t, err)
	if kept, _ := os.ReadFile(moved); !bytes.Equal(kept, old) {
		t.Errorf("the old key is not in %s", moved)
	}
	must(t, reads(t, serve, one, two, mid))
	must(t, command.Close())
	must(t, serve.Close())
	must(t, os.WriteFile(keyOfStore(o), old, 0o600))
	if s, err := Open(t.Context(), o); !errors.Is(err, ErrKeyWrong) {
		t.Fatalf("the old key opens it: %v, %v", s, err)
	} else if !strings.Contains(err.Error(), id) {
		t.Errorf("it does not say which key is needed: %v", err)
	}
	must(t, os.Rename(next, keyOfStore(o)))
	s := openTest(t, o)
	must(t, reads(t, s, one, two, mid))
}

// S24: killed between any two steps, everything opens with the file that holds both keys, and the same
// command goes on.
func TestS24AChangeOfTheSealingKeyGoesOnWhereItWasKilled(t *testing.T) {
	eachEngine(t, storyAChangeOfTheSealingKeyGoesOnWhereItWasKilled)
}

func storyAChangeOfTheSealingKeyGoesOnWhereItWasKilled(t *testing.T, o Options, clock *storetest.Clock) {
	fresh := options
	if o.DSN != "" {
		fresh = onPostgres
	}
	for _, steps := range []int{0, 1, 2} {
		o := fresh(t, clock)
		s, err := Open(t.Context(), o)
		must(t, err)
		one, two := sealedWorld(t, s)
		next := filepath.Join(t.TempDir(), "new.key")
		id, err := NewSealingKeyFile(next)
		must(t, err)
		_, err = AddKeyLine(keyOfStore(o), next)
		must(t, err)
		if steps > 0 {
			_, err = s.SwitchSealingKey(t.Context(), id)
			must(t, err)
		}
		if steps > 1 { // one of three data keys
			var k wrappedKey
			_, err := s.rows(t.Context(), "SELECT id, scope_id, kek, wrapped FROM data_keys LIMIT 1", func(r *row) { k = wrappedKey{r.text(), r.text(), r.text(), r.bytes(), nil} })
			must(t, err)
			about, err := k.about()
			must(t, err)
			secret, err := s.sealer.unwrap(t.Context(), k.kek, k.wrapped, about)
			must(t, err)
			to, err := s.sealer.sealingKey(id)
			must(t, err)
			again, err := to.Wrap(t.Context(), secret, about)
			must(t, err)
			meddle(t, s, "UPDATE data_keys SET wrapped = $1, kek = $2 WHERE id = $3", again, id, k.id)
		}
		must(t, s.Close())
		s = openTest(t, o)
		must(t, reads(t, s, one, two))
		if changed, err := s.SwitchSealingKey(t.Context(), id); err != nil || changed == (steps > 0) {
			t.Errorf("after %d steps: %v, %v", steps, changed, err)
		}
		_, err = s.RewrapDataKeys(t.Context())
		must(t, err)
		_, err = KeepKeyLine(keyOfStore(o), id)
		must(t, err)
		must(t, s.Close())
		s = openTest(t, o)
		must(t, reads(t, s, one, two))
	}
}

// S24: a data key is changed while values are read and written; then nothing is under the old one.
func TestS24ADataKeyIsChangedWhileItsValuesAreUsed(t *testing.T) {
	eachEngine(t, storyADataKeyIsChangedWhileItsValuesAreUsed)
}

func storyADataKeyIsChangedWhileItsValuesAreUsed(t *testing.T, o Options, clock *storetest.Clock) {
	s := openTest(t, o)
	one, two := sealedWorld(t, s)
	_, err := s.Secret(t.Context(), "cookies")
	must(t, err)
	ids := func() (list []string) {
		_, err := s.rows(t.Context(), "SELECT id FROM data_keys ORDER BY id", func(r *row) { list = append(list, r.text()) })
		must(t, err)
		return list
	}
	before := ids()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			if err := s.UpdateConnection(ctx, one.Org, one.ID, func(c *upstream.Connection) error { c.Name += "."; return nil }); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if err := reads(t, s, one, two); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for _, scope := range []string{"", string(one.Org), string(two.Org)} {
		had, err := s.RotateDataKey(t.Context(), scope)
		if err != nil || !had {
			t.Fatalf("%q: %v, %v", scope, had, err)
		}
	}
	_, err = s.ResealValues(t.Context())
	must(t, err)
	stop()
	all.Wait()
	// A write that had read the former key when it was replaced may commit after the walk passed: the next
	// walk finds it, and the replaced key rests until then.
	_, err = s.ResealValues(t.Context())
	must(t, err)
	if had, err := s.RotateDataKey(t.Context(), "org_nobody"); err != nil || had {
		t.Errorf("a scope that seals nothing: %v, %v", had, err)
	}
	for _, id := range ids() {
		if slices.Contains(before, id) {
			t.Errorf("the data key %s is current still", id)
		}
	}
	old, err := s.oldDataKeys(t.Context())
	must(t, err)
	for _, c := range sealedColumns {
		_, err := s.rows(t.Context(), "SELECT "+c.column+" FROM "+c.table, func(r *row) {
			if _, under := old[keyOf(r.bytes())]; under {
				t.Errorf("%s.%s is under an old data key", c.table, c.column)
			}
		})
		must(t, err)
	}
	if len(old) != 3 {
		t.Errorf("%d old keys rest", len(old))
	}
	clock.Advance(2 * time.Hour)
	must(t, s.tidyKeys(t.Context()))
	if old, err = s.oldDataKeys(t.Context()); err != nil || len(old) != 0 {
		t.Errorf("%d old keys stay, %v", len(old), err)
	}
	must(t, reads(t, s, one, two))
}

// S24: with an organization's data key destroyed its secrets are gone, on nodes that had them in memory
// too; nobody else notices, and no new key is made.
func TestS24ADestroyedDataKeyOpensNothingAndHurtsNobodyElse(t *testing.T) {
	eachEngine(t, storyADestroyedDataKeyOpensNothingAndHurtsNobodyElse)
}

func storyADestroyedDataKeyOpensNothingAndHurtsNobodyElse(t *testing.T, o Options, _ *storetest.Clock) {
	serve := openTest(t, o)
	one, two := sealedWorld(t, serve)
	must(t, reads(t, serve, one, two))
	o.Beside = true
	command := openTest(t, o)
	must(t, command.DestroyDataKey(t.Context(), one.Org))
	must(t, serve.follow(t.Context()))
	for _, s := range []*Store{serve, command} {
		if c, err := s.ConnectionByID(t.Context(), one.ID); !errors.Is(err, ErrDestroyed) {
			t.Errorf("reads %q, %v", c.Secret, err)
		}
		must(t, reads(t, s, two))
		err := s.CreateConnection(t.Context(), one.Org, upstream.Connection{ID: directory.NewConnectionID(s.now()), Org: one.Org, Secret: []byte(secretText)})
		if !errors.Is(err, ErrDestroyed) {
			t.Errorf("sealed anew: %v", err)
		}
	}
	for _, q := range []string{"SELECT wrapped FROM data_keys WHERE scope_id = $1", "SELECT wrapped FROM old_data_keys WHERE scope_id = $1"} {
		_, err := serve.rows(t.Context(), q, func(r *row) {
			if len(r.bytes()) > 0 {
				t.Error("the wrapped key is there still")
			}
		}, one.Org)
		must(t, err)
	}
	_, err := serve.RewrapDataKeys(t.Context())
	must(t, err)
	must(t, serve.tidyKeys(t.Context()))
	never := directory.Org{ID: directory.NewOrgID(serve.now()), Realm: "x", Handle: "never"}
	must(t, serve.DestroyDataKey(t.Context(), never.ID)) // one that never had secrets
	must(t, reads(t, serve, two))
}

// S24: a value of every sealed column opens in no other row, column or organization, and no column seals
// that the table does not list.
func TestS24EverySealedColumnIsListed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	literal := regexp.MustCompile(`slot\{"(\w+)", "(\w+)"`)
	found := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		must(t, err)
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			found++
			if m[1] == "data_keys" {
				continue // wrapped by the sealing key
			}
			if !slices.ContainsFunc(sealedColumns, func(c sealedColumn) bool { return c.table == m[1] && c.column == m[2] }) {
				t.Errorf("%s seals %s.%s, which sealed.go does not list", f, m[1], m[2])
			}
		}
	}
	if found <= len(sealedColumns) {
		t.Errorf("only %d slots were found", found)
	}
	s := openTest(t, options(t, storetest.NewClock()))
	sealed := map[slot][]byte{}
	for _, c := range sealedColumns {
		for _, row := range []string{"a", "b"} {
			orgs := []string{""}
			if c.org != "" {
				orgs = []string{"org_a", "org_b"}
			}
			for _, org := range orgs {
				at := c.slot(row, org)
				must(t, s.write(t.Context(), func(ctx context.Context, t *tx) (err error) {
					sealed[at], err = s.seal(ctx, t, org, at, []byte(secretText))
					return err
				}))
			}
		}
		// The walk of a rotation finds the column as the table says.
		_, err := s.rows(t.Context(), "SELECT "+c.row+", "+c.orgColumn()+", "+c.column+" FROM "+c.table, nil)
		must(t, err)
	}
	for from, value := range sealed {
		for to := range sealed {
			if _, err := s.unseal(t.Context(), to, value); (err == nil) != (from == to) {
				t.Errorf("what belongs to %v opens at %v: %v", from, to, err)
			}
		}
	}
}
