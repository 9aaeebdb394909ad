package mail_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/internal/smtptest"
)

func transport(t *testing.T, s *smtptest.Server) *mail.SMTP {
	t.Helper()
	s.Start(t)
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	guard := &outbound.Guard{}
	out := &mail.SMTP{Host: "127.0.0.1", Port: n, Security: mail.StartTLS, From: netmail.Address{Name: "Vestibule", Address: "login@example.com"}, Name: "login.example.com",
		Dial: guard.Dialer([]string{s.Addr}), Roots: s.Roots, Now: func() time.Time { return time.Date(2026, 11, 22, 9, 40, 0, 0, time.UTC) }}
	if s.Implicit {
		out.Security = mail.TLS
	}
	return out
}

var letter = mail.Message{ID: "job_1", FromName: "Müller & Söhne", To: "ada@acme.example", Subject: "Ihr Code für Zürich", Text: "482913\n.\nüber", HTML: "<p>482913 über</p>"}

// class is what a Runner makes of an error.
func class(err error) string {
	if err == nil {
		return ""
	}
	return strings.SplitN(err.Error(), ":", 2)[0]
}

func TestAMailArrivesInTwoPartsByTLS(t *testing.T) {
	for name, s := range map[string]*smtptest.Server{
		"STARTTLS": {}, "TLS": {Implicit: true},
		"STARTTLS, signed in": {User: "vestibule", Password: "pässword"}, "TLS, signed in": {Implicit: true, User: "vestibule", Password: "pw"},
	} {
		t.Run(name, func(t *testing.T) {
			out := transport(t, s)
			out.User, out.Password = s.User, s.Password
			if err := out.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := out.Deliver(t.Context(), letter); err != nil {
				t.Fatal(err)
			}
			got := s.Taken()
			if len(got) != 1 || !got[0].TLS || got[0].From != "login@example.com" || got[0].To != "ada@acme.example" || got[0].User != s.User {
				t.Fatalf("%+v", got)
			}
			m, err := netmail.ReadMessage(strings.NewReader(got[0].Data))
			if err != nil {
				t.Fatal(err)
			}
			decode := func(header string) string {
				text, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get(header))
				if err != nil {
					t.Error(err)
				}
				return text
			}
			for header, want := range map[string]string{
				"Subject": letter.Subject, "Message-ID": "<job_1@example.com>", "Auto-Submitted": "auto-generated", "To": "<ada@acme.example>",
				"Date": "Sun, 22 Nov 2026 09:40:00 +0000",
			} {
				if got := decode(header); got != want {
					t.Errorf("%s is %q, not %q", header, got, want)
				}
			}
			if from, err := m.Header.AddressList("From"); err != nil || from[0].Name != letter.FromName || from[0].Address != "login@example.com" {
				t.Errorf("From is %v %v", from, err)
			}
			for _, hidden := range []string{"User-Agent", "X-Mailer"} {
				if got := m.Header.Get(hidden); got != "" {
					t.Errorf("%s: %s", hidden, got)
				}
			}
			parts := readParts(t, m)
			if parts["text/plain"] != letter.Text || parts["text/html"] != letter.HTML {
				t.Errorf("%q", parts)
			}
		})
	}
}

func readParts(t *testing.T, m *netmail.Message) map[string]string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s %v", kind, err)
	}
	out := map[string]string{}
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return out
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		out[kind] = strings.ReplaceAll(strings.TrimSuffix(string(text), "\r\n"), "\r\n", "\n")
	}
}

