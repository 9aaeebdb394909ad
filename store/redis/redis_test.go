package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store/storetest"
)

func open(t *testing.T, url string, clock *storetest.Clock) *Client {
	t.Helper()
	c, err := Open(Options{URL: url, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// trusting is a client that was told to trust the server that answers now.
func trusting(t *testing.T, url string, clock *storetest.Clock) *Client {
	t.Helper()
	c := open(t, url, clock)
	s, err := c.Beat(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	c.Trust(s)
	return c
}

func TestNotesDoWhatAShortLivedStoreMust(t *testing.T) {
	clock := storetest.NewClock()
	storetest.Brief(t, trusting(t, redistest.Shared(t)+"&timeout=5s", clock).Notes("e1"), clock)
}

func TestCountsDoWhatACounterMust(t *testing.T) {
	clock := storetest.NewClock()
	storetest.Counter(t, trusting(t, redistest.Shared(t)+"&timeout=5s", clock), clock)
}

// The manual says which commands suffice.
func TestAUserWithTheCommandsOfTheManualSuffices(t *testing.T) {
	s := redistest.Start(t, "--user", "vestibule", "on", ">secret", "~x:*", "+info", "+time", "+eval", "+evalsha", "+get", "+set", "+getdel", "+del", "+wait")
	clock := storetest.NewClock()
	c := trusting(t, "redis://vestibule:secret@"+s.Addr+"/0?prefix=x&timeout=5s", clock)
	if _, err := c.Begin(t.Context(), "a:1"); err != nil {
		t.Fatal(err)
	}
	storetest.Brief(t, c.Notes("e"), clock)
	storetest.Counter(t, c, clock)
}

func TestNotesOfAnotherEpochOrPrefixAreNotThere(t *testing.T) {
	clock, s, ctx := storetest.NewClock(), redistest.Start(t), t.Context()
	a, b := trusting(t, s.URL("a"), clock), trusting(t, s.URL("b"), clock)
	if err := a.Notes("e1").Put(ctx, "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Notes{"epoch": a.Notes("e2"), "prefix": b.Notes("e1")} {
		if _, err := other.Take(ctx, "k"); !errors.Is(err, brief.ErrGone) {
			t.Errorf("another %s: %v", name, err)
		}
		if err := other.Delete(ctx, "k"); err != nil {
			t.Error(err)
		}
		if err := other.PutNew(ctx, "k", nil, time.Minute); err != nil {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if v, err := a.Notes("e1").Take(ctx, "k"); err != nil || string(v) != "v" {
		t.Errorf("%q, %v", v, err)
	}
}

// S16: a server that may forget marks of use when memory is short is refused, and so is whatever cannot
// be watched; each with a sentence that names what to do.
func TestS16ServersThatWouldForgetAreRefused(t *testing.T) {
	clock := storetest.NewClock()
	primary := redistest.Start(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	for _, c := range []struct {
		name    string
		options []string
		want    error
		word    string
	}{
		{"eviction", []string{"--maxmemory-policy", "allkeys-lru"}, ErrEviction, "noeviction"},
		{"eviction of what has an end", []string{"--maxmemory-policy", "volatile-ttl"}, ErrEviction, "noeviction"},
		{"eviction where CONFIG is forbidden", []string{"--maxmemory-policy", "allkeys-lru", "--rename-command", "CONFIG", ""}, ErrEviction, "noeviction"},
		{"a cluster", []string{"--cluster-enabled", "yes"}, ErrCluster, "Sentinel"},
		{"a replica", []string{"--replicaof", host + " " + port}, ErrReplica, "primary"},
		{"no INFO", []string{"--user", "default", "on", "nopass", "~*", "+@all", "-info"}, ErrInfo, "INFO"},
		{"a password", []string{"--requirepass", "secret"}, ErrLogin, "password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Start(t, c.options...)
			_, err := open(t, s.URL("x"), clock).Beat(t.Context(), "", "")
			if !errors.Is(err, c.want) || !strings.Contains(fault.Of(err).Public, c.word) {
				t.Errorf("%v, must be %v", err, c.want)
			}
		})
	}
}

// An unreachable server costs a caller no more than its moment, and nothing piles up behind it. The
// bound is the ctx of a call; what is asked here is that the driver adds nothing that ignores it.
func TestAServerThatHangsHoldsNobody(t *testing.T) {
	clock, s := storetest.NewClock(), redistest.Start(t)
	c := trusting(t, s.URL("x")+"&pool_size=4", clock)
	var troubled sync.Once
	noticed := make(chan struct{})
	c.troubled = func() { troubled.Do(func() { close(noticed) }) }
	s.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 200 { // 50 times as many as there are connections: one after the other would take 7 s
		all.Go(func() {
			if _, err := c.Notes("e").Take(ctx, "k"); !errors.Is(err, brief.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			if _, err := c.Incr(ctx, "k", time.Minute); !errors.Is(err, brief.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		t.Fatal("callers piled up")
	}
	<-noticed
	if _, err := c.Beat(ctx, "", ""); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
	s.Thaw(t)
	for ctx.Err() == nil {
		if err := c.Notes("e").Put(ctx, "k", nil, time.Minute); err == nil {
			return
		}
	}
	t.Error("it did not recover")
}

// S17: what may be used once is never tried again, whatever the driver would like.
func TestS17NothingIsSentTwice(t *testing.T) {
	clock, s := storetest.NewClock(), redistest.Start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var mu sync.Mutex
	sent := 0
	go func() { // passes everything on, and swallows the answer to what uses something up
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go pass(in, s.Addr, func() { mu.Lock(); sent++; mu.Unlock() })
		}
	}()
	c := trusting(t, "redis://"+l.Addr().String()+"?prefix=x&timeout=1s", clock)
	if err := c.Notes("e").Put(t.Context(), "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Notes("e").Take(t.Context(), "k"); !errors.Is(err, brief.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if sent != 1 {
		t.Errorf("sent %d times", sent)
	}
}

func pass(in net.Conn, to string, took func()) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	back := make(chan bool, 1)
	back <- true
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := out.Read(b)
			if err != nil {
				return
			}
			if open := <-back; open {
				in.Write(b[:n])
				back <- true
			} else {
				in.Close() // the answer is lost on its way
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := in.Read(b)
		if err != nil {
			return
		}
		if strings.Contains(strings.ToLower(string(b[:n])), "getdel") {
			took()
			<-back
			back <- false
		}
		out.Write(b[:n])
	}
}

// S16: after a restart or a failover the server at the same address is another one, and no connection
// is made to it before the heartbeat has looked at it.
func TestS16AnotherServerAtTheSameAddressIsNotUsed(t *testing.T) {
	clock, s := storetest.NewClock(), redistest.Start(t)
	c := trusting(t, s.URL("x"), clock)
	if err := c.Notes("e").Put(t.Context(), "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	s.Restore(t, s.Snapshot(t))
	for range 5 {
		if _, err := c.Notes("e").Take(t.Context(), "k"); !errors.Is(err, brief.ErrUnavailable) {
			t.Fatalf("%v", err)
		}
	}
	state, err := c.Beat(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	c.Trust(state)
	if v, err := c.Notes("e").Take(t.Context(), "k"); err != nil || string(v) != "v" {
		t.Errorf("%q, %v", v, err)
	}
}

// S16: where replicas follow, what was used is not used before one of them knows.
func TestS16MarksWaitForAReplica(t *testing.T) {
	clock, s, follower := storetest.NewClock(), redistest.Start(t), redistest.Start(t)
	host, port, _ := net.SplitHostPort(s.Addr)
	follower.Must(t, "REPLICAOF", host, port)
	c := open(t, s.URL("x")+"&timeout=5s", clock)
	for {
		state, err := c.Beat(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if c.Trust(state); state.Replicas > 0 {
			break
		}
	}
	for range 20 {
		if err := c.Notes("e").PutNew(t.Context(), "k", nil, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := follower.Must(t, "EXISTS", "x:e/k"); got != "1" {
			t.Fatal("the replica does not know what was put")
		}
		if _, err := c.Notes("e").Take(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if got := follower.Must(t, "EXISTS", "x:e/k"); got != "0" {
			t.Fatal("the replica does not know what was taken")
		}
	}
	if err := c.Notes("e").PutNew(t.Context(), "k", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := c.Notes("e").PutNew(t.Context(), "k", nil, time.Minute); !errors.Is(err, brief.ErrTaken) {
		t.Errorf("%v", err)
	}
	follower.Freeze(t)
	defer follower.Thaw(t)
	if _, err := c.Notes("e").Take(t.Context(), "k"); !errors.Is(err, brief.ErrUnavailable) {
		t.Errorf("taken though no replica knows: %v", err)
	}
}

func TestTheHeartbeatMovesOnlyFromWhereItIsThoughtToStand(t *testing.T) {
	clock := storetest.NewClock()
	c := open(t, redistest.Shared(t), clock)
	beat := func(from, next string) string {
		s, err := c.Beat(t.Context(), from, next)
		if err != nil {
			t.Fatal(err)
		}
		return s.Beat
	}
	if got := beat("", "a:1"); got != "" {
		t.Errorf("began by itself at %q", got)
	}
	if s, err := c.Begin(t.Context(), "a:1"); err != nil || s.Beat != "a:1" || len(s.Server) < 40 || s.Clock.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	for _, step := range [][3]string{{"a:1", "a:2", "a:2"}, {"a:1", "a:2", "a:2"}, {"b:2", "b:3", "a:2"}, {"a:2", "", "a:2"}, {"a:2", "a:3", "a:3"}} {
		if got := beat(step[0], step[1]); got != step[2] {
			t.Errorf("%v: %q", step, got)
		}
	}
}

func TestURLsThatCannotBeUsedAreRefusedWithoutTheirPassword(t *testing.T) {
	for _, url := range []string{
		"", "://", "http://:s3cret@h", "redis://", "redis://:s3cret@h/x", "redis://:s3cret@h:port", "redis://:s3cret@h/0?what=1", "redis://:s3cret@h?timeout=1ms",
		"redis://:s3cret@h?timeout=x", "redis://:s3cret@h?prefix=a:b", "redis://:s3cret@h?prefix=", "redis://:s3cret@h?addr=h:1", "redis://:s3cret@h?sentinel_password=s3cret",
		"redis://:s3cret@h?master_name=", "redis://:s3cret@h?master_name=m&addr=x", "redis://:s3cret@h?pool_size=0", "redis://:s3cret%@h", "unix:///s3cret",
	} {
		_, err := parseURL(url)
		if !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	a, err := parseURL("rediss://u:p%40@[::1]/3?prefix=pay&timeout=300ms&pool_size=9&master_name=m&addr=h2:26379&addr=h3:26379&sentinel_username=su&sentinel_password=sp")
	if err != nil || strings.Join(a.hosts, " ") != "[::1]:6379 h2:26379 h3:26379" || a.db != 3 || a.user != "u" || a.password != "p@" || a.tls == nil ||
		a.prefix != "pay" || a.timeout != 300*time.Millisecond || a.pool != 9 || a.master != "m" || a.sentinelUser != "su" || a.sentinelPassword != "sp" {
		t.Errorf("%+v, %v", a, err)
	}
}
