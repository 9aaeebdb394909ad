package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
)

// Security is how a connection to the mail server is protected.
type Security string

const (
	StartTLS Security = "starttls" // smtp://: it begins in the open, and nothing is said before TLS (RFC 3207)
	TLS      Security = "tls"      // smtps://: TLS from the first byte (RFC 8314)
	Plain    Security = "none"     // smtp://…?tls=none: no password is sent
)

// SMTP is a Transport: one mail server that takes everything. All fields but User, Password and Roots are
// required.
type SMTP struct {
	Host     string
	Port     int
	Security Security
	User     string // "" signs in nowhere
	Password string
	From     mail.Address
	// Name is what we call ourselves (EHLO): the host of the issuer, so that no inner name is told.
	Name  string
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool // nil is the system's
	Now   func() time.Time
}

var _ Transport = (*SMTP)(nil)

// errServer: the sentence says what is wrong with the address of a mail server.
var errServer = fault.New(fault.Invalid, "mail.server", "A mail server is smtp://user@host:port (STARTTLS) or smtps://user@host:port (TLS).")

// Server reads smtp://user@host:port, smtps://… and smtp://host:port?tls=none. A password may stand in it.
func Server(address string) (SMTP, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" || u.Opaque != "" {
		return SMTP{}, errServer
	}
	s := SMTP{Host: u.Hostname(), User: u.User.Username()}
	s.Password, _ = u.User.Password()
	query := u.Query()
	switch open := u.RawQuery == "tls=none"; {
	case len(query) > 0 && !open:
		return SMTP{}, errServer
	case u.Scheme == "smtps" && !open:
		s.Security, s.Port = TLS, 465
	case u.Scheme == "smtp" && open:
		s.Security, s.Port = Plain, 25
	case u.Scheme == "smtp":
		s.Security, s.Port = StartTLS, 587
	default:
		return SMTP{}, errServer
	}
	if p := u.Port(); p != "" {
		if s.Port, err = strconv.Atoi(p); err != nil || s.Port < 1 || s.Port > 65535 {
			return SMTP{}, errServer
		}
	}
	return s, nil
}

// Address is host:port.
func (s *SMTP) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// talk bounds a conversation with the server; a Runner gives a send a little more.
const talk = 15 * time.Second

// conversation is an open connection to the server that has taken our password.
type conversation struct {
	net    net.Conn
	client *gomail.Client
	smtp   *smtp.Client
	stop   func() bool
}

// open connects, protects the connection and signs in. TLS and the sign-in are ours to order: a password
// is never said in the open, whatever the server offers.
func (s *SMTP) open(ctx context.Context) (c *conversation, err error) {
	c = &conversation{}
	until := ctx
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	c.client, err = gomail.NewClient(s.Host, gomail.WithPort(s.Port), gomail.WithTimeout(talk), gomail.WithHELO(s.Name), gomail.WithTLSPolicy(gomail.NoTLS),
		gomail.WithoutNoop(), gomail.WithoutRset(), gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			var err error
			if c.net, err = s.dial(ctx, network, address); err == nil {
				c.stop = context.AfterFunc(until, func() { c.net.Close() }) // a server that hangs is left
			}
			return c.net, err
		}))
	if err != nil {
		return c, err
	}
	if c.smtp, err = c.client.DialToSMTPClientWithContext(ctx); err != nil {
		return c, err
	}
	if s.Security == StartTLS {
		if offered, _ := c.smtp.Extension("STARTTLS"); !offered {
			return c, errTLS{errors.New("the server offers no STARTTLS")}
		}
		if err := c.smtp.StartTLS(s.tls()); err != nil {
			return c, errTLS{err}
		}
	}
	return c, s.signIn(c.smtp)
}

func (c *conversation) close() {
	if c.stop != nil {
		c.stop()
		c.net.Close()
	}
}

// dial dials through the guard.
func (s *SMTP) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := s.Dial(ctx, network, address)
	if err != nil || s.Security != TLS {
		return c, err
	}
	secure := tls.Client(c, s.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, errTLS{err}
	}
	return secure, nil
}

