package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

const secretText = "the-client-secret-that-nobody-may-find"

// sealedWorld has two top-level organizations with a connection each, and a signing key.
func sealedWorld(t *testing.T, s *Store) (one, two upstream.Connection) {
	t.Helper()
	realm := directory.Realm{ID: directory.NewRealmID(s.now()), Handle: "r", Status: directory.Active}
	must(t, s.CreateRealm(t.Context(), realm))
	made := make([]upstream.Connection, 2)
	for i := range made {
		org := directory.Org{ID: directory.NewOrgID(s.now()), Realm: realm.ID, Handle: string('a' + rune(i))}
		must(t, s.CreateOrg(t.Context(), org))
		made[i] = upstream.Connection{ID: directory.NewConnectionID(s.now()), Org: org.ID, Secret: []byte(secretText)}
		must(t, s.CreateConnection(t.Context(), org.ID, made[i]))
	}
	must(t, s.UpdateKeys(t.Context(), "oidc", func(list []broker.Key) ([]broker.Key, error) {
		return append(list, broker.Key{KID: "k1", Use: "oidc", Alg: "ES256", Private: []byte(secretText), CreatedAt: s.now()}), nil
	}))
	return made[0], made[1]
}

func meddle(t *testing.T, s *Store, q string, args ...any) {
	t.Helper()
	must(t, s.write(t.Context(), func(_ context.Context, tx *tx) error { _, err := tx.exec(q, args...); return err }))
	s.forgetAll()
}

// S24: who can write the database must not open a secret by laying it elsewhere.
func TestS24ASealedValueOpensOnlyWhereItWasSealed(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	one, two := sealedWorld(t, s)
	got, err := s.ConnectionByID(t.Context(), one.ID)
	must(t, err)
	if string(got.Secret) != secretText {
		t.Fatalf("got %q", got.Secret)
	}
	var own, key []byte
	_, err = s.rows(t.Context(), "SELECT secret FROM connections WHERE id = $1", func(r *row) { own = r.bytes() }, one.ID)
	must(t, err)
	_, err = s.rows(t.Context(), "SELECT private FROM signing_keys WHERE kid = 'k1'", func(r *row) { key = r.bytes() })
	must(t, err)
	flipped := bytes.Clone(own)
	flipped[len(flipped)-1] ^= 1
	opens := func() error { _, err := s.ConnectionByID(t.Context(), one.ID); return err }
	for name, c := range map[string]struct {
		do   func()
		read func() error
	}{
		"another row": {func() { meddle(t, s, "UPDATE connections SET secret = $1 WHERE id = $2", own, two.ID) },
			func() error { _, err := s.ConnectionByID(t.Context(), two.ID); return err }},
		"another table": {func() { meddle(t, s, "UPDATE connections SET secret = $1 WHERE id = $2", key, one.ID) }, opens},
		"another organization": {func() {
			meddle(t, s, "UPDATE connections SET secret = $1, org_id = $2 WHERE id = $3", own, two.Org, one.ID)
		}, opens},
		"a flipped bit": {func() {
			meddle(t, s, "UPDATE connections SET secret = $1, org_id = $2 WHERE id = $3", flipped, one.Org, one.ID)
		}, opens},
		"not sealed": {func() {
			meddle(t, s, "UPDATE connections SET secret = $1, org_id = $2 WHERE id = $3", []byte(`{"client_secret":"mine"}`), one.Org, one.ID)
		}, opens},
	} {
		c.do()
		if err := c.read(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: opened with %v", name, err)
		}
		meddle(t, s, "UPDATE connections SET secret = $1, org_id = $2 WHERE id = $3", own, one.Org, one.ID)
		if err := opens(); err != nil {
			t.Errorf("%s: put back it does not open: %v", name, err)
		}
	}
}

