// Package sms sends text messages through the operator's gateway: one HTTP address of their own, or of a
// small adapter in front of whoever carries their messages. It posts JSON,
//
//	{"id": "job_…", "to": "+491701234567", "text": "482913 is your code …", "organization": "org_…"}
//
// signed as Standard Webhooks has it (standardwebhooks.com): webhook-id, webhook-timestamp and
// webhook-signature, "v1," and the HMAC-SHA256 of id.timestamp.body in base64. Any status 2xx is taken for
// sent; 4xx is never tried again but for 408, 425 and 429; anything else is tried again with the same id.
package sms

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/templates"
)

// Message is a text message as it leaves.
type Message struct {
	ID           string `json:"id"` // the job's: the same at every try
	To           string `json:"to"` // E.164
	Text         string `json:"text"`
	Organization string `json:"organization"` // "" is the platform
}

// Transport takes messages. Its errors are those of delivery.Fail and delivery.Never.
type Transport interface {
	Deliver(ctx context.Context, m Message) error
}

// Sender is the delivery.Sender of text messages. All fields are required.
type Sender struct {
	Pages *templates.Renderer
	Out   Transport
	// Undelivered is the entry of a message that did not arrive.
	Undelivered func(j delivery.Job, d delivery.Delivery) (audit.Entry, bool)
}

var (
	_ delivery.Sender = Sender{}
	_ delivery.Noter  = Sender{}
)

// Send writes a message and hands it over.
func (s Sender) Send(ctx context.Context, j delivery.Job) error {
	l, err := delivery.Open(j)
	if err != nil {
		return err
	}
	if l.Nobody {
		return delivery.Never("nobody", nil)
	}
	letter, err := templates.ReadLetter(l.Template, l.Message)
	if err != nil {
		return delivery.Never("message", err)
	}
	w, err := s.Pages.Letter(templates.LetterLook{}, l.Language, letter)
	if err != nil || w.HTML != "" {
		return delivery.Never("message", err)
	}
	return s.Out.Deliver(ctx, Message{ID: j.ID, To: l.To, Text: w.Text, Organization: j.Org})
}

// Note has a message that did not arrive stand in the record.
func (s Sender) Note(j delivery.Job, d delivery.Delivery) (audit.Entry, bool) {
	return s.Undelivered(j, d)
}

// Gateway is a Transport: the operator's HTTP address. All fields are required.
type Gateway struct {
	URL    string
	Secret []byte
	Client *http.Client // the guard's
	Now    func() time.Time
}

var _ Transport = (*Gateway)(nil)

// errSecret: the sentence says what a secret is.
var errSecret = fault.New(fault.Invalid, "sms.secret", "The secret of an SMS gateway is whsec_ and at least 24 random bytes in base64, as echo whsec_$(openssl rand -base64 32) makes it.")

// Secret reads whsec_…, which both sides share.
func Secret(text string) ([]byte, error) {
	rest, marked := strings.CutPrefix(text, "whsec_")
	raw, err := base64.StdEncoding.DecodeString(rest)
	if !marked || err != nil || len(raw) < 24 || len(raw) > 64 {
		return nil, errSecret
	}
	return raw, nil
}

// Sign gives the signature of a body.
func Sign(secret []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// answerSize is how much of an answer is read before its connection is used again.
const answerSize = 4 << 10

// Deliver posts one message.
func (g *Gateway) Deliver(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return delivery.Never("message", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL, bytes.NewReader(body))
	if err != nil {
		return delivery.Never("address", err)
	}
	at := strconv.FormatInt(g.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", m.ID)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", Sign(g.Secret, m.ID, at, body))
	resp, err := g.Client.Do(req)
	if err != nil {
		if at, ok := errors.AsType[*url.Error](err); ok {
			err = at.Err // the address may hold a key
		}
		return delivery.Fail(classOf(err), err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, answerSize)
	switch status, class := resp.StatusCode, "status "+strconv.Itoa(resp.StatusCode); {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500, status < 400:
		return delivery.Fail(class, nil)
	default:
		return delivery.Never(class, nil)
	}
}

func classOf(err error) string {
	switch {
	case errors.Is(err, outbound.ErrAddress):
		return "address"
	case errors.Is(err, outbound.ErrRefused):
		return "refused"
	case errors.Is(err, outbound.ErrRedirect):
		return "redirect"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "unreachable"
}
