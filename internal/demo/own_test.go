package demo

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The lines that the first page offers are compiled as they stand, in a program that does not exist.
func TestTheLinesForGoCompile(t *testing.T) {
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	program := `package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func main() {
	ctx, code := context.Background(), ""
` + ownGo + `
	fmt.Println(address, id)
}
`
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "ownapp", "main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{source: []byte(program), overlay: replaced} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", filepath.Join(dir, "app"), "./ownapp")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
