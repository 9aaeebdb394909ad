package redis

import (
	"crypto/tls"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// address is what a URL says.
type address struct {
	hosts                          []string
	db                             int
	user, password                 string
	master                         string // Sentinel's name for the primary
	sentinelUser, sentinelPassword string
	tls                            *tls.Config
	prefix                         string
	timeout                        time.Duration
	pool                           int
}

const (
	defaultPrefix  = "vestibule"
	defaultTimeout = 150 * time.Millisecond
	defaultPool    = 64
)

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,32}$`)

// parseURL reads redis://[user:password@]host[:port][/db] (rediss for TLS) and what may stand behind:
//
//	prefix=NAME       what all keys begin with, for servers that are shared (vestibule)
//	timeout=150ms     how long one call may take, 20ms to 5s
//	pool_size=64      connections of this node at most
//	master_name=NAME  host is a Sentinel that knows the primary by that name; user and password are the
//	                  primary's
//	addr=host:port    one more Sentinel; may come several times
//	sentinel_username=, sentinel_password=
//
// Anything else is refused: a setting that is not understood is not skipped.
func parseURL(raw string) (address, error) {
	a := address{prefix: defaultPrefix, timeout: defaultTimeout, pool: defaultPool}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Fragment != "" {
		return a, ErrURL // the error of Parse holds all of it, password too
	}
	a.hosts = []string{withPort(u.Hostname(), u.Port())}
	switch u.Scheme {
	case "redis":
	case "rediss":
		a.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return a, ErrURL.Because("the scheme is neither redis nor rediss")
	}
	a.user = u.User.Username()
	a.password, _ = u.User.Password()
	if path := strings.Trim(u.Path, "/"); path != "" {
		if a.db, err = strconv.Atoi(path); err != nil || a.db < 0 {
			return a, ErrURL.Because("the path is not the number of a database")
		}
	}
	return a, a.parameters(u.Query())
}

func withPort(host, port string) string {
	if port == "" {
		port = "6379"
	}
	return net.JoinHostPort(host, port)
}

func (a *address) parameters(q url.Values) (err error) {
	for name, values := range q {
		v := values[len(values)-1]
		bad := false
		switch name {
		case "prefix":
			a.prefix, bad = v, !prefixForm.MatchString(v)
		case "timeout":
			a.timeout, err = time.ParseDuration(v)
			bad = err != nil || a.timeout < 20*time.Millisecond || a.timeout > 5*time.Second
		case "pool_size":
			a.pool, err = strconv.Atoi(v)
			bad = err != nil || a.pool < 2 || a.pool > 10_000
		case "master_name":
			a.master, bad = v, v == ""
		case "addr":
			for _, host := range values {
				_, _, err := net.SplitHostPort(host)
				a.hosts, bad = append(a.hosts, host), bad || err != nil
			}
		case "sentinel_username":
			a.sentinelUser = v
		case "sentinel_password":
			a.sentinelPassword = v
		default:
			return ErrURL.Because("there is no parameter " + strconv.Quote(name))
		}
		if bad {
			return ErrURL.Because("the parameter " + name + " is not as it must be")
		}
	}
	if a.master == "" && (len(a.hosts) > 1 || a.sentinelUser+a.sentinelPassword != "") {
		return ErrURL.Because("what belongs to Sentinel needs master_name")
	}
	return nil
}
