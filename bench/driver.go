package main

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// driver is browsers and an app. It checks that it arrives and is given what it asked for, and spends
// nothing on more.
type driver struct {
	issuer     string
	oidc, saml *fakeidp.Provider
	http       *http.Client
	introduced *sync.Map // addresses that the providers know
}

func (w *world) driver() *driver {
	return &driver{issuer: w.issuer(), oidc: w.oidc, saml: w.saml, introduced: &sync.Map{}, http: &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

const verifier = "bench-verifier-bench-verifier-bench-verifier-bench"

// tokens are what the token endpoint gave (RFC 6749 section 5.1).
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

func (d *driver) authorization(more url.Values) string {
	challenge := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {callback}, "scope": {"openid profile email"}, "state": {"state"}, "nonce": {"nonce"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	for k, v := range more {
		q[k] = v
	}
	return d.issuer + "/authorize?" + q.Encode()
}

// login is a complete login of a new browser, up to the app's tokens.
func (d *driver) login(ctx context.Context, organization, scope string) (tokens, error) {
	at, cookies, form := d.authorization(url.Values{"organization": {organization}, "scope": {scope}}), map[string]string{}, url.Values(nil)
	for range 12 {
		next, body, err := d.hop(ctx, at, form, cookies)
		if err != nil {
			return tokens{}, err
		}
		if strings.HasPrefix(next, callback) {
			return d.redeem(ctx, next)
		}
		form = nil
		if next == "" {
			if next, form = posting(body); next == "" {
				return tokens{}, fmt.Errorf("the browser is stuck at %s: %s", at, words(body))
			}
		}
		to, err := resolve(at, next)
		if err != nil {
			return tokens{}, err
		}
		d.introduce(to)
		at = to.String()
	}
	return tokens{}, errors.New("the browser is sent in circles")
}

func resolve(base, to string) (*url.URL, error) {
	b, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return b.Parse(to)
}

func (d *driver) redeem(ctx context.Context, answer string) (tokens, error) {
	u, err := url.Parse(answer)
	if err != nil {
		return tokens{}, err
	}
	if u.Query().Get("code") == "" || u.Query().Get("state") != "state" {
		return tokens{}, fmt.Errorf("the app was answered %s", u.RawQuery)
	}
	t, err := d.token(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}})
	if err == nil && t.ID == "" {
		err = errors.New("the app got no ID token")
	}
	return t, err
}

// token is the app at the token endpoint.
func (d *driver) token(ctx context.Context, form url.Values) (t tokens, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return t, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, clientSecret)
	raw, err := d.ok(req)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, err
	}
	if t.Access == "" {
		err = errors.New("the app got no access token")
	}
	return t, err
}

// get fetches what is there for everybody, or for who has the token.
func (d *driver) get(ctx context.Context, at string, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	return d.ok(req)
}

func (d *driver) ok(req *http.Request) ([]byte, error) {
	resp, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", req.Method, req.URL.Path, resp.Status, words(string(raw)))
	}
	return raw, err
}

// hop is one request of a browser. The service's cookies are sent to it, but not with a form that
// another site posts (SameSite=Lax).
func (d *driver) hop(ctx context.Context, to string, form url.Values, cookies map[string]string) (location, body string, err error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, reader = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, to, reader)
	if err != nil {
		return "", "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else if strings.HasPrefix(to, d.issuer+"/") {
		for k, v := range cookies {
			req.AddCookie(&http.Cookie{Name: k, Value: v})
		}
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s %s", method, req.URL.Path, resp.Status, words(string(raw)))
	}
	for _, c := range resp.Cookies() {
		cookies[c.Name] = c.Value
	}
	return resp.Header.Get("Location"), string(raw), err
}

// introduce registers the service at the providers when its first request comes by, as an administrator
// of theirs would.
func (d *driver) introduce(to *url.URL) {
	q := to.Query()
	if back := q.Get("redirect_uri"); back != "" {
		if _, seen := d.introduced.LoadOrStore(back, true); !seen {
			d.oidc.AddClient(fakeidp.Client{ID: upstreamID, Secret: upstreamSecret, Redirects: []string{back}})
		}
	}
	if request := q.Get("SAMLRequest"); request != "" {
		if _, seen := d.introduced.LoadOrStore("saml", true); !seen {
			if sp, err := asking(request); err == nil {
				d.saml.AddSP(sp)
			}
		}
	}
}

