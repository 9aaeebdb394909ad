package pgtest

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	prepare := func(dsn string) error {
		name := dsn[strings.Index(dsn, "@/")+2 : strings.Index(dsn, "?")]
		return shared.server.Exec(t.Context(), name, "CREATE TABLE things (n int)")
	}
	server := Shared(t)
	name := func(dsn string) string { return dsn[strings.Index(dsn, "@/")+2 : strings.Index(dsn, "?")] }
	one, two := name(Prepared(t, "things", prepare)), name(Prepared(t, "things", prepare))
	for _, c := range []struct {
		database, sql string
		fails         bool
	}{
		{one, "INSERT INTO things VALUES (1)", false},
		{two, "CREATE UNIQUE INDEX ON things (n); INSERT INTO things VALUES (1)", false},
		{name(Database(t)), "SELECT n FROM things", true},
	} {
		if err := server.Exec(t.Context(), c.database, c.sql); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.sql, err)
		}
	}
}

// What was acknowledged before a crash is there after it.
func TestAServerComesBackAfterACrash(t *testing.T) {
	s, err := Start("fsync=on", "full_page_writes=on")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Exec(t.Context(), "postgres", "CREATE TABLE things (n int); INSERT INTO things VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := s.Exec(t.Context(), "postgres", "SELECT 1"); err == nil {
		t.Fatal("answers after it was killed")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(t.Context(), "postgres", "SELECT 1/count(*) FROM things"); err != nil {
		t.Error(err)
	}
}
