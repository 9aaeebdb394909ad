package delivery

import (
	"context"
	"net/netip"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// This file is how other rooms have people written to: by Messages, inside a transaction of their own.
//
//	err := s.Messages.Mail(ctx, delivery.Mail{
//		Org: string(org), Person: string(p.ID), To: p.Email, Language: look.Lang, Network: from, NotAfter: now.Add(10 * time.Minute),
//		Message: templates.CodeMail{Code: "482913", App: app.Name, Org: name, Browser: "Chrome", At: now, Minutes: 10},
//	})
//
// What is said is one of the structs of templates/letters.go. It waits sealed, is written out when it is
// sent, in the look that the organization has then, and stands in no log, record or trace: those name the
// person by id and the kind of message.

// The kinds of delivery that carry messages to people. Web Push will be the third.
const (
	MailKind Kind = "mail"
	SMSKind  Kind = "sms"
)

// Message is what is said. One with a method Notice() tells a person of a change that was made to their
// account, and no budget holds it back: else a flood of codes would hide what was done.
type Message interface{ Template() string }

// Mail is one e-mail to one person.
type Mail struct {
	Org      string // whose look it has, whose quota it counts in, under whose key it waits; "" is the platform
	Person   string // whom it is for, by id; "" where there is nobody yet
	To       string // a bare address: ada@example.com
	Language string // one of templates.Languages
	Message  Message
	// Network is where the browser that caused it is; the zero Addr where none did.
	Network netip.Addr
	// NotAfter is when it is of no use any more: the end of its code or link. Zero is a day from now.
	NotAfter time.Time
	// Nobody: there is nobody at this address. The same is counted, written and answered as for somebody,
	// and the job is dropped when its turn comes (S31).
	Nobody bool
}

// SMS is one text message to one person. To is a number that Messages.Number gave: "+491701234567".
type SMS struct {
	Org, Person, To, Language string
	Message                   Message
	Network                   netip.Addr
	NotAfter                  time.Time
	Nobody                    bool
}

// Messages has people written to. A method that joins a transaction says so; nothing is sent before it
// commits.
type Messages interface {
	// Mail joins the transaction of ctx. ErrBudget: too many were sent already to this person or address,
	// from this network or by this organization; nothing was written, and the transaction can go on.
	// Before somebody is authenticated the page must be the same as if it had been sent (S31).
	Mail(ctx context.Context, m Mail) error
	// SMS is the same for a text message. ErrNumber: the number is in no country that the operator allows,
	// or costs more than a call (S30).
	SMS(ctx context.Context, m SMS) error
	// Used says that the code of an SMS of this organization was typed rightly: when too few are, no more
	// are sent (S30). It joins the transaction of ctx.
	Used(ctx context.Context, org string) error
	// Number reads a phone number with its country's code ("+49 170 1234567", "0049…") and gives the form
	// in which it is kept, or ErrNumber. Numbers that may not be written to are refused here already.
	Number(typed string) (string, error)
	// Offers says what this installation can send at all: what it cannot must not be offered.
	Offers() Offers
}

// Offers says which ways to people an installation has.
type Offers struct{ Mail, SMS bool }

var (
	// ErrBudget: the sentence is for people; what was used up is in the log.
	ErrBudget = fault.New(fault.Throttled, "delivery.budget", "Too many messages were sent. Try again later, or use another way.")
	// ErrNumber: the same for a number that is none, one abroad and one that costs extra.
	ErrNumber = fault.New(fault.Invalid, "delivery.number", "Messages can't be sent to this number. Enter it with its country code, such as +1 202 555 0123, or use another way.")
	// ErrAddress: To is not one bare address.
	ErrAddress = fault.New(fault.Invalid, "delivery.address", "This is not an e-mail address.")
	// ErrNotOffered: Offers says so beforehand.
	ErrNotOffered = fault.New(fault.Unavailable, "delivery.not_offered", "This installation does not send such messages.")
)
