package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/manifest"
)

// FuzzRead: whatever a file holds, reading it ends in a manifest or in words, and never tells a secret.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"minimal.yaml", "complete.yaml", "blackbox.yaml"} {
		raw, err := os.ReadFile(filepath.Join("..", "examples", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Add(acme)
	f.Add("organizations: [{handle: a, people: [{address: {region: 1}, memberships: [{}]}]}]")
	const secret = "a-secret-that-no-error-may-tell"
	from := manifest.Sources{
		Secret:   func(string) (string, error) { return secret, nil },
		Document: func(string) (string, error) { return "<xml/>", nil },
		Env:      func(string) (string, bool) { return secret, true },
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := manifest.Read([]manifest.File{{Name: "f.yaml", From: strings.NewReader(text)}}, protocols(), from)
		if err != nil && strings.Contains(said(err), secret) {
			t.Errorf("it tells a secret: %v", err)
		}
	})
}
