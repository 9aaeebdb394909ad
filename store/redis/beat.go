package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	driver "github.com/redis/go-redis/v9"
)

// State is what the server says of itself, and where its heartbeat stands.
type State struct {
	// Server names the process and its line of replication: another one may lack the last writes.
	Server string
	// Beat is what the heartbeat's key holds; "" where there is none, as on an empty server.
	Beat     string
	Replicas int       // that follow and are online
	Clock    time.Time // the server's
}

// beatScript moves the heartbeat on if it stands where it is thought to, and says where it stands.
const beatScript = `
local v = redis.call('GET', KEYS[1])
if v and v == ARGV[1] and ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2]) return ARGV[2] end
return v or ''`

// Beat asks the server for its state; if the heartbeat stands at from it moves it to next, unless that
// is "". All answers are of one connection, and so of one server.
func (c *Client) Beat(ctx context.Context, from, next string) (State, error) {
	return c.ask(ctx, func(ctx context.Context, p driver.Pipeliner) *driver.Cmd {
		return p.Eval(ctx, beatScript, []string{c.prefix + "beat"}, from, next)
	})
}

// Begin sets the heartbeat, whatever it was.
func (c *Client) Begin(ctx context.Context, at string) (State, error) {
	return c.ask(ctx, func(ctx context.Context, p driver.Pipeliner) *driver.Cmd {
		return p.Eval(ctx, "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]", []string{c.prefix + "beat"}, at)
	})
}

func (c *Client) ask(ctx context.Context, what func(context.Context, driver.Pipeliner) *driver.Cmd) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, max(pulseTimeout, c.timeout))
	defer cancel()
	p := c.pulse.Pipeline()
	who := askWho(ctx, p)
	memory, clock := p.Info(ctx, "memory"), p.Time(ctx)
	beat := what(ctx, p)
	_, err := p.Exec(ctx)
	if err != nil && notLetIn(err) { // of nothing that was asked there is an answer then, not even an error
		return State{}, ErrLogin.With(err)
	}
	if who.server.Err() == nil && who.replication.Err() == nil {
		if refused := who.fit(memory.Val()); refused != nil {
			return State{}, refused // whatever else went wrong, this is why
		}
	}
	if err != nil {
		if strings.HasPrefix(err.Error(), "NOPERM") {
			return State{}, ErrInfo.With(err)
		}
		return State{}, ErrUnreachable.With(err)
	}
	s := State{Server: who.name(), Replicas: who.replicas(), Clock: clock.Val()}
	s.Beat, err = beat.Text()
	return s, err
}

// who is what tells one server from another.
type who struct{ server, replication *driver.StringCmd }

func askWho(ctx context.Context, p driver.Pipeliner) who {
	return who{p.Info(ctx, "server"), p.Info(ctx, "replication")}
}

func (w who) name() string {
	return line(w.server.Val(), "run_id") + "/" + line(w.replication.Val(), "master_replid")
}

func (w who) replicas() (n int) {
	for row := range strings.Lines(w.replication.Val()) {
		if strings.HasPrefix(row, "slave") && strings.Contains(row, "state=online") {
			n++
		}
	}
	return n
}

// notLetIn knows what servers say to the wrong user or password; the text holds neither.
func notLetIn(err error) bool {
	return strings.HasPrefix(err.Error(), "WRONGPASS") || strings.HasPrefix(err.Error(), "NOAUTH")
}

// fit refuses a server that would forget what it must not.
func (w who) fit(memory string) error {
	server := w.server.Val()
	policy := line(memory, "maxmemory_policy")
	switch {
	case line(server, "run_id") == "" || policy == "" || old(line(server, "redis_version")):
		return ErrInfo
	case line(server, "redis_mode") == "cluster":
		return ErrCluster
	case line(w.replication.Val(), "role") != "master":
		return ErrReplica
	case policy != "noeviction":
		return ErrEviction
	}
	return nil
}

// old: GETDEL came with 6.2.
func old(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	n, _ := strconv.Atoi(minor)
	return err != nil || m < 6 || m == 6 && n < 2
}

// line is the value of one line of INFO, "" where there is none.
func line(info, name string) string {
	for row := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(row, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
