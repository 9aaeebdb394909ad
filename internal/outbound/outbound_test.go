package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is a guard whose network is a test server: names resolve as told, and whatever is dialled is
// written down and leads to the server.
type world struct {
	*Guard
	server *httptest.Server

	mu     sync.Mutex
	dialed []string
	asked  int
}

func newWorld(t *testing.T, h http.HandlerFunc, answers ...[]string) *world {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	w := &world{server: server, Guard: &Guard{Roots: roots, Timeout: 5 * time.Second}}
	w.Guard.resolve = func(context.Context, string) ([]netip.Addr, error) { return w.answer(answers) }
	w.Guard.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		w.dialed = append(w.dialed, address)
		w.mu.Unlock()
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}
	return w
}

func (w *world) answer(answers [][]string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := answers[min(w.asked, len(answers)-1)]
	w.asked++
	var out []netip.Addr
	for _, a := range now {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func ok(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }

func fetch(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	_, err = ReadAll(resp, 1<<20)
	return err
}

func TestS23EveryFormOfAnInnerAddressIsRefused(t *testing.T) {
	refused := []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.5", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "169.254.0.1", "100.64.0.1", "100.127.255.255", "100.100.100.200", "192.0.0.192",
		"192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.5", "::ffff:169.254.169.254", "::7f00:1",
		"64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:5", "2002:7f00:1::", "2002:a00:5::1",
		"2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1",
		"fc00::1", "fd12:3456::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "5f00::1",
		"2a00:1450:4001::5efe:7f00:1", "2a00:1450:4001::200:5efe:a00:5",
	}
	for _, a := range refused {
		t.Run(a, func(t *testing.T) {
			w := newWorld(t, ok, []string{a})
			for _, url := range []string{"https://idp.example/", "https://" + literal(a) + "/"} {
				if err := fetch(w.Client(nil), url); !errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v, want ErrRefused", url, err)
				}
			}
			if len(w.dialed) != 0 {
				t.Errorf("dialled %v", w.dialed)
			}
		})
	}
}

func literal(a string) string {
	if strings.Contains(a, ":") {
		return "[" + a + "]"
	}
	return a
}

func TestS23AZoneIsRefused(t *testing.T) {
	w := newWorld(t, ok, []string{"1.1.1.1"})
	if err := fetch(w.Client(nil), "https://[fe80::1%25lo]/"); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func TestPublicAddressesAreCalled(t *testing.T) {
	for _, a := range []string{"93.184.216.34", "1.1.1.1", "2606:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1"} {
		w := newWorld(t, ok, []string{a})
		if err := fetch(w.Client(nil), "https://example.com/"); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if want := net.JoinHostPort(a, "443"); len(w.dialed) != 1 || w.dialed[0] != want {
			t.Errorf("dialled %v, want %s", w.dialed, want)
		}
	}
}

// Resolvers may write IPv4 as IPv6; what is dialled is what was meant.
func TestAMappedAnswerIsDialledAsWhatItIs(t *testing.T) {
	w := newWorld(t, ok, []string{"::ffff:93.184.216.34"})
	if err := fetch(w.Client(nil), "https://example.com/"); err != nil || w.dialed[0] != "93.184.216.34:443" {
		t.Fatalf("%v, dialled %v", err, w.dialed)
	}
}

// Numbers in the forms that only some resolvers read as addresses: the system's answer is judged.
func TestS23NumbersInDisguiseAreJudgedByWhereTheyLead(t *testing.T) {
	for _, host := range []string{"2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.1", "localhost", "0"} {
		w := newWorld(t, ok, []string{"127.0.0.1"})
		if err := fetch(w.Client(nil), "https://"+host+"/"); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", host, err)
		}
	}
}

