// Package code is a code of six digits that is sent to somebody: to their mailbox, or to a phone that they
// set up. Whoever reads the mailbox or holds the number has it, so it is the weakest of second steps, and
// two proofs over one channel are one (S11).
package code

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

const (
	digits = 6
	// goodFor is how long a code may be typed. A question is open no longer.
	goodFor = 10 * time.Minute
	// mostSent is how many codes one question sends, pause how long it waits between two.
	mostSent = 3
	pause    = 30 * time.Second
)

// Way is what both kinds share. All fields are required.
type Way struct {
	Messages delivery.Messages
	// Pepper hashes a value that could be guessed, with the row it stands in (S24).
	Pepper func(ctx context.Context, table, row string, value []byte) ([sha256.Size]byte, error)
	// Fold is an address as identifiers compare it.
	Fold func(address string) string
	// Host is where codes are typed: phones fill them in there and nowhere else.
	Host string
}

// sent is what a question remembers of its codes: nothing that gives one away (S24).
type sent struct {
	Salt   string    `json:"s,omitempty"`
	Hashes []string  `json:"h,omitempty"` // of those that were sent: the first may arrive after the second
	Last   time.Time `json:"l,omitzero"`
	// Note is the code of a fault for the page: a number that is none, a budget that is used up.
	Note string `json:"n,omitempty"`
	// Number is the phone that is being set up, To the one that is asked: an enrollment's id.
	Number string `json:"p,omitempty"`
	To     string `json:"t,omitempty"`
}

// mayResend says whether the page offers another code now.
func (s sent) mayResend(now time.Time) bool {
	return len(s.Hashes) < mostSent && !now.Before(s.Last.Add(pause))
}

// send makes a code and hands it to deliver. That nothing may be sent any more is said on the page: the
// person may use another way.
func (w Way) send(ctx context.Context, c *mfa.Ceremony, s *sent, deliver func(code string, until time.Time) error) error {
	s.Note = ""
	if len(s.Hashes) > 0 && !s.mayResend(c.Now) {
		return c.Keep(s)
	}
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%0*d", digits, n)
	if s.Salt == "" {
		s.Salt = rand.Text()
	}
	hash, err := w.hash(ctx, s.Salt, text)
	if err != nil {
		return err
	}
	err = deliver(text, c.Until)
	switch {
	case errors.Is(err, delivery.ErrBudget), errors.Is(err, delivery.ErrNumber), errors.Is(err, delivery.ErrNotOffered):
		s.Note, s.Last = fault.Of(err).Code, c.Now
	case err != nil:
		return err
	default:
		s.Hashes, s.Last = append(s.Hashes, hash), c.Now
	}
	return c.Keep(s)
}

func (w Way) hash(ctx context.Context, salt, text string) (string, error) {
	h, err := w.Pepper(ctx, "ceremony", salt, []byte(text))
	return hex.EncodeToString(h[:]), err
}

// right says whether what was typed is one of the codes that were sent. The question is used up by it.
func (w Way) right(ctx context.Context, s sent, answer url.Values) (bool, error) {
	text := typed(answer.Get("code"))
	if len(text) != digits || len(s.Hashes) == 0 {
		return false, nil
	}
	hash, err := w.hash(ctx, s.Salt, text)
	if err != nil {
		return false, err
	}
	ok := false
	for _, h := range s.Hashes {
		ok = hmac.Equal([]byte(h), []byte(hash)) || ok
	}
	return ok, nil
}

// typed is a code without what people and their programs put between its digits.
func typed(text string) string {
	if len(text) > 64 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '\u00a0' || r == '\u202f' {
			return -1
		}
		return r
	}, text)
}

func (w Way) page(c *mfa.Ceremony, s sent, kind, to string) templates.CodePage {
	page := templates.CodePage{StepFrame: c.Frame, Kind: kind, To: to, Enrol: c.Enrol, Resend: s.mayResend(c.Now), Sent: len(s.Hashes), Minutes: int(goodFor.Minutes())}
	if s.Note != "" {
		page.Error = s.Note
	}
	return page
}

// Email sends the code to the person's address, where it is theirs beyond doubt. Nobody sets it up.
type Email struct{ Way }

var (
	_ mfa.Factor   = Email{}
	_ mfa.Implicit = Email{}
)

func (Email) Method() mfa.Method { return policy.Email }

