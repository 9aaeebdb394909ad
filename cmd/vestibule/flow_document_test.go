package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An operator writes a flow, is told what is wrong with it, publishes it, and takes it back.
func TestAFlowIsDraftedPublishedAndRolledBack(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	do := func(status int, says string, args ...string) string {
		t.Helper()
		var said bytes.Buffer
		if got := run(t.Context(), append(args, "-database", "sqlite:"+filepath.Join(dir, "v.db"), "-key-file", filepath.Join(dir, "v.key")), &said, &said); got != status || !strings.Contains(said.String(), says) {
			t.Fatalf("vestibule %s: status %d, want %d, and %q in\n%s", strings.Join(args, " "), got, status, says, &said)
		}
		return said.String()
	}
	do(0, "", "apply", "-f", file("world.yaml", "realms: [{handle: main}]\norganizations: [{handle: acme, realm: main, name: Acme}]\n"))
	good := file("good.yaml", "items:\n- step: notice\n  if: '!device.known'\n  settings: {text: {en: Hello}}\n")
	other := file("other.yaml", "items:\n- step: terms\n  settings: {version: '2026-01'}\n")
	bad := file("bad.yaml", "items:\n- step: notice\n  if: person.email == 'x'\n  settings: {text: {en: Hello}}\n- step: authenticate\n- step: survey\n")

	do(0, "published no flow", "flow", "show", "main/acme")
	if said := do(1, "item 1 (notice)", "flow", "validate", "main/acme", bad); !strings.Contains(said, "item 3 (survey)") {
		t.Error(said)
	}
	do(0, "It can be published", "flow", "validate", "main/acme", good)
	do(0, "Version 1 is the draft", "flow", "set", "main/acme", good)
	do(0, "draft", "flow", "show", "main/acme")
	do(0, "version 1", "flow", "publish", "main/acme")
	do(1, "no draft", "flow", "publish", "main/acme")
	do(0, "cannot be published", "flow", "set", "main/acme", bad)
	do(1, "item 3 (survey)", "flow", "publish", "main/acme")
	do(0, "version 3", "flow", "set", "--publish", "main/acme", other)
	do(0, "2026-01", "flow", "show", "main/acme")
	do(0, "version 1", "flow", "rollback", "main/acme")
	do(0, "version 3", "flow", "publish", "--version", "3", "main/acme")
	do(1, "no such version", "flow", "publish", "--version", "9", "main/acme")
	do(0, `"published": 3`, "flow", "show", "--json", "main/acme")
	do(0, "Hello", "flow", "show", "--version", "1", "main/acme")
	do(1, "", "flow", "testers", "main/acme", "per_nobody")
	do(0, "0 people test", "flow", "testers", "main/acme")
	do(2, "Name one organization", "flow", "show")
}
