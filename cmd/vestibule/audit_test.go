package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// S43: the record of a running service is anchored, verified, exported and checked elsewhere by commands,
// and whoever changes it in the database is found out.
func TestS43TheRecordIsVerifiedAndExportedByCommands(t *testing.T) {
	dir := t.TempDir()
	anchors := filepath.Join(t.TempDir(), "anchors")
	w := worldIn(t, dir, func(c *config) { c.AnchorFile = anchors })
	acme := w.addOIDC("acme", nil)
	w.signedIn(acme.org)
	comesTrue(t, "the record is chained", func() bool {
		_, said := w.command("audit verify --org main/acme")
		return strings.Contains(said, "0 wait")
	})
	w.clock.pass(2 * time.Hour)
	w.must((&audit.Anchorer{Store: w.h.store, Keys: anchorSigner(w), Now: w.clock.now, File: anchors}).Once(t.Context()))

	if said := w.commanded("audit verify --org main/acme"); !strings.Contains(said, "1 anchors fit") && !strings.Contains(said, "2 anchors fit") {
		t.Errorf("%s", said)
	}
	if said := w.commanded("audit verify --anchors " + anchors); !strings.Contains(said, "The record holds") {
		t.Errorf("%s", said)
	}
	export, keys := filepath.Join(t.TempDir(), "export"), filepath.Join(t.TempDir(), "keys")
	w.must(os.WriteFile(keys, []byte(w.commanded("audit keys")), 0o600))
	text := w.commanded("audit export --org main/acme")
	text, _, _ = strings.Cut(text, "\n"+firstCount(text)) // what it says to the terminal
	w.must(os.WriteFile(export, []byte(text+"\n"), 0o600))
	if status, said := ran(t, "audit", "verify", "--file", export, "--keys", keys); status != 0 || !strings.Contains(said, "whole and unchanged") {
		t.Errorf("%d %s", status, said)
	}
	w.must(os.WriteFile(export, []byte(strings.Replace(text, "login.succeeded", "login.refused", 1)+"\n"), 0o600))
	if status, said := ran(t, "audit", "verify", "--file", export, "--keys", keys); status != 1 {
		t.Errorf("a changed export: %d %s", status, said)
	}
	if status, said := w.command("audit prune --before 24h"); status != 1 || !strings.Contains(said, "last 90 days") {
		t.Errorf("%d %s", status, said)
	}
	for _, c := range []struct {
		line   string
		status int
		says   string
	}{
		{"audit prune", 1, "Say with --before"},
		{"audit verify --keys " + keys, 2, "--keys goes with --file"},
		{"audit verify --file " + keys + " --keys " + keys, 1, "not an export"},
		{"audit verify --file " + export + " --keys " + export, 1, "audit keys"},
		{"audit verify --anchors " + dir + "/none", 1, "cannot be read"},
		{"audit verify --org nobody", 1, "REALM/HANDLE"},
	} {
		if status, said := w.command(c.line); status != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s", c.line, status, said)
		}
	}
}

// anchorSigner is the running service's keys of the record.
func anchorSigner(w *world) audit.Signer {
	keys := keyringOf(w.h.store, "anchor")
	w.must(keys.Read(w.t.Context()))
	return keys
}

// firstCount is the line that an export ends with on a terminal.
func firstCount(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
