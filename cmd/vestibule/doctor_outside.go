package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

const (
	maxOwnAnswer = 1 << 20
	probesAtOnce = 8
	connectPage  = 200
)

// asker calls the installation itself. Its address is the operator's and may be private, so no guard
// stands before it; no proxy of the environment is used and no redirect followed.
func asker() *http.Client {
	return &http.Client{Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}
}

// outside reaches the issuer as a browser and an app do: by its name, through whatever stands in front.
func (d *doctor) outside(ctx context.Context) {
	const check = "issuer"
	discovery := struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}{}
	client := asker()
	before := time.Now()
	resp, err := d.fetch(ctx, client, d.settings.Issuer+"/.well-known/openid-configuration", &discovery)
	if resp != nil && resp.TLS != nil {
		d.until("certificate", "The one that "+d.issuer.Host+" shows", resp.TLS.PeerCertificates[0].NotAfter)
	}
	switch {
	case err != nil:
		d.fail(check, remedyOf(resp, err), "%s cannot be reached from here as browsers and apps do: %s.", d.settings.Issuer, reasonOf(resp, err))
		return
	case discovery.Issuer != d.settings.Issuer:
		d.fail(check, "Check what its name leads to, and the issuer of the nodes there.", "At %s answers another issuer than this one.", d.settings.Issuer)
		return
	}
	d.fine(check, "%s answers as this issuer.", d.settings.Issuer)
	if d.issuer.Scheme == "https" && resp.Header.Get("Strict-Transport-Security") == "" {
		d.warn(check, "Let the proxy pass the header on.", "Its answers lack Strict-Transport-Security, which this service sends.")
	}
	if said, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		if off := apart(said, before.Add(-time.Second), time.Now()); off > clockMost { // Date is in whole seconds
			d.warn("issuer clock", "Set the clocks of the nodes and of the proxy by NTP.", "Its clock and this machine's differ by about %s.", off.Round(time.Second))
		}
	}
	d.published(ctx, client, discovery.Keys)
}

// messages greets the mail server and signs in there, as serve does, and sends nothing. The SMS gateway is
// not asked: whatever it is sent is a message.
func (d *doctor) messages(ctx context.Context) {
	s := d.settings
	if s.SMTP.Host != "" {
		const check = "mail server"
		server := s.smtp(&outbound.Guard{})
		if err := server.Check(ctx); err != nil {
			class, _, _ := strings.Cut(err.Error(), ":")
			d.fail(check, mailRemedies[class], "%s does not take e-mail from us: %s.", server.Address(), err)
		} else {
			d.fine(check, "%s takes e-mail from us (%s).", server.Address(), mailWays[server.Security])
		}
	}
	if s.Gateway.Host != "" {
		d.fine("SMS gateway", "Text messages to %d countries go to %s. It was not called, for that would send one.", len(s.Messages.Prices), s.Gateway.Host)
	}
}

var (
	mailWays     = map[mail.Security]string{mail.StartTLS: "STARTTLS", mail.TLS: "TLS", mail.Plain: "in the open"}
	mailRemedies = map[string]string{
		"auth":        "Check the user in smtp and smtp_password.",
		"tls":         "Let the server offer TLS with a certificate for its name, or write smtps:// where it speaks TLS at once.",
		"refused":     "Its name leads to an address that may not be called, such as a cloud's metadata service.",
		"timeout":     "Check its name and port, and what stands between.",
		"unreachable": "Check its name and port, and what stands between.",
	}
)

// published looks whether who answers holds the keys of this database.
func (d *doctor) published(ctx context.Context, client *http.Client, address string) {
	const check = "published keys"
	if len(d.signs) == 0 {
		return
	}
	if u, err := url.Parse(address); err != nil || u.Scheme != d.issuer.Scheme || u.Host != d.issuer.Host {
		d.fail(check, "Check what stands between.", "The address of the keys does not belong to the issuer.")
		return
	}
	var set struct {
		Keys []struct {
			KID string `json:"kid"`
		} `json:"keys"`
	}
	if resp, err := d.fetch(ctx, client, address, &set); err != nil {
		d.fail(check, remedyOf(resp, err), "They cannot be read: %s.", reasonOf(resp, err))
		return
	}
	published := map[string]bool{}
	for _, k := range set.Keys {
		published[k.KID] = true
	}
	for _, kid := range d.signs {
		if !published[kid] {
			d.fail(check, "Check that the nodes there use this database, and that no cache keeps an old key set.", "The key %s signs in this database and is not published at the issuer.", kid)
			return
		}
	}
	d.fine(check, "Every key that signs is published.")
}

