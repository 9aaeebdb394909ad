//go:build !quick

package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha1"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// This file runs the program of an earlier release on what this one keeps: a rollback of the program, and
// the minutes in which a cluster runs both, must not need a rollback of the data.

// previousSource is the source of the release before this one, without tests and manual, as
// `git archive COMMIT` wrote it. It is kept here so that the test needs no history, which a checkout may be
// without. docs/decisions/0026-upgrades.md says how a release replaces it.
const previousSource = "testdata/previous.tar.gz"

// previousRelease builds the program of the release before.
func previousRelease(t *testing.T) string {
	t.Helper()
	f, err := os.Open(previousSource)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	commit, files := unpacked(t, plain, dir)
	asCommitted(t, commit, files)
	return built(t, dir)
}

// unpacked writes the files of `git archive` into dir, and says which commit they are and the blob that
// each is to git.
func unpacked(t *testing.T, from io.Reader, dir string) (commit string, blobs map[string]string) {
	t.Helper()
	blobs = map[string]string{}
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case h.Typeflag == tar.TypeXGlobalHeader:
			commit = h.PAXRecords["comment"]
		case !filepath.IsLocal(h.Name):
			t.Fatalf("a file is called %q", h.Name)
		case h.Typeflag == tar.TypeReg:
			raw, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, h.Name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, raw, 0o600)); err != nil {
				t.Fatal(err)
			}
			sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(raw)), raw...))
			blobs[h.Name] = hex.EncodeToString(sum[:])
		}
	}
	if len(commit) != 40 || len(blobs) == 0 {
		t.Fatalf("the commit %q with %d files", commit, len(blobs))
	}
	return commit, blobs
}

// asCommitted holds the kept source to the history, where the checkout has it.
func asCommitted(t *testing.T, commit string, blobs map[string]string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "ls-tree", "-r", "--full-tree", commit).Output()
	if err != nil {
		t.Logf("there is no history here to compare the source of %.12s with", commit)
		return
	}
	committed := map[string]string{}
	for line := range strings.Lines(string(out)) {
		about, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		committed[name] = strings.Fields(about)[2]
	}
	for name, blob := range blobs {
		if committed[name] != blob {
			t.Errorf("%s is not what %.12s has", name, commit)
		}
	}
}

// built builds the program in dir, with today's versions of what it stands on: they are what is at hand
// wherever this test is built.
func built(t *testing.T, dir string) string {
	t.Helper()
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile("../../" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "vestibule-before")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "./cmd/vestibule")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "PWD="+dir)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the release before does not build: %v\n%s", err, said)
	}
	return program
}

// demoAddress is where a made-up app of a kept demonstration answers.
func demoAddress(t *testing.T, data, handle string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(data, "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct{ Ports map[string]int }
	if err := json.Unmarshal(raw, &kept); err != nil || kept.Ports[handle] == 0 {
		t.Fatalf("no port of %s: %v", handle, err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", kept.Ports[handle])
}

// The program of the release before and this one take turns on one database, which this one has brought
// to its schema: people sign in on each, sessions that either began are good with the other, and the
// record holds.
func TestThePreviousReleasesProgramRunsOnTheNewSchema(t *testing.T) {
	before, data, port := previousRelease(t), t.TempDir(), freePort(t)
	turn := func(old bool, do func(app string)) {
		t.Helper()
		var cmd *exec.Cmd
		if old {
			cmd = started(t, exec.Command(before, "demo", "-port", fmt.Sprint(port), "-data", data))
		} else {
			cmd = spawnDemo(t, port, data)
		}
		do(demoAddress(t, data, "payments"))
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	}
	version := func() (newest string) {
		db, err := sql.Open("sqlite", "file:"+data+"/vestibule.db?mode=ro")
		if err == nil {
			err = errors.Join(db.QueryRowContext(t.Context(), "SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1").Scan(&newest), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return newest
	}
	greeted := func(s seen) bool { return strings.Contains(s.body, "Hello, Robin Wrong") }
	var people []*surfer
	arrive := func(app string) {
		t.Helper()
		s := newSurfer(t)
		if got := s.get(answered(s, app).String()); !greeted(got) {
			t.Errorf("nobody signs in: %d\n%s", got.status, got.body)
		}
		people = append(people, s)
	}
	// remain asks for everybody who came before, with nothing but the session.
	remain := func(app string) {
		t.Helper()
		for i, s := range people {
			if got := s.get(app + "/switch?organization=main%2Ftechcorp"); !greeted(got) {
				t.Errorf("the session of person %d is gone: %d at %s", i, got.status, got.at)
			}
		}
	}

	turn(true, arrive)
	first := version()
	if status, said := program(t, data, nil, "migrate", "-database", "sqlite:"+data+"/vestibule.db"); status != 0 {
		t.Fatalf("migrate: %d %s", status, said)
	}
	if now := version(); now == first {
		t.Fatalf("both releases have the schema %s: this test needs the source of an earlier release", first)
	}
	for _, old := range []bool{true, false, true, false} {
		turn(old, func(app string) {
			remain(app)
			arrive(app)
			remain(app)
		})
	}
	if now := version(); now == first {
		t.Errorf("the schema is %s again", now)
	}
	if status, said := program(t, data, nil, "audit", "verify", "-database", "sqlite:"+data+"/vestibule.db", "-key-file", data+"/vestibule.key"); status != 0 {
		t.Errorf("the record: %d %s", status, said)
	}
}
