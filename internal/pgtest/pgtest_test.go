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

// A dump tells what lies in bytes too, or a test that looks for secrets in it would find none there.
func TestADumpTellsEverything(t *testing.T) {
	dsn := Database(t)
	name := dsn[strings.Index(dsn, "@/")+2 : strings.Index(dsn, "?")]
	err := Shared(t).Exec(t.Context(), name, `CREATE TABLE a (v text, b bytea); CREATE TABLE c (v text); INSERT INTO a VALUES ('in text', 'in bytes'); INSERT INTO c VALUES ('left out')`)
	if err != nil {
		t.Fatal(err)
	}
	for text, there := range map[string]bool{"in text": true, "in bytes": true, "left out": false} {
		if strings.Contains(string(Dump(t, dsn, "c")), text) != there {
			t.Errorf("%q: %v", text, !there)
		}
	}
	if got := Query(t, dsn, "SELECT count(*), max(v) FROM a WHERE v = $1", "in text"); len(got) != 1 || got[0][0] != "1" || got[0][1] != "in text" {
		t.Error(got)
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
