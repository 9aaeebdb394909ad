package saml

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const maxURL = 2048

// cleanURL parses a URL of a connection and writes it anew, so that what is stored holds nothing but
// scheme, host, port, path and query (S36). http is for hosts that the operator allows by name.
func cleanURL(raw string, private []string) (string, error) {
	if len(raw) > maxURL || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'<>\^`+"`{|};,", r) }) {
		return "", ErrURL.Because("characters that a URL cannot hold")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", ErrURL.With(err)
	}
	if u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return "", ErrURL.Because("user name or fragment")
	}
	host := strings.ToLower(u.Hostname())
	if !goodHost(host) || !goodPort(u.Port()) {
		return "", ErrURL.Because("host or port")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && allowed(host, u.Port(), private)) {
		return "", ErrURL.Because("scheme")
	}
	return rebuilt(u, host), nil
}

func rebuilt(u *url.URL, host string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p := u.Port(); p != "" {
		host += ":" + p
	}
	clean := url.URL{Scheme: u.Scheme, Host: host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	return clean.String()
}

func goodPort(p string) bool {
	if p == "" {
		return true
	}
	n, err := strconv.Atoi(p)
	return err == nil && n > 0 && n < 1<<16 && strconv.Itoa(n) == p
}

// goodHost takes letters, digits and hyphens, or an address.
func goodHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == ""
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for _, label := range strings.Split(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func allowed(host, port string, private []string) bool {
	if port == "" {
		port = "80"
	}
	return slices.Contains(private, net.JoinHostPort(host, port))
}