func TestS23TheAddressThatWasJudgedIsTheOneDialled(t *testing.T) {
	w := newWorld(t, ok, []string{"93.184.216.34"}, []string{"127.0.0.1"})
	if err := fetch(w.Client(nil), "https://example.com/"); err != nil {
		t.Fatal(err)
	}
	if w.asked != 1 || len(w.dialed) != 1 || w.dialed[0] != "93.184.216.34:443" {
		t.Fatalf("resolved %d times, dialled %v", w.asked, w.dialed)
	}
	// The name has turned: the next connection is judged anew.
	w.Client(nil).CloseIdleConnections()
	w.public.base.CloseIdleConnections()
	if err := fetch(w.Client(nil), "https://example.com/"); !errors.Is(err, ErrRefused) {
		t.Fatalf("after rebinding: %v, want ErrRefused", err)
	}
}

func TestS23OfMixedAnswersOnlyThePublicOnesAreDialled(t *testing.T) {
	w := newWorld(t, ok, []string{"10.0.0.5", "::1", "93.184.216.34"})
	if err := fetch(w.Client(nil), "https://example.com/"); err != nil {
		t.Fatal(err)
	}
	if len(w.dialed) != 1 || w.dialed[0] != "93.184.216.34:443" {
		t.Fatalf("dialled %v", w.dialed)
	}
}

func TestS23OnlyHTTPSOn443(t *testing.T) {
	w := newWorld(t, ok, []string{"93.184.216.34"})
	for _, url := range []string{
		"http://example.com/", "http://example.com:443/", "https://example.com:8443/", "https://example.com:22/",
		"https://user:secret@example.com/", "ftp://example.com/", "gopher://example.com/",
	} {
		if err := fetch(w.Client(nil), url); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v, want ErrAddress", url, err)
		}
	}
	if len(w.dialed) != 0 {
		t.Errorf("dialled %v", w.dialed)
	}
}

func TestS23WhatIsOpenForOneConnectionIsOpenForNoOther(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(ok))
	defer server.Close()
	target := strings.TrimPrefix(server.URL, "http://")
	g := &Guard{}
	if err := fetch(g.Client([]string{target}), server.URL); err != nil {
		t.Fatalf("opened target: %v", err)
	}
	for name, allow := range map[string][]string{
		"nobody's list":   nil,
		"another port":    {"127.0.0.1:1"},
		"another host":    {"127.0.0.2:" + strings.Split(target, ":")[1]},
		"a host alone":    {"127.0.0.1"},
		"a whole network": {"127.0.0.0/8"},
	} {
		if err := fetch(g.Client(allow), server.URL); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v, want ErrAddress", name, err)
		}
	}
}

func TestS23AnOpenedNameMayBePrivateAndNoMore(t *testing.T) {
	for addr, want := range map[string]error{
		"10.0.0.5": nil, "127.0.0.1": nil, "fd12::1": nil, "93.184.216.34": nil,
		"169.254.169.254": ErrRefused, "fd00:ec2::254": ErrRefused, "100.100.100.200": ErrRefused,
		"0.0.0.0": ErrRefused, "224.0.0.1": ErrRefused, "fe80::1": ErrRefused, "fe80::1%lo": ErrRefused, "::ffff:169.254.169.254": ErrRefused,
	} {
		w := newWorld(t, ok, []string{addr})
		err := fetch(w.Client([]string{"example.com:443"}), "https://example.com/")
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
	}
}

func TestS23OurOwnListenersAreRefused(t *testing.T) {
	own := func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("93.184.216.34:443"), netip.MustParseAddrPort("0.0.0.0:8443")}
	}
	w := newWorld(t, ok, []string{"93.184.216.34"})
	w.Own = own
	if err := fetch(w.Client(nil), "https://example.com/"); !errors.Is(err, ErrRefused) {
		t.Errorf("by public address: %v, want ErrRefused", err)
	}
	if err := fetch(w.Client([]string{"example.com:443"}), "https://example.com/"); !errors.Is(err, ErrRefused) {
		t.Errorf("by an opened name: %v, want ErrRefused", err)
	}
	local := newWorld(t, ok, []string{"127.0.0.1"})
	local.Own = own
	if err := fetch(local.Client([]string{"example.com:8443"}), "https://example.com:8443/"); !errors.Is(err, ErrRefused) {
		t.Errorf("unspecified listener: %v, want ErrRefused", err)
	}
}

