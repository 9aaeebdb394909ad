package web

import (
	"maps"
	"net/http"
)

// The policy of every page under login, consent and logout (ui contract section 11). It has no
// form-action: Chromium applies that to each later redirect, those of identity providers included. It
// is a constant: nothing from configuration is ever written into it (security.md S36).
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// The headers of every answer, each list made once. They are full, so whoever adds to one makes a new list.
var (
	everywhere = map[string][]string{
		"Content-Security-Policy":    {contentSecurityPolicy},
		"X-Content-Type-Options":     {"nosniff"},
		"Referrer-Policy":            {"no-referrer"},
		"Cross-Origin-Opener-Policy": {"same-origin"},
		"Permissions-Policy":         {"publickey-credentials-get=(self), publickey-credentials-create=(self)"},
		"Cache-Control":              {"no-store"},
	}
	onlyTLS = []string{"max-age=63072000; includeSubDomains"}
)

// PageHeaders are set on every answer but static files.
func PageHeaders(h http.Header, secure bool) {
	maps.Copy(h, everywhere)
	if secure {
		h["Strict-Transport-Security"] = onlyTLS
	}
}