// Has says whether somebody can be asked for it.
func (f Email) Has(s mfa.Subject) bool {
	return s.EmailGood && s.Email != "" && f.Messages.Offers().Mail
}

func (f Email) Ask(ctx context.Context, c *mfa.Ceremony) (templates.Page, error) {
	if !f.Has(c.Subject) {
		return nil, mfa.ErrNotFound
	}
	var s sent
	if !c.Kept(&s) {
		if err := f.mail(ctx, c, &s); err != nil {
			return nil, err
		}
	}
	return f.page(c, s, "email", maskAddress(c.Subject.Email)), nil
}

func (f Email) mail(ctx context.Context, c *mfa.Ceremony, s *sent) error {
	sub := c.Subject
	return f.send(ctx, c, s, func(code string, until time.Time) error {
		return f.Messages.Mail(ctx, delivery.Mail{
			Org: string(sub.Org), Person: string(sub.Person), To: sub.Email, Language: templates.Language(sub.Locale), Network: network(sub.Network), NotAfter: until,
			Message: templates.CodeMail{Code: code, App: sub.App, Org: sub.OrgName, Browser: sub.Place, At: c.Now, Minutes: int(goodFor.Minutes())},
		})
	})
}

func (f Email) Answer(ctx context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	var s sent
	if !c.Kept(&s) || !f.Has(c.Subject) {
		return mfa.Passed{}, mfa.ErrOver
	}
	if answer.Get("resend") == "1" {
		if err := f.mail(ctx, c, &s); err != nil {
			return mfa.Passed{}, err
		}
		return mfa.Passed{}, mfa.ErrAgain
	}
	ok, err := f.right(ctx, s, answer)
	if err != nil {
		return mfa.Passed{}, err
	}
	if !ok {
		return mfa.Passed{}, mfa.ErrWrong
	}
	return mfa.Passed{Shows: mfa.Possession, AMR: []string{"otp"}, Channel: "mail:" + f.Fold(c.Subject.Email)}, nil
}

// SMS sends the code to a phone that its owner set up, by a code (S30). The number is kept sealed; a number
// that changes is another second step.
type SMS struct{ Way }

var _ mfa.Enroller = SMS{}

func (SMS) Method() mfa.Method { return policy.SMS }

// public is what stands beside the sealed number: an HMAC of it, to find it by.
type public struct {
	Number string `json:"number"`
}

func (f SMS) public(ctx context.Context, c *mfa.Ceremony, number string) (json.RawMessage, error) {
	h, err := f.Pepper(ctx, "numbers", string(c.Subject.Realm), []byte(number))
	if err != nil {
		return nil, err
	}
	return json.Marshal(public{hex.EncodeToString(h[:])})
}

// Offer asks for a number, and then for the code that was sent there.
func (f SMS) Offer(_ context.Context, c *mfa.Ceremony) (templates.Page, error) {
	var s sent
	if c.Kept(&s) && s.Number != "" {
		return f.page(c, s, "sms", maskNumber(s.Number)), nil
	}
	page := templates.PhonePage{StepFrame: c.Frame}
	if s.Note != "" {
		page.Error = s.Note
	}
	return page, nil
}

func (f SMS) Enroll(ctx context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Enrollment, mfa.Passed, error) {
	var s sent
	c.Kept(&s)
	switch {
	case answer.Get("change") == "1":
		return again(c, sent{})
	case s.Number == "":
		return f.number(ctx, c, answer)
	case answer.Get("resend") == "1":
		if err := f.text(ctx, c, &s, s.Number); err != nil {
			return mfa.Enrollment{}, mfa.Passed{}, err
		}
		return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrAgain
	}
	ok, err := f.right(ctx, s, answer)
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	if !ok {
		return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrWrong
	}
	public, err := f.public(ctx, c, s.Number)
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	if err := f.Messages.Used(ctx, string(c.Subject.Org)); err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	return mfa.Enrollment{Secret: []byte(s.Number), Public: public, Label: maskNumber(s.Number)}, f.shown(s.Number), nil
}

// again keeps what the next page is to show.
func again(c *mfa.Ceremony, s sent) (mfa.Enrollment, mfa.Passed, error) {
	if err := c.Keep(s); err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrAgain
}