// errNotJSON, errStatus: what was answered is not what this service answers.
var (
	errNotJSON = errors.New("the answer is not that of this service")
	errStatus  = errors.New("the answer is a refusal")
)

func (d *doctor) fetch(ctx context.Context, client *http.Client, address string, into any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp, errStatus
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxOwnAnswer)).Decode(into); err != nil {
		return resp, errNotJSON
	}
	return resp, nil
}

// reasonOf says in our own words why the issuer was not reached.
func reasonOf(resp *http.Response, err error) string {
	switch {
	case errors.Is(err, errStatus):
		return fmt.Sprintf("the answer is status %d", resp.StatusCode)
	case errors.Is(err, errNotJSON):
		return "something else answers there"
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not believed (" + bad.Err.Error() + ")"
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err.Error()
	}
	return err.Error()
}

func remedyOf(resp *http.Response, err error) string {
	if errors.Is(err, errStatus) {
		switch {
		case resp.StatusCode == http.StatusMisdirectedRequest:
			return "Let the proxy pass on the Host of the request, or set the issuer to the name that browsers use."
		case resp.StatusCode/100 == 3:
			return "Let the issuer's own address answer, without a redirect."
		case resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout:
			return "Start `vestibule serve`, or lead the proxy to where it listens; /readyz says what a node lacks."
		}
		return "Check what its name leads to."
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if _, ok := errors.AsType[x509.UnknownAuthorityError](bad.Err); ok {
			return "Serve the whole chain with the intermediate certificates, of an authority that browsers know."
		}
		return "Renew the certificate, or get one for " + hostOf(err) + "."
	}
	return "Check that the service runs, and its name, its address and the firewall."
}

// hostOf names the host that a certificate must be for.
func hostOf(err error) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if u, err := url.Parse(failed.URL); err == nil {
			return u.Hostname()
		}
	}
	return "the issuer's host"
}

// connections probes what people sign in through, a few at a time, by the guarded client that serve uses.
func (d *doctor) connections(ctx context.Context) {
	h := &house{store: d.db, directory: manifestService(d.db).Directory}
	guard := &outbound.Guard{}
	opener := h.opener(d.settings.house(slog.New(slog.DiscardHandler), nil), func(allow []string) *http.Client { return guard.Client(allow) })
	names := map[directory.OrgID]string{}
	for after, n := directory.ConnectionID(""), connectPage; n == connectPage; {
		list, err := d.db.ConnectionPage(ctx, after, connectPage)
		if err != nil {
			d.broke("connection", err)
			return
		}
		if n = len(list); n > 0 {
			after = list[n-1].ID
		}
		list = slices.DeleteFunc(list, func(c upstream.Connection) bool { return c.Status != upstream.Active })
		for _, c := range list {
			d.nameOrg(ctx, names, c.Org)
		}
		d.probeAll(ctx, opener, list, names)
	}
}

func (d *doctor) nameOrg(ctx context.Context, names map[directory.OrgID]string, id directory.OrgID) {
	if _, there := names[id]; there {
		return
	}
	names[id] = string(id)
	if chain, err := d.db.OrgChain(ctx, id); err == nil {
		names[id] = chain.Org().Handle
	}
}

// probeAll asks each provider; the findings keep the order of the list.
func (d *doctor) probeAll(ctx context.Context, opener *upstream.Opener, list []upstream.Connection, names map[directory.OrgID]string) {
	found := make([]findings, len(list))
	places := make(chan struct{}, probesAtOnce)
	var all sync.WaitGroup
	for i, c := range list {
		about := names[c.Org] + " " + string(c.ID)
		if d.offline {
			found[i].opens(opener, c, about)
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			found[i].probe(ctx, opener, c, about)
		})
	}
	all.Wait()
	for i := range found {
		d.list = append(d.list, found[i].list...)
	}
}

// opens only reads the settings.
func (f *findings) opens(opener *upstream.Opener, c upstream.Connection, about string) {
	if _, err := opener.Opened(c); err != nil {
		f.refused(about, err, nil)
	}
}

