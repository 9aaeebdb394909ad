package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store/redis"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// node is one of several that share a database and a Redis. It looks only when its test says so.
type node struct {
	t *testing.T
	*epochs
	brief.Store
	client *redis.Client
}

// fleet is a database, without anybody who looks by himself, and what was logged.
type fleet struct {
	t      *testing.T
	store  *Store
	clock  *storetest.Clock
	logged *lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

func newFleet(t *testing.T) *fleet { return newFleetOn(t, options) }

func newFleetOn(t *testing.T, engine func(testing.TB, *storetest.Clock) Options) *fleet {
	f := &fleet{t: t, clock: storetest.NewClock(), logged: &lines{}}
	f.clock.Advance(999 * time.Nanosecond) // finer than what a database keeps
	o := engine(t, f.clock)
	o.Log = slog.New(slog.NewTextHandler(f.logged, nil))
	f.store = openTest(t, o)
	return f
}

func (f *fleet) join(url string) *node {
	f.t.Helper()
	c, err := redis.Open(redis.Options{URL: url + "&timeout=2s", Now: f.clock.Now})
	must(f.t, err)
	f.t.Cleanup(func() { c.Close() })
	e := newEpochs(f.store, redisSide{c}, 0)
	e.name = "fleet" // the store may have an epoch of its own
	must(f.t, e.open(f.t.Context()))
	return &node{f.t, e, sharedNotes{e}, c}
}

// begun is how many epochs the fleet has had.
func (f *fleet) begun() int { return 1 + f.logged.count("a new epoch") }

func (n *node) looks() {
	n.t.Helper()
	must(n.t, n.look(n.t.Context()))
}

func (n *node) keep(keys ...string) {
	n.t.Helper()
	for _, k := range keys {
		must(n.t, n.Put(n.t.Context(), k, []byte(k), time.Hour))
	}
}

// holds says whether there is a value; an error that is not "gone" ends the test.
func (n *node) holds(key string) bool {
	n.t.Helper()
	_, err := n.Get(n.t.Context(), key)
	if err != nil && !errors.Is(err, brief.ErrGone) {
		n.t.Fatal(err)
	}
	return err == nil
}

func (n *node) refuses(key string) {
	n.t.Helper()
	if _, err := n.Take(n.t.Context(), key); !errors.Is(err, brief.ErrUnavailable) {
		n.t.Errorf("%s: %v, must be refused", key, err)
	}
}

func (n *node) token() string {
	n.t.Helper()
	at, err := n.current()
	must(n.t, err)
	return at.token
}

// S16: a Take that was undone, because Redis came back from a snapshot of before, gives nothing.
func TestS16RedisFromAnOldSnapshotGivesNothingBack(t *testing.T) {
	f, s := newFleet(t), redistest.Start(t)
	n := f.join(s.URL("x"))
	n.keep("code/1", "login/1")
	snapshot := s.Snapshot(t)
	_, err := n.Take(t.Context(), "code/1")
	must(t, err)
	first := n.since()
	f.clock.Advance(time.Minute)
	s.Restore(t, snapshot)
	n.refuses("code/1") // before anybody looked
	n.looks()
	if n.holds("code/1") || n.holds("login/1") {
		t.Error("what the snapshot holds is believed")
	}
	if !n.since().Equal(first.Add(time.Minute)) {
		t.Errorf("the epoch began at %s, not after %s", n.since(), first)
	}
	n.keep("login/2")
	if !n.holds("login/2") {
		t.Error("new logins do not work")
	}
}

// S16: an empty Redis has no marks of what was used either.
func TestS16AnEmptyRedisBeginsANewEpoch(t *testing.T) {
	for name, empty := range map[string]func(*redistest.Server){
		"replaced": func(s *redistest.Server) { s.Restore(t, nil) },
		"flushed":  func(s *redistest.Server) { s.Must(t, "FLUSHALL") }, // the same process, with connections that live on
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFleet(t), redistest.Start(t)
			a, b := f.join(s.URL("x")), f.join(s.URL("x"))
			a.keep("login/1")
			issued := f.clock.Now()
			must(t, a.PutNew(t.Context(), "jti/1", nil, time.Hour))
			f.clock.Advance(time.Second)
			empty(s)
			a.looks()
			b.looks()
			if a.holds("login/1") || b.holds("login/1") || a.token() != b.token() || f.begun() != 2 {
				t.Errorf("%d epochs", f.begun())
			}
			if !issued.Before(a.since()) || !a.since().Equal(b.since()) {
				t.Errorf("what was issued at %s is not before %s", issued, a.since())
			}
			b.keep("login/2")
			if !a.holds("login/2") {
				t.Error("the nodes do not share")
			}
		})
	}
}

