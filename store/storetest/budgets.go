package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
)

// said is a message.
type said struct{ Code string }

func (said) Template() string { return "mail/code" }

// told is a message that no budget holds back.
type told struct{ said }

func (told) Notice() {}

// post has people written to through the store.
func (w *World) post(l delivery.Limits) *delivery.Post {
	return &delivery.Post{
		Outbox: w, Budgets: w, Tx: w, Audit: w, Limits: l, Sends: delivery.Offers{Mail: true, SMS: true}, Pepper: []byte("pepper"),
		Made:   func(string) time.Time { return w.clock.Now().Add(-365 * 24 * time.Hour) },
		NewJob: func(now time.Time) string { return string(directory.NewJobID(now)) }, NewEntry: func(now time.Time) string { return string(directory.NewEntryID(now)) },
		Alarms: make(chan delivery.Alarm, 8), Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
	}
}

func (w *World) mail(person, to, from string) delivery.Mail {
	return delivery.Mail{Org: string(w.acme.Org.ID), Person: person, To: to, Language: "en", Message: said{"482913"}, Network: netip.MustParseAddr(from)}
}

func (w *World) sms(person, to, from string) delivery.SMS {
	return delivery.SMS{Org: string(w.acme.Org.ID), Person: person, To: to, Language: "en", Message: said{"482913"}, Network: netip.MustParseAddr(from)}
}

// waiting counts the jobs of an organization.
func (w *World) waiting(t *testing.T) int {
	t.Helper()
	list, err := w.Deliveries(w.ctx, string(w.acme.Org.ID), delivery.Query{Most: 1000})
	ok(t, err)
	return len(list)
}

func budgets(t *testing.T, w *World) {
	charge := func(key string, cost, most int64) delivery.Charge {
		return delivery.Charge{Key: key, Cost: cost, Most: most, Per: time.Hour}
	}
	use := func(list ...delivery.Charge) []int {
		t.Helper()
		refused, err := w.Charge(w.ctx, list)
		ok(t, err)
		return refused
	}
	same(t, use(), []int(nil))
	same(t, use(charge("a", 1, 2), charge("b", 5, 10)), []int(nil))
	same(t, use(charge("a", 1, 2), charge("b", 5, 10)), []int(nil))
	same(t, use(charge("a", 1, 2), charge("b", 1, 11)), []int{0})
	same(t, use(charge("c", 3, 2)), []int{0}) // more than there ever is
	w.clock.Advance(time.Hour)
	same(t, use(charge("a", 2, 2)), []int(nil)) // its time is over
	same(t, use(charge("a", 1, 2)), []int{0})
	same(t, use(charge("a", 1, 3)), []int(nil)) // the operator gives more

	acme, slot := string(w.acme.Org.ID), w.clock.Now().Truncate(15*time.Minute)
	ok(t, w.CountSMS(w.ctx, acme, slot, 2, 0))
	ok(t, w.CountSMS(w.ctx, acme, slot, 1, 1))
	ok(t, w.CountSMS(w.ctx, acme, slot.Add(15*time.Minute), 4, 1))
	ok(t, w.CountSMS(w.ctx, "", slot, 9, 9))
	for _, c := range []struct {
		from, settled time.Time
		sent, used    int64
	}{{slot, slot.Add(15 * time.Minute), 3, 2}, {slot, slot.Add(time.Hour), 7, 2}, {slot.Add(time.Minute), slot.Add(time.Hour), 4, 1}, {slot, slot, 0, 2}} {
		sent, used, err := w.SMSShare(w.ctx, acme, c.from, c.settled)
		ok(t, err)
		same(t, []int64{sent, used}, []int64{c.sent, c.used})
	}
}