func (f *findings) probe(ctx context.Context, opener *upstream.Opener, c upstream.Connection, about string) {
	const check = "connection"
	opened, err := opener.Opened(c)
	if err != nil {
		f.refused(about, err, nil)
		return
	}
	report, _, err := opened.Probe(ctx)
	if err != nil {
		f.refused(about, err, report)
		return
	}
	odd := false
	for _, step := range report {
		end, dated := endOf(step.Got)
		switch {
		case !step.OK:
			odd = true
			f.add(finding{Status: warn, Check: check, About: about, Text: got(step.Name, step.Got, step.Expected), Remedy: "Ask the organization's administrator, and change the connection's settings where the provider changed."})
		case dated && time.Until(end) < providerIn:
			odd = true
			f.add(finding{Status: warn, Check: check, About: about, Text: "The provider's certificate ends on " + moment(end) + ".", Remedy: "Ask the organization for the next one, and add it beside this one."})
		}
	}
	if !odd {
		f.add(finding{Status: fine, Check: check, About: about, Text: "The provider answers as it is set up."})
	}
}

// refused says which step failed and what was expected. What a provider wrote is in quotes; errors of
// the transport, which tell of the network that we stand in, are left to the log.
func (f *findings) refused(about string, err error, report upstream.Report) {
	text := fault.Of(err).Public + " (" + fault.Of(err).Code + ")"
	for _, step := range report {
		if !step.OK {
			text += " " + got(step.Name, step.Got, step.Expected)
		}
	}
	f.add(finding{Status: fail, Check: "connection", About: about, Text: text, Remedy: "Ask the organization's administrator; `vestibule trace` tells how a sign-in there went."})
}

func got(name, got, expected string) string {
	text := "Its " + strings.ReplaceAll(name, "_", " ") + " is not as it should be"
	if got != "" {
		text += ": " + fmt.Sprintf("%+q", got)
	}
	if expected != "" {
		text += ", expected " + fmt.Sprintf("%+q", expected)
	}
	return text + "."
}

// endOf reads when a certificate ends from the line of a probe.
func endOf(got string) (time.Time, bool) {
	_, when, ok := strings.Cut(got, " until ")
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, when)
	return at, err == nil
}

// apps looks for settings that invite trouble.
func (d *doctor) apps(ctx context.Context) {
	realms, err := d.db.RealmList(ctx)
	if err != nil {
		d.broke("app", err)
		return
	}
	seen := 0
	for _, r := range realms {
		list, err := d.db.AppList(ctx, r.ID)
		if err != nil {
			d.broke("app", err)
			return
		}
		for _, a := range list {
			if a.Status == directory.Active {
				seen++
				d.app(r.Handle, a)
			}
		}
	}
	d.fine("apps", "%d are active.", seen)
}

func (d *doctor) app(realm string, a broker.App) {
	say := func(remedy, format string, args ...any) {
		d.add(finding{Status: warn, Check: "app", About: realm + "/" + a.ClientID, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	if a.PKCEExempt {
		say("Let it send code_challenge, and take the exemption back.", "It may leave PKCE out, so a code that is injected into its callback is not noticed (RFC 9700 section 2.1.1).")
	}
	for _, uri := range a.RedirectURIs {
		u, err := url.Parse(uri)
		if err == nil && u.Scheme == "http" && !a.Native && d.issuer.Scheme == "https" { // none but loopback is registered
			say("Take it out where real people sign in.", "It may be answered at %s, which is whatever runs on the person's machine.", u.Host)
		}
	}
	d.secrets(a, say)
}

// secrets looks whether a client secret is good, and for how long.
func (d *doctor) secrets(a broker.App, say func(remedy, format string, args ...any)) {
	if a.Method != broker.SecretBasic && a.Method != broker.SecretPost {
		return
	}
	last := time.Time{}
	for _, s := range a.Secrets {
		if s.Until.IsZero() {
			return
		}
		if s.Until.After(last) {
			last = s.Until
		}
	}
	switch {
	case len(a.Secrets) == 0 || time.Until(last) <= 0:
		say("Give it a new one.", "It has no client secret that is good.")
	case time.Until(last) < secretIn:
		say("Give it a new one in time.", "Its last client secret ends on %s.", moment(last))
	}
}