func TestWhatAServerSaysIsClassedAndItsWordsStayOut(t *testing.T) {
	say := func(at, text string) func(string, int) string {
		return func(command string, _ int) string {
			if command == at {
				return text
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		server *smtptest.Server
		change func(*mail.SMTP)
		class  string
	}{
		"greylisting":                {&smtptest.Server{Reply: say("RCPT", "451 4.7.1 come again, ada@acme.example")}, nil, "smtp 451"},
		"no such mailbox":            {&smtptest.Server{Reply: say("RCPT", "550 5.1.1 ada@acme.example is nobody")}, nil, "smtp 550"},
		"not taken":                  {&smtptest.Server{Reply: say(".", "554 5.7.1 ada@acme.example wants no spam")}, nil, "smtp 554"},
		"full":                       {&smtptest.Server{Reply: say(".", "452 4.2.2 ada@acme.example is full")}, nil, "smtp 452"},
		"busy":                       {&smtptest.Server{Reply: say("connect", "421 4.3.2 later ada@acme.example")}, nil, "unreachable"},
		"no TLS":                     {&smtptest.Server{NoTLS: true}, nil, "tls"},
		"TLS refused":                {&smtptest.Server{Reply: say("STARTTLS", "454 4.7.0 ada@acme.example no")}, nil, "tls"},
		"a certificate of nobody":    {&smtptest.Server{}, func(s *mail.SMTP) { s.Roots = nil }, "tls"},
		"a certificate of others":    {&smtptest.Server{Implicit: true}, func(s *mail.SMTP) { s.Dial = to(s.Dial, s.Address()); s.Host = "localhost.example" }, "tls"},
		"a wrong password":           {&smtptest.Server{User: "u", Password: "p"}, func(s *mail.SMTP) { s.User, s.Password = "u", "wrong" }, "auth"},
		"no sign-in":                 {&smtptest.Server{}, func(s *mail.SMTP) { s.User, s.Password = "u", "p" }, "auth"},
		"nobody listens":             {&smtptest.Server{}, func(s *mail.SMTP) { s.Port = 1; s.Dial = (&outbound.Guard{}).Dialer([]string{"127.0.0.1:1"}) }, "unreachable"},
		"an address of ours":         {&smtptest.Server{}, func(s *mail.SMTP) { s.Dial = (&outbound.Guard{}).Dialer(nil) }, "refused"},
		"a name that leads to us":    {&smtptest.Server{}, func(s *mail.SMTP) { s.Host = "localhost"; s.Dial = own(s.Address()) }, "refused"},
		"a password without its TLS": {&smtptest.Server{NoTLS: true, User: "u", Password: "p"}, func(s *mail.SMTP) { s.User, s.Password = "u", "p" }, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			out := transport(t, s)
			if c.change != nil {
				c.change(out)
			}
			err := out.Deliver(t.Context(), letter)
			// Of what a server says, 5yz to a message alone is for ever.
			if final := strings.HasPrefix(c.class, "smtp 5"); delivery.Final(err) != final {
				t.Errorf("%v is final: %v", err, !final)
			}
			if class(err) != c.class || len(s.Taken()) != 0 {
				t.Errorf("%v, %d taken", err, len(s.Taken()))
			}
			if err != nil && strings.Contains(err.Error(), "ada@") {
				t.Errorf("an address in the log: %v", err)
			}
			if c.server.NoTLS && s.Times("AUTH")+s.Times("MAIL") > 0 {
				t.Error("something was said in the open")
			}
		})
	}
}

func to(dial func(context.Context, string, string) (net.Conn, error), address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
}

// own judges as if the server were a listener of this process.
func own(address string) func(context.Context, string, string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	guard := &outbound.Guard{Own: func() []netip.AddrPort {
		return []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(n))}
	}}
	return guard.Dialer([]string{address})
}

func TestAServerThatHangsIsLeft(t *testing.T) {
	s := &smtptest.Server{Reply: func(command string, _ int) string {
		if command == "RCPT" {
			return "hang"
		}
		return ""
	}}
	out := transport(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := out.Deliver(ctx, letter); err == nil {
		t.Error("delivered")
	}
}

func TestS45NoHeaderHasTwoLines(t *testing.T) {
	s := &smtptest.Server{}
	out := transport(t, s)
	for name, change := range map[string]func(*mail.Message){
		"subject": func(m *mail.Message) { m.Subject += "\r\nBcc: all@x.example" }, "name": func(m *mail.Message) { m.FromName += "\nBcc: all@x.example" },
		"to": func(m *mail.Message) { m.To += "\r\nRCPT TO:<all@x.example>" }, "two": func(m *mail.Message) { m.To += ",b@x.example" }, "id": func(m *mail.Message) { m.ID += "\r\nX: y" },
	} {
		m := letter
		change(&m)
		if err := out.Deliver(t.Context(), m); class(err) != "address" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Times("connect") != 0 {
		t.Error("the server was called")
	}
}

func TestAServersAddressIsReadOrRefused(t *testing.T) {
	for text, want := range map[string]string{
		"smtp://ada@mail.example.com:2525": "mail.example.com:2525 starttls ada ", "smtp://mail.example.com": "mail.example.com:587 starttls  ",
		"smtps://ada:p%40ss@mail.example.com": "mail.example.com:465 tls ada p@ss", "smtp://[::1]:25?tls=none": "[::1]:25 none  ",
		"smtp://ada%40example.com@mail.example.com": "mail.example.com:587 starttls ada@example.com ",
		"mail.example.com:25":                       "", "http://mail.example.com": "", "smtps://mail.example.com?tls=none": "", "smtp://mail.example.com?tls=maybe": "", "smtp://": "",
		"smtp://mail.example.com:99999": "", "smtp://mail.example.com/x": "", "smtp://mail.example.com?x=y": "",
	} {
		s, err := mail.Server(text)
		got := ""
		if err == nil {
			got = s.Address() + " " + string(s.Security) + " " + s.User + " " + s.Password
		}
		if got != want || (want == "") == (err == nil) {
			t.Errorf("%s: %q (%v), not %q", text, got, err, want)
		}
	}
	if _, err := mail.Server("smtp://a:secret@host:x"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(errors.Unwrap(err))
	}
}
