package outbound

import (
	"net"
	"net/netip"
	"strconv"
)

// Reasons to refuse an address. Two of them hold even for a name that the operator opened.
const (
	private = "not a public address"
	never   = "a metadata service, or an address that is nobody's"
	ours    = "one of our own listeners"
)

// refused4 is what the IANA registry of special-purpose IPv4 addresses (RFC 6890) holds as not globally
// reachable, with multicast, the relays of 6to4 (RFC 7526) and the future-use block.
var refused4 = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)

// global6 is the only part of IPv6 that is given out as global unicast (RFC 4291 section 2.4). Loopback,
// unique local, link-local, multicast, IPv4-mapped and the well-known NAT64 prefix lie outside.
var global6 = netip.MustParsePrefix("2000::/3")

// refused6 lies inside global6: IETF protocol assignments with Teredo (RFC 4380) and ORCHID,
// documentation, and 6to4 (RFC 3056), which wraps any IPv4 address.
var refused6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

// metadata is what clouds answer instances on. Most lie in refused blocks already; they stand here
// because a name that the operator opened must not lead to them either.
var metadata = prefixes(
	"169.254.0.0/16",      // AWS, Azure, Google, Oracle, DigitalOcean and container hosts; all of link-local
	"fe80::/10",           //
	"100.100.100.200/32",  // Alibaba Cloud
	"192.0.0.192/32",      // Oracle Cloud
	"168.63.129.16/32",    // Azure's host, in public space
	"fd00:ec2::/32",       // AWS
	"fd20:ce::254/128",    // Google Cloud
	"fd00:42::42/128",     // Scaleway
	"0.0.0.0/8", "::/128", // unspecified: the machine itself, on most systems
	"224.0.0.0/4", "240.0.0.0/4", "ff00::/8",
)

// refuse says why an address may not be dialled, or "".
func (g *Guard) refuse(a netip.Addr, port string) string {
	switch {
	case !a.IsValid() || a.Zone() != "" || within(metadata, a):
		return never
	case g.isOwn(a, port):
		return ours
	case !isPublic(a):
		return private
	}
	return ""
}

func isPublic(a netip.Addr) bool {
	if a.Is4() {
		return !within(refused4, a)
	}
	return global6.Contains(a) && !within(refused6, a) && !isISATAP(a)
}

// isISATAP recognises the interface identifier of RFC 5214 section 6.1, which wraps any IPv4 address.
func isISATAP(a netip.Addr) bool {
	b := a.As16()
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// isOwn says whether the address leads back into this process.
func (g *Guard) isOwn(a netip.Addr, port string) bool {
	if g.Own == nil {
		return false
	}
	for _, own := range g.Own() {
		if strconv.Itoa(int(own.Port())) != port {
			continue
		}
		if own.Addr().Unmap() == a || own.Addr().IsUnspecified() && isLocal(a) {
			return true
		}
	}
	return false
}

// isLocal says whether the address is this machine's. When the system does not say, it is.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, i := range addrs {
		if p, err := netip.ParsePrefix(i.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}