func (s *SMTP) tls() *tls.Config {
	return &tls.Config{ServerName: s.Host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
}

// signIn says who we are, in the way that gives the least away.
func (s *SMTP) signIn(c *smtp.Client) error {
	if s.User == "" || s.Security == Plain {
		return nil
	}
	_, offered := c.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	var how smtp.Auth
	switch {
	case slices.Contains(ways, "SCRAM-SHA-256"):
		how = smtp.ScramSHA256Auth(s.User, s.Password)
	case slices.Contains(ways, "PLAIN"):
		how = smtp.PlainAuth("", s.User, s.Password, s.Host, false)
	case slices.Contains(ways, "LOGIN"):
		how = smtp.LoginAuth(s.User, s.Password, s.Host, false)
	case slices.Contains(ways, "CRAM-MD5"):
		how = smtp.CRAMMD5Auth(s.User, s.Password)
	default:
		return errAuth{errors.New("the server offers no sign-in that we know")}
	}
	if err := c.Auth(how); err != nil {
		return errAuth{err}
	}
	return nil
}

// What went wrong before a message was spoken of.
type (
	errTLS  struct{ error }
	errAuth struct{ error }
)

func (e errTLS) Unwrap() error  { return e.error }
func (e errAuth) Unwrap() error { return e.error }

// Check says whether the server can be reached, proves itself and takes our password. It sends nothing.
func (s *SMTP) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, talk)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return failure(err)
	}
	defer c.close()
	_ = c.smtp.Quit() // it answered all that was asked
	return nil
}

// Deliver hands one message to the server.
func (s *SMTP) Deliver(ctx context.Context, m Message) error {
	msg, err := s.message(m)
	if err != nil {
		return delivery.Never("address", err)
	}
	ctx, cancel := context.WithTimeout(ctx, talk)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return failure(err)
	}
	defer c.close()
	err = c.client.SendWithSMTPClient(c.smtp, msg)
	if msg.IsDelivered() {
		_ = c.smtp.Quit()
		return nil
	}
	return failure(err)
}

// message is what the server is given. Headers are encoded by the library and hold no line break: names
// and subjects are of one line already, and what is not is refused here.
func (s *SMTP) message(m Message) (*gomail.Msg, error) {
	for _, line := range []string{m.FromName, m.To, m.Subject, m.ID} {
		if strings.ContainsFunc(line, unicode.IsControl) {
			return nil, errors.New("a header of more than one line")
		}
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	from := s.From
	if m.FromName != "" {
		from.Name = m.FromName
	}
	msg.FromMailAddress(&from)
	if err := msg.To(m.To); err != nil {
		return nil, errors.New("the address cannot be written to") // the library's words hold it
	}
	_, domain, _ := strings.Cut(s.From.Address, "@")
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	msg.SetDateWithValue(s.Now())
	msg.Subject(m.Subject)
	// RFC 3834 section 5: nobody's out-of-office answers it.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, nil
}

// failure classes an error, and keeps the server's words, which hold addresses, out of the log.
func failure(err error) error {
	if send, ok := errors.AsType[*gomail.SendError](err); ok {
		return refusal(send)
	}
	if _, ok := errors.AsType[errAuth](err); ok {
		return delivery.Fail("auth", spoken(err)) // the operator's to mend
	}
	if _, ok := errors.AsType[errTLS](err); ok {
		return delivery.Fail("tls", spoken(err))
	}
	var timeout net.Error
	switch {
	case errors.Is(err, outbound.ErrRefused):
		return delivery.Fail("refused", err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return delivery.Fail("timeout", spoken(err))
	}
	return delivery.Fail("unreachable", spoken(err))
}

// refusal is what a server said to a message (RFC 5321 section 4.2.1): a reply of 5yz is for ever, one of
// 4yz, as of greylisting, may pass.
func refusal(e *gomail.SendError) error {
	code := e.ErrorCode()
	if code == 0 {
		return delivery.Fail("connection", errors.New(e.Reason.String()))
	}
	class := fmt.Sprintf("smtp %d", code)
	cause := errors.New(strings.TrimSpace(e.Reason.String() + " " + e.EnhancedStatusCode()))
	if code >= 500 && e.Reason != gomail.ErrConnCheck {
		return delivery.Never(class, cause)
	}
	return delivery.Fail(class, cause)
}

// spoken is an error without what the server said.
func spoken(err error) error {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("the server answered %d", reply.Code)
	}
	return err
}