func s30Budgets(t *testing.T, w *World) {
	l := delivery.DefaultLimits()
	l.Prices, l.SMSPerDay, l.SMSPerOrg = map[string]int64{"DE": 100, "US": 10}, 1000, 700
	p := w.post(l)
	number := func(i int) string { return fmt.Sprintf("+4917012345%02d", i) }
	// A person has five a day, whatever the number and network.
	for i := range 5 {
		ok(t, p.SMS(w.ctx, w.sms("per_1", number(i), fmt.Sprintf("10.0.%d.1", i))))
	}
	is(t, p.SMS(w.ctx, w.sms("per_1", number(5), "10.0.5.1")), delivery.ErrBudget)
	// The organization's money: two more, and then not even a cheaper one that does not fit.
	ok(t, p.SMS(w.ctx, w.sms("per_2", number(6), "10.0.6.1")))
	ok(t, p.SMS(w.ctx, w.sms("per_3", number(7), "10.0.7.1")))
	is(t, p.SMS(w.ctx, w.sms("per_4", number(8), "10.0.8.1")), delivery.ErrBudget)
	is(t, p.SMS(w.ctx, w.sms("per_4", "+12025550123", "10.0.8.1")), delivery.ErrBudget)
	same(t, w.waiting(t), 7)
	is(t, p.SMS(w.ctx, w.sms("per_5", "+33612345678", "10.0.9.1")), delivery.ErrNumber)
	is(t, p.SMS(w.ctx, w.sms("per_5", "+49900123456", "10.0.9.1")), delivery.ErrNumber)
	// Another organization takes what is left of the whole, and the alarm is the platform's.
	other := w.sms("per_6", number(9), "10.0.9.1")
	other.Org = string(w.mex.Org.ID)
	for i := range 3 {
		other.Person, other.To = fmt.Sprint("per_x", i), number(20+i)
		ok(t, p.SMS(w.ctx, other))
	}
	other.To, other.Person = number(30), "per_y"
	is(t, p.SMS(w.ctx, other), delivery.ErrBudget)
	same(t, w.alarms(t, p), map[string]int{"organization/sms/" + string(w.acme.Org.ID): 1, "platform/sms/": 1})
	// Tomorrow there is money again.
	w.clock.Advance(24*time.Hour + time.Second)
	ok(t, p.SMS(w.ctx, w.sms("per_1", number(5), "10.0.5.1")))
	// One number, and one network of many addresses.
	p.Limits.SMSPerDay, p.Limits.SMSPerOrg = 1e9, 1e9
	for i := range 4 {
		ok(t, p.SMS(w.ctx, w.sms(fmt.Sprint("per_n", i), number(5), fmt.Sprintf("10.1.%d.1", i))))
	}
	is(t, p.SMS(w.ctx, w.sms("per_n9", number(5), "10.1.9.1")), delivery.ErrBudget)
	w.clock.Advance(24*time.Hour + time.Second)
	p.Limits.SMSPerNetwork.Most = 3
	for i := range 3 {
		ok(t, p.SMS(w.ctx, w.sms(fmt.Sprint("per_m", i), number(40+i), fmt.Sprintf("10.2.0.%d", i))))
	}
	is(t, p.SMS(w.ctx, w.sms("per_m9", number(49), "10.2.0.200")), delivery.ErrBudget)
	is(t, p.SMS(w.ctx, w.sms("per_m9", number(49), "::ffff:10.2.0.201")), delivery.ErrBudget)
	ok(t, p.SMS(w.ctx, w.sms("per_m9", number(49), "10.2.1.1")))
}

// alarms are what Run writes into the record, by budget, kind and organization.
func (w *World) alarms(t *testing.T, p *delivery.Post) map[string]int {
	t.Helper()
	seen := &entries{Recorder: w, n: map[string]int{}, more: make(chan struct{}, 16)}
	p.Audit = seen
	ctx, stop := context.WithCancel(w.ctx)
	over := make(chan struct{})
	go func() { p.Run(ctx); close(over) }()
	for quiet := false; !quiet; {
		select {
		case <-seen.more:
		case <-time.After(300 * time.Millisecond):
			quiet = len(p.Alarms) == 0
		}
	}
	stop()
	<-over
	seen.mu.Lock()
	defer seen.mu.Unlock()
	return seen.n
}

// entries counts what is recorded, each id once: a transaction may run twice.
type entries struct {
	audit.Recorder
	mu   sync.Mutex
	ids  []string
	n    map[string]int
	more chan struct{}
}

func (e *entries) Record(ctx context.Context, a audit.Entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range e.ids {
		if id == a.ID {
			return e.Recorder.Record(ctx, a)
		}
	}
	e.ids = append(e.ids, a.ID)
	e.n[a.Target.ID+"/"+a.Detail["kind"]+"/"+a.Org]++
	e.more <- struct{}{}
	return e.Recorder.Record(ctx, a)
}

// Who earns on messages has them sent and types no code: under thirty in a hundred there is an end.
func s30Share(t *testing.T, w *World) {
	l := delivery.DefaultLimits()
	l.Prices, l.SMSPerDay, l.SMSPerOrg, l.SMSPerNetwork.Most = map[string]int64{"DE": 1}, 1e6, 1e6, 0
	p := w.post(l)
	n := 0
	send := func() error {
		n++
		return p.SMS(w.ctx, w.sms(fmt.Sprint("per_", n), fmt.Sprintf("+49170123%04d", n), "10.0.0.1"))
	}
	w.clock.Advance(14*time.Minute + 30*time.Second)
	for i := range 40 { // all at once, as on a Monday morning: what is on its way is not held against anybody
		ok(t, send())
		if i == 20 {
			w.clock.Advance(time.Minute)
		}
	}
	for range 12 {
		ok(t, p.Used(w.ctx, string(w.acme.Org.ID)))
	}
	w.clock.Advance(31 * time.Minute)
	ok(t, send()) // 12 of 40: thirty in a hundred
	w.clock.Advance(31 * time.Minute)
	is(t, send(), delivery.ErrBudget) // 12 of 41
	is(t, send(), delivery.ErrBudget)
	same(t, w.alarms(t, p), map[string]int{"share/sms/" + string(w.acme.Org.ID): 1})
	other := w.sms("per_o", "+491701239999", "10.0.0.1")
	other.Org = string(w.mex.Org.ID)
	ok(t, p.SMS(w.ctx, other)) // somebody else's trouble
	ok(t, p.Used(w.ctx, string(w.acme.Org.ID)))
	ok(t, send())
	w.clock.Advance(25 * time.Hour)
	ok(t, send())
}

