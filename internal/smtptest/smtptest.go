// Package smtptest is a mail server for tests (RFC 5321, RFC 3207, RFC 4954): it keeps what it is given, and
// can be told to refuse it, to lose its voice or to offer no TLS.
package smtptest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mail is one message that was taken.
type Mail struct {
	From, To string
	Data     string // headers and body as they came
	TLS      bool
	User     string // who signed in; "" nobody
}

// Server listens on this machine.
type Server struct {
	Addr  string
	Roots *x509.CertPool // who vouches for it
	// Implicit speaks TLS from the first byte; NoTLS offers none. User and Password are asked for where
	// they are set.
	Implicit, NoTLS bool
	User, Password  string
	// Reply answers a command ("RCPT", "DATA", "." for the end of the data) with a line of its own; "" is the
	// usual one, "hang" none. It is told how often the command came.
	Reply func(command string, times int) string

	mu    sync.Mutex
	taken []Mail
	times map[string]int
	tls   *tls.Config
}

// Start listens until the test ends.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.times = map[string]int{}
	s.tls, s.Roots = certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	var all sync.WaitGroup
	over := make(chan struct{})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				stop := make(chan struct{})
				go func() {
					select {
					case <-over:
					case <-stop:
					}
					c.Close()
				}()
				s.talk(c, over)
				close(stop)
			})
		}
	})
	t.Cleanup(func() { close(over); l.Close(); all.Wait() })
}

// Taken is what was taken so far.
func (s *Server) Taken() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.taken...)
}

// Times is how often a command came.
func (s *Server) Times(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times[command]
}

func certificate(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// talk is one conversation.
func (s *Server) talk(c net.Conn, over chan struct{}) {
	if s.Implicit {
		c = tls.Server(c, s.tls)
	}
	secure := s.Implicit
	in := bufio.NewReader(c)
	var m Mail
	say := func(command, usual string) bool {
		s.mu.Lock()
		s.times[command]++
		n := s.times[command]
		s.mu.Unlock()
		if s.Reply != nil {
			if own := s.Reply(command, n); own == "hang" {
				<-over
				return false
			} else if own != "" {
				usual = own
			}
		}
		_, err := c.Write([]byte(usual + "\r\n"))
		return err == nil && usual[0] <= '3'
	}
	say("connect", "220 mail.example ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch verb = strings.ToUpper(verb); verb {
		case "EHLO", "HELO":
			text := "250-mail.example\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
			if !secure && !s.NoTLS {
				text += "250-STARTTLS\r\n"
			}
			if s.User != "" {
				text += "250-AUTH PLAIN LOGIN\r\n"
			}
			say("EHLO", text+"250 SMTPUTF8")
		case "STARTTLS":
			if say("STARTTLS", "220 go on") {
				c = tls.Server(c, s.tls)
				in, secure = bufio.NewReader(c), true
			}
		case "AUTH":
			_, secret, _ := strings.Cut(rest, " ")
			raw, _ := base64.StdEncoding.DecodeString(secret)
			if string(raw) == "\x00"+s.User+"\x00"+s.Password {
				m.User = s.User
				say("AUTH", "235 welcome")
			} else {
				say("AUTH", "535 5.7.8 no such user "+s.User)
			}
		case "MAIL":
			if s.User != "" && m.User == "" {
				say("MAIL", "530 5.7.0 sign in first")
				continue
			}
			m = Mail{From: bracketed(rest), User: m.User, TLS: secure}
			say("MAIL", "250 2.1.0 ok")
		case "RCPT":
			m.To = bracketed(rest)
			say("RCPT", "250 2.1.5 ok")
		case "DATA":
			if !say("DATA", "354 go on") {
				continue
			}
			m.Data = ""
			for {
				text, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if text == ".\r\n" {
					break
				}
				m.Data += strings.TrimPrefix(text, ".")
			}
			if say(".", "250 2.0.0 taken") {
				s.mu.Lock()
				s.taken = append(s.taken, m)
				s.mu.Unlock()
			}
		case "QUIT":
			say("QUIT", "221 bye")
			return
		default:
			say(verb, "250 2.0.0 ok")
		}
	}
}

func bracketed(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}