// S16: a failover to a replica that lacks the last writes, but has the heartbeat of a moment ago.
func TestS16AFailoverThatLostWritesBeginsANewEpoch(t *testing.T) {
	f, a, b := newFleet(t), redistest.Start(t), redistest.Start(t)
	door, line := newDoor(t, a.Addr), newDoor(t, a.Addr)
	host, port, _ := net.SplitHostPort(line.addr)
	b.Must(t, "REPLICAOF", host, port)
	n := f.join("redis://" + door.addr + "/0?prefix=x")
	for !strings.Contains(a.Must(t, "INFO", "replication"), "state=online") {
		time.Sleep(time.Millisecond)
	}
	n.looks()
	n.keep("code/1")
	for b.Must(t, "EXISTS", "x:"+n.token()+"/code/1") != "1" {
		time.Sleep(time.Millisecond)
	}
	line.lead("") // nothing reaches the replica any more
	if _, err := n.Take(t.Context(), "code/1"); err == nil {
		t.Error("taken though no replica knows")
	}
	a.Kill()
	b.Must(t, "REPLICAOF", "NO", "ONE")
	if b.Must(t, "EXISTS", "x:"+n.token()+"/code/1") != "1" {
		t.Fatal("the replica knows of the Take: this test shows nothing")
	}
	door.lead(b.Addr)
	n.refuses("code/1")
	n.looks()
	if n.holds("code/1") {
		t.Error("a used code is there again")
	}
	n.keep("code/2")
	if !n.holds("code/2") {
		t.Error("the new primary is not used")
	}
}

// door is one address behind which now one server stands, now another.
type door struct {
	addr string
	mu   sync.Mutex
	to   string
	open []net.Conn
}

func newDoor(t *testing.T, to string) *door {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d := &door{addr: l.Addr().String(), to: to}
	t.Cleanup(func() { l.Close(); d.lead("") })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			out, err := net.Dial("tcp", d.to)
			if err != nil {
				in.Close()
			} else {
				d.open = append(d.open, in, out)
				go func() { io.Copy(out, in); out.Close() }()
				go func() { io.Copy(in, out); in.Close() }()
			}
			d.mu.Unlock()
		}
	}()
	return d
}

// lead ends what is open and leads elsewhere.
func (d *door) lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
	for _, c := range d.open {
		c.Close()
	}
	d.open = nil
}

// S16: a heartbeat that goes back on a server that looks the same, and one of another epoch.
func TestS16AHeartbeatThatGoesBackBeginsANewEpoch(t *testing.T) {
	f, s := newFleet(t), redistest.Start(t)
	n := f.join(s.URL("x"))
	for range 4 {
		n.looks()
	}
	for _, back := range []string{stand(n.token(), 3), "another:9", "nonsense", ""} {
		n.keep("code/1")
		old, begun := n.token(), f.begun()
		s.Must(t, "SET", "x:beat", back)
		n.looks()
		if n.holds("code/1") || n.token() == old || f.begun() != begun+1 {
			t.Errorf("a heartbeat at %q was believed", back)
		}
		n.looks()
		n.looks()
		if f.begun() != begun+1 {
			t.Error("one loss began more than one epoch")
		}
	}
}

// S16: PostgreSQL, or the SQLite file, was restored from a dump beside a Redis that went on. What the
// database has forgotten (redeemed codes, spent assertions) must not be usable by what Redis still has.
func TestS16ADatabaseThatGoesBackBeginsANewEpoch(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) { aDatabaseGoesBack(t, engine) })
	}
}

