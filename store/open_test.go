package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
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
		{"a path that was mistyped", func(t *testing.T, o *Options) { o.Path = filepath.Join(filepath.Dir(o.Path), "tpyo", "vestibule.db") }, ErrNoDirectory},
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

// Whoever else has an account on the machine reads nothing, whatever the directory allows.
func TestDataFilesAreTheirOwnersAlone(t *testing.T) {
	o := options(t, storetest.NewClock())
	o.Path = filepath.Join(filepath.Dir(o.Path), "a name? with #signs%20", "vestibule.db")
	must(t, os.Mkdir(filepath.Dir(o.Path), 0o755))
	openTest(t, o)
	files, err := os.ReadDir(filepath.Dir(o.Path))
	must(t, err)
	if len(files) < 4 {
		t.Errorf("only %v", files)
	}
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", f.Name(), info.Mode())
		}
	}
}

// A full disk is said, undoes what was begun, and is survived.
func TestAFullDiskIsSaidAndSurvived(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	must(t, s.Ready(t.Context()))
	limit := func(pages int) {
		must(t, s.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.rows(ctx, fmt.Sprint("PRAGMA max_page_count=", pages), nil)
			return err
		}))
	}
	limit(1) // SQLite takes the size of now
	var err error
	written := 0
	for err == nil && written < 10_000 {
		id := fmt.Sprint("ent_", written)
		err = s.InTx(t.Context(), func(ctx context.Context) error {
			for range 50 {
				if err := record(ctx, s, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			written++
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Fatalf("answered %v after %d", err, written)
	}
	if n := pending(t, s, fmt.Sprint("ent_", written)); n != 0 {
		t.Errorf("%d of 50 were written", n)
	}
	limit(1 << 30)
	must(t, record(t.Context(), s, "ent_after"))
}

// People and programs send anything; what cannot be stored is found nowhere, and takes no memory.
func TestWhatCannotBeStoredIsNotFound(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	for _, text := range []string{"a\x00b", "\xff", strings.Repeat("a", 1<<20)} {
		if _, err := s.AppByClientID(t.Context(), text); !errors.Is(err, broker.ErrAppNotFound) {
			t.Errorf("%.5q: %v", text, err)
		}
		if _, found, err := s.OrgOfDomain(t.Context(), "rlm_a", text); found || err != nil {
			t.Errorf("%.5q: %v, %v", text, found, err)
		}
	}
	for key := range s.caches.clients.none {
		if len(key) > maxCacheKey {
			t.Errorf("remembers a name of %d bytes", len(key))
		}
	}
}
