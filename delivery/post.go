package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// Post is Messages: it judges budgets and hands sealed jobs to the outbox, all in the transaction of who
// calls. All fields are required.
type Post struct {
	Outbox  Outbox
	Budgets Budgets
	Tx      Tx
	Audit   audit.Recorder
	Limits  Limits
	Sends   Offers
	// Pepper is a secret of the installation, the same on every node.
	Pepper []byte
	// Made is when an organization was made.
	Made func(org string) time.Time
	// NewJob and NewEntry make ids.
	NewJob, NewEntry func(now time.Time) string
	// Alarms takes what Run records; it needs room for a few.
	Alarms chan Alarm
	Now    func() time.Time
	Log    *slog.Logger
}

var _ Messages = (*Post)(nil)

// Letter is the payload of a job of MailKind or SMSKind.
type Letter struct {
	To       string          `json:"to"`
	Language string          `json:"lang"`
	Template string          `json:"template"`
	Message  json.RawMessage `json:"message"`
	Nobody   bool            `json:"nobody,omitempty"`
}

// Open reads the payload of a job. What cannot be read is never tried again.
func Open(j Job) (Letter, error) {
	var l Letter
	if err := json.Unmarshal(j.Payload, &l); err != nil || l.To == "" {
		return Letter{}, Never("payload", err)
	}
	return l, nil
}

// lasts is how long a message without an end is tried.
const lasts = 24 * time.Hour

// Offers says which ways to people there are.
func (p *Post) Offers() Offers { return p.Sends }

// Mail charges the budgets and enqueues.
func (p *Post) Mail(ctx context.Context, m Mail) error {
	if !p.Sends.Mail {
		return ErrNotOffered
	}
	to, err := bareAddress(m.To)
	if err != nil {
		return err
	}
	var charges []Charge
	if _, notice := m.Message.(interface{ Notice() }); !notice {
		charges = p.mailCharges(m, strings.ToLower(to))
	}
	_, domain, _ := strings.Cut(to, "@")
	job := Job{Kind: MailKind, Org: m.Org, Target: m.Person, Host: p.keyed("mail", strings.ToLower(domain)), NotAfter: m.NotAfter}
	return p.put(ctx, job, Letter{To: to, Language: m.Language, Nobody: m.Nobody}, m.Message, charges)
}

// SMS judges the number, charges the budgets and enqueues.
func (p *Post) SMS(ctx context.Context, m SMS) error {
	if !p.Sends.SMS {
		return ErrNotOffered
	}
	country, price, err := p.priceOf(m.To)
	if err != nil {
		return err
	}
	if err := p.worthIt(ctx, m.Org); err != nil {
		return err
	}
	job := Job{Kind: SMSKind, Org: m.Org, Target: m.Person, Host: p.keyed("sms", country), NotAfter: m.NotAfter}
	return p.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := p.put(ctx, job, Letter{To: m.To, Language: m.Language, Nobody: m.Nobody}, m.Message, p.smsCharges(m, price)); err != nil {
			return err
		}
		if m.Nobody {
			return p.Budgets.CountSMS(ctx, m.Org, slotOf(p.Now()), 0, 0)
		}
		return p.Budgets.CountSMS(ctx, m.Org, slotOf(p.Now()), 1, 0)
	})
}

// Used counts a code that was typed rightly.
func (p *Post) Used(ctx context.Context, org string) error {
	return p.Budgets.CountSMS(ctx, org, slotOf(p.Now()), 0, 1)
}

// worthIt refuses when too few of an organization's codes were typed.
func (p *Post) worthIt(ctx context.Context, org string) error {
	now := p.Now()
	sent, used, err := p.Budgets.SMSShare(ctx, org, slotOf(now.Add(-day)), slotOf(now.Add(-slotLength)))
	if err != nil {
		return err
	}
	if sent < enoughCodes || used*100 >= sent*leastShare {
		return nil
	}
	p.alarm(Alarm{Org: org, Kind: SMSKind, Of: "share"})
	return ErrBudget.Because(fmt.Sprintf("%d of %d codes were used", used, sent))
}

