package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/pgtest"
)

// places are empty ones to restore into, and how the service and commands are told of them.
var places = map[string]func(t *testing.T) database{
	"SQLite":     func(t *testing.T) database { return database{Path: filepath.Join(t.TempDir(), "vestibule.db")} },
	"PostgreSQL": func(t *testing.T) database { return database{URL: pgtest.Database(t)} },
}

func (d database) flag() string {
	if d.URL != "" {
		return d.URL
	}
	return "sqlite:" + d.Path
}

func ran(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var said bytes.Buffer
	status := run(t.Context(), args, &said, &said)
	return status, said.String()
}

// A backup made beside a running service signs people in where it is restored, on either database: from
// one machine to many in two commands. What was signed in before is not any more (S16).
func TestARestoredBackupSignsPeopleIn(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	_, tok := w.signedIn(acme.org)
	file := filepath.Join(t.TempDir(), "backup")
	said := w.commanded("backup " + file)
	id := regexp.MustCompile(`sealing key ([0-9a-f]{12})`).FindStringSubmatch(said)
	if id == nil {
		t.Fatal(said)
	}
	key := filepath.Join(w.dir, "vestibule.key")
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			if status, said := ran(t, "restore", file, "--database", at.flag(), "--key-file", filepath.Join(t.TempDir(), "none")); status != 1 || !strings.Contains(said, id[1]) || !strings.Contains(said, "Nothing was restored") {
				t.Fatalf("without its key: status %d, %s", status, said)
			}
			if status, said := ran(t, "restore", "--verify", file, "--database", at.flag(), "--key-file", key); status != 0 || !strings.Contains(said, "is whole") {
				t.Fatalf("status %d, %s", status, said)
			}
			if at.Path != "" {
				if _, err := os.Stat(at.Path); err == nil {
					t.Fatal("verifying made a database")
				}
			}
			if status, said := ran(t, "restore", file, "--database", at.flag(), "--key-file", key); status != 0 || !strings.Contains(said, "Everybody signs in again") {
				t.Fatalf("status %d, %s", status, said)
			}
			if status, said := ran(t, "restore", file, "--database", at.flag(), "--key-file", key); status != 1 || !strings.Contains(said, "never restored over data") {
				t.Fatalf("over data: status %d, %s", status, said)
			}
			r := worldIn(t, t.TempDir(), func(c *config) { c.Database, c.KeyFile = at, key })
			r.app, r.secret = w.app, w.secret
			acme.idp.AddClient(fakeidp.Client{ID: "vestibule", Secret: "s3cret-of-acme", Redirects: []string{upstream.ReturnURL(r.url, acme.con.ID)}})
			r.signedIn(acme.org)
			if status, _ := r.userinfo(tok.Access); status != 401 {
				t.Errorf("a token of before the backup is good: %d", status)
			}
			if kid := kidOf(t, tok.Access); r.publishedKeys()[kid].Key == nil {
				t.Error("the signing keys are others")
			}
		})
	}
}

func TestMigrateSaysWhetherThereIsSomethingToDo(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			for _, c := range []struct {
				line   string
				status int
				says   string
			}{
				{"migrate --check", 1, "not at this version's schema"},
				{"migrate --check", 1, "it is at schema 0"}, // checking makes nothing
				{"migrate", 0, "brought from schema 0"},
				{"migrate --check", 0, "nothing to do"},
				{"migrate", 0, "nothing to do"},
				{"migrate now", 2, "takes no arguments"},
			} {
				status, said := ran(t, append(strings.Fields(c.line), "--database", at.flag())...)
				if status != c.status || !strings.Contains(said, c.says) {
					t.Errorf("%s: status %d, %s", c.line, status, said)
				}
			}
		})
	}
}

func TestBackupCommandsSayWhatIsWrongWithThem(t *testing.T) {
	w := newWorld(t)
	letter := file(t, "letter", "Dear operator", 0o600)
	for _, c := range []struct {
		line   string
		status int
		says   string
	}{
		{"backup", 2, "Name the file to make"},
		{"backup " + letter, 1, "not there yet"},
		{"backup " + w.dir + "/no/such/directory", 1, "cannot be written"},
		{"restore", 2, "Name the backup"},
		{"restore --verify " + letter, 1, "not a backup"},
		{"restore --verify --keep-sessions " + letter, 2, "--verify restores nothing"},
		{"restore " + w.dir + "/none", 1, "not a backup"},
	} {
		if status, said := w.command(c.line); status != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: status %d, %s", c.line, status, said)
		}
	}
}
