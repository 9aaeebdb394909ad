package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/delivery/sms"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/store"
	"github.com/vestibule-id/vestibule/templates"
)

// This file wires how people are written to.

// messaging is what takes messages; the zero value writes to nobody.
type messaging struct {
	Mail   mail.Transport // nil: no e-mail
	SMS    sms.Transport  // nil: no text messages
	Limits delivery.Limits
}

// errOff: what was enqueued before an operator took a setting out waits until it is over its time.
var errOff = delivery.Fail("not configured", nil)

type (
	noMail struct{}
	noSMS  struct{}
)

func (noMail) Deliver(context.Context, mail.Message) error { return errOff }
func (noSMS) Deliver(context.Context, sms.Message) error   { return errOff }

func (m messaging) mail() mail.Transport {
	if m.Mail == nil {
		return noMail{}
	}
	return m.Mail
}

func (m messaging) sms() sms.Transport {
	if m.SMS == nil {
		return noSMS{}
	}
	return m.SMS
}

// alarmsHeld is how many alarms may wait to be recorded; more of them say the same.
const alarmsHeld = 64

// post is what rooms are handed.
func (m messaging) post(ctx context.Context, c config, db *store.Store) (*delivery.Post, error) {
	pepper, err := db.Secret(ctx, "messages")
	if err != nil {
		return nil, err
	}
	return &delivery.Post{
		Outbox: db, Budgets: db, Tx: db, Audit: db, Limits: m.Limits, Sends: delivery.Offers{Mail: m.Mail != nil, SMS: m.SMS != nil}, Pepper: pepper,
		Made:     func(org string) time.Time { return directory.OrgID(org).Made() },
		NewJob:   func(now time.Time) string { return string(directory.NewJobID(now)) },
		NewEntry: func(now time.Time) string { return string(directory.NewEntryID(now)) },
		Alarms:   make(chan delivery.Alarm, alarmsHeld), Now: c.Now, Log: c.Log,
	}, nil
}

// letterLook says how an organization's e-mails look.
func (h *house) letterLook(issuer string) func(ctx context.Context, org string) (templates.LetterLook, error) {
	return func(ctx context.Context, org string) (templates.LetterLook, error) {
		return h.looks.Letter(ctx, directory.OrgID(org), issuer)
	}
}

// messages opens what the settings name. The mail server and the gateway are the operator's, and may have
// private addresses; nothing else is opened by that.
func (s *settings) messages(own func() []netip.AddrPort) messaging {
	m := messaging{Limits: s.Messages}
	guard := &outbound.Guard{Own: own}
	if s.SMTP.Host != "" {
		m.Mail = s.smtp(guard)
	}
	if s.Gateway.Host != "" {
		m.SMS = &sms.Gateway{URL: s.Gateway.String(), Secret: s.GatewaySecret, Client: guard.Client([]string{hostPort(s.Gateway)}), Now: s.now}
	}
	return m
}

func (s *settings) smtp(guard *outbound.Guard) *mail.SMTP {
	server := s.SMTP
	server.From, server.Name, server.Now = s.MailFrom, "localhost", s.now
	if u, err := issuerOf(s.Issuer); err == nil {
		server.Name = u.Hostname()
	}
	if s.SMTPPassword != "" {
		server.Password = s.SMTPPassword
	}
	server.Dial = guard.Dialer([]string{strings.ToLower(server.Address())})
	return &server
}