func s45Quotas(t *testing.T, w *World) {
	l := delivery.DefaultLimits()
	l.MailPerOrg.Most, l.MailPerNewOrg.Most, l.MailPerNetwork.Most = 30, 3, 0
	p := w.post(l)
	is(t, p.Mail(w.ctx, w.mail("per_1", "ana@acme.example\r\nBcc: all@acme.example", "10.0.0.1")), delivery.ErrAddress)
	for _, bad := range []string{"", "ana", "Ana <ana@acme.example>", "ana@acme.example,bo@acme.example", "a b@acme.example", `"a"@acme.example`, "ana@acme.example\x00", "a@b@c.example"} {
		is(t, p.Mail(w.ctx, w.mail("per_1", bad, "10.0.0.1")), delivery.ErrAddress)
	}
	// One mailbox, however it is spelled; then the person, at whatever mailbox.
	for i := range 10 {
		ok(t, p.Mail(w.ctx, w.mail("per_1", []string{"ana@acme.example", "Ana@ACME.example"}[i%2], "10.0.0.1")))
	}
	is(t, p.Mail(w.ctx, w.mail("per_2", "ana@acme.example", "10.0.0.1")), delivery.ErrBudget)
	is(t, p.Mail(w.ctx, w.mail("per_1", "other@acme.example", "10.0.0.1")), delivery.ErrBudget)
	// What tells of a change always goes.
	notice := w.mail("per_1", "ana@acme.example", "10.0.0.1")
	notice.Message = told{}
	ok(t, p.Mail(w.ctx, notice))
	same(t, w.waiting(t), 11)
	// The transaction that asked goes on, and what was charged for nothing is given back.
	ok(t, w.InTx(w.ctx, func(ctx context.Context) error {
		for range 12 {
			if err := p.Mail(ctx, w.mail("per_3", "ana@acme.example", "10.0.0.1")); !errors.Is(err, delivery.ErrBudget) {
				return fmt.Errorf("got %w", err)
			}
		}
		return p.Mail(ctx, w.mail("per_3", "bo@acme.example", "10.0.0.1"))
	}))
	// A transaction that is undone sent nothing and used nothing.
	for range 15 {
		is(t, w.InTx(w.ctx, func(ctx context.Context) error {
			if err := p.Mail(ctx, w.mail("per_4", "cy@acme.example", "10.0.0.1")); err != nil {
				return err
			}
			return errChanged
		}), errChanged)
	}
	same(t, w.waiting(t), 12)
	p.Made = func(string) time.Time { return w.clock.Now().Add(-6 * 24 * time.Hour) }
	is(t, p.Mail(w.ctx, w.mail("per_5", "di@acme.example", "10.0.0.1")), delivery.ErrBudget) // new: three are few
	p.Made = func(string) time.Time { return w.clock.Now().Add(-8 * 24 * time.Hour) }
	ok(t, p.Mail(w.ctx, w.mail("per_5", "di@acme.example", "10.0.0.1")))
	same(t, w.alarms(t, p), map[string]int{"organization/mail/" + string(w.acme.Org.ID): 1})
}

// Of many at once, as many get through as there is room for.
func racedBudgets(t *testing.T, w *World) {
	l := delivery.DefaultLimits()
	l.MailPerNetwork.Most = 0
	p := w.post(l)
	var mu sync.Mutex
	var all sync.WaitGroup
	sent := 0
	for i := range 30 {
		all.Go(func() {
			err := p.Mail(w.ctx, w.mail(fmt.Sprint("per_", i%3), "ana@acme.example", "10.0.0.1"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				sent++
			} else {
				is(t, err, delivery.ErrBudget)
			}
		})
	}
	all.Wait()
	same(t, []int{sent, w.waiting(t)}, []int{10, 10})
}

// Nobody at an address gives the same rows and answers as somebody (S31).
func s31Nobody(t *testing.T, w *World) {
	l := delivery.DefaultLimits()
	l.MailPerPerson.Most = 4 // what a person has, nobody has too
	p := w.post(l)
	for i := range 6 {
		known := w.mail("per_1", "ana@acme.example", "10.0.0.1")
		nobody := w.mail("", "abc@acme.example", "10.0.1.1")
		nobody.Nobody = true
		a, b := p.Mail(w.ctx, known), p.Mail(w.ctx, nobody)
		same(t, errors.Is(a, delivery.ErrBudget), i >= 4)
		same(t, errors.Is(b, delivery.ErrBudget), i >= 4)
	}
	list, err := w.LeaseJobs(w.ctx, delivery.Want{Kind: delivery.MailKind, Most: 30, PerHost: 30, Until: w.clock.Now().Add(time.Minute)})
	ok(t, err)
	same(t, len(list), 8)
	dropped := 0
	for _, j := range list {
		letter, err := delivery.Open(j)
		ok(t, err)
		if letter.Nobody {
			dropped++
		}
		same(t, j.Host, list[0].Host)
	}
	same(t, dropped, 4)
}
