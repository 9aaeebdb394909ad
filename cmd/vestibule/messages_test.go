package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/delivery/sms"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/internal/smtptest"
	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/themes"
)

// through has a house send by a mail server.
func through(t *testing.T, s *smtptest.Server) func(*config) {
	t.Helper()
	s.Start(t)
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return func(c *config) {
		c.Messages = messaging{Limits: delivery.DefaultLimits(), Mail: &mail.SMTP{Host: "127.0.0.1", Port: n, Security: mail.StartTLS, Roots: s.Roots,
			From: netmail.Address{Address: "login@example.com"}, Name: "login.example.com", Dial: (&outbound.Guard{Own: c.Own}).Dialer([]string{s.Addr}), Now: c.Now}}
	}
}

func (w *world) codeTo(org directory.OrgID, address, code string) delivery.Mail {
	now := w.clock.now()
	return delivery.Mail{Org: string(org), Person: "per_1", To: address, Language: "es", NotAfter: now.Add(10 * time.Minute),
		Message: templates.CodeMail{Code: code, App: "Payments", Org: "Acme", Browser: "Chrome", At: now, Minutes: 10}}
}

// ended waits until a number of jobs of an organization are over.
func (w *world) ended(org directory.OrgID, n int) []delivery.Delivery {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		list, err := w.h.store.Deliveries(w.t.Context(), string(org), delivery.Query{Most: 100})
		w.must(err)
		over := 0
		for _, d := range list {
			if d.Outcome != delivery.Waiting {
				over++
			}
		}
		if over >= n {
			return list
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("only %d of %d are over: %+v", over, n, list)
		}
	}
}

func TestACodeArrivesAfterGreylistingAndStandsNowhere(t *testing.T) {
	s := &smtptest.Server{Reply: func(command string, times int) string {
		if command == "RCPT" && times == 1 {
			return "451 4.7.1 come again"
		}
		return ""
	}}
	w := worldIn(t, t.TempDir(), through(t, s))
	org := w.addOrg("acme", "")
	w.must(w.h.store.PutTheme(t.Context(), org, themes.Theme{Brand: "#5747d8"}))
	w.must(w.h.messages.Mail(t.Context(), w.codeTo(org, "ada.lovelace@acme.example", "482913")))
	d := w.ended(org, 1)[0]
	if d.Outcome != delivery.Delivered || d.Attempts != 2 || d.Target != "per_1" || d.Kind != delivery.MailKind {
		t.Errorf("%+v", d)
	}
	got := s.Taken()
	if len(got) != 1 || !strings.Contains(got[0].Data, "482913") || !strings.Contains(got[0].Data, "#5747d8") || !strings.Contains(got[0].Data, "Message-ID: <"+d.ID+"@example.com>") ||
		!strings.Contains(got[0].Data, "Subject: =?UTF-8?q?Su_c=C3=B3digo_para_Payments?=") {
		t.Errorf("%+v", got)
	}
	for _, secret := range []string{"482913", "ada.lovelace", "come again"} {
		if strings.Contains(w.logged.String(), secret) {
			t.Errorf("%s stands in the log", secret)
		}
	}
}

// What waits can be read by nobody who has the database alone.
func TestWhatWaitsToBeSentIsSealed(t *testing.T) {
	s := &smtptest.Server{Reply: func(command string, _ int) string {
		if command == "connect" {
			return "421 4.3.2 later"
		}
		return ""
	}}
	dir := t.TempDir()
	w := worldIn(t, dir, through(t, s))
	org := w.addOrg("acme", "")
	w.must(w.h.messages.Mail(t.Context(), w.codeTo(org, "ada.lovelace@private.example", "771204")))
	w.must(w.h.messages.Mail(t.Context(), w.codeTo("", "ada.lovelace@private.example", "771204"))) // the platform's
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	w.must(err)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		w.must(err)
		for _, secret := range []string{"771204", "ada.lovelace", "private.example"} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s stands in %s", secret, filepath.Base(f))
			}
		}
	}
}

func TestAMailboxThatIsNotThereIsToldToTheRecordOnce(t *testing.T) {
	s := &smtptest.Server{Reply: func(command string, _ int) string {
		if command == "RCPT" {
			return "550 5.1.1 ada@acme.example is nobody"
		}
		return ""
	}}
	w := worldIn(t, t.TempDir(), through(t, s))
	org := w.addOrg("acme", "")
	w.must(w.h.messages.Mail(t.Context(), w.codeTo(org, "ada@acme.example", "482913")))
	nobody := w.codeTo(org, "nobody@acme.example", "482914")
	nobody.Person, nobody.Nobody = "", true
	w.must(w.h.messages.Mail(t.Context(), nobody))
	for _, d := range w.ended(org, 2) {
		if want := map[string]string{"per_1": "smtp 550", "": "nobody"}[d.Target]; d.Class != want || d.Outcome != delivery.Refused || d.Attempts != 1 {
			t.Errorf("%+v", d)
		}
	}
	if s.Times("RCPT") != 1 || s.Times("connect") != 1 {
		t.Errorf("%d times asked, %d times called", s.Times("RCPT"), s.Times("connect"))
	}
	if strings.Contains(w.logged.String(), "ada@acme") {
		t.Error("an address in the log")
	}
	if told := w.recorded(org, audit.MessageUndelivered); len(told) != 1 || told[0] != "per_1" {
		t.Errorf("%q", told)
	}
}

