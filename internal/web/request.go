package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose forwarding headers are believed.
type Proxies []netip.Prefix

// Address is who asks: the peer, or, behind trusted proxies, the last address in X-Forwarded-For that
// is not one of them. What an untrusted peer claims is never read.
func (p Proxies) Address(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	peer = peer.Unmap()
	if !p.trusts(peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return peer
		}
		if peer = a.Unmap(); !p.trusts(peer) {
			return peer
		}
	}
	return peer
}

// Trusts says whether a request comes from a trusted proxy.
func (p Proxies) Trusts(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && p.trusts(a.Addr().Unmap())
}

func (p Proxies) trusts(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Network is the part of an address that one subscriber holds, for limits: IPv4 whole, IPv6 by /64.
func Network(a netip.Addr) string {
	if a.Is6() {
		if n, err := a.Prefix(64); err == nil {
			return n.Masked().String()
		}
	}
	return a.String()
}

// logPath is what a log may say of where a request went: never the query, and no login id or other
// secret that a path carries.
func logPath(r *http.Request) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if rest != "" {
		return "/" + clean(first) + "/…"
	}
	return "/" + clean(first)
}

// clean keeps a log line one line: control characters and overlong text do not get in (S58).
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if len(s) > 64 {
		s = s[:64]
	}
	return s
}
