package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/directory"
)

// command runs a command of the operator beside the running world.
func (w *world) command(line string) (int, string) {
	w.t.Helper()
	var said bytes.Buffer
	status := run(w.t.Context(), append(strings.Fields(line), w.database()...), &said, &said)
	return status, said.String()
}

// database is how a command finds the world's.
func (w *world) database() []string {
	at := "sqlite:" + filepath.Join(w.dir, "vestibule.db")
	if dsn, ok := stored.Load(w.dir); ok {
		at = dsn.(string)
	}
	return []string{"--database", at, "--key-file", filepath.Join(w.dir, "vestibule.key")}
}

func (w *world) commanded(line string) string {
	w.t.Helper()
	status, said := w.command(line)
	if status != 0 {
		w.t.Fatalf("vestibule %s: status %d\n%s", line, status, said)
	}
	return said
}

func (w *world) publishedKeys() map[string]jose.JSONWebKey {
	w.t.Helper()
	_, raw := w.document("/keys", nil)
	var set jose.JSONWebKeySet
	w.must(json.Unmarshal([]byte(raw), &set))
	out := map[string]jose.JSONWebKey{}
	for _, k := range set.Keys {
		out[k.KeyID] = k
	}
	return out
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Header.KeyID
}

// comesTrue waits for what another process's change brings about.
func comesTrue(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for range 400 {
		if happened() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// S25: keys are rotated and revoked beside a running service, which follows without a restart.
func TestS25KeysAreRotatedAndRevokedBesideARunningService(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	_, tok := w.signedIn(acme.org)
	old := kidOf(t, tok.Access)

	said := w.commanded("keys rotate --alg ES256")
	next := regexp.MustCompile(`key (\S+) is published`).FindStringSubmatch(said)
	if next == nil {
		t.Fatal(said)
	}
	comesTrue(t, "the new key is published", func() bool { _, ok := w.publishedKeys()[next[1]]; return ok })
	_, second := w.signedIn(acme.org)
	if kid := kidOf(t, second.Access); kid != old {
		t.Error("the new key signs before apps can have read it")
	}
	list := w.commanded("keys list")
	if !regexp.MustCompile(old+` +tokens +ES256 +active +signs since .* until `).MatchString(list) || !regexp.MustCompile(next[1]+` +tokens +ES256 +next +published `).MatchString(list) {
		t.Errorf("keys list says\n%s", list)
	}

	said = w.commanded("keys revoke " + old + " --since 1h")
	if !strings.Contains(said, "Payments (payments): 2 grants ended") {
		t.Errorf("keys revoke says\n%s", said)
	}
	comesTrue(t, "the revoked key is out", func() bool { _, ok := w.publishedKeys()[old]; return !ok })
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("its token is believed: %d", status)
	}
	comesTrue(t, "its successor signs", func() bool { _, ok := w.h.broker.Keys.Signs("ES256"); return ok })
	_, third := w.signedIn(acme.org)
	if kid := kidOf(t, third.Access); kid != next[1] {
		t.Errorf("signed by %s", kid)
	}
	if status, _ := w.userinfo(third.Access); status != 200 {
		t.Errorf("userinfo: %d", status)
	}
}

// S24: the sealing key and the data keys are changed beside a running service, and people go on signing in.
func TestS24SealingKeysAreChangedBesideARunningService(t *testing.T) {
	w := newWorld(t)
	acme, bolt := w.addOIDC("acme", nil), w.addOIDC("bolt", nil)
	next := filepath.Join(t.TempDir(), "next.key")
	old, err := os.ReadFile(filepath.Join(w.dir, "vestibule.key"))
	w.must(err)
	w.commanded("keys rotate --data")
	w.commanded("keys rotate --data --org main/acme")
	w.signedIn(acme.org)
	var said bytes.Buffer
	if status := run(t.Context(), []string{"keys", "create", "--sealing", next}, &said, &said); status != 0 {
		t.Fatal(said.String())
	}
	if status := run(t.Context(), []string{"keys", "create", "--sealing", next}, &said, &said); status != 1 || !strings.Contains(said.String(), "never overwritten") {
		t.Errorf("overwrites: %s", said.String())
	}
	text := w.commanded("keys rotate --sealing --new-key-file " + next)
	moved := regexp.MustCompile(`The old one is in (\S+):`).FindStringSubmatch(text)
	if moved == nil {
		t.Fatal(text)
	}
	if kept, err := os.ReadFile(moved[1]); err != nil || !bytes.Equal(kept, old) {
		t.Errorf("the old key was lost: %v", err)
	}
	w.commanded("keys rotate --sealing --new-key-file " + next) // again changes nothing
	w.signedIn(bolt.org)

	// The old key opens it no more, and the refusal says which key is wanted.
	w.must(os.WriteFile(filepath.Join(w.dir, "vestibule.key"), old, 0o600))
	status, refusal := w.command("keys list")
	id := regexp.MustCompile(`sealing key ([0-9a-f]{12})`).FindStringSubmatch(text)[1]
	if status != 1 || !strings.Contains(refusal, "does not belong to this data") || !strings.Contains(refusal, id) {
		t.Errorf("status %d: %s", status, refusal)
	}
	w.must(os.Remove(filepath.Join(w.dir, "vestibule.key")))
	if status, refusal := w.command("keys list"); status != 1 || !strings.Contains(refusal, "The sealing key of this data is missing") || !strings.Contains(refusal, id) {
		t.Errorf("status %d: %s", status, refusal)
	}
}

// S24: deleting an organization can destroy what unlocks its secrets; nothing but archived ones, nothing
// without its name typed again, and everybody else goes on.
func TestS24SecretsOfAnArchivedOrganizationAreDestroyed(t *testing.T) {
	w := newWorld(t)
	acme, bolt := w.addOIDC("acme", nil), w.addOIDC("bolt", nil)
	for _, c := range []struct{ line, says string }{
		{"keys destroy --org main/acme --confirm acme", "Archive it first"},
		{"keys destroy --org main/acme", "--confirm"},
		{"keys destroy --org acme --confirm acme", "REALM/HANDLE"},
		{"keys destroy --org main/nobody --confirm nobody", "no such organization"},
	} {
		if status, said := w.command(c.line); status == 0 || !strings.Contains(strings.ToLower(said), strings.ToLower(c.says)) {
			t.Errorf("%s: %d %s", c.line, status, said)
		}
	}
	w.must(w.h.directory.SetOrgStatus(t.Context(), operator, acme.org, directory.Archived))
	if status, said := w.command("keys destroy --org main/acme --confirm bolt"); status == 0 || !strings.Contains(said, "Nothing was destroyed") {
		t.Errorf("%d %s", status, said)
	}
	w.commanded("keys destroy --org main/acme --confirm acme")
	comesTrue(t, "the running service forgets the secret", func() bool {
		_, err := w.h.store.ConnectionByID(t.Context(), acme.con.ID)
		return err != nil
	})
	w.signedIn(bolt.org)
}

func TestKeyCommandsSayWhatIsWrongWithThem(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		line   string
		status int
		says   string
	}{
		{"keys", 2, "vestibule keys COMMAND"},
		{"keys lst", 2, `has no command "lst"`},
		{"keys rotate", 2, "Say which keys to change"},
		{"keys rotate --alg ES256 --data", 2, "Say which keys to change"},
		{"keys rotate --sealing", 2, "--new-key-file"},
		{"keys rotate --alg HS256", 1, "No signing keys of that algorithm"},
		{"keys revoke", 2, "Name one key"},
		{"keys revoke nonsense", 1, "There is no signing key with that id"},
		{"keys revoke x --since yesterday", 1, "A time is written like"},
		{"keys create", 2, "Say what to make"},
		{"keys rotate --sealing --new-key-file " + w.dir + "/none", 1, "cannot be read"},
	} {
		args := strings.Fields(c.line)
		if len(args) > 1 && args[1] != "lst" {
			args = append(args, w.database()...)
		}
		var said bytes.Buffer
		if status := run(t.Context(), args, &said, &said); status != c.status || !strings.Contains(said.String(), c.says) {
			t.Errorf("vestibule %s: status %d, want %d and %q in\n%s", c.line, status, c.status, c.says, &said)
		}
	}
}