// number takes the number that is to be set up, and writes to it.
func (f SMS) number(ctx context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Enrollment, mfa.Passed, error) {
	text := answer.Get("number")
	if len(text) > 40 {
		return again(c, sent{Note: delivery.ErrNumber.Code})
	}
	number, err := f.Messages.Number(text)
	if errors.Is(err, delivery.ErrNumber) {
		return again(c, sent{Note: delivery.ErrNumber.Code})
	}
	if err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	if slices.ContainsFunc(c.Enrollments, func(e mfa.Enrollment) bool { return e.Method == policy.SMS && string(e.Secret) == number }) {
		return again(c, sent{Note: mfa.ErrTaken.Code})
	}
	s := sent{Number: number}
	if err := f.text(ctx, c, &s, number); err != nil {
		return mfa.Enrollment{}, mfa.Passed{}, err
	}
	if len(s.Hashes) == 0 { // nothing was sent: another number, or another way
		s.Number = ""
		return again(c, s)
	}
	return mfa.Enrollment{}, mfa.Passed{}, mfa.ErrAgain
}

func (f SMS) text(ctx context.Context, c *mfa.Ceremony, s *sent, number string) error {
	sub := c.Subject
	return f.send(ctx, c, s, func(code string, until time.Time) error {
		return f.Messages.SMS(ctx, delivery.SMS{
			Org: string(sub.Org), Person: string(sub.Person), To: number, Language: templates.Language(sub.Locale), Network: network(sub.Network), NotAfter: until,
			Message: templates.CodeSMS{Code: code, App: sub.App, Host: f.Host},
		})
	})
}

// phone is the one that a question asks: the one that was used last.
func phone(s sent, list []mfa.Enrollment) (mfa.Enrollment, bool) {
	var best mfa.Enrollment
	for _, e := range list {
		if s.To == string(e.ID) {
			return e, true
		}
		if best.ID == "" || e.LastUsed.After(best.LastUsed) {
			best = e
		}
	}
	return best, best.ID != "" && s.To == ""
}

func (f SMS) Ask(ctx context.Context, c *mfa.Ceremony) (templates.Page, error) {
	var s sent
	kept := c.Kept(&s)
	e, ok := phone(s, c.Enrollments)
	if !ok {
		return nil, mfa.ErrNotFound
	}
	if !kept {
		s.To = string(e.ID)
		if err := f.text(ctx, c, &s, string(e.Secret)); err != nil {
			return nil, err
		}
	}
	return f.page(c, s, "sms", maskNumber(string(e.Secret))), nil
}

func (f SMS) Answer(ctx context.Context, c *mfa.Ceremony, answer url.Values) (mfa.Passed, error) {
	var s sent
	if !c.Kept(&s) || s.To == "" {
		return mfa.Passed{}, mfa.ErrOver
	}
	e, ok := phone(s, c.Enrollments)
	if !ok {
		return mfa.Passed{}, mfa.ErrNotFound
	}
	if answer.Get("resend") == "1" {
		if err := f.text(ctx, c, &s, string(e.Secret)); err != nil {
			return mfa.Passed{}, err
		}
		return mfa.Passed{}, mfa.ErrAgain
	}
	ok, err := f.right(ctx, s, answer)
	if err != nil {
		return mfa.Passed{}, err
	}
	if !ok {
		return mfa.Passed{}, mfa.ErrWrong
	}
	if err := f.Messages.Used(ctx, string(c.Subject.Org)); err != nil {
		return mfa.Passed{}, err
	}
	p := f.shown(string(e.Secret))
	p.Enrollment = e.ID
	return p, nil
}

// shown is what a right code shows (RFC 8176 section 2).
func (SMS) shown(number string) mfa.Passed {
	return mfa.Passed{Shows: mfa.Possession, AMR: []string{"sms"}, Channel: "tel:" + number}
}

// network reads where a browser is.
func network(at string) netip.Addr {
	a, err := netip.ParseAddr(at)
	if err != nil {
		p, _ := netip.ParsePrefix(at)
		return p.Addr()
	}
	return a
}

// maskAddress shows enough of an address to recognise one's own.
func maskAddress(address string) string {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" {
		return ""
	}
	return string([]rune(local)[0]) + "…@" + domain
}

// maskNumber shows its last two digits.
func maskNumber(number string) string {
	if len(number) < 4 {
		return "…"
	}
	return "… " + number[len(number)-2:]
}
