package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/vestibule-id/vestibule/manifest"
)

func TestACommandLineThatIsWrongSaysWhatIs(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		line   string
		status int
		says   string
	}{
		{"", 0, "demo "},
		{"help", 0, "trace "},
		{"help trace", 0, "Usage: vestibule trace [flags] CODE"},
		{"demo -h", 0, "Usage: vestibule demo [flags]\n"},
		{"--version", 0, "vestibule "},
		{"sreve", 2, `vestibule has no command "sreve".`},
		{"demo -port 70000", 1, "A port is a number"},
		{"demo -colour", 2, "-colour"},
		{"trace -data " + empty, 2, "Name one code"},
		{"trace VB-7Q4K-29TM -database sqlite:" + empty + "/none.db", 1, "There is no database there. Name the one"},
		{"trace -data " + empty + " VB-7Q4K-29TM VB-7Q4K-29TM", 2, "Name one code"},
		{"trace -data " + empty + " VB-7Q", 1, "That is not a trace code."},
		{"trace VB-7Q4K-29TM -data " + empty, 1, "There is no database there."},
	} {
		var said bytes.Buffer
		if status := run(t.Context(), strings.Fields(tc.line), &said, &said); status != tc.status || !strings.Contains(said.String(), tc.says) {
			t.Errorf("vestibule %s: status %d, want %d, and %q in\n%s", tc.line, status, tc.status, tc.says, &said)
		}
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("asking left %v behind, %v", files, err)
	}
}

// What identity providers call people ends in a plan, and must not command the operator's terminal: neither
// by a control character of one byte or of two, nor by turning the line around.
func TestAPlanCommandsNoTerminal(t *testing.T) {
	for _, bad := range []string{"\x1b[2J", "\u009b2J", "a\rb", "a\bb", "\u202eevil", "a\x00b"} {
		line := fieldLine(manifest.Alter, manifest.Field{Name: "name", Before: "Ada" + bad, After: "Ada"})
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", line)
		}
	}
	if line := fieldLine(manifest.Alter, manifest.Field{Name: "name", Before: "Ada Løve", After: "艾达"}); line != "name: Ada Løve → 艾达" {
		t.Errorf("%q", line)
	}
}