// A budget holds over a restart.
func TestS30ARestartGivesNoMoreMessages(t *testing.T) {
	dir := t.TempDir()
	off := func(c *config) {
		c.Messages = messaging{Limits: delivery.DefaultLimits(), Mail: refusing{}}
	}
	first := worldIn(t, dir, off)
	org := first.addOrg("acme", "")
	for range 10 {
		first.must(first.h.messages.Mail(t.Context(), first.codeTo(org, "ada@acme.example", "482913")))
	}
	first.h.close()
	second := worldIn(t, dir, off)
	if err := second.h.messages.Mail(t.Context(), second.codeTo(org, "ada@acme.example", "482913")); !errors.Is(err, delivery.ErrBudget) {
		t.Errorf("after a restart: %v", err)
	}
}

// refusing takes nothing.
type refusing struct{}

func (refusing) Deliver(context.Context, mail.Message) error { return delivery.Fail("away", nil) }

func TestWhatIsNotSetUpIsNotOffered(t *testing.T) {
	w := newWorld(t)
	if w.h.messages.Offers() != (delivery.Offers{}) {
		t.Errorf("%+v", w.h.messages.Offers())
	}
	if err := w.h.messages.Mail(t.Context(), w.codeTo("", "ada@acme.example", "482913")); !errors.Is(err, delivery.ErrNotOffered) {
		t.Error(err)
	}
	if err := w.h.messages.SMS(t.Context(), delivery.SMS{To: "+491701234567", Message: templates.CodeSMS{Code: "482913"}}); !errors.Is(err, delivery.ErrNotOffered) {
		t.Error(err)
	}
}

// Settings of serve lead to a gateway that knows us, and to a mail server that doctor can talk to.
func TestServeSendsByWhatItsSettingsName(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	secret, err := sms.Secret("whsec_dGhpcyBpcyBvbmx5IGFuIGV4YW1wbGUu")
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Webhook-Signature") != sms.Sign(secret, r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body) {
			t.Error("not signed")
		}
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, string(body))
	}))
	defer gateway.Close()
	s := &smtptest.Server{NoTLS: true}
	s.Start(t)
	settings, err := readSettings("", nil, []string{"VESTIBULE_SMTP=smtp://" + s.Addr + "?tls=none", "VESTIBULE_MAIL_FROM=Example <login@example.com>",
		"VESTIBULE_SMS_GATEWAY=" + gateway.URL, "VESTIBULE_SMS_SECRET_FILE=" + file(t, "secret", "whsec_dGhpcyBpcyBvbmx5IGFuIGV4YW1wbGUu\n", 0o600),
		"VESTIBULE_SMS_COUNTRIES=DE=0.07,US=0.008", "VESTIBULE_SMS_DAILY_BUDGET=1"})
	if err != nil {
		t.Fatal(err)
	}
	if m := settings.Messages; m.Prices["DE"] != 70_000 || m.Prices["US"] != 8000 || m.SMSPerDay != 1_000_000 || m.SMSPerOrg != 200_000 || len(settings.notes) != 0 {
		t.Errorf("%+v %v", m, settings.notes)
	}
	w := worldIn(t, t.TempDir(), func(c *config) { c.Messages = settings.messages(c.Own) })
	org := w.addOrg("acme", "")
	to, err := w.h.messages.Number("+49 170 1234567")
	w.must(err)
	w.must(w.h.messages.SMS(t.Context(), delivery.SMS{Org: string(org), Person: "per_1", To: to, Language: "en", Message: templates.CodeSMS{Code: "482913", App: "Payments", Host: "localhost"}}))
	w.must(w.h.messages.Mail(t.Context(), w.codeTo(org, "ada@acme.example", "482913")))
	w.ended(org, 2)
	mu.Lock()
	defer mu.Unlock()
	var got sms.Message
	if len(bodies) != 1 || json.Unmarshal([]byte(bodies[0]), &got) != nil || got.To != "+491701234567" || got.Organization != string(org) || got.Text != "482913 is your code for Payments. Never tell it to anybody.\n\n@localhost #482913" {
		t.Errorf("%q", bodies)
	}
	if taken := s.Taken(); len(taken) != 1 || taken[0].From != "login@example.com" {
		t.Errorf("%+v", taken)
	}
}

func TestDoctorTalksToTheMailServer(t *testing.T) {
	says := func(s *smtptest.Server, how string, env ...string) finding {
		t.Helper()
		s.Start(t)
		all := append([]string{"VESTIBULE_SMTP=" + strings.ReplaceAll(how, "HOST", s.Addr), "VESTIBULE_MAIL_FROM=login@example.com"}, env...)
		settings, err := readSettings("", nil, all)
		if err != nil {
			t.Fatal(err)
		}
		d := &doctor{settings: settings}
		d.messages(t.Context())
		if len(d.list) != 1 || s.Times("MAIL") != 0 {
			t.Fatalf("%+v", d.list)
		}
		return d.list[0]
	}
	if f := says(&smtptest.Server{NoTLS: true}, "smtp://HOST?tls=none"); f.Status != "ok" || !strings.Contains(f.Text, "takes e-mail from us (in the open)") {
		t.Errorf("%+v", f)
	}
	if f := says(&smtptest.Server{}, "smtp://HOST"); f.Status == "ok" || !strings.Contains(f.Remedy, "certificate for its name") {
		t.Errorf("%+v", f)
	}
	if f := says(&smtptest.Server{NoTLS: true, User: "u", Password: "p"}, "smtp://u@HOST", "VESTIBULE_SMTP_PASSWORD=geheim"); f.Status == "ok" || strings.Contains(f.Text, "geheim") {
		t.Errorf("%+v", f)
	}
}
