// Package outbound is the one way in which this house calls others over the network.
//
// Organizations tell us addresses to fetch: issuers, metadata, keys, user information. Any of them may
// point at what only we can reach: a machine beside us, a cloud's metadata service, ourselves. So there
// is one dialer. It resolves a name once, judges the addresses it got, and dials one of those very
// addresses, so that a name that changes its mind in between (DNS rebinding) gains nothing. Ask a Guard
// for a Client; the hosts and ports that the operator opened for one connection are given to Client and
// open nothing for anybody else (security.md S23). Read bodies with ReadAll, which fails past a size.
//
// The package knows nothing of protocols, and answers with faults whose causes are for the log alone.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrAddress: the address itself says that it may not be called. It tells nobody anything new.
	ErrAddress = fault.New(fault.Upstream, "outbound.address", "This address cannot be called. It must be an https address on port 443, or one that the operator of this service has opened.")
	// ErrRefused: the address leads to where nobody may make us call. To whoever chose the address it
	// must look like a machine that does not answer: "it is private" against "there is no such name"
	// would let a tenant map the operator's network.
	ErrRefused = fault.New(fault.Upstream, "outbound.refused", "This address does not answer.")
	// ErrRedirect: the answer was a redirect. Where to is not followed and not told.
	ErrRedirect = fault.New(fault.Upstream, "outbound.redirect", "This address answers with a redirect. Enter the address that it leads to.")
	// ErrTooLarge: the body did not end where it had to.
	ErrTooLarge = fault.New(fault.Upstream, "outbound.too_large", "The answer is too large.")
)

const (
	dialTimeout   = 4 * time.Second
	headerTimeout = 8 * time.Second
	totalTimeout  = 10 * time.Second
	idleTimeout   = 90 * time.Second
	headerBytes   = 64 << 10
	// maxPrivate bounds the transports that are kept for connections with addresses of their own.
	maxPrivate = 128
)

// Guard makes clients whose every connection was judged. Its zero value is strict and ready.
type Guard struct {
	// Own lists what this process listens on, so that nobody makes us call ourselves. An unspecified
	// address stands for every address of this machine. nil: nothing.
	Own func() []netip.AddrPort
	// Roots are the certificate authorities to trust; nil is the system's.
	Roots *x509.CertPool
	// Timeout bounds a whole exchange, body included; zero is ten seconds.
	Timeout time.Duration

	// resolve and dial are the network; tests replace them, nil is the real one.
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	public  *transport
	private map[string]*transport
	recent  []string // keys of private, the least recently asked for first
}

// Client gives the client for a connection. allow lists the host:port targets that the operator opened
// for it although they are not public or not https on 443; it is empty for almost everybody, and those
// share one pool of connections. Clients of different lists share nothing: an idle connection to a
// private target must not serve somebody for whom it is closed.
func (g *Guard) Client(allow []string) *http.Client {
	return &http.Client{
		Transport: g.transport(normal(allow)),
		Timeout:   g.timeout(),
	}
}

// Dialer gives a dialer for what is not HTTP, judged like a Client's: nothing but public addresses, and the
// host:port targets in allow, which the operator opened.
func (g *Guard) Dialer(allow []string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&dialer{guard: g, allow: normal(allow)}).DialContext
}

func (g *Guard) timeout() time.Duration {
	if g.Timeout > 0 {
		return g.Timeout
	}
	return totalTimeout
}

func (g *Guard) transport(allow []string) *transport {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(allow) == 0 {
		if g.public == nil {
			g.public = g.open(nil, 512)
		}
		return g.public
	}
	return g.privateTransport(strings.Join(allow, " "), allow)
}

func (g *Guard) privateTransport(key string, allow []string) *transport {
	if i := slices.Index(g.recent, key); i >= 0 {
		g.recent = append(slices.Delete(g.recent, i, i+1), key)
		return g.private[key]
	}
	if len(g.recent) >= maxPrivate {
		oldest := g.recent[0]
		// Whoever still holds it keeps using it; only its idle connections go.
		g.private[oldest].base.CloseIdleConnections()
		delete(g.private, oldest)
		g.recent = slices.Delete(g.recent, 0, 1)
	}
	if g.private == nil {
		g.private = map[string]*transport{}
	}
	g.private[key] = g.open(allow, 32)
	g.recent = append(g.recent, key)
	return g.private[key]
}

// open makes a transport. Proxy stays nil: a proxy of the environment would dial in our stead, and
// where to is what this package is here to judge.
func (g *Guard) open(allow []string, idle int) *transport {
	d := &dialer{guard: g, allow: allow}
	return &transport{allow: allow, base: &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: g.Roots},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    32,
		MaxResponseHeaderBytes: headerBytes,
	}}
}

// transport judges what can be judged of a request before an address is known, and refuses redirects.
type transport struct {
	allow []string
	base  *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.judge(r.URL); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if isRedirect(resp.StatusCode) {
		resp.Body.Close()
		return nil, ErrRedirect
	}
	return resp, nil
}

func (t *transport) judge(u *url.URL) error {
	if u.User != nil {
		return ErrAddress.Because("user information in the address")
	}
	switch u.Scheme {
	case "https", "http":
	default:
		return ErrAddress.Because("scheme " + u.Scheme)
	}
	if slices.Contains(t.allow, target(u)) {
		return nil
	}
	if u.Scheme != "https" || port(u) != "443" {
		return ErrAddress.Because("not https on port 443")
	}
	return nil
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func target(u *url.URL) string {
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port(u))
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// normal sorts a list and drops what names no host and port, so that equal lists share a transport.
func normal(allow []string) []string {
	var out []string
	for _, a := range allow {
		host, port, err := net.SplitHostPort(a)
		if err != nil || host == "" || port == "" {
			continue
		}
		out = append(out, net.JoinHostPort(strings.ToLower(host), port))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