// asking reads who asks out of a request by HTTP-Redirect (SAML Bindings section 3.4.4.1).
func asking(request string) (fakeidp.SP, error) {
	raw, err := base64.StdEncoding.DecodeString(request)
	if err != nil {
		return fakeidp.SP{}, err
	}
	doc, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return fakeidp.SP{}, err
	}
	var r struct {
		Issuer string `xml:"Issuer"`
		ACS    string `xml:"AssertionConsumerServiceURL,attr"`
	}
	err = xml.Unmarshal(doc, &r)
	return fakeidp.SP{EntityID: r.Issuer, ACS: []string{r.ACS}}, err
}

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*\baction="([^"]*)"[^>]*>(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input[^>]*\bname="([^"]*)"[^>]*\bvalue="([^"]*)"`)
	markup   = regexp.MustCompile(`(?s)<style.*?</style>|<[^>]*>|\s+`)
	loaded   = regexp.MustCompile(`<(?:link|img|script)\b[^>]*\b(?:href|src)="([^"]+)"`)
)

// posting is the form of a page that posts itself; "" where there is none.
func posting(body string) (action string, values url.Values) {
	m := formTag.FindStringSubmatch(body)
	if m == nil {
		return "", nil
	}
	values = url.Values{}
	for _, in := range inputTag.FindAllStringSubmatch(m[2], -1) {
		values.Set(html.UnescapeString(in[1]), html.UnescapeString(in[2]))
	}
	return html.UnescapeString(m[1]), values
}

// words is the beginning of what a page says.
func words(body string) string {
	text := strings.TrimSpace(markup.ReplaceAllString(body, " "))
	return text[:min(len(text), 300)]
}

// pageCost is the sign-in page as a browser gets it that names no organization.
type pageCost struct {
	bytes int           // over the wire, compressed
	all   int           // with what it loads
	first time.Duration // to its first byte, the median
}

const visits = 21

func (d *driver) page(ctx context.Context) (p pageCost, err error) {
	defer d.http.CloseIdleConnections()
	var took []time.Duration
	var body string
	at := ""
	for range visits {
		var first time.Duration
		if at, p.bytes, body, first, err = d.visit(ctx); err != nil {
			return p, err
		}
		took = append(took, first)
	}
	slices.Sort(took)
	p.first, p.all = took[len(took)/2], p.bytes
	for _, m := range loaded.FindAllStringSubmatch(body, -1) {
		to, err := resolve(at, html.UnescapeString(m[1]))
		if err != nil {
			return p, err
		}
		raw, err := d.get(ctx, to.String(), http.Header{"Accept-Encoding": {"gzip"}})
		if err != nil {
			return p, err
		}
		p.all += len(raw)
	}
	return p, nil
}

// visit begins a login of a new browser and waits for the page that asks who it is.
func (d *driver) visit(ctx context.Context) (at string, size int, body string, first time.Duration, err error) {
	at, cookies := d.authorization(nil), map[string]string{}
	for range 5 {
		var began time.Time
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Since(began) }})
		req, err := http.NewRequestWithContext(traced, http.MethodGet, at, nil)
		if err != nil {
			return "", 0, "", 0, err
		}
		req.Header.Set("Accept-Encoding", "gzip")
		for k, v := range cookies {
			req.AddCookie(&http.Cookie{Name: k, Value: v})
		}
		began = time.Now()
		next, size, body, err := d.fetch(req, cookies)
		if err != nil || next == "" {
			return at, size, body, first, err
		}
		to, err := resolve(at, next)
		if err != nil {
			return "", 0, "", 0, err
		}
		at = to.String()
	}
	return "", 0, "", 0, errors.New("the sign-in page does not come")
}

func (d *driver) fetch(req *http.Request, cookies map[string]string) (next string, size int, body string, err error) {
	resp, err := d.http.Do(req)
	if err != nil {
		return "", 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, "", err
	}
	size = len(raw)
	for _, c := range resp.Cookies() {
		cookies[c.Name] = c.Value
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return "", 0, "", err
		}
		if raw, err = io.ReadAll(r); err != nil {
			return "", 0, "", err
		}
	}
	next = resp.Header.Get("Location")
	if next == "" && (resp.StatusCode != http.StatusOK || !bytes.Contains(raw, []byte("<form"))) {
		err = fmt.Errorf("the sign-in page is %s: %s", resp.Status, words(string(raw)))
	}
	return next, size, string(raw), err
}
