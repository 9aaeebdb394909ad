package mfa

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
)

// invitationLife is how long a page may stand before somebody answers it: as long as a login.
const invitationLife = 30 * time.Minute

// Invitation is a question to whoever answers it.
type Invitation struct {
	ID      string // of the ceremony so far; "" begins one
	Bound   string // what asks
	Options string // for the page's script: JSON
	Error   string // the fault's code of the last answer, "" when none was wrong
	Left    int    // tries that are left, after a wrong one
}

// finder is the factor that finds people by their answer; none is ErrUnknown.
func (s *Service) finder() (Finder, error) {
	i := slices.IndexFunc(s.Factors, func(f Factor) bool { _, ok := f.(Finder); return ok })
	if i < 0 {
		return nil, ErrUnknown
	}
	return s.Factors[i].(Finder), nil
}

// Finds says whether this installation can find people by their answer.
func (s *Service) Finds() bool {
	if s == nil {
		return false
	}
	_, err := s.finder()
	return err == nil
}

// Invite gives the question of a page that knows nobody yet, and a new one when the old one is over.
func (s *Service) Invite(ctx context.Context, bound, id string) (Invitation, error) {
	f, err := s.finder()
	if err != nil {
		return Invitation{}, err
	}
	q := Question{ID: id, Bound: bound, Method: f.Method()}
	c, err := s.look(ctx, q)
	if errors.Is(err, brief.ErrGone) || errors.Is(err, ErrOver) {
		c, err = s.begin(q), nil
		c.Until = c.Started.Add(invitationLife)
	}
	if err != nil {
		return Invitation{}, err
	}
	before := string(c.Data)
	c.Now = s.Now()
	options, err := f.Invite(ctx, &c)
	if err != nil {
		return Invitation{}, err
	}
	if c.ID == "" {
		c.ID = directory.NewSecret()
	}
	if before != string(c.Data) {
		if err := s.put(ctx, c); err != nil {
			return Invitation{}, err
		}
	}
	inv := Invitation{ID: c.ID, Bound: bound, Options: options, Error: c.Wrong}
	if c.Wrong != "" {
		inv.Left = TriesALogin - c.Tries
	}
	return inv, nil
}

// Recognize judges the answer to an invitation, and says whose it is. Errors are those of Answer. What
// names a credential that nobody of the realm has is ErrWrong like any other wrong answer (S31). Wrong
// answers end what asked, and let nobody's passkey rest: anybody can send them (S32).
func (s *Service) Recognize(ctx context.Context, realm directory.RealmID, bound, id string, answer url.Values) (Passed, Enrollment, error) {
	f, err := s.finder()
	if err != nil {
		return Passed{}, Enrollment{}, err
	}
	c, err := s.take(ctx, Question{ID: id, Bound: bound, Method: f.Method()})
	if errors.Is(err, brief.ErrGone) {
		return Passed{}, Enrollment{}, ErrOver.With(err)
	}
	if err != nil {
		return Passed{}, Enrollment{}, err
	}
	c.Now = s.Now()
	passed, whose, err := s.recognize(ctx, realm, f, &c, answer)
	if err != nil {
		c.Subject, c.Person, c.Enrollments = Subject{}, "", nil // the next answer is anybody's again
		return Passed{}, Enrollment{}, s.again(ctx, c, err)
	}
	return passed, whose, nil
}

func (s *Service) recognize(ctx context.Context, realm directory.RealmID, f Finder, c *Ceremony, answer url.Values) (Passed, Enrollment, error) {
	handle, err := f.Handle(answer)
	if err != nil {
		c.Data = nil
		return Passed{}, Enrollment{}, err
	}
	whose, err := s.EnrollmentByHandle(ctx, realm, handle)
	if errors.Is(err, ErrNotFound) || err == nil && whose.Method != f.Method() {
		c.Data = nil // no challenge is asked twice
		return Passed{}, Enrollment{}, ErrWrong.Because("nobody's credential")
	}
	if err != nil {
		return Passed{}, Enrollment{}, err
	}
	c.Enrollments = []Enrollment{whose}
	c.Subject = Subject{Realm: whose.Realm, Home: whose.Home, Person: whose.Person}
	passed, err := f.Recognize(ctx, c, answer)
	if err == nil {
		err = s.makeGood(ctx, c, passed)
	}
	if err != nil {
		return Passed{}, Enrollment{}, err
	}
	passed.Method, passed.At, passed.Org, passed.From = c.Method, c.Now, whose.Org, whose.CountsFrom
	return passed, whose, nil
}