func aDatabaseGoesBack(t *testing.T, engine func(testing.TB, *storetest.Clock) Options) {
	for name, next := range map[string]func(*fleet, *node, string) *node{
		"seen by a node that remembers": func(_ *fleet, n *node, _ string) *node { return n },
		"seen by a node that is new":    func(f *fleet, _ *node, url string) *node { return f.join(url) },
	} {
		for _, dumped := range []string{"in this epoch", "in an earlier one", "without any"} {
			t.Run(name+", "+dumped, func(t *testing.T) {
				f, s := newFleetOn(t, engine), redistest.Start(t)
				n := f.join(s.URL("x"))
				n.looks()
				var dump epoch
				if dumped != "without any" {
					dump, _ = n.read(t.Context())
				}
				if dumped == "in an earlier one" {
					f.clock.Advance(time.Second)
					s.Must(t, "FLUSHALL")
					n.looks()
				}
				for range 5 {
					n.looks()
				}
				n.keep("code/1")
				before, old := n.since(), n.token()
				f.clock.Advance(time.Second)
				f.restore(dump)
				n = next(f, n, s.URL("x"))
				n.looks()
				if n.token() == old || n.holds("code/1") || dumped != "without any" && !n.since().After(before) {
					t.Errorf("token %s after %s, since %s after %s", n.token(), old, n.since(), before)
				}
			})
		}
	}
}

func (f *fleet) restore(at epoch) {
	must(f.t, f.store.write(f.t.Context(), func(_ context.Context, t *tx) error {
		if _, err := t.exec("DELETE FROM epochs WHERE name = 'fleet'"); err != nil || at.token == "" {
			return err
		}
		_, err := t.exec("INSERT INTO epochs (name, token, began, beat, server, at) VALUES ($1, $2, $3, $4, $5, $6)",
			"fleet", at.token, at.began, at.beat, at.server, at.at)
		return err
	}))
}

// Of many nodes that notice at once one decides, and none sees a loss where there was none, however
// their looks fall.
func TestS16ManyNodesAgreeOnTheEpoch(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) { manyNodesAgree(t, newFleetOn(t, engine)) })
	}
}

