// Package pgtest gives tests a PostgreSQL server of their own, and each test a fresh database on it.
//
// Database starts the server at its first call in a test process; TestMain ends with Stop. The server
// listens on a socket in a directory of its own and nowhere else, keeps nothing and syncs nothing, unless
// it was started by Start for a test of crashes. Where PostgreSQL is missing, tests fail and say what to
// install. The kit knows nothing of what is stored: whoever wants tables gives a function that makes them.
package pgtest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var errMissing = errors.New("PostgreSQL is not installed here, and these tests drive it: install it (Debian and Ubuntu: apt-get install postgresql), or run `make tools`")

// Server is a running PostgreSQL.
type Server struct {
	dir     string // data and socket
	bin     string
	as      *syscall.Credential // nil when this process may run it as itself
	options []string
	process *exec.Cmd
	ended   chan struct{}
}

// binaries finds the directory of PostgreSQL's programs, the newest where there are several. Debian keeps
// them off the PATH.
func binaries() (string, error) {
	if at, err := exec.LookPath("initdb"); err == nil {
		at, err = filepath.EvalSymlinks(at) // the other programs lie beside the real one
		return filepath.Dir(at), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is good
	if len(found) == 0 {
		return "", errMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// runAs is whom the server runs as: PostgreSQL refuses to run as root.
func runAs() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
}

// Start makes a server. Options are PostgreSQL's settings, such as "fsync=on"; without any it is fast and
// forgets everything when the machine goes.
func Start(options ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := runAs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest-*")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, as: as, options: options}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := s.initialize(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir = s.dir
	c.SysProcAttr = attributes(s.as)
	return c
}

func (s *Server) initialize() error {
	c := s.command("initdb", "--pgdata="+s.dir+"/data", "--username=vestibule", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

const ready = 30 * time.Second

// Restart starts the server, and ends it first where it runs.
func (s *Server) Restart() error {
	s.end(syscall.SIGINT)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", s.dir + "/data", "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=32MB",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "max_wal_size=4GB"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	s.process = s.command("postgres", args...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan struct{}) { _ = c.Wait(); close(ended) }(s.process, s.ended)
	return s.answers()
}

// answers waits until the server does.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), ready)
	defer cancel()
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("PostgreSQL ended: %w\n%s", err, said)
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) end(how syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(how) // it may have ended
	<-s.ended
	s.process = nil
}

// PID is the server's first process, the parent of all its others.
func (s *Server) PID() int { return s.process.Process.Pid }

// Kill ends the server at once and all its connections, as a crash does.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Stop ends the server and removes what it kept.
func (s *Server) Stop() error {
	s.end(syscall.SIGQUIT)
	return os.RemoveAll(s.dir)
}

// Socket is the path of the server's socket, for tests that stand in between.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// DSN is the address of a database of this server.
func (s *Server) DSN(database string) string { return DSN(s.dir, database) }

// DSN is the address of a database by the directory of a socket.
func DSN(socketDir, database string) string {
	return "postgres://vestibule@/" + database + "?host=" + url.QueryEscape(socketDir)
}

// Exec runs SQL in a database of this server.
func (s *Server) Exec(ctx context.Context, database, sql string) error {
	c, err := pgconn.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql).ReadAll()
	return errors.Join(err, c.Close(ctx))
}

func (s *Server) exec(ctx context.Context, sql string) error { return s.Exec(ctx, "postgres", sql) }

// shared is the server of this test process.
var shared struct {
	sync.Mutex
	server    *Server
	err       error
	databases int
	templates map[string]error
}

// Shared gives the server of this test process, and starts it at the first call.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = Start()
		shared.templates = map[string]error{}
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Database gives the address of a fresh, empty database, which goes with the test.
func Database(t testing.TB) string {
	t.Helper()
	return fresh(t, Shared(t), "template0")
}

// Prepared is Database with what prepare made: once a test process for each name, and copied for each test.
func Prepared(t testing.TB, name string, prepare func(dsn string) error) string {
	t.Helper()
	s := Shared(t)
	shared.Lock()
	err, made := shared.templates[name]
	if !made {
		err = s.exec(context.Background(), "CREATE DATABASE prepared_"+name+" TEMPLATE template0")
		if err == nil {
			err = prepare(s.DSN("prepared_" + name))
		}
		shared.templates[name] = err
	}
	shared.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	return fresh(t, s, "prepared_"+name)
}

func fresh(t testing.TB, s *Server, template string) string {
	t.Helper()
	shared.Lock()
	shared.databases++
	name := fmt.Sprint("test_", shared.databases)
	err := s.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template)
	shared.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.exec(context.Background(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return s.DSN(name)
}

// Dump is everything that a database of this process's server holds, as text: all rows, and what lies in
// bytes as it is. except names tables whose rows are left out.
func Dump(t testing.TB, dsn string, except ...string) []byte {
	t.Helper()
	args := []string{"--inserts", "--dbname=" + dsn}
	for _, table := range except {
		args = append(args, "--exclude-table-data="+table)
	}
	out, err := Shared(t).command("pg_dump", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return append(out, inBytes.ReplaceAllFunc(out, func(text []byte) []byte {
		raw, _ := hex.DecodeString(string(text[3 : len(text)-1])) // the pattern is of hex digits
		return raw
	})...)
}

// inBytes finds values of BYTEA columns.
var inBytes = regexp.MustCompile(`'\\x([0-9a-f]{2})*'`)

// Query runs one statement on a database and gives its rows as text.
func Query(t testing.TB, dsn, q string, args ...string) (rows [][]string) {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	result := c.ExecParams(t.Context(), q, values, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	for _, cells := range result.Rows {
		row := make([]string, len(cells))
		for i, cell := range cells {
			row[i] = string(cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// Stop ends the server of this test process. TestMain calls it last.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return
	}
	if err := shared.server.Stop(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, err)
	}
	shared.server = nil
}
