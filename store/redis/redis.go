// Package redis keeps what is short-lived in one Redis or Valkey that several nodes share: notes, which
// satisfy brief.Store; counts, which satisfy brief.Counter; and the server's half of the heartbeat by
// which store notices that the server has forgotten something (beat.go).
//
// Everything is one command or one script on one key, so each method is atomic. No command is younger
// than Redis 6.2, so Valkey serves as well. Nothing waits: each call is given a moment and never tried
// again, for a second try of something that may be used once could answer that it was used (S17).
package redis

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	driver "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrURL: the URL cannot be used. The cause never holds its password.
	ErrURL = fault.New(fault.Invalid, "redis.url", "The Redis URL cannot be used. Write redis://[user:password@]host:port/0, or rediss:// for TLS, with ?prefix=NAME where several installations share a server.")
	// ErrUnreachable: the server did not answer when it had to.
	ErrUnreachable = fault.New(fault.Unavailable, "redis.unreachable", "Redis does not answer. Start it, or check host, port, user and password in its URL.")
	// ErrEviction: the server may drop keys, and among them the marks of what was used.
	ErrEviction = fault.New(fault.Invalid, "redis.eviction", "Redis may evict keys when its memory is full, and so forget which codes were used. Set `maxmemory-policy noeviction` in its configuration.")
	// ErrCluster: one heartbeat cannot watch over several primaries.
	ErrCluster = fault.New(fault.Invalid, "redis.cluster", "Redis runs in cluster mode, where one part can fail over unnoticed. Name a single primary; where it must not stop, give it replicas and Sentinel.")
	// ErrReplica: the server takes no writes.
	ErrReplica = fault.New(fault.Unavailable, "redis.replica", "The Redis server is a replica. Name the primary, or Sentinel with ?master_name=NAME.")
	// ErrInfo: the server does not tell what it is.
	ErrInfo = fault.New(fault.Invalid, "redis.info", "The Redis server does not answer INFO as Redis 6.2 and later do. Allow its user the commands INFO, TIME and EVAL, and run Redis 6.2 or later, or Valkey.")
)

var (
	errMoved      = errors.New("another server answers than the one that was checked")
	errUnfollowed = errors.New("no replica has it yet")
)

// Options say where the server is.
type Options struct {
	URL string // see ErrURL; with what parseURL allows behind it
	Now func() time.Time
	// Troubled is called whenever the server did not answer as it should, so that the heartbeat looks
	// at once. It must not wait.
	Troubled func()
}

// Client is a connection to one primary. Its methods may be called by many goroutines.
type Client struct {
	values   *driver.Client // notes and counts; connected to the trusted server alone
	pulse    *driver.Client // the heartbeat
	prefix   string
	timeout  time.Duration // of one call
	now      func() time.Time
	troubled func()

	trusted  atomic.Pointer[string]
	replicas atomic.Bool
}

// pulseTimeout is longer than a call's: one slow answer must not end everybody's logins.
const pulseTimeout = 500 * time.Millisecond

// Open reads the URL. It connects at the first call.
func Open(o Options) (*Client, error) {
	logging.Disable() // the driver writes to stderr; what goes wrong is in our errors
	a, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{prefix: a.prefix + ":", timeout: a.timeout, now: o.Now, troubled: o.Troubled}
	if c.troubled == nil {
		c.troubled = func() {}
	}
	values, pulse := c.settings(a), c.settings(a)
	values.OnConnect, values.PoolSize, values.MinIdleConns = c.verify, a.pool, 2
	pulse.PoolSize = 4
	if a.master == "" {
		c.values, c.pulse = driver.NewClient(values.Simple()), driver.NewClient(pulse.Simple())
	} else {
		c.values, c.pulse = driver.NewFailoverClient(values.Failover()), driver.NewFailoverClient(pulse.Failover())
	}
	return c, nil
}

// settings make the driver wait for nothing but the ctx of a call: with its defaults an outage of the
// server holds each caller for most of a second. Version 2 of the protocol is all that is needed.
func (c *Client) settings(a address) *driver.UniversalOptions {
	wait := max(c.timeout, pulseTimeout)
	return &driver.UniversalOptions{
		Addrs: a.hosts, MasterName: a.master, DB: a.db, Username: a.user, Password: a.password,
		SentinelUsername: a.sentinelUser, SentinelPassword: a.sentinelPassword, TLSConfig: a.tls,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: wait, ReadTimeout: wait, WriteTimeout: wait, PoolTimeout: wait,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// verify lets a new connection be used only with the server that was checked: neither can a server lose
// its memory by a restart, nor another take its place, without connections being made anew.
func (c *Client) verify(ctx context.Context, cn *driver.Conn) error {
	p := cn.Pipeline()
	who := askWho(ctx, p)
	if _, err := p.Exec(ctx); err != nil {
		return err
	}
	if t := c.trusted.Load(); t == nil || *t != who.name() {
		return errMoved
	}
	return nil
}

// Trust lets connections be made to that server, and to no other from now on.
func (c *Client) Trust(s State) {
	c.replicas.Store(s.Replicas > 0)
	if t := c.trusted.Load(); t == nil || *t != s.Server {
		c.trusted.Store(&s.Server)
	}
}

// Close ends all connections.
func (c *Client) Close() error { return errors.Join(c.values.Close(), c.pulse.Close()) }

// bounded gives one call its moment.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// failed wraps what went wrong, and has the heartbeat look, unless the caller left by itself.
func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		c.troubled()
	}
	return brief.ErrUnavailable.With(err)
}