// S24: one data key for each top-level organization and the platform, and none opens in another's place.
func TestS24DataKeysAreSeparateAndStayInTheirPlace(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	one, _ := sealedWorld(t, s)
	var wrapped [][]byte
	_, err := s.rows(t.Context(), "SELECT wrapped FROM data_keys ORDER BY scope_id", func(r *row) { wrapped = append(wrapped, r.bytes()) })
	must(t, err)
	if len(wrapped) != 3 {
		t.Fatalf("%d data keys", len(wrapped))
	}
	meddle(t, s, "UPDATE data_keys SET wrapped = $1 WHERE scope_id = $2", wrapped[0], one.Org)
	clear(s.sealer.data)
	if _, err := s.ConnectionByID(t.Context(), one.ID); !errors.Is(err, ErrSealed) {
		t.Errorf("answered %v", err)
	}
}

func TestS24NoSecretLiesInTheFiles(t *testing.T) {
	o := options(t, storetest.NewClock())
	s, err := Open(t.Context(), o)
	must(t, err)
	sealedWorld(t, s)
	must(t, s.Close())
	files, err := filepath.Glob(filepath.Join(filepath.Dir(o.Path), "*"))
	must(t, err)
	if len(files) < 3 {
		t.Fatal(files)
	}
	key, err := os.ReadFile(filepath.Join(filepath.Dir(o.Path), "vestibule.key"))
	must(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		must(t, err)
		if bytes.Contains(text, []byte(secretText)) {
			t.Errorf("%s holds the secret", filepath.Base(f))
		}
		if !strings.HasSuffix(f, ".key") && bytes.Contains(text, bytes.TrimSpace(key[len(keyPrefix):])) {
			t.Errorf("%s holds the sealing key", filepath.Base(f))
		}
	}
}

// S24: data whose key is missing or another one is not opened, and never gets a new key.
func TestS24DataAsksForItsOwnKey(t *testing.T) {
	o := options(t, storetest.NewClock())
	key := filepath.Join(filepath.Dir(o.Path), "vestibule.key")
	s, err := Open(t.Context(), o)
	must(t, err)
	must(t, s.Close())
	info, err := os.Stat(key)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key file is %v", info.Mode())
	}
	right, err := os.ReadFile(key)
	must(t, err)
	other := options(t, storetest.NewClock())
	s, err = Open(t.Context(), other)
	must(t, err)
	must(t, s.Close())
	wrong, err := os.ReadFile(filepath.Join(filepath.Dir(other.Path), "vestibule.key"))
	must(t, err)

	refused := func(name string, want error) {
		t.Helper()
		s, err := Open(t.Context(), o)
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: answered %v", name, err)
		}
	}
	must(t, os.Remove(key))
	refused("missing", ErrKeyMissing)
	if _, err := os.Stat(key); err == nil {
		t.Error("a key was made beside data that has one")
	}
	must(t, os.WriteFile(key, wrong, 0o600))
	refused("another's", ErrKeyWrong)
	must(t, os.WriteFile(key, []byte("nonsense"), 0o600))
	refused("no key", ErrKeyFile)
	must(t, os.WriteFile(key, right, 0o600))
	s, err = Open(t.Context(), o)
	must(t, err)
	must(t, s.Close())
}

// S24: every part of a value's place is part of what opens it.
func TestS24EveryPartOfThePlaceCounts(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	home := slot{"factors", "secret", "fac_a", "org_a"}
	var sealed []byte
	must(t, s.write(t.Context(), func(ctx context.Context, tx *tx) (err error) {
		sealed, err = s.seal(ctx, tx, "org_a", home, []byte(secretText))
		return err
	}))
	for _, at := range []slot{
		{"other", "secret", "fac_a", "org_a"}, {"factors", "other", "fac_a", "org_a"}, {"factors", "secret", "fac_b", "org_a"},
		{"factors", "secret", "fac_a", "org_b"}, {"factorss", "ecret", "fac_a", "org_a"},
	} {
		if got, err := s.unseal(t.Context(), at, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("%v: opened %q, %v", at, got, err)
		}
	}
	if got, err := s.unseal(t.Context(), home, sealed); err != nil || string(got) != secretText {
		t.Errorf("at home: %q, %v", got, err)
	}
}
