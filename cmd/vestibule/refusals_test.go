package main

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store"
)

// situation is what an operator's `vestibule serve` meets.
type situation struct {
	t   *testing.T
	dir string
	env []string
}

func (s *situation) says(lines ...string) { s.env = append(s.env, lines...) }

func (s *situation) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *situation) writes(name, text string) string {
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// used is a database that was served before, under the key of vestibule.key.
func (s *situation) used(o store.Options) {
	o.Now, o.Log = time.Now, slog.New(slog.DiscardHandler)
	o.KeyFile = filepath.Join(s.dir, "vestibule.key")
	if o.DSN != "" {
		_, err := store.NewSealingKeyFile(o.KeyFile)
		s.must(err)
	}
	db, err := store.Open(s.t.Context(), o)
	s.must(err)
	s.must(db.Close())
}

func (s *situation) sqlite() store.Options {
	return store.Options{Path: filepath.Join(s.dir, "vestibule.db")}
}

// postgres is a fresh database, its name, and the address of it with a user and a password.
func (s *situation) postgres(user string) (o store.Options, name string) {
	dsn := pgtest.Database(s.t)
	name = dsn[strings.Index(dsn, "@/")+2 : strings.Index(dsn, "?")]
	s.says("VESTIBULE_DATABASE=" + strings.Replace(dsn, "//vestibule@", "//"+user+":geheim@", 1))
	return store.Options{DSN: dsn}, name
}

func (s *situation) in(database, text string) {
	s.must(pgtest.Shared(s.t).Exec(s.t.Context(), database, text))
}

// What serve refuses ends it with 1, and with a sentence that says what is wrong and what to do; a
// password is in none.
func TestServeRefusesWhatCannotBeRightAndNamesTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		name  string
		made  func(*situation)
		wrong string // what is said to be wrong
		cure  string // what to do
	}{
		{"a newer schema on SQLite", func(s *situation) {
			o := s.sqlite()
			s.used(o)
			db, err := sql.Open("sqlite", o.Path)
			s.must(err)
			defer db.Close()
			_, err = db.Exec("UPDATE counters SET n = 9999 WHERE name = 'schema_needs'")
			s.must(err)
		}, "last used by a newer version", "Run that version or a later one."},
		{"a newer schema on PostgreSQL", func(s *situation) {
			o, name := s.postgres("vestibule")
			s.used(o)
			s.in(name, "UPDATE counters SET n = 9999 WHERE name = 'schema_needs'")
		}, "last used by a newer version", "Run that version or a later one."},
		{"no key beside SQLite data", func(s *situation) {
			s.used(s.sqlite())
			s.must(os.Remove(filepath.Join(s.dir, "vestibule.key")))
		}, "The sealing key of this data is missing.", "Put its key file back beside the data"},
		{"no key for a new PostgreSQL database", func(s *situation) { s.postgres("vestibule") },
			"There is no sealing key yet", "`vestibule keys create --sealing FILE`"},
		{"no key for a used PostgreSQL database", func(s *situation) {
			o, _ := s.postgres("vestibule")
			s.used(o)
			s.must(os.Remove(filepath.Join(s.dir, "vestibule.key")))
		}, "The sealing key of this data is missing.", "Put its key file back"},
		{"the key of other data", func(s *situation) {
			s.used(s.sqlite())
			key := filepath.Join(s.dir, "vestibule.key")
			s.must(os.Remove(key))
			_, err := store.NewSealingKeyFile(key)
			s.must(err)
		}, "The sealing key does not belong to this data.", "Put the right key file in its place"},
		{"a key file that holds no key", func(s *situation) { s.writes("vestibule.key", "geheim\n") },
			"The sealing key file cannot be read", "with the one line that was written into it"},
		{"a key in the environment that is none", func(s *situation) { s.says("VESTIBULE_KEY=geheim") },
			"The sealing key in the environment is not one.", "vestibule-key-1: and 43 characters"},
		{"a file that is no database", func(s *situation) { s.writes("vestibule.db", strings.Repeat("This is a letter. ", 1000)) },
			"The data file is not a database", "Restore it from a backup"},
		{"a file for a directory", func(s *situation) { s.says("VESTIBULE_DATABASE=sqlite:" + s.writes("file", "") + "/vestibule.db") },
			"The data directory cannot be used.", "Make it exist and writable"},
		{"the directory of a demonstration", func(s *situation) { s.writes("demo.json", "{}") },
			"made-up providers let anybody in", "Name another database with --database."},
		{"another serve in the directory", func(s *situation) {
			o := s.sqlite()
			o.Now, o.Log, o.KeyFile = time.Now, slog.New(slog.DiscardHandler), filepath.Join(s.dir, "vestibule.key")
			db, err := store.Open(s.t.Context(), o)
			s.must(err)
			s.t.Cleanup(func() { db.Close() })
		}, "Another process is serving from this data directory.", "Stop it first"},
		{"an address in use", func(s *situation) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			s.must(err)
			s.t.Cleanup(func() { l.Close() })
			s.says("VESTIBULE_LISTEN=" + l.Addr().String())
		}, "is in use.", "listen elsewhere with --listen."},
		{"an unknown variable", func(s *situation) { s.says("VESTIBULE_REDDIS=redis://x:geheim@y") },
			"VESTIBULE_REDDIS: there is no such setting.", "Did you mean VESTIBULE_REDIS?"},
		{"an unknown setting", func(s *situation) { s.says("VESTIBULE_CONFIG=" + s.writes("c.yaml", "isuer: https://a.example\n")) },
			"There is no key \"isuer\" here.", "Did you mean issuer?"},
		{"a value that is none", func(s *situation) { s.says("VESTIBULE_LIMITS_AUTHORIZE_PER_NETWORK=many") },
			`not "many"`, "such as 1200/min, or off"},
		{"TLS files that do not fit", func(s *situation) {
			cert, _ := certificateFor(s.t, s.t.TempDir(), "login.example.com", time.Now().Add(time.Hour))
			_, key := certificateFor(s.t, s.t.TempDir(), "login.example.com", time.Now().Add(time.Hour))
			s.says("VESTIBULE_ISSUER=https://login.example.com", "VESTIBULE_TLS_CERT="+cert, "VESTIBULE_TLS_KEY="+key)
		}, "do not fit", "they must be PEM"},
		{"a database that is not there", func(s *situation) {
			s.says("VESTIBULE_DATABASE=postgres://vestibule:geheim@127.0.0.1:1/vestibule")
		}, "The PostgreSQL database cannot be reached.", "Check that it runs"},
		{"a user or password that is wrong", func(s *situation) { s.postgres("stranger") },
			"does not let this user in", "Check the user, its password"},
		{"a database that takes no writes", func(s *situation) {
			_, name := s.postgres("vestibule")
			s.in("postgres", "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
		}, "takes no writes", "Name the primary"},
		{"synchronous_commit off", func(s *situation) {
			_, name := s.postgres("vestibule")
			s.in("postgres", "ALTER DATABASE "+name+" SET synchronous_commit = off")
		}, "synchronous_commit is off", "Turn it on"},
		{"a Redis that is not there", func(s *situation) { s.says("VESTIBULE_REDIS=redis://127.0.0.1:1/0") },
			"Redis does not answer.", "Start it, or check host, port, user and password"},
		{"a Redis that evicts", func(s *situation) {
			s.says("VESTIBULE_REDIS=" + redistest.Start(s.t, "--maxmemory-policy", "allkeys-lru").URL("x"))
		}, "Redis may evict keys", "`maxmemory-policy noeviction`"},
		{"a Redis with another password", func(s *situation) {
			at := redistest.Start(s.t, "--requirepass", "secret").URL("x")
			s.says("VESTIBULE_REDIS=" + strings.Replace(at, "redis://", "redis://:geheim@", 1))
		}, "The Redis server does not let this user in.", "Check the user and the password in its URL"},
		{"a Redis that asks for a password", func(s *situation) {
			s.says("VESTIBULE_REDIS=" + redistest.Start(s.t, "--requirepass", "secret").URL("x"))
		}, "The Redis server does not let this user in.", "Check the user and the password in its URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &situation{t: t, dir: t.TempDir(), env: []string{"VESTIBULE_LISTEN=127.0.0.1:0"}}
			tc.made(s)
			status, said := refusedServe(t, s.dir, s.env)
			if status != 1 || !strings.Contains(said, tc.wrong) || !strings.Contains(said, tc.cure) {
				t.Errorf("status %d, must be 1, with %q and %q in\n%s", status, tc.wrong, tc.cure, said)
			}
			if strings.Contains(said, "geheim") {
				t.Errorf("it tells a password:\n%s", said)
			}
		})
	}
}

// refusedServe runs serve, which should end by itself soon.
func refusedServe(t *testing.T, dir string, env []string) (status int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := programOf(t, dir, env, "serve")
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
