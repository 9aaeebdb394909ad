package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/vestibule-id/vestibule/store/storetest"
)

// Many nodes that start at once agree on every secret.
func TestS24ASecretIsMadeOnceByManyNodes(t *testing.T) {
	o := options(t, storetest.NewClock())
	nodes := []*Store{openTest(t, o)}
	o.Beside = true
	for range 3 {
		nodes = append(nodes, openTest(t, o))
	}
	got := make([][]byte, 16)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i], _ = nodes[i%len(nodes)].Secret(t.Context(), "cookies") })
	}
	all.Wait()
	for _, secret := range got {
		if len(secret) != secretSize || !bytes.Equal(secret, got[0]) {
			t.Fatalf("the nodes have %x and %x", got[0], secret)
		}
	}
	other, err := nodes[1].Secret(t.Context(), "pepper")
	must(t, err)
	if bytes.Equal(other, got[0]) {
		t.Error("two names share a secret")
	}
	if n, err := nodes[0].rows(t.Context(), "SELECT id FROM data_keys", nil); err != nil || n != 1 {
		t.Errorf("%d data keys, %v", n, err)
	}
}

func TestS24ASecretThatWasRolledBackIsForgotten(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	var inside []byte
	err := s.InTx(t.Context(), func(ctx context.Context) (err error) {
		if inside, err = s.Secret(ctx, "x"); err != nil {
			return err
		}
		return errDisk
	})
	if !errors.Is(err, errDisk) || len(inside) != secretSize {
		t.Fatalf("%v, %x", err, inside)
	}
	after, err := s.Secret(t.Context(), "x")
	must(t, err)
	if bytes.Equal(after, inside) {
		t.Error("a secret that was never committed is used")
	}
}

// S24: what can be guessed is kept as a hash that the database alone does not lead to.
func TestS24PepperedValuesDependOnSecretTableAndRow(t *testing.T) {
	s, other := openTest(t, options(t, storetest.NewClock())), openTest(t, options(t, storetest.NewClock()))
	hash := func(s *Store, table, row, value string) [32]byte {
		h, err := s.Pepper(t.Context(), table, row, []byte(value))
		must(t, err)
		return h
	}
	base := hash(s, "codes", "a", "123456")
	if hash(s, "codes", "a", "123456") != base {
		t.Error("not the same twice")
	}
	for name, h := range map[string][32]byte{
		"another row": hash(s, "codes", "b", "123456"), "another table": hash(s, "recovery", "a", "123456"),
		"another value": hash(s, "codes", "a", "123457"), "run together": hash(s, "codesa", "", "123456"),
		"another installation": hash(other, "codes", "a", "123456"),
	} {
		if h == base {
			t.Errorf("%s gives the same", name)
		}
	}
}

// Containers have the key in their environment; it is the same text.
func TestS24TheSealingKeyMayComeFromTheEnvironment(t *testing.T) {
	o := options(t, storetest.NewClock())
	file := filepath.Join(t.TempDir(), "key")
	id, err := NewSealingKeyFile(file)
	must(t, err)
	if _, err := NewSealingKeyFile(file); !errors.Is(err, ErrKeyExists) {
		t.Errorf("a key file was overwritten: %v", err)
	}
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v", info.Mode())
	}
	text, err := os.ReadFile(file)
	must(t, err)
	o.Key = string(text)
	s, err := Open(t.Context(), o)
	must(t, err)
	sealedWorld(t, s)
	if now, err := s.SealingKeyID(t.Context()); err != nil || now != id {
		t.Errorf("under %q, %v; the file's is %q", now, err, id)
	}
	must(t, s.Close())
	if _, err := os.Stat(filepath.Join(filepath.Dir(o.Path), "vestibule.key")); err == nil {
		t.Error("a key file was made all the same")
	}
	o.Key = "vestibule-key-1:short"
	if s, err := Open(t.Context(), o); !errors.Is(err, ErrKeyText) {
		t.Errorf("opened with nonsense: %v, %v", s, err)
	}
	o.Key, o.KeyFile = "", file
	openTest(t, o)
}
