package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// maxTries bounds how many addresses of one name are tried.
const maxTries = 4

// dialer judges addresses and dials what it judged.
type dialer struct {
	guard *Guard
	allow []string
}

// DialContext resolves once and dials a checked address by number, never by name again.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, ErrRefused.With(err)
	}
	addrs, err := d.addresses(ctx, host, port)
	if err != nil {
		return nil, err
	}
	return d.try(ctx, network, addrs, port)
}

func (d *dialer) addresses(ctx context.Context, host, port string) ([]netip.Addr, error) {
	allowed := slices.Contains(d.allow, net.JoinHostPort(strings.ToLower(host), port))
	if literal, err := netip.ParseAddr(host); err == nil {
		return d.literal(literal, port, allowed)
	}
	found, err := d.guard.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	return d.keep(found, port, allowed)
}

// literal judges an address written as a number. What the operator opened by number is open, whatever
// it is; that is how an installation reaches a service beside it.
func (d *dialer) literal(a netip.Addr, port string, allowed bool) ([]netip.Addr, error) {
	if allowed {
		return []netip.Addr{a}, nil
	}
	if why := d.guard.refuse(a, port); why != "" {
		return nil, ErrRefused.Because(why)
	}
	return []netip.Addr{a}, nil
}

// keep drops the addresses that may not be dialled. A name that the operator opened may lead to a
// private or loopback address, but its owner must not lead us to a metadata service or to ourselves.
func (d *dialer) keep(found []netip.Addr, port string, allowed bool) ([]netip.Addr, error) {
	var good []netip.Addr
	why := "the name has no address"
	for _, a := range found {
		// Resolvers hand IPv4 answers out in either form.
		a = a.Unmap()
		reason := d.guard.refuse(a, port)
		if reason == "" || allowed && reason != never && reason != ours {
			good = append(good, a)
			continue
		}
		why = reason
	}
	if len(good) == 0 {
		return nil, ErrRefused.Because(why)
	}
	return good[:min(len(good), maxTries)], nil
}

func (d *dialer) try(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var all error
	for i, a := range addrs {
		// All but the last get a share of the time, so that one dead address does not use it all.
		c, err := d.one(ctx, network, net.JoinHostPort(a.String(), port), len(addrs)-i)
		if err == nil {
			return c, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

func (d *dialer) one(ctx context.Context, network, address string, left int) (net.Conn, error) {
	if left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout/maxTries)
		defer cancel()
	}
	return d.guard.connect(ctx, network, address)
}

func (g *Guard) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if g.dial != nil {
		return g.dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func (g *Guard) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if g.resolve != nil {
		return g.resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
