package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

// documents keeps what providers publish, by address. Thousands of organizations may use one provider;
// they share its documents, unless they reach it through targets of their own, which are part of the key.
type documents struct {
	metadata upstream.Cache[string, *remote[*metadata]]
	keys     upstream.Cache[string, *remote[keySet]]
}

func (p *provider) metadata(ctx context.Context) (*metadata, error) {
	if e := p.cfg.Endpoints; e != nil {
		return &metadata{
			issuer: p.conn.Issuer, authorization: e.Authorization, token: e.Token, userinfo: e.UserInfo, jwks: e.JWKS, endSession: e.EndSession, s256: true,
		}, nil
	}
	kept := p.docs.metadata.GetOr(p.key(p.conn.Issuer), func() *remote[*metadata] {
		return &remote[*metadata]{now: p.env.Now, fetch: p.fetchMetadata}
	})
	m, err := kept.get(ctx)
	if err != nil {
		return nil, err
	}
	return m, p.checkMetadata(m)
}

// checkMetadata: OpenID Connect Discovery 1.0 section 4.3: the issuer must be exactly the one we asked.
// Entra ID's template stands for the tenant that is pinned, and for no other.
func (p *provider) checkMetadata(m *metadata) error {
	says := m.issuer
	if p.cfg.Tenant != "" {
		says = strings.ReplaceAll(says, tenantTemplate, p.cfg.Tenant)
	}
	if says != p.conn.Issuer {
		return ErrIssuer.Because(fmt.Sprintf("the provider calls itself %q", upstream.Shown(m.issuer)))
	}
	return nil
}

func (p *provider) keySet(address string) *remote[keySet] {
	return p.docs.keys.GetOr(p.key(address), func() *remote[keySet] {
		return &remote[keySet]{now: p.env.Now, fetch: func(ctx context.Context) (keySet, time.Duration, error) {
			return p.fetchKeys(ctx, address)
		}}
	})
}

func (p *provider) key(address string) string {
	private := slices.Sorted(slices.Values(p.conn.Private))
	return strings.Join(append([]string{address}, private...), " ")
}

func (p *provider) fetchMetadata(ctx context.Context) (*metadata, time.Duration, error) {
	// Discovery 1.0 section 4: a slash at the issuer's end goes before the path is put on.
	body, h, err := p.fetchJSON(ctx, strings.TrimSuffix(p.conn.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, 0, err
	}
	m, err := parseMetadata(body, p.conn.Private)
	return m, lifetime(h, 5*time.Minute, time.Hour, 24*time.Hour), err
}

func (p *provider) fetchKeys(ctx context.Context, address string) (keySet, time.Duration, error) {
	body, h, err := p.fetchJSON(ctx, address)
	if err != nil {
		return keySet{}, 0, err
	}
	ks, err := parseKeys(body)
	// A key that the provider withdrew must go soon, whatever was said of caching.
	return ks, lifetime(h, time.Minute, 15*time.Minute, time.Hour), err
}

func (p *provider) fetchJSON(ctx context.Context, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, ErrDiscovery.With(err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, nil, unanswered(err, ErrDiscovery)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, upstream.ErrUnreachable.With(err)
	}
	if isAway(resp.StatusCode) {
		return nil, nil, upstream.ErrUnreachable.With(status(resp.StatusCode))
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, ErrDiscovery.With(status(resp.StatusCode))
	}
	return body, resp.Header, nil
}

// isAway: a gateway says that nobody is behind it.
func isAway(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// status is an answer by its number alone.
type status int

func (s status) Error() string { return "status " + strconv.Itoa(int(s)) }

// heard says in words what was heard of a provider instead of an answer that can be read; "" where err is
// of something else. Whatever kept us from connecting is one word: a private address and a name that does
// not exist must look alike (S23).
func heard(err error) string {
	var dial *net.OpError
	var untrusted *tls.CertificateVerificationError
	var timed interface{ Timeout() bool }
	var answered status
	switch {
	case errors.As(err, &answered):
		return answered.Error()
	case errors.Is(err, outbound.ErrTooLarge):
		return "an answer that is too large"
	case errors.Is(err, outbound.ErrRedirect):
		return "a redirect"
	case errors.Is(err, outbound.ErrAddress), errors.Is(err, outbound.ErrRefused), errors.As(err, new(*net.DNSError)),
		errors.As(err, &dial) && dial.Op == "dial":
		return "no connection"
	case errors.As(err, &untrusted):
		return "a certificate that is not trusted"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "no answer as long as somebody waited"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "a connection that was closed before the answer ended"
	case errors.Is(err, upstream.ErrUnreachable):
		return "no answer"
	case errors.Is(err, errUnreadable):
		return errUnreadable.Error()
	}
	return ""
}

// errUnreadable: somebody answers, and not as a provider does: an error page, or another service.
var errUnreadable = errors.New("an answer of another kind, such as a page")

// unanswered tells no answer from an answer that we refuse to read, which shows that somebody is there.
// An address that nobody may make us call looks like one where nobody is (S23).
func unanswered(err error, refused *fault.Error) error {
	for _, seen := range []error{outbound.ErrTooLarge, outbound.ErrRedirect, outbound.ErrAddress} {
		if errors.Is(err, seen) {
			return refused.With(err)
		}
	}
	return upstream.ErrUnreachable.With(err)
}

// lifetime reads Cache-Control: max-age within bounds.
func lifetime(h http.Header, least, otherwise, most time.Duration) time.Duration {
	for part := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				return min(max(time.Duration(n)*time.Second, least), most)
			}
		}
	}
	return otherwise
}

// bounded is a client whose bodies are read whole, within maxAnswer, before anybody parses them. The
// library reads a body that is cut at a limit of its own as if it ended there.
func bounded(c *http.Client) *http.Client {
	own := *c
	own.Transport = wholeBody{c.Transport}
	return &own
}

type wholeBody struct{ next http.RoundTripper }

func (w wholeBody) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := outbound.ReadAll(resp, maxAnswer)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func contentType(h http.Header) string {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return t
}

// isTransport says whether the error is the client's, not the parser's.
func isTransport(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}