func manyNodesAgree(t *testing.T, f *fleet) {
	s := redistest.Start(t)
	var nodes []*node
	for range 6 {
		nodes = append(nodes, f.join(s.URL("x")))
	}
	together := func(times int) {
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(func() {
				for range times {
					if err := n.look(t.Context()); err != nil && !errors.Is(err, errBeginning) && !errors.Is(err, errRestless) {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for _, n := range nodes {
			n.looks()
		}
	}
	together(40)
	if f.begun() != 1 {
		t.Fatalf("%d epochs, though nothing was lost", f.begun())
	}
	for range 5 {
		before, begun := nodes[0].token(), f.begun()
		nodes[0].keep("code/1")
		s.Must(t, "FLUSHALL")
		together(3)
		for i, n := range nodes {
			if n.token() != nodes[0].token() || n.token() == before || n.holds("code/1") {
				t.Fatalf("node %d is in %s, the first in %s, before it was %s", i, n.token(), nodes[0].token(), before)
			}
		}
		if f.begun() != begun+1 {
			t.Errorf("%d epochs for one loss", f.begun()-begun)
		}
	}
}

// Until a node has looked after losing contact it gives and takes nothing; if nothing was lost
// meanwhile, all is as it was.
func TestS16WithoutContactNothingIsUsed(t *testing.T) {
	f, s := newFleet(t), redistest.Start(t)
	n := f.join(s.URL("x"))
	n.keep("login/1")
	was := n.token()
	s.Freeze(t)
	if err := n.look(t.Context()); !errors.Is(err, redis.ErrUnreachable) {
		t.Fatal(err)
	}
	s.Thaw(t)
	n.refuses("login/1") // it answers again, but nobody looked
	if err := n.PutNew(t.Context(), "jti/1", nil, time.Minute); !errors.Is(err, brief.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	f.clock.Advance(time.Minute)
	if !n.since().Equal(f.clock.Now()) {
		t.Error("while nothing is known, everything was issued before")
	}
	if err := n.standing(); !errors.Is(err, brief.ErrUnavailable) {
		t.Errorf("ready: %v", err)
	}
	n.looks()
	if n.token() != was || !n.holds("login/1") {
		t.Error("a moment without contact ended the logins")
	}
}

// A watcher that hangs, or a machine that was put to sleep, closes what it does not watch.
func TestS16NobodyWatchingClosesTheStore(t *testing.T) {
	f, s := newFleet(t), redistest.Start(t)
	n := f.join(s.URL("x"))
	n.keep("login/1")
	n.late.Reset(time.Millisecond)
	for n.now.Load() != nil {
		time.Sleep(time.Millisecond)
	}
	n.refuses("login/1")
	n.looks()
	if !n.holds("login/1") {
		t.Error("it did not open again")
	}
}

// A node that dies between claiming an epoch and beginning it holds nobody up for long.
func TestS16AnEpochThatNobodyFinishesIsBegunAnew(t *testing.T) {
	f, s := newFleet(t), redistest.Start(t)
	n := f.join(s.URL("x"))
	n.keep("code/1")
	won, err := n.claim(t.Context(), n.token(), epoch{token: "abandoned", began: f.clock.Now().Add(time.Second)})
	if err != nil || !won {
		t.Fatal(won, err)
	}
	for range beatOthers {
		if err := n.look(t.Context()); !errors.Is(err, errBeginning) {
			t.Fatal(err)
		}
		n.refuses("code/1")
	}
	n.looks()
	if n.token() == "abandoned" || n.holds("code/1") {
		t.Error("the abandoned epoch is used")
	}
	// One that lost contact in between goes on with its own.
	s.Freeze(t)
	if again, err := n.begin(t.Context(), n.seen, "", "a test"); again || !errors.Is(err, redis.ErrUnreachable) {
		t.Fatal(again, err)
	}
	mine := n.mine
	s.Thaw(t)
	n.looks()
	if n.token() != mine {
		t.Error("it did not finish what it began")
	}
}

// Limits go on without Redis, each node for itself and half as wide.
func TestCountsGoOnWithoutRedisAndCountTwice(t *testing.T) {
	f, s := newFleet(t), redistest.Start(t)
	a, b := f.join(s.URL("x")), f.join(s.URL("x"))
	count := func(n *node) int64 {
		got, err := sharedCounter{n.epochs, f.store.counter}.Incr(t.Context(), "k", time.Minute)
		must(t, err)
		return got
	}
	if got := fmt.Sprint(count(a), count(b), count(a)); got != "1 2 3" {
		t.Errorf("together they counted %s", got)
	}
	s.Kill()
	if got := fmt.Sprint(count(a), count(a)); got != "2 4" {
		t.Errorf("alone it counted %s", got)
	}
	a.shut(errLate)
	if got := count(a); got != 6 {
		t.Errorf("closed it counted %d", got)
	}
}

// A whole store on Redis: it begins, notices by itself what happens to Redis, and goes on.
func TestS16AStoreNoticesByItself(t *testing.T) {
	clock, s := storetest.NewClock(), redistest.Start(t)
	o := options(t, clock)
	o.Redis = s.URL("x")
	store := openTest(t, o)
	put(t, store, "code/1")
	first := store.Epoch()
	clock.Advance(time.Minute)
	s.Restore(t, nil)
	again := func() error { return store.Brief().Put(t.Context(), "login/2", nil, time.Minute) }
	for err := again(); err != nil; err = again() {
		if !errors.Is(err, brief.ErrUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !gone(t, store, "code/1") || !store.Epoch().After(first) || gone(t, store, "login/2") {
		t.Errorf("epoch %s, first %s", store.Epoch(), first)
	}
}

func TestAStoreDoesNotOpenWithARedisThatForgets(t *testing.T) {
	o := options(t, storetest.NewClock())
	for _, c := range []struct {
		url  string
		want error
	}{
		{redistest.Start(t, "--maxmemory-policy", "allkeys-lru").URL("x"), redis.ErrEviction},
		{"redis://127.0.0.1:1/0", redis.ErrUnreachable},
		{"redis://127.0.0.1:1/0?what=ever", redis.ErrURL},
	} {
		o.Redis = c.url
		if s, err := Open(t.Context(), o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v %v", c.url, s, err)
		}
	}
	o.Redis = ""
	openTest(t, o) // nothing is left locked
}
