package store

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// What an operator reads when it does not open: what happened, what to do; the file is in the cause.
func TestAStoreThatDoesNotOpenSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, o *Options)
		want    error
	}{
		{"no path", func(_ *testing.T, o *Options) { o.Path = "" }, ErrOptions},
		{"no clock", func(_ *testing.T, o *Options) { o.Now = nil }, ErrOptions},
		{"the directory is a file", func(t *testing.T, o *Options) {
			file := filepath.Join(t.TempDir(), "file")
			must(t, os.WriteFile(file, nil, 0o600))
			o.Path = filepath.Join(file, "vestibule.db")
		}, ErrDirectory},
		{"the database is a directory", func(t *testing.T, o *Options) { must(t, os.Mkdir(o.Path, 0o700)) }, ErrDirectory},
		{"not a database", func(t *testing.T, o *Options) {
			must(t, os.WriteFile(o.Path, []byte(strings.Repeat("This is a letter. ", 1000)), 0o600))
		}, ErrNotDatabase},
		{"a newer schema", func(t *testing.T, o *Options) {
			s, err := Open(t.Context(), *o)
			must(t, err)
			must(t, s.Close())
			db, err := sql.Open("sqlite", o.Path)
			must(t, err)
			defer db.Close()
			_, err = db.Exec("UPDATE counters SET n = 99 WHERE name = 'schema_needs'")
			must(t, err)
		}, ErrNewer},
		{"another serve", func(t *testing.T, o *Options) { openTest(t, *o) }, ErrLocked},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t, storetest.NewClock())
			c.prepare(t, &o)
			s, err := Open(t.Context(), o)
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("answered %v", err)
			}
			if text := fault.Of(err).Public; strings.Contains(text, "sqlite") || strings.Contains(text, t.Name()) {
				t.Errorf("shows internals: %s", text)
			}
		})
	}
}

// A command of the operator works beside a running serve, and each sees what the other did.
func TestACommandWorksBesideARunningServe(t *testing.T) {
	o := options(t, storetest.NewClock())
	serve := openTest(t, o)
	o.Beside = true
	command := openTest(t, o)
	org := treeOf(t, serve, 1)
	if _, err := command.OrgChain(t.Context(), org.ID); err != nil {
		t.Error(err)
	}
	if err := command.Brief().Put(t.Context(), "k", nil, 1e9); err == nil {
		t.Error("a command used short-lived state that it cannot share")
	}
}

func TestDataSurvivesAStop(t *testing.T) {
	o := options(t, storetest.NewClock())
	s, err := Open(t.Context(), o)
	must(t, err)
	org := treeOf(t, s, 1)
	must(t, s.Close())
	must(t, s.Close())
	if err := record(t.Context(), s, "ent_x"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed store answered %v", err)
	}
	if _, _, err := s.Person(t.Context(), org.ID, "per_x"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed store answered %v", err)
	}
	s = openTest(t, o)
	if _, err := s.OrgChain(t.Context(), org.ID); err != nil {
		t.Error(err)
	}
}
