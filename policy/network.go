package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// NetworkSet is a set of addresses: those of a list of networks. It is a plain value: sets of the same
// addresses are ==, however they were written. The zero value holds no address.
type NetworkSet struct{ packed string }

// packed is the list of the widest networks that make up the set, in order, each as its family, its address
// (16 bytes; IPv4 in the first 4) and its length in bits. As text it is comparable, and asking it needs no
// parsing and no memory.
const packedLen = 18

// mostNetworks bounds what one level can write; intersecting is quadratic.
const mostNetworks = 200

// anywhere holds every address.
var anywhere = packNetworks([]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)})

var errNetworks = errors.New(`a list of networks is wanted, such as ["192.0.2.0/24", "2001:db8::/32"]`)

func readNetworks(raw json.RawMessage) (NetworkSet, error) {
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil || texts == nil {
		return NetworkSet{}, errNetworks
	}
	if len(texts) > mostNetworks {
		return NetworkSet{}, fmt.Errorf("at most %d networks can be listed", mostNetworks)
	}
	list := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := readNetwork(text)
		if err != nil {
			return NetworkSet{}, err
		}
		list = append(list, p)
	}
	return packNetworks(list), nil
}

// readNetwork reads a network or a single address. One with bits behind its length is refused: whoever wrote
// 10.1.2.3/8 meant something else.
func readNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no network: %w", text, errNetworks)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("write %q as an IPv4 network", text)
	case p.Masked() != p:
		return p, fmt.Errorf("%s is not where a network begins; the network is %s", text, p.Masked())
	}
	return p, nil
}

// packNetworks brings networks into their one form: no network within another, halves made whole.
func packNetworks(list []netip.Prefix) NetworkSet {
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 { // IPv4 first
			return c
		}
		return a.Bits() - b.Bits() // the wider first
	})
	var out []netip.Prefix
	for _, p := range list {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue // within the one before, which is no longer
		}
		out = append(out, p)
		for n := len(out); n > 1; n = len(out) {
			whole, ok := joined(out[n-2], out[n-1])
			if !ok {
				break
			}
			out = append(out[:n-2], whole)
		}
	}
	packed := make([]byte, 0, len(out)*packedLen)
	for _, p := range out {
		packed = append(packed, pack(p.Addr(), p.Bits())...)
	}
	return NetworkSet{string(packed)}
}

// joined is the network of which both are the halves.
func joined(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().Is4() != b.Addr().Is4() {
		return netip.Prefix{}, false
	}
	whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return whole, whole.Contains(b.Addr()) && a != b
}

func pack(addr netip.Addr, bits int) []byte {
	out := make([]byte, packedLen)
	if addr.Is4() {
		b := addr.As4()
		out[0] = 4
		copy(out[1:], b[:])
	} else {
		b := addr.As16()
		out[0] = 6
		copy(out[1:], b[:])
	}
	out[packedLen-1] = byte(bits)
	return out
}

// Contains says whether an address is in the set. An IPv4 address within IPv6 is the IPv4 address; an
// address that is none is nowhere.
func (n NetworkSet) Contains(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	for _, p := range n.prefixes() {
		if p.Contains(addr.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// Everywhere says that the set holds every address: nothing is asked.
func (n NetworkSet) Everywhere() bool { return n == anywhere }

// Empty says that no address is in the set, which allows nobody.
func (n NetworkSet) Empty() bool { return n.packed == "" }

// prefixes is the list, decoded one by one.
func (n NetworkSet) prefixes() func(yield func(int, netip.Prefix) bool) {
	return func(yield func(int, netip.Prefix) bool) {
		for i := 0; i+packedLen <= len(n.packed); i += packedLen {
			rec := n.packed[i : i+packedLen]
			var addr netip.Addr
			if rec[0] == 4 {
				addr = netip.AddrFrom4([4]byte{rec[1], rec[2], rec[3], rec[4]})
			} else {
				var b [16]byte
				copy(b[:], rec[1:17])
				addr = netip.AddrFrom16(b)
			}
			if !yield(i/packedLen, netip.PrefixFrom(addr, int(rec[packedLen-1]))) {
				return
			}
		}
	}
}

// withinBoth are the addresses that both sets hold. Of two networks one holds the other or they do not meet.
func withinBoth(a, b NetworkSet) NetworkSet {
	switch {
	case a == b || b == anywhere:
		return a
	case a == anywhere:
		return b
	}
	var out []netip.Prefix
	for _, p := range a.prefixes() {
		for _, q := range b.prefixes() {
			if p.Overlaps(q) {
				if q.Bits() > p.Bits() {
					out = append(out, q)
				} else {
					out = append(out, p)
				}
			}
		}
	}
	return packNetworks(out)
}

// MarshalJSON writes the list that readNetworks reads.
func (n NetworkSet) MarshalJSON() ([]byte, error) {
	out := []string{}
	for _, p := range n.prefixes() {
		out = append(out, p.String())
	}
	return json.Marshal(out)
}

// String is the set in a sentence.
func (n NetworkSet) String() string {
	switch {
	case n.Empty():
		return "nowhere"
	case n.Everywhere():
		return "anywhere"
	}
	var b bytes.Buffer
	for i, p := range n.prefixes() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.TrimSuffix(p.String(), oneAddress(p)))
	}
	return b.String()
}

// oneAddress is what is left out where a network is one address.
func oneAddress(p netip.Prefix) string {
	if !p.IsSingleIP() {
		return ""
	}
	return fmt.Sprintf("/%d", p.Bits())
}

// within is a list of networks.
func within(r Rule[NetworkSet]) *Rule[NetworkSet] {
	r.Loosest, r.Tighter, r.Read, r.Show, r.Empty = anywhere, withinBoth, readNetworks, NetworkSet.String, NetworkSet.Empty
	r.form = form{kind: Networks, words: "a list of networks such as `192.0.2.0/24` or `2001:db8::/32`", tighter: "fewer addresses are tighter"}
	for _, texts := range []string{`["192.0.2.0/24"]`, `["192.0.2.128/25","198.51.100.7"]`, `["10.0.0.0/8","2001:db8::/32"]`,
		`["10.0.0.0/9","10.128.0.0/10","2001:db8:1::/48","192.0.2.200"]`, `["0.0.0.0/0"]`, `["::/0"]`, `["10.192.0.0/10"]`} {
		v, err := readNetworks(json.RawMessage(texts))
		if err != nil {
			panic(err)
		}
		r.Samples = append(r.Samples, v)
	}
	return sampled(&r)
}
