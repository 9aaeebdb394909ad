package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store"
)

// cluster is a world whose house is several `vestibule serve` processes on one PostgreSQL and one Redis,
// behind a balancer that gives each request to the next of them.
type cluster struct {
	*world
	pg     *pgtest.Server
	redis  *redistest.Server
	nodes  []*instance
	keys   string // the file of the sealing key
	next   atomic.Int64
	cut    atomic.Int64 // requests that ended without an answer of a node
	logged lockedBuffer
}

// instance is one `vestibule serve`.
type instance struct {
	c       *cluster
	addr    string
	program string // of another release; "" is this one
	mu      sync.Mutex
	cmd     *exec.Cmd
}

const clusterDatabase = "vestibule"

// newCluster makes a cluster and seeds it before its nodes start.
func newCluster(t *testing.T, nodes int, seed func(*world)) *cluster {
	t.Helper()
	pg, err := pgtest.Start("fsync=on", "full_page_writes=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Stop() })
	c := &cluster{pg: pg, redis: redistest.Start(t), logged: lockedBuffer{b: &bytes.Buffer{}}}
	c.world = &world{t: t, dir: t.TempDir(), clock: &clock{}, logged: &bytes.Buffer{}}
	c.keys = filepath.Join(c.dir, "vestibule.key")
	c.must(pg.Exec(t.Context(), "postgres", "CREATE DATABASE "+clusterDatabase+" ENCODING 'UTF8' TEMPLATE template0"))
	_, err = store.NewSealingKeyFile(c.keys)
	c.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.must(err)
	c.url = "http://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	front := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: c, ErrorHandler: c.unanswered}}
	go front.Serve(l)
	t.Cleanup(func() { front.Close() })
	c.within(func(h *house) {
		c.h = h
		c.seed()
		seed(c.world)
	})
	for range nodes {
		n := &instance{c: c, addr: free(t)}
		n.start()
		c.nodes = append(c.nodes, n)
		t.Cleanup(n.kill)
	}
	return c
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// within lends one more node, in this process, to whoever changes the configuration.
func (c *cluster) within(do func(*house)) {
	c.t.Helper()
	h, err := build(c.t.Context(), config{
		Issuer: c.url, DataDir: c.dir, KeyFile: c.keys, Database: database{URL: c.pg.DSN(clusterDatabase)}, Redis: c.redis.URL("x"),
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Own: func() []netip.AddrPort { return nil },
	})
	c.must(err)
	defer h.close()
	do(h)
}

// environment is what each node and each command of the operator is told.
func (c *cluster) environment() []string {
	env := []string{"VESTIBULE_ISSUER=" + c.url, "VESTIBULE_DATABASE=" + c.pg.DSN(clusterDatabase), "VESTIBULE_REDIS=" + c.redis.URL("x"), "VESTIBULE_KEY_FILE=" + c.keys,
		"VESTIBULE_DEVELOPMENT=true", "VESTIBULE_LOG_LEVEL=warn"}
	for _, limit := range []string{"AUTHORIZE_PER_NETWORK", "AUTHORIZE_PER_APP", "STORIES_PER_NETWORK", "STORIES_PER_APP"} {
		env = append(env, "VESTIBULE_LIMITS_"+limit+"=off")
	}
	return env
}

// start starts the process and returns when it listens.
func (n *instance) start() {
	t := n.c.t
	t.Helper()
	cmd := programOf(t, n.c.dir, n.c.environment(), "serve", "--listen", n.addr)
	if n.program != "" {
		cmd.Path = n.program
	}
	cmd.Stderr = &n.c.logged
	out, err := cmd.StdoutPipe()
	n.c.must(err)
	n.c.must(cmd.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("a node did not start: %v\n%s", err, n.c.logged.b)
	}
	go io.Copy(io.Discard, out)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd = cmd
}

// kill is kill -9.
func (n *instance) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Signal(syscall.SIGCONT)
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
}

func (n *instance) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c.must(n.cmd.Process.Signal(s))
}

// onNode names the node that a request is for, where a test sends one thing to all at once.
const onNode = "X-Test-Node"

// RoundTrip is the balancer: the next node, and another one where nothing listens. A request that a node
// has read is never given to another.
func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	at, tries := int(c.next.Add(1)), len(c.nodes)
	if named := r.Header.Get(onNode); named != "" {
		at, _ = strconv.Atoi(named)
		tries = 1
	}
	for i := range tries {
		one := r.Clone(r.Context())
		one.Header.Del(onNode)
		one.URL.Scheme, one.URL.Host, one.Close = "http", c.nodes[(at+i)%len(c.nodes)].addr, true
		one.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultTransport.RoundTrip(one)
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && i+1 < tries {
			continue
		}
		return resp, err
	}
	return nil, errors.New("no node")
}

// cutOff marks what the balancer says where no node answered.
const cutOff = "X-Test-Cut"

func (c *cluster) unanswered(w http.ResponseWriter, _ *http.Request, _ error) {
	c.cut.Add(1)
	w.Header().Set(cutOff, "1")
	w.WriteHeader(http.StatusBadGateway)
}

// pinned sends all requests of a browser or an app to one node.
type pinned int

func (p pinned) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(onNode, strconv.Itoa(int(p)))
	return http.DefaultTransport.RoundTrip(r)
}

// everywhere does a thing at each node at once.
func (c *cluster) everywhere(do func(at http.RoundTripper)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range c.nodes {
		all.Go(func() {
			<-start
			do(pinned(i))
		})
	}
	close(start)
	all.Wait()
}

// ask posts a form as the app does, by a way to a node. status 0 is no answer.
func (c *cluster) ask(at http.RoundTripper, path string, form url.Values) (status int, header http.Header, body []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return 0, nil, []byte(err.Error())
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.app.ClientID, c.secret)
	resp, err := (&http.Client{Transport: at}).Do(req)
	if err != nil {
		return 0, nil, []byte(err.Error())
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get(cutOff) != "" {
		return 0, nil, fmt.Append(body, err)
	}
	return resp.StatusCode, resp.Header, body
}
