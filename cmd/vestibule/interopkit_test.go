//go:build !quick

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// This file starts software that is not ours: programs of testdata/interop, with what they need
// installed once for each list of versions under the user's cache directory.

const interopDir = "testdata/interop"

// found is a program that a test needs, or the end of the test: an interoperability test that nobody
// ran has proved nothing.
func found(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing. Run `make test`, which installs it on Debian and Ubuntu, or install it yourself (`apt-get install %s`), "+
			"or run `make quick`, which does without other people's software.", program, pkg)
	}
	return path
}

// installed gives a directory that install filled, once for each content of the files it depends on.
func installed(t *testing.T, name string, install func(dir string) *exec.Cmd, files ...string) string {
	t.Helper()
	return installedFrom(t, interopDir, name, install, files...)
}

// installedFrom is installed with files of another directory.
func installedFrom(t *testing.T, from, name string, install func(dir string) *exec.Cmd, files ...string) string {
	t.Helper()
	sum := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(from, f))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "vestibule-test")
	done := filepath.Join(cache, name+"-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(done); err == nil {
		return done
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	made, err := os.MkdirTemp(cache, name+"-unfinished-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(made)
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(made, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(from, f), filepath.Join(made, f))
	}
	cmd := install(made)
	cmd.Dir = made
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s could not be installed; its package registry must be reachable once.\n%s: %v\n%s", name, strings.Join(cmd.Args, " "), err, out)
	}
	// Of several tests that install at once, one is kept.
	if err := os.Rename(made, done); err != nil {
		if _, there := os.Stat(done); there != nil {
			t.Fatal(err)
		}
	}
	return done
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// lockedLog is what a program said, read while it still speaks.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// begin starts a program and gives the address that it says it is ready at. It ends with the test: it
// is told by the end of its input, so that nothing goes on when the test itself is killed.
func begin(t *testing.T, cmd *exec.Cmd, settings any) string {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	said := &lockedLog{}
	cmd.Env = append(append(os.Environ(), cmd.Env...), "SETTINGS="+string(raw))
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // how it ended is no concern of the test
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), said)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if base, ok := strings.CutPrefix(lines.Text(), "READY "); ok {
			go func() {
				for lines.Scan() {
				}
			}()
			return base
		}
	}
	t.Fatalf("%s did not start:\n%s", strings.Join(cmd.Args, " "), said)
	return ""
}

// node runs a script of testdata/interop with the packages of its lock file.
func node(t *testing.T, script string, settings any) string {
	t.Helper()
	program, npm := found(t, "node", "npm"), found(t, "npm", "npm")
	packages := installed(t, "node", func(string) *exec.Cmd {
		return exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	}, "package.json", "package-lock.json")
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(interopDir, script), filepath.Join(dir, script))
	return begin(t, exec.Command(program, filepath.Join(dir, script)), settings)
}

// python runs a script of testdata/interop with the packages of requirements.txt.
func python(t *testing.T, script string, settings any) string {
	t.Helper()
	program := found(t, "python3", "python3-pip")
	packages := installed(t, "python", func(dir string) *exec.Cmd {
		return exec.CommandContext(t.Context(), program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
			"--only-binary=:all:", "--target", filepath.Join(dir, "packages"), "-r", "requirements.txt")
	}, "requirements.txt")
	cmd := exec.Command(program, filepath.Join(interopDir, script))
	cmd.Env = []string{"PYTHONPATH=" + filepath.Join(packages, "packages"), "PYTHONDONTWRITEBYTECODE=1"}
	return begin(t, cmd, settings)
}
