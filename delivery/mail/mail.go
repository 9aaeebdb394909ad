// Package mail sends e-mail: it writes letters out in the look and language that they have when they are
// sent, and hands them to a mail server by SMTP, or to whatever else takes messages (the demonstration's
// inbox). It decides nothing: who is written to, and how often, was judged when the job was made.
package mail

import (
	"context"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/templates"
)

// Message is an e-mail as it leaves.
type Message struct {
	ID       string // the job's: the same at every try, so that receivers can drop a copy
	FromName string // an organization's name; "" is the sender's own
	To       string // a bare address
	Subject  string // one line
	Text     string
	HTML     string
}

// Transport takes messages. Its errors are those of delivery.Fail and delivery.Never.
type Transport interface {
	Deliver(ctx context.Context, m Message) error
}

// Sender is the delivery.Sender of e-mail. All fields are required.
type Sender struct {
	Pages *templates.Renderer
	// Look is how letters of an organization look now.
	Look func(ctx context.Context, org string) (templates.LetterLook, error)
	Out  Transport
	// Undelivered is the entry of a message that did not arrive.
	Undelivered func(j delivery.Job, d delivery.Delivery) (audit.Entry, bool)
}

var (
	_ delivery.Sender = Sender{}
	_ delivery.Noter  = Sender{}
)

// Send writes a letter and hands it over.
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
	look, err := s.Look(ctx, j.Org)
	if err != nil {
		return delivery.Fail("look", err)
	}
	w, err := s.Pages.Letter(look, l.Language, letter)
	if err != nil {
		return delivery.Never("message", err)
	}
	return s.Out.Deliver(ctx, Message{ID: j.ID, FromName: w.Sender, To: l.To, Subject: w.Subject, Text: w.Text, HTML: w.HTML})
}

// Note has a message that did not arrive stand in the record.
func (s Sender) Note(j delivery.Job, d delivery.Delivery) (audit.Entry, bool) {
	return s.Undelivered(j, d)
}
