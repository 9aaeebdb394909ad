package fakeidp

import (
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Start listens on a loopback address ("127.0.0.1:0" takes any free port), fills Base when it is
// empty, and serves. Close the server to stop.
func (p *Provider) Start(addr string) (*http.Server, error) {
	l, err := Listen(addr, p.Exposed)
	if err != nil {
		return nil, err
	}
	if p.Base == "" {
		p.Base = "http://" + l.Addr().String()
	}
	h, err := p.Handler()
	if err != nil {
		l.Close()
		return nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l)
	return srv, nil
}

// Listen listens where a made-up provider may (S54): on a loopback address, unless the operator asked
// for more with a flag. A name is refused even if it means loopback today.
func Listen(addr string, exposed bool) (net.Listener, error) {
	at, err := netip.ParseAddrPort(addr)
	if !exposed && (err != nil || !at.Addr().Unmap().IsLoopback()) {
		return nil, ErrNotLoopback
	}
	return net.Listen("tcp", addr)
}

// onlyLoopback holds S54 also for a handler that somebody else listens for.
func (p *Provider) onlyLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && !at.IP.IsLoopback() && !p.Exposed {
			http.Error(w, ErrNotLoopback.Public, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
