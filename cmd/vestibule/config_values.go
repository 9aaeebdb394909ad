package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

// This file reads the values of settings. Errors are the end of a sentence that begins with where the
// value stands; none of them quotes what may be a secret.

func listOf(v string) []string {
	var out []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func addresses(v string) (out []string, err error) {
	for _, part := range listOf(v) {
		a, err := address(part)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, a) {
			return nil, fmt.Errorf("%s stands here twice", a)
		}
		out = append(out, a)
	}
	if len(out) == 0 {
		return nil, errors.New("at least one address, such as localhost:8080")
	}
	return out, nil
}

// address reads host:port; no host is every address of the machine.
func address(v string) (string, error) {
	host, port, err := net.SplitHostPort(v)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || strings.ContainsAny(host, "/ ") {
		return "", fmt.Errorf("an address is host:port, such as localhost:8080 or [::1]:8080, not %s", yamlfile.Quote(v))
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10)), nil
}

// databaseOf reads sqlite:PATH or a postgres address. A path alone is refused, because a misspelt
// address would become a file.
func databaseOf(v string) (database, error) {
	scheme, rest, found := strings.Cut(v, ":")
	switch {
	case found && scheme == "sqlite":
		path := strings.TrimPrefix(rest, "//")
		if path == "" || strings.ContainsAny(path, "?\x00") || path == ":memory:" {
			return database{}, errors.New("a SQLite database is sqlite: and the path of its file, such as sqlite:/var/lib/vestibule/vestibule.db")
		}
		return database{Path: path}, nil
	case found && (scheme == "postgres" || scheme == "postgresql"):
		u, err := url.Parse(v)
		if err != nil || u.Host == "" && u.Query().Get("host") == "" || strings.Trim(u.Path, "/") == "" {
			return database{}, errors.New("a PostgreSQL database is postgres://user@host:port/database, with what is special in names and password percent-encoded")
		}
		return database{URL: v}, nil
	}
	return database{}, errors.New("a database is sqlite:PATH or postgres://user@host:port/database")
}

func redisAddress(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "" {
		return errors.New("Redis is redis://host:port/0, or rediss:// with TLS, with what is special in names and password percent-encoded")
	}
	return nil
}

// passworded says whether an address holds a password: what cannot be read is taken for one that does.
func passworded(v string) bool {
	if strings.HasPrefix(v, "sqlite:") {
		return false
	}
	u, err := url.Parse(v)
	if err != nil {
		return true
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password") || u.Query().Has("sslpassword") || u.Scheme == "" && strings.Contains(v, "password=")
}

// everybody, in place of a list of proxies, believes forwarding headers from anyone.
const everybody = "everybody"

// Networks wider than this are more than anybody's proxies: IPv4 /8, and IPv6 /7, which holds all unique
// local addresses.
const (
	widest4 = 8
	widest6 = 7
)

func proxies(v string) (web.Proxies, bool, error) {
	if strings.TrimSpace(v) == everybody {
		return web.Proxies{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, true, nil
	}
	var out web.Proxies
	for _, part := range listOf(v) {
		p, err := network(part)
		if err != nil {
			return nil, false, err
		}
		if p.Bits() < widest4 && p.Addr().Is4() || p.Bits() < widest6 {
			return nil, false, fmt.Errorf("%s trusts far more than proxies: anybody there could claim any address. Name the proxies' own network, or write %s if nobody but the proxy can connect", p, everybody)
		}
		out = append(out, p)
	}
	return out, false, nil
}

func network(v string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(v); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(v)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("a proxy is an address or a network, such as 192.0.2.7 or 10.0.0.0/8, not %s", yamlfile.Quote(v))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s is an address inside a network; the network is %s", v, p.Masked())
	}
	return p, nil
}

// periods are the words for the time of a limit.
var periods = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour,
}

// limit reads "1200/min" or "off" into a limit, which keeps its name.
func limit(l *web.Limit, v string) error {
	if v == "off" {
		l.Most = 0
		return nil
	}
	count, per, _ := strings.Cut(v, "/")
	n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
	period, ok := periods[strings.TrimSpace(per)]
	if err != nil || n < 1 || n > 1e12 || !ok {
		return fmt.Errorf("a limit is a count for a second, min, hour or day, such as 1200/min, or off; not %s", yamlfile.Quote(v))
	}
	l.Most, l.Per = n, period
	return nil
}

func oneOf(v string, of ...string) (string, error) {
	if !slices.Contains(of, v) {
		return "", errors.New(strings.TrimSuffix(yamlfile.Unknown("value", v, of), "."))
	}
	return v, nil
}

func level(v string) (slog.Level, error) {
	if _, err := oneOf(v, "debug", "info", "warn", "error"); err != nil {
		return 0, err
	}
	var l slog.Level
	err := l.UnmarshalText([]byte(v))
	return l, err
}

func truth(v string) (bool, error) {
	switch v {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("true or false is expected, not %s", yamlfile.Quote(v))
}