// completeMessages refuses what does not go together.
func (s *settings) completeMessages() error {
	mailed, texted := s.SMTP.Host != "", s.Gateway.Host != ""
	signs := s.SMTP.Password != "" || s.SMTPPassword != ""
	switch {
	case mailed && s.MailFrom.Address == "":
		return wrong(errSettings, "%s: e-mail comes from somebody. Set mail_from (%sMAIL_FROM), such as login@example.com.", s.where("smtp"), envPrefix)
	case s.SMTP.Password != "" && s.SMTPPassword != "":
		return wrong(errSettings, "%s: there is a password in smtp too. Keep one of them.", s.where("smtp_password"))
	case signs && s.SMTP.User == "":
		return wrong(errSettings, "%s: a password belongs to a user. Write the user into smtp, as smtp://user@host:port.", s.where("smtp_password", "smtp"))
	case s.SMTP.Security == mail.Plain && s.SMTP.User != "":
		return wrong(errSettings, "%s: no password is sent without TLS. Take out tls=none, or the user.", s.where("smtp"))
	case texted && (s.GatewaySecret == nil || s.Messages.Prices == nil || s.Messages.SMSPerDay == 0):
		return wrong(errSettings, "%s: text messages need sms.secret, sms.countries with their prices, and sms.daily_budget.", s.where("sms.gateway"))
	case s.Messages.SMSPerOrg > s.Messages.SMSPerDay:
		return wrong(errSettings, "%s: one organization cannot have more than sms.daily_budget.", s.where("sms.daily_budget_per_organization"))
	}
	if s.Messages.SMSPerOrg == 0 {
		s.Messages.SMSPerOrg = s.Messages.SMSPerDay / 5
	}
	if a, err := netip.ParseAddr(s.SMTP.Host); s.SMTP.Security == mail.Plain && s.SMTP.Host != "localhost" && (err != nil || !a.IsLoopback()) {
		s.notes = append(s.notes, "E-mail goes to "+s.SMTP.Address()+" in the open: whoever is on the way reads the codes and links in it.")
	}
	return nil
}

// plainly is the sentence of a fault without its end, as errors of values are.
func plainly(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimSuffix(fault.Of(err).Public, "."))
}

func sender(v string) (netmail.Address, error) {
	a, err := netmail.ParseAddress(v)
	if err != nil || !strings.Contains(a.Address, "@") || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return netmail.Address{}, fmt.Errorf("an address is login@example.com or Example <login@example.com>, not %s", yamlfile.Quote(v))
	}
	return *a, nil
}

func quota(q *delivery.Quota, v string) error {
	var l web.Limit
	if err := limit(&l, v); err != nil {
		return err
	}
	*q = delivery.Quota{Most: l.Most, Per: l.Per}
	return nil
}

// gateway reads the address of an SMS gateway. What is sent there are codes, so it is https, or on this
// machine. Nothing of it is quoted: it may hold a key.
func gateway(v string) (url.URL, error) {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return url.URL{}, errors.New("a gateway is an https:// address without user and password")
	}
	a, err := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || err == nil && a.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !here) {
		return url.URL{}, errors.New("a gateway is an https:// address; http:// only on this machine")
	}
	return *u, nil
}

// hostPort is host:port of an address.
func hostPort(u url.URL) string { return net.JoinHostPort(u.Hostname(), portOf(&u)) }

// prices reads US=0.01,MX=0.05.
func prices(v string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, part := range listOf(v) {
		country, price, _ := strings.Cut(part, "=")
		country = strings.TrimSpace(country)
		if !delivery.IsCountry(country) {
			return nil, fmt.Errorf("a country is its code of two capitals, such as US=0.01, not %s", yamlfile.Quote(part))
		}
		if _, twice := out[country]; twice {
			return nil, fmt.Errorf("%s stands here twice", country)
		}
		var err error
		if out[country], err = money(price); err != nil {
			return nil, fmt.Errorf("%s: %w", country, err)
		}
	}
	return out, nil
}

// money reads an amount in millionths.
func money(v string) (int64, error) {
	amount, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || math.IsNaN(amount) || amount < 1e-6 || amount > 1e9 {
		return 0, fmt.Errorf("an amount is a number such as 0.05 or 50, not %s", yamlfile.Quote(v))
	}
	return int64(math.Round(amount * 1e6)), nil
}

// tellFactor writes to whoever's second steps were changed, in the transaction of the change. Where no
// e-mail is sent, or a person has no address, the record tells it alone.
func (h *house) tellFactor(ctx context.Context, s mfa.Subject, what mfa.Change) error {
	if !h.messages.Offers().Mail || s.Email == "" {
		return nil
	}
	m := delivery.Mail{Org: string(s.Home), Person: string(s.Person), To: s.Email, Language: templates.Language(s.Locale)}
	if what.What == mfa.RecoveryUsed {
		m.Message = templates.RecoveryUsedMail{Left: what.Left, App: s.App, Org: s.OrgName, Browser: s.Place, At: what.At}
	} else {
		m.Message = templates.FactorChangedMail{Change: what.What, Factor: string(what.Method), Name: what.Label, Org: s.OrgName, Browser: s.Place, At: what.At}
	}
	err := h.messages.Mail(ctx, m)
	if errors.Is(err, delivery.ErrAddress) { // what a provider calls an address need not be one
		return nil
	}
	return err
}
