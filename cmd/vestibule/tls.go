package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var errTLS = fault.New(fault.Invalid, "vestibule.tls", "The TLS certificate cannot be used.")

// pairLook is how often the files are looked at.
const pairLook = 5 * time.Second

// pair is the TLS certificate and its key, read again when their files change.
type pair struct {
	cert, key, host string
	seen            [2]time.Time // when the files last changed; touched by follow alone
	now             atomic.Pointer[tls.Certificate]
}

func openPair(cert, key, host string, at time.Time) (*pair, error) {
	p := &pair{cert: cert, key: key, host: host}
	p.seen = p.changed()
	return p, p.load(at)
}

// load takes the pair into use if it fits.
func (p *pair) load(at time.Time) error {
	for _, file := range []string{p.cert, p.key} {
		f, err := os.Open(file)
		if err != nil {
			return wrong(errTLS, "The TLS files: %v.", unreadable(file, err))
		}
		f.Close()
	}
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return wrong(errTLS, "%s and %s do not fit: they must be PEM, and the key must be that of the file's first certificate.", p.cert, p.key)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return wrong(errTLS, "%s: the first certificate cannot be read.", p.cert)
		}
	}
	if err := c.Leaf.VerifyHostname(p.host); err != nil {
		return wrong(errTLS, "%s is not a certificate for %s, the issuer's host. Use one that names it, or set another issuer.", p.cert, p.host)
	}
	if at.After(c.Leaf.NotAfter) {
		return wrong(errTLS, "%s ended on %s. Renew it.", p.cert, c.Leaf.NotAfter.UTC().Format("2 January 2006"))
	}
	p.now.Store(&c)
	return nil
}

func (p *pair) changed() (at [2]time.Time) {
	for i, file := range []string{p.cert, p.key} {
		if info, err := os.Stat(file); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

// follow takes changed files into use until ctx ends. Files that do not fit leave the pair as it was.
func (p *pair) follow(ctx context.Context, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(pairLook)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hup:
			asked = true
		case <-tick.C:
		}
		now := p.changed()
		if now == p.seen && !asked {
			continue
		}
		p.seen = now
		if err := p.load(time.Now()); err != nil {
			log.ErrorContext(ctx, "the changed TLS files are not used", "error", err, "remedy", fault.Of(err).Public)
			continue
		}
		log.InfoContext(ctx, "the TLS certificate was read again", "until", p.now.Load().Leaf.NotAfter)
	}
}

// config is for the server: TLS 1.2 and above, HTTP/2 where the client has it.
func (p *pair) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.now.Load(), nil }}
}
