// Package mfatest holds every factor to what all of them promise: a right answer passes once, in time, for
// the person and the login that were asked, however many give it at the same moment.
//
//	func TestTheFactorKeepsItsPromises(t *testing.T) { mfatest.Run(t, mfatest.Kind{…}) }
package mfatest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/mfa"
)

// House is a Service with one factor, over stores in memory, and a clock that tests move.
type House struct {
	*mfa.Service
	Factor mfa.Factor

	mu       sync.Mutex
	now      time.Time
	rows     []mfa.Enrollment
	tries    map[string]int
	kept     map[string]entry
	mails    []delivery.Mail
	texts    []delivery.SMS
	used     int
	refuse   error
	recorded []audit.Entry
}

type entry struct {
	value []byte
	until time.Time
}

// NewHouse makes one at a time that no rounding hides.
func NewHouse(t *testing.T) *House {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	h := &House{now: time.Date(2026, 3, 1, 12, 0, 7, 123_000, time.UTC), tries: map[string]int{}, kept: map[string]entry{}}
	h.Service = &mfa.Service{Enrollments: rows{h}, Tries: tries{h}, Brief: short{h}, Seal: seal, Tx: tx{h}, Audit: h, Now: h.Time}
	return h
}

// With gives the house its factor.
func (h *House) With(f mfa.Factor) *House {
	h.Factor, h.Factors = f, []mfa.Factor{f}
	return h
}

// Time is now.
func (h *House) Time() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Pass lets time go by.
func (h *House) Pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// Pepper hashes as the store does.
func (h *House) Pepper(_ context.Context, table, row string, value []byte) ([sha256.Size]byte, error) {
	m := hmac.New(sha256.New, []byte("pepper"))
	m.Write([]byte(table + "\x00" + row + "\x00"))
	m.Write(value)
	return [sha256.Size]byte(m.Sum(nil)), nil
}

// Record keeps an entry of the record.
func (h *House) Record(_ context.Context, e audit.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recorded = append(h.recorded, e)
	return nil
}

// Recorded are the actions that stand in the record.
func (h *House) Recorded() (out []audit.Action) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.recorded {
		out = append(out, e.Action)
	}
	return out
}

// Ada and Bob are two people of one organization.
func Ada() mfa.Subject { return somebody("per_ada", "Ada", "ada@acme.example") }
func Bob() mfa.Subject { return somebody("per_bob", "Bob", "bob@acme.example") }

func somebody(id directory.PersonID, name, address string) mfa.Subject {
	return mfa.Subject{
		Realm: "rlm_1", Home: "org_acme", Org: "org_acme", OrgName: "Acme", App: "Payments", Person: id, Name: name,
		Email: address, EmailGood: true, Locale: "en", Place: "Chrome on Windows",
	}
}

// Messages is how a factor of the house writes to people.
func (h *House) Messages() delivery.Messages { return messages{h} }

// Refuse lets all messages be refused; nil ends it.
func (h *House) Refuse(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = err
}

// Mails and Texts are what was sent, the oldest first.
func (h *House) Mails() []delivery.Mail {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.mails)
}

func (h *House) Texts() []delivery.SMS {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.texts)
}

// Used is how often a code of a text message was said to be typed rightly.
func (h *House) Used() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.used
}

type messages struct{ h *House }

func (m messages) Mail(_ context.Context, one delivery.Mail) error {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	if m.h.refuse != nil {
		return m.h.refuse
	}
	m.h.mails = append(m.h.mails, one)
	return nil
}

func (m messages) SMS(_ context.Context, one delivery.SMS) error {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	if m.h.refuse != nil {
		return m.h.refuse
	}
	m.h.texts = append(m.h.texts, one)
	return nil
}

func (m messages) Used(context.Context, string) error {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.h.used++
	return nil
}

// Number takes what looks like a whole number.
func (m messages) Number(typed string) (string, error) {
	if len(typed) < 8 || typed[0] != '+' {
		return "", delivery.ErrNumber
	}
	return typed, nil
}

func (m messages) Offers() delivery.Offers { return delivery.Offers{Mail: true, SMS: true} }