// put writes a job, with what it uses of budgets, or neither: as a savepoint of the transaction of ctx,
// which can go on when a budget is used up.
func (p *Post) put(ctx context.Context, j Job, l Letter, m Message, charges []Charge) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	l.Template, l.Message = m.Template(), raw
	if j.Payload, err = json.Marshal(l); err != nil {
		return err
	}
	now := p.Now()
	j.ID, j.CreatedAt = p.NewJob(now), now
	if j.NotAfter.IsZero() {
		j.NotAfter = now.Add(lasts)
	}
	err = p.Tx.InTx(ctx, func(ctx context.Context) error {
		refused, err := p.Budgets.Charge(ctx, charges)
		if err != nil {
			return err
		}
		if len(refused) > 0 {
			return &usedUp{charges[refused[0]]}
		}
		return p.Outbox.Enqueue(ctx, j)
	})
	up, ok := errors.AsType[*usedUp](err)
	if !ok {
		return err
	}
	level := slog.LevelInfo
	if up.Alert {
		level = slog.LevelWarn
	}
	p.Log.Log(ctx, level, "delivery: a budget is used up", "kind", j.Kind, "of", up.Of, "org", j.Org, "person", j.Target)
	if up.Alert {
		p.alarm(Alarm{Org: j.Org, Kind: j.Kind, Of: up.Of})
	}
	return ErrBudget.With(up)
}

// usedUp says which budget had no room.
type usedUp struct{ Charge }

func (u *usedUp) Error() string { return "the budget of the " + u.Of + " is used up" }

// Undelivered is the entry of a message that did not arrive. One to nobody is none.
func (p *Post) Undelivered(j Job, d Delivery) (audit.Entry, bool) {
	if d.Outcome == Delivered || j.Target == "" || d.Class == "nobody" {
		return audit.Entry{}, false
	}
	return audit.Entry{ID: p.NewEntry(d.At), At: d.At, Org: j.Org, Actor: audit.Ref{Kind: "engine"}, Action: audit.MessageUndelivered,
		Target: audit.Ref{Kind: "person", ID: j.Target}, Detail: map[string]string{"kind": string(j.Kind), "class": d.Class, "outcome": string(d.Outcome), "delivery": j.ID}}, true
}

// Alarm is the end of a budget that many share.
type Alarm struct {
	Org  string
	Kind Kind
	Of   string // "organization", "platform", "share" of codes that are used
}

func (p *Post) alarm(a Alarm) {
	if a.Of == "platform" {
		a.Org = ""
	}
	select {
	case p.Alarms <- a:
	default: // as many wait as say the same
	}
}

// Run writes alarms into the record until ctx ends: once a day each, from whichever node. They have
// transactions of their own, because those that met the end of a budget are undone by most who began them.
func (p *Post) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-p.Alarms:
			if err := p.record(ctx, a); err != nil && ctx.Err() == nil {
				p.Log.ErrorContext(ctx, "delivery: an alarm could not be recorded", "kind", a.Kind, "of", a.Of, "org", a.Org, "error", err)
			}
		}
	}
}

func (p *Post) record(ctx context.Context, a Alarm) error {
	once := Charge{Key: p.keyed("alarm", string(a.Kind)+" "+a.Of+" "+a.Org), Cost: 1, Most: 1, Per: day}
	now := p.Now()
	id := p.NewEntry(now) // one, however often the function runs
	err := p.Tx.InTx(ctx, func(ctx context.Context) error {
		refused, err := p.Budgets.Charge(ctx, []Charge{once})
		if err != nil {
			return err
		}
		if len(refused) > 0 {
			return &usedUp{once}
		}
		return p.Audit.Record(ctx, audit.Entry{ID: id, At: now, Org: a.Org, Actor: audit.Ref{Kind: "engine"}, Action: audit.BudgetUsedUp,
			Target: audit.Ref{Kind: "budget", ID: a.Of}, Detail: map[string]string{"kind": string(a.Kind)}})
	})
	if _, already := errors.AsType[*usedUp](err); already {
		return nil
	}
	if err == nil {
		p.Log.ErrorContext(ctx, "delivery: ALARM: no more messages are sent", "kind", a.Kind, "of", a.Of, "org", a.Org)
	}
	return err
}

// maxAddress is RFC 5321 section 4.5.3.1.3, without the brackets.
const maxAddress = 254

// bareAddress refuses what is more than one address, and what a header or an SMTP command could be made
// to say with.
func bareAddress(s string) (string, error) {
	if len(s) > maxAddress || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("<>,;:\\\"()[]", r) }) {
		return "", ErrAddress
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" || a.Address != s {
		return "", ErrAddress
	}
	return s, nil
}
