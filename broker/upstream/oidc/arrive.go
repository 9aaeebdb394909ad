package oidc

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

const (
	// maxParameter bounds one value of an answer. Codes of Entra ID are about 1,500 characters.
	maxParameter  = 8 << 10
	maxParameters = 32
)

// Arrive checks an authentication response (Core 3.1.2.5), redeems its code and checks the tokens.
func (p *provider) Arrive(ctx context.Context, a upstream.Attempt, in upstream.Arrival) (upstream.Assertion, upstream.Report, error) {
	c := &checks{}
	as, err := p.arrive(ctx, a, in, c)
	if err != nil {
		return upstream.Assertion{}, c.list, err
	}
	return as, c.list, nil
}

func (p *provider) arrive(ctx context.Context, a upstream.Attempt, in upstream.Arrival, c *checks) (upstream.Assertion, error) {
	if err := p.checkForm(in, c); err != nil {
		return upstream.Assertion{}, err
	}
	if err := checkState(a, in.Values, c); err != nil {
		return upstream.Assertion{}, err
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return upstream.Assertion{}, c.fail("discovery", err, "", p.conn.Issuer)
	}
	if err := p.checkSender(m, in.Values, c); err != nil {
		return upstream.Assertion{}, err
	}
	code, err := codeOf(in.Values, c)
	if err != nil {
		return upstream.Assertion{}, err
	}
	t, err := p.redeem(ctx, m, a, code, c)
	if err != nil {
		return upstream.Assertion{}, err
	}
	return p.judge(ctx, m, a, t, c)
}

// checkForm refuses what no provider sends: repeated parameters (RFC 6749 section 3.1), which two
// readers would read as two answers, and values that are not text.
func (p *provider) checkForm(in upstream.Arrival, c *checks) error {
	method := http.MethodGet
	if p.cfg.ResponseMode == "form_post" {
		method = http.MethodPost
	}
	if in.Method != method {
		return c.fail("response mode", upstream.ErrMalformed.Because("method"), methodName(in.Method), method)
	}
	if len(in.Values) > maxParameters {
		return c.fail("parameters", upstream.ErrMalformed.Because("too many parameters"), "too many", "")
	}
	for name, values := range in.Values {
		if len(values) != 1 {
			return c.fail("parameters", upstream.ErrMalformed.Because("a repeated parameter"), "repeated", "once each")
		}
		if len(name)+len(values[0]) > maxParameter || !upstream.Plain(name) || !upstream.Plain(values[0]) {
			return c.fail("parameters", upstream.ErrMalformed.Because("a parameter that is too long or no text"), "unreadable", "text")
		}
	}
	return nil
}

func methodName(m string) string {
	if m == http.MethodGet || m == http.MethodPost {
		return m
	}
	return "another"
}

// checkState binds the answer to the attempt. The value is a secret of the login and is not shown.
func checkState(a upstream.Attempt, v url.Values, c *checks) error {
	same := a.ID != "" && subtle.ConstantTimeCompare([]byte(v.Get("state")), []byte(a.ID)) == 1
	return c.want("state", same, ErrState, "", "")
}

// checkSender is RFC 9207: whenever the answer names its issuer it must be ours, and it must name one
// when the provider announced that. Without it an answer of another provider, whose code we would hand
// to this one, could pass (RFC 9700 section 4.4). It comes before the error is read: errors mix up too.
func (p *provider) checkSender(m *metadata, v url.Values, c *checks) error {
	if !v.Has("iss") && !m.issParameter {
		return nil
	}
	return c.want("iss parameter", v.Get("iss") == p.conn.Issuer, ErrIssuer, v.Get("iss"), p.conn.Issuer)
}

// codeOf gives the code, or what the provider's error means (RFC 6749 section 4.1.2.1, Core 3.1.2.6). An
// error is only what a browser brought, so none of them blames the network.
func codeOf(v url.Values, c *checks) (string, error) {
	if !v.Has("error") {
		code := v.Get("code")
		return code, c.want("code", code != "", upstream.ErrMalformed, "", "")
	}
	got := named(v.Get("error"), v.Get("error_description"))
	switch v.Get("error") {
	case "access_denied":
		return "", c.fail("answer", ErrDenied.Because(got), got, "a code")
	case "login_required", "interaction_required", "consent_required", "account_selection_required",
		"unmet_authentication_requirements", "temporarily_unavailable", "server_error":
		return "", c.fail("answer", upstream.ErrDeclined.Because(got), got, "a code")
	}
	return "", c.fail("answer", ErrRequest.Because(got), got, "a code")
}

// errorCodes are the error codes that may be shown: those of RFC 6749, RFC 6750, OpenID Connect Core and
// RFC 9396 and 9470. Others are somebody's text.
var errorCodes = []string{
	"access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_client",
	"invalid_dpop_proof", "invalid_grant", "invalid_request", "invalid_request_object", "invalid_request_uri",
	"invalid_scope", "invalid_target", "invalid_token", "login_required", "registration_not_supported",
	"request_not_supported", "request_uri_not_supported", "server_error", "temporarily_unavailable",
	"unauthorized_client", "unmet_authentication_requirements", "unsupported_grant_type", "unsupported_response_type",
}

// named is an error as it may be shown: its code when it is a known one, with Entra ID's number when the
// description has one. That number is what their administrators search for.
func named(code, description string) string {
	if !slices.Contains(errorCodes, code) {
		code = "an unknown error"
	}
	if n := entraNumber(description); n != "" {
		code += " " + n
	}
	return code
}

func entraNumber(description string) string {
	const prefix = "AADSTS"
	_, rest, ok := strings.Cut(description, prefix)
	if !ok {
		return ""
	}
	n := 0
	for n < len(rest) && n < 8 && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n < 4 {
		return ""
	}
	return prefix + rest[:n]
}