// rows keeps enrollments.
type rows struct{ h *House }

func (r rows) EnrollmentsOf(_ context.Context, home directory.OrgID, person directory.PersonID) ([]mfa.Enrollment, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	var out []mfa.Enrollment
	for _, e := range r.h.rows {
		if e.Home == home && e.Person == person {
			out = append(out, e)
		}
	}
	return out, nil
}

func (r rows) AddEnrollment(_ context.Context, home directory.OrgID, e mfa.Enrollment) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if len(e.Handle) > 0 && slices.ContainsFunc(r.h.rows, func(o mfa.Enrollment) bool { return o.Realm == e.Realm && string(o.Handle) == string(e.Handle) }) {
		return mfa.ErrTaken
	}
	e.Home, e.Version = home, 1
	r.h.rows = append(r.h.rows, e)
	return nil
}

func (r rows) UpdateEnrollment(_ context.Context, home directory.OrgID, id directory.FactorID, change func(*mfa.Enrollment) error) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for i, e := range r.h.rows {
		if e.ID == id && e.Home == home {
			if err := change(&e); err != nil {
				return err
			}
			e.Version++
			r.h.rows[i] = e
			return nil
		}
	}
	return mfa.ErrNotFound
}

func (r rows) RemoveEnrollment(_ context.Context, home directory.OrgID, id directory.FactorID) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	before := len(r.h.rows)
	r.h.rows = slices.DeleteFunc(r.h.rows, func(e mfa.Enrollment) bool { return e.ID == id && e.Home == home })
	if len(r.h.rows) == before {
		return mfa.ErrNotFound
	}
	return nil
}

func (r rows) EnrollmentByHandle(_ context.Context, realm directory.RealmID, handle []byte) (mfa.Enrollment, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, e := range r.h.rows {
		if e.Realm == realm && len(handle) > 0 && string(e.Handle) == string(handle) {
			return e, nil
		}
	}
	return mfa.Enrollment{}, mfa.ErrNotFound
}

// tries counts without forgetting.
type tries struct{ h *House }

func (r tries) CountTry(_ context.Context, _ directory.OrgID, person directory.PersonID, m mfa.Method, _ time.Time) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.tries[string(person)+string(m)]++
	if r.h.tries[string(person)+string(m)] > mfa.TriesAnHour {
		return mfa.ErrResting
	}
	return nil
}

func (r tries) ForgiveTry(_ context.Context, _ directory.OrgID, person directory.PersonID, m mfa.Method, _ time.Time) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.tries[string(person)+string(m)]--
	return nil
}

// short keeps what is kept for minutes.
type short struct{ h *House }

func (s short) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.kept[key] = entry{slices.Clone(value), s.h.now.Add(ttl)}
	return nil
}

func (s short) live(key string) (entry, error) {
	e, ok := s.h.kept[key]
	if !ok || !s.h.now.Before(e.until) {
		return entry{}, brief.ErrGone
	}
	return e, nil
}

func (s short) PutNew(_ context.Context, key string, value []byte, ttl time.Duration) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if _, err := s.live(key); err == nil {
		return brief.ErrTaken
	}
	s.h.kept[key] = entry{slices.Clone(value), s.h.now.Add(ttl)}
	return nil
}

func (s short) Get(_ context.Context, key string) ([]byte, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	e, err := s.live(key)
	return e.value, err
}

func (s short) Take(_ context.Context, key string) ([]byte, error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	e, err := s.live(key)
	delete(s.h.kept, key)
	return e.value, err
}

func (s short) Swap(_ context.Context, key string, old, next []byte) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	e, err := s.live(key)
	if err != nil {
		return err
	}
	if string(e.value) != string(old) {
		return brief.ErrTaken
	}
	s.h.kept[key] = entry{slices.Clone(next), e.until}
	return nil
}

func (s short) Delete(_ context.Context, key string) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	delete(s.h.kept, key)
	return nil
}

// tx runs at once: what is tested is what factors do, the store's own tests say what a rollback does.
type tx struct{ h *House }

func (x tx) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
