package delivery

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"time"
)

// This file says how many messages may be sent, to whom and for whom (S30, S45).

// Charge is what one message uses of one budget.
type Charge struct {
	Key  string // opaque: which budget of whom
	Cost int64
	Most int64 // what may be used in Per, which begins with the first use
	Per  time.Duration
	// Of names the budget for the log: "person", "platform". Alert: many share it, so its end is an alarm.
	Of    string
	Alert bool
}

// Budgets keeps what was used, durably: a restart resets nothing.
type Budgets interface {
	// Charge joins the transaction of ctx. It gives the places of the charges that did not fit; those that
	// did are used, so whoever wants all or none takes it back.
	Charge(ctx context.Context, charges []Charge) (refused []int, err error)
	// CountSMS counts codes of an organization that were sent by SMS, or used, in a slot of time. It joins
	// the transaction of ctx.
	CountSMS(ctx context.Context, org string, slot time.Time, sent, used int) error
	// SMSShare sums what was sent in the slots from one up to before another, and what was used since the
	// first.
	SMSShare(ctx context.Context, org string, from, settled time.Time) (sent, used int64, err error)
}

// Quota is how many messages may be sent in a time; Most 0 is without end.
type Quota struct {
	Most int64
	Per  time.Duration
}

// Limits are the budgets of an installation. Money is in millionths of whatever currency the operator
// counts in.
type Limits struct {
	MailPerPerson, MailPerAddress Quota
	MailPerNetwork                Quota // an IPv4 /24, an IPv6 /48
	MailPerOrg, MailPerNewOrg     Quota
	MailPerDay                    Quota // of the whole installation

	SMSPerPerson, SMSPerNumber, SMSPerNetwork Quota
	// Prices is what a message to a country costs, by its code of ISO 3166-1 in capitals. A country that is
	// not here gets none.
	Prices map[string]int64
	// SMSPerDay and SMSPerOrg are money for 24 hours, of the installation and of one organization.
	SMSPerDay, SMSPerOrg int64
}

const day = 24 * time.Hour

// DefaultLimits leave room for people who mistype and not for floods. There are no countries: the operator
// names them with what they cost.
func DefaultLimits() Limits {
	return Limits{
		MailPerPerson: Quota{10, time.Hour}, MailPerAddress: Quota{10, time.Hour}, MailPerNetwork: Quota{2000, time.Hour},
		MailPerOrg: Quota{20_000, day}, MailPerNewOrg: Quota{500, day}, MailPerDay: Quota{200_000, day},
		SMSPerPerson: Quota{5, day}, SMSPerNumber: Quota{5, day}, SMSPerNetwork: Quota{200, day},
	}
}

const (
	// newFor is how long an organization counts as new.
	newFor = 7 * day
	// slotLength is how finely the share of codes that are used is counted. What was sent in this slot and
	// the one before may still be on its way.
	slotLength = 15 * time.Minute
	// Under leastShare in a hundred codes used, of at least enoughCodes in a day, nobody is signing in:
	// somebody earns on the messages (S30).
	leastShare  = 30
	enoughCodes = 20
	// KeepSlots is how long a slot may be looked at.
	KeepSlots = 2 * day
)

// keyed names a budget of somebody without naming them: phone numbers are few enough to be guessed from a
// plain hash (S24).
func (p *Post) keyed(kind, who string) string {
	h := hmac.New(sha256.New, p.Pepper)
	h.Write([]byte(kind + "\x00" + who))
	return kind + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

func (p *Post) charge(of, kind, who string, q Quota) []Charge {
	if q.Most == 0 || who == "" {
		return nil
	}
	return []Charge{{Key: p.keyed(kind, who), Cost: 1, Most: q.Most, Per: q.Per, Of: of}}
}

// shared is a charge of what many use, whose end is an alarm.
func shared(list []Charge) []Charge {
	for i := range list {
		list[i].Alert = true
	}
	return list
}

// mailCharges are in the one order in which everybody takes them, what most share last: two that use the
// same ones wait for each other, never in a ring.
func (p *Post) mailCharges(m Mail, to string) []Charge {
	l := p.Limits
	quota := l.MailPerOrg
	if m.Org != "" && p.Now().Sub(p.Made(m.Org)) < newFor {
		quota = l.MailPerNewOrg
	}
	out := p.charge("person", "mail.person", or(m.Person, to), l.MailPerPerson)
	out = append(out, p.charge("address", "mail.address", to, l.MailPerAddress)...)
	out = append(out, p.charge("network", "mail.network", around(m.Network), l.MailPerNetwork)...)
	out = append(out, shared(p.charge("organization", "mail.org", m.Org, quota))...)
	return append(out, shared(p.charge("platform", "mail.day", "platform", l.MailPerDay))...)
}

func (p *Post) smsCharges(m SMS, price int64) []Charge {
	l := p.Limits
	out := p.charge("person", "sms.person", or(m.Person, m.To), l.SMSPerPerson)
	out = append(out, p.charge("number", "sms.number", m.To, l.SMSPerNumber)...)
	out = append(out, p.charge("network", "sms.network", around(m.Network), l.SMSPerNetwork)...)
	if m.Org != "" {
		out = append(out, Charge{Key: p.keyed("sms.org", m.Org), Cost: price, Most: l.SMSPerOrg, Per: day, Of: "organization", Alert: true})
	}
	return append(out, Charge{Key: p.keyed("sms.day", "platform"), Cost: price, Most: l.SMSPerDay, Per: day, Of: "platform", Alert: true})
}

// or gives an unknown person the address as a name, so that as many rows are written for nobody as for
// somebody (S31).
func or(person, address string) string {
	if person == "" {
		return address
	}
	return person
}

// around is the network that one tenant of a hoster can hold: an IPv4 /24, an IPv6 /48.
func around(a netip.Addr) string {
	bits := 48
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	n, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return n.String()
}

// slotOf is the beginning of the slot of a time.
func slotOf(at time.Time) time.Time { return at.UTC().Truncate(slotLength) }
