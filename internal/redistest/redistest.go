// Package redistest starts Redis servers of a test's own: redis-server or valkey-server, whichever is
// installed, on a loopback port, without persistence unless the test asks for it. A test that needs one
// fails where neither is installed, and says how to install it: a check that is left out proves nothing.
//
// Every server ends with the test that started it, and with the test's process at the latest: the server
// hangs on a shell that reads its end from a pipe.
package redistest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server is one Redis of a test's own.
type Server struct {
	// Addr is its host and port, which it keeps over a restart.
	Addr string
	// Dir is where it writes its dump.rdb.
	Dir  string
	args []string

	mu    sync.Mutex
	pid   int
	stdin io.Closer
	done  chan struct{}
}

// Open starts a server that no test ends; Kill does. It writes to dir.
func Open(dir string, options ...string) (*Server, error) { return start(dir, options) }

// PID is the server's process.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

const missing = "neither redis-server nor valkey-server is installed, and this test needs one. Install it: `apt-get install redis-server` on Debian and Ubuntu, or run `make tools`."

// Start starts a server with those options of its command line, and stops it at the test's end.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s, err := start(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

var shared = sync.OnceValues(func() (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, err
	}
	return start(dir, nil)
})

var prefixes atomic.Int64

// Shared gives the URL of a server that all tests of this process share, with a prefix of this test's own.
func Shared(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.URL(fmt.Sprint("t", prefixes.Add(1)))
}

// start tries a few ports: between finding a free one and using it somebody else may take it.
func start(dir string, options []string) (*Server, error) {
	var err error
	for range 5 {
		s := &Server{Dir: dir, args: options}
		if s.Addr, err = freeAddr(); err != nil {
			return nil, err
		}
		if err = s.Start(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func binary() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New(missing)
}

// hang starts the server and ends it when the pipe it reads from is closed.
const hang = `"$0" "$@" >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $!; wait`

// Start starts the server again after Kill or Stop, on the same port and directory.
func (s *Server) Start() error {
	path, err := binary()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{"-c", hang, path, "--port", port, "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, s.args...)
	cmd := exec.Command("sh", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(err, in.Close(), cmd.Wait())
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	s.mu.Lock()
	s.pid, _ = strconv.Atoi(strings.TrimSpace(line))
	s.stdin, s.done = in, done
	s.mu.Unlock()
	return s.await()
}

// await waits until the server is ours and answers: another may have taken its port. One that refuses
// to say who it is was told so by its test.
func (s *Server) await() error {
	for range 500 {
		info, err := s.Do("INFO", "server")
		if err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r", s.pid)) || errors.Is(err, errRefused) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Kill()
	return fmt.Errorf("the Redis server of the test does not answer on %s", s.Addr)
}

// Kill ends the server as a power cut does. What was not written to the disk is lost.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil {
		s.stdin.Close()
		<-s.done
		s.stdin = nil
	}
}

// Restart kills the server and starts it again: with what is in Dir, or empty.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// Freeze lets the server hang: its connections stay open and nothing answers. Thaw ends that.
func (s *Server) Freeze(t testing.TB) { s.signal(t, "-STOP") }

// Thaw lets a frozen server go on.
func (s *Server) Thaw(t testing.TB) { s.signal(t, "-CONT") }

func (s *Server) signal(t testing.TB, name string) {
	t.Helper()
	if err := exec.Command("kill", name, strconv.Itoa(s.pid)).Run(); err != nil {
		t.Fatal(err)
	}
}

// Save writes the snapshot that the next start reads.
func (s *Server) Save(t testing.TB) { s.Must(t, "SAVE") }

// Snapshot is the file that Save wrote; Restore puts it back.
func (s *Server) Snapshot(t testing.TB) []byte {
	t.Helper()
	s.Save(t)
	b, err := os.ReadFile(filepath.Join(s.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Restore ends the server and starts it from a snapshot, as an operator's backup would; nil is nothing.
func (s *Server) Restore(t testing.TB, snapshot []byte) {
	t.Helper()
	s.Kill()
	file := filepath.Join(s.Dir, "dump.rdb")
	err := os.Remove(file)
	if snapshot != nil {
		err = os.WriteFile(file, snapshot, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// URL is the server's address with a prefix for all keys.
func (s *Server) URL(prefix string) string { return "redis://" + s.Addr + "/0?prefix=" + prefix }

// Must sends a command and fails the test when it fails.
func (s *Server) Must(t testing.TB, words ...string) string {
	t.Helper()
	answer, err := s.Do(words...)
	if err != nil {
		t.Fatalf("%s: %v", words[0], err)
	}
	return answer
}

// Do sends one command over a connection of its own (RESP2) and returns the answer as text: simple and
// bulk strings and numbers as they are, an array's elements one a line.
func (s *Server) Do(words ...string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.Write(b.Bytes()); err != nil {
		return "", err
	}
	return answer(bufio.NewReader(c))
}

var errRefused = errors.New("redistest: refused")

func answer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", fmt.Errorf("%w: %s", errRefused, rest)
	case '$':
		return bulk(r, rest)
	case '*':
		return list(r, rest)
	}
	return rest, nil
}

func bulk(r *bufio.Reader, length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 {
		return "", err
	}
	b := make([]byte, n+2)
	_, err = io.ReadFull(r, b)
	return string(b[:n]), err
}

func list(r *bufio.Reader, length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil {
		return "", err
	}
	var out []string
	for range n {
		v, err := answer(r)
		if err != nil {
			return "", err
		}
		out = append(out, v)
	}
	return strings.Join(out, "\n"), nil
}
