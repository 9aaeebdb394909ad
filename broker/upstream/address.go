package upstream

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const maxURL = 2048

// CleanURL reads an address from a connection's settings or a provider's metadata and writes it anew
// (S36): https, a host of letters, digits and hyphens or a number, a port, a path and a query, each
// encoded by us. Anything else is refused: user information, fragments, other schemes, control
// characters, and whatever could end one header or attribute and begin another. Plain http is for
// targets that the operator opened. The query stays because common SAML endpoints need theirs; it is
// parsed and encoded again.
func CleanURL(raw string, private []string) (string, error) {
	u, err := readURL(raw, private)
	if err != nil {
		return "", err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", badURL("its query cannot be read")
	}
	out := url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: u.Path, RawPath: u.EscapedPath(), RawQuery: query.Encode()}
	clean := escapeRest(out.String())
	if len(clean) > maxURL {
		return "", badURL("it is too long once its special characters are encoded")
	}
	return clean, nil
}

// CheckIssuer says whether s can be an issuer: compared byte by byte, so never rewritten, and therefore
// refused unless it is written the way an address is (OpenID Connect Core 1.0 section 2: no query, no
// fragment).
func CheckIssuer(s string, private []string) error {
	u, err := readURL(s, private)
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return badURL("an issuer has no query")
	}
	return nil
}

func readURL(raw string, private []string) (*url.URL, error) {
	if len(raw) > maxURL || strings.ContainsFunc(raw, unfit) {
		return nil, badURL("it is too long or holds characters that addresses do not have")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.User != nil || u.Fragment != "" || strings.HasSuffix(raw, "#") {
		return nil, badURL("it is not an address without user name and fragment")
	}
	if !ldh(u.Hostname()) || !goodPort(u) {
		return nil, badURL("its host or port cannot be read")
	}
	open := slices.Contains(private, net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u)))
	if u.Scheme != "https" && !(u.Scheme == "http" && open) {
		return nil, badURL("it must start with https://")
	}
	return u, nil
}

func badURL(why string) error { return ErrConfig.Because("address: " + why) }

// unfit: what RFC 3986 never allows bare, and the separators of headers and policies. ' and ; are legal
// in a path; they are encoded when the address is written anew.
func unfit(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r)
}

// escapeRest encodes what net/url leaves bare although a Content-Security-Policy or an attribute would
// read it as a separator.
func escapeRest(s string) string {
	return strings.NewReplacer(";", "%3B", ",", "%2C", "'", "%27").Replace(s)
}

func ldh(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func goodPort(u *url.URL) bool {
	if strings.HasSuffix(u.Host, ":") {
		return false
	}
	if u.Port() == "" {
		return true
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n > 0 && n < 1<<16
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}