func TestS23RedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		hits := 0
		w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
			hits++
			http.Redirect(w, r, "https://inner.example/secret", status)
		}, []string{"93.184.216.34"})
		err := fetch(w.Client(nil), "https://example.com/")
		if !errors.Is(err, ErrRedirect) || hits != 1 {
			t.Errorf("%d: %v after %d requests", status, err, hits)
		}
		if strings.Contains(fmt.Sprint(err), "inner.example") {
			t.Errorf("the error tells where to: %v", err)
		}
	}
}

func TestS23TheEnvironmentsProxyIsNotUsed(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	w := newWorld(t, ok, []string{"93.184.216.34"})
	if err := fetch(w.Client(nil), "https://example.com/"); err != nil {
		t.Fatal(err)
	}
	if w.public.base.Proxy != nil || len(w.dialed) != 1 || w.dialed[0] != "93.184.216.34:443" {
		t.Fatalf("dialled %v", w.dialed)
	}
}

func TestS23MegabytesAreRefused(t *testing.T) {
	announced := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, 2<<20))
	}, []string{"93.184.216.34"})
	if err := fetch(announced.Client(nil), "https://example.com/"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large body: %v", err)
	}
	endless := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write(make([]byte, 64<<10))
			w.(http.Flusher).Flush()
		}
	}, []string{"93.184.216.34"})
	if err := fetch(endless.Client(nil), "https://example.com/"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an endless body: %v", err)
	}
}

func TestS23ADecompressionBombCountsAsWhatItBecomes(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 8<<20))
	z.Close()
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	}, []string{"93.184.216.34"})
	if err := fetch(w.Client(nil), "https://example.com/"); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("%d bytes of gzip: %v", bomb.Len(), err)
	}
}

func TestAnEncodingNobodyAskedForIsNotRead(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		io.WriteString(w, "x")
	}, []string{"93.184.216.34"})
	if err := fetch(w.Client(nil), "https://example.com/"); err == nil {
		t.Fatal("read")
	}
}

func TestS23ASlowBodyEndsWithTheTimeout(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}, []string{"93.184.216.34"})
	w.Timeout = 200 * time.Millisecond
	start := time.Now()
	err := fetch(w.Client(nil), "https://example.com/")
	if err == nil || time.Since(start) > 20*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
}

func TestALargeHeaderIsRefused(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("x", 128<<10))
	}, []string{"93.184.216.34"})
	if err := fetch(w.Client(nil), "https://example.com/"); err == nil {
		t.Fatal("read")
	}
}

func TestADeadAddressDoesNotHideALivingOne(t *testing.T) {
	w := newWorld(t, ok, []string{"1.1.1.1", "93.184.216.34"})
	good := w.Guard.dial
	w.Guard.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "1.1.1.1") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return good(ctx, network, address)
	}
	if err := fetch(w.Client(nil), "https://example.com/"); err != nil {
		t.Fatal(err)
	}
}

func TestClientsShareTransportsAndTheirNumberIsBounded(t *testing.T) {
	g := &Guard{}
	if g.Client(nil).Transport != g.Client([]string{"not a target"}).Transport {
		t.Error("two clients without targets of their own do not share")
	}
	if g.Client([]string{"a:1", "B:2"}).Transport != g.Client([]string{"b:2", "a:1", "a:1"}).Transport {
		t.Error("equal lists do not share")
	}
	if g.Client([]string{"a:1"}).Transport == g.Client([]string{"a:2"}).Transport {
		t.Error("different lists share")
	}
	for i := range 3 * maxPrivate {
		g.Client([]string{fmt.Sprintf("host:%d", i)})
	}
	if len(g.private) != maxPrivate || len(g.recent) != maxPrivate {
		t.Errorf("%d transports, %d remembered", len(g.private), len(g.recent))
	}
}
