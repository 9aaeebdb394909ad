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
	// ErrLogin: the server knows no such user, or the password is another one, or is missing.
	ErrLogin = fault.New(fault.Unavailable, "redis.login", "The Redis server does not let this user in. Check the user and the password in its URL, and percent-encode what is special in them.")
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
	errUntrusted  = errors.New("no server was checked yet")
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
	values   atomic.Pointer[pool] // notes and counts
	pulse    *driver.Client       // the heartbeat
	address  address
	prefix   string
	timeout  time.Duration // of one call
	now      func() time.Time
	troubled func()

	replicas atomic.Bool
}

// pool is connections to one server and to no other.
type pool struct {
	*driver.Client
	server string
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
	c := &Client{address: a, prefix: a.prefix + ":", timeout: a.timeout, now: o.Now, troubled: o.Troubled}
	if c.troubled == nil {
		c.troubled = func() {}
	}
	settings := c.settings()
	settings.PoolSize = 4
	c.pulse = c.connect(settings)
	return c, nil
}

func (c *Client) connect(settings *driver.UniversalOptions) *driver.Client {
	if c.address.master == "" {
		return driver.NewClient(settings.Simple())
	}
	return driver.NewFailoverClient(settings.Failover())
}

// settings make the driver wait for nothing but the ctx of a call: with its defaults an outage of the
// server holds each caller for most of a second. Version 2 of the protocol is all that is needed.
func (c *Client) settings() *driver.UniversalOptions {
	a, wait := c.address, max(c.timeout, pulseTimeout)
	return &driver.UniversalOptions{
		Addrs: a.hosts, MasterName: a.master, DB: a.db, Username: a.user, Password: a.password,
		SentinelUsername: a.sentinelUser, SentinelPassword: a.sentinelPassword, TLSConfig: a.tls,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: wait, ReadTimeout: wait, WriteTimeout: wait, PoolTimeout: wait,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Trust lets notes and counts be kept on that server, and on no other from now on. Neither can a server
// lose its memory by a restart, nor another take its place, without connections being made anew; and each
// new one asks who answers. It is called by one goroutine.
func (c *Client) Trust(s State) {
	c.replicas.Store(s.Replicas > 0)
	old := c.values.Load()
	if old != nil && old.server == s.Server {
		return
	}
	settings := c.settings()
	settings.PoolSize, settings.MinIdleConns = c.address.pool, 2
	settings.OnConnect = func(ctx context.Context, cn *driver.Conn) error {
		p := cn.Pipeline()
		who := askWho(ctx, p)
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
		if who.name() != s.Server {
			return errMoved
		}
		return nil
	}
	c.values.Store(&pool{c.connect(settings), s.Server})
	if old != nil {
		_ = old.Close() // nothing that it held is wanted any more
	}
}

// Close ends all connections.
func (c *Client) Close() error {
	err := c.pulse.Close()
	if p := c.values.Load(); p != nil {
		err = errors.Join(err, p.Close())
	}
	return err
}

// begin gives one call its connections and its moment.
func (c *Client) begin(ctx context.Context) (*pool, context.Context, context.CancelFunc, error) {
	p := c.values.Load()
	if p == nil {
		return nil, nil, nil, brief.ErrUnavailable.With(errUntrusted)
	}
	call, cancel := context.WithTimeout(ctx, c.timeout)
	return p, call, cancel, nil
}

// failed wraps what went wrong, and has the heartbeat look, unless the caller left by itself.
func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		c.troubled()
	}
	return brief.ErrUnavailable.With(err)
}
