package mfa

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Service runs ceremonies. All fields are required but Told.
type Service struct {
	// Factors are those of this installation, the safest first: the order in which they are offered.
	Factors []Factor
	Enrollments
	Tries Tries
	Brief brief.Store
	// Seal seals ceremonies where they lie for minutes: an AEAD that makes its own nonces.
	Seal  cipher.AEAD
	Tx    directory.Tx
	Audit audit.Recorder
	Now   func() time.Time
	// Told is called in the transaction of every change of somebody's factors, to tell them by other
	// channels; nil tells nobody.
	Told func(ctx context.Context, s Subject, what Change) error
	// End ends all that a person has open, in the transaction that it is called in; nil ends nothing. why is
	// one of directory's Ended… constants.
	End func(ctx context.Context, home directory.OrgID, person directory.PersonID, why string) error
}

// Change is what happened to somebody's second steps.
type Change struct {
	What   string // FactorAdded, …
	Method Method
	Label  string
	Left   int // of recovery codes, once one was used
	At     time.Time
}

const (
	FactorAdded    = "added"
	FactorRemoved  = "removed"
	FactorReplaced = "replaced"
	RecoveryUsed   = "recovery_used"
)

// life is how long a question stays open.
const life = 10 * time.Minute

// most is how many of one kind somebody may have.
const most = 10

// Factor finds one by its method.
func (s *Service) Factor(m Method) (Factor, error) {
	i := slices.IndexFunc(s.Factors, func(f Factor) bool { return f.Method() == m })
	if i < 0 {
		return nil, ErrUnknown.Because(string(m))
	}
	return s.Factors[i], nil
}

// Methods are those of this installation, the safest first.
func (s *Service) Methods() []Method {
	if s == nil {
		return nil
	}
	out := make([]Method, len(s.Factors))
	for i, f := range s.Factors {
		out[i] = f.Method()
	}
	return out
}

// Enrollable are those that people set up themselves.
func (s *Service) Enrollable() []Method {
	if s == nil {
		return nil
	}
	var out []Method
	for _, f := range s.Factors {
		if _, ok := f.(Enroller); ok && f.Method() != policy.RecoveryCode {
			out = append(out, f.Method())
		}
	}
	return out
}

// Recovers says whether a method is a way back for whoever lost their second step.
func Recovers(m Method) bool { return m == policy.RecoveryCode || m == policy.AdminBypass }

// Live says whether an enrollment may be used at all: whatever can be used up is not.
func (s *Service) Live(e Enrollment) bool {
	f, err := s.Factor(e.Method)
	if err != nil {
		return true // of another release; it answers nothing here
	}
	c, counts := f.(Countable)
	return !counts || c.Left(e, s.Now()) > 0
}

// Implicit are the methods that somebody has without setting anything up.
func (s *Service) Implicit(sub Subject) []Method {
	var out []Method
	for _, f := range s.Factors {
		if i, ok := f.(Implicit); ok && i.Has(sub) {
			out = append(out, f.Method())
		}
	}
	return out
}

// Question is what a page needs to ask.
type Question struct {
	ID     string // of the ceremony so far; "" begins one
	Bound  string
	Method Method
	Enrol  bool
	// From is when what is set up begins to count for more than enrolling and signing in; zero: at once.
	From    time.Time
	Subject Subject
	Frame   templates.StepFrame
}

// Show gives the page of a question, and the ceremony's id: another one when the old one is over.
func (s *Service) Show(ctx context.Context, q Question) (templates.Page, string, error) {
	c, err := s.look(ctx, q)
	if errors.Is(err, brief.ErrGone) || errors.Is(err, ErrOver) {
		c, err = s.begin(q), nil
	}
	if err != nil {
		return nil, "", err
	}
	before := string(c.Data)
	page, err := s.page(ctx, &c, q)
	if err != nil {
		return nil, "", err
	}
	if c.ID == "" || before != string(c.Data) {
		if c.ID == "" {
			c.ID = directory.NewSecret()
		}
		if err := s.put(ctx, c); err != nil {
			return nil, "", err
		}
	}
	return page, c.ID, nil
}

func (s *Service) begin(q Question) Ceremony {
	now := s.Now()
	return Ceremony{Method: q.Method, Enrol: q.Enrol, Bound: q.Bound, Person: q.Subject.Person, Org: q.Subject.Org, Started: now, Until: now.Add(life)}
}

func (s *Service) page(ctx context.Context, c *Ceremony, q Question) (templates.Page, error) {
	f, err := s.Factor(c.Method)
	if err != nil {
		return nil, err
	}
	if err := s.dress(ctx, c, q); err != nil {
		return nil, err
	}
	if !c.Enrol {
		return f.Ask(ctx, c)
	}
	e, ok := f.(Enroller)
	if !ok {
		return nil, ErrUnknown.Because(string(c.Method))
	}
	return e.Offer(ctx, c)
}

// dress gives a ceremony what is not kept with it.
func (s *Service) dress(ctx context.Context, c *Ceremony, q Question) error {
	c.Now, c.Subject, c.Frame, c.From = s.Now(), q.Subject, q.Frame, q.From
	if c.Wrong != "" {
		c.Frame.Error, c.Frame.Left = c.Wrong, TriesALogin-c.Tries
	}
	list, err := s.EnrollmentsOf(ctx, q.Subject.Home, q.Subject.Person)
	if err != nil {
		return err
	}
	c.Enrollments = list
	if !c.Enrol {
		c.Enrollments = slices.DeleteFunc(list, func(e Enrollment) bool { return e.Method != c.Method })
	}
	return nil
}

// Answer judges an answer. ErrWrong, ErrReplay, ErrCopied and ErrAgain leave the question open, to be shown again; ErrOver
// wants a new one; anything else ends what asked.
func (s *Service) Answer(ctx context.Context, q Question, answer url.Values) (Passed, error) {
	c, err := s.take(ctx, q)
	if errors.Is(err, brief.ErrGone) {
		return Passed{}, ErrOver.With(err)
	}
	if err != nil {
		return Passed{}, err
	}
	if err := s.dress(ctx, &c, q); err != nil {
		return Passed{}, err
	}
	if err := s.Tries.CountTry(ctx, q.Subject.Home, q.Subject.Person, c.Method, c.Now); err != nil {
		return Passed{}, err
	}
	passed, err := s.judge(ctx, &c, answer)
	if err != nil && !errors.Is(err, ErrAgain) {
		return Passed{}, s.again(ctx, c, err)
	}
	if e := s.Tries.ForgiveTry(ctx, q.Subject.Home, q.Subject.Person, c.Method, c.Now); e != nil {
		return Passed{}, e
	}
	if err == nil {
		return passed, nil
	}
	c.Wrong = ""
	if e := s.put(ctx, c); e != nil {
		return Passed{}, e
	}
	return Passed{}, err
}

// again leaves a question open after a wrong answer, until there were too many.
func (s *Service) again(ctx context.Context, c Ceremony, why error) error {
	if !errors.Is(why, ErrWrong) && !errors.Is(why, ErrReplay) && !errors.Is(why, ErrCopied) {
		return why
	}
	c.Tries++
	c.Wrong = fault.Of(why).Code
	if c.Tries >= TriesALogin {
		return ErrTries.Because(fault.Of(why).Code)
	}
	if err := s.put(ctx, c); err != nil {
		return err
	}
	return why
}

func (s *Service) judge(ctx context.Context, c *Ceremony, answer url.Values) (Passed, error) {
	f, err := s.Factor(c.Method)
	if err != nil {
		return Passed{}, err
	}
	if c.Enrol {
		return s.enrol(ctx, c, f, answer)
	}
	passed, err := f.Answer(ctx, c, answer)
	if err != nil {
		return Passed{}, err
	}
	passed.Method, passed.At = c.Method, c.Now
	if passed.Enrollment == "" { // nothing was set up: it is the person's own at home
		passed.Org = c.Subject.Home
		return passed, nil
	}
	if err := s.makeGood(ctx, c, passed); err != nil {
		return Passed{}, err
	}
	i := slices.IndexFunc(c.Enrollments, func(e Enrollment) bool { return e.ID == passed.Enrollment })
	if i < 0 {
		return Passed{}, ErrNotFound
	}
	passed.Org, passed.From = c.Enrollments[i].Org, c.Enrollments[i].CountsFrom
	return passed, nil
}

// makeGood uses up what an answer uses up. One that may come from a copy is refused and recorded: whose it
// is needs another way, and somebody who looks.
func (s *Service) makeGood(ctx context.Context, c *Ceremony, p Passed) error {
	err := error(ErrCopied)
	if p.Warn == "" {
		err = s.Tx.InTx(ctx, func(ctx context.Context) error { return s.use(ctx, c, p) })
	}
	if !errors.Is(err, ErrCopied) {
		return err
	}
	if err := s.record(ctx, c, audit.FactorDoubted, p.Enrollment); err != nil {
		return err
	}
	return ErrCopied
}

// use makes an answer good: what it uses up is used up with it.
func (s *Service) use(ctx context.Context, c *Ceremony, p Passed) error {
	left := 0
	err := s.UpdateEnrollment(ctx, c.Subject.Home, p.Enrollment, func(e *Enrollment) error {
		if e.Person != c.Subject.Person || e.Method != c.Method {
			return ErrNotFound
		}
		e.LastUsed = c.Now
		if p.Use == nil {
			return nil
		}
		if err := p.Use(e); err != nil {
			return err
		}
		left = s.left(*e, c.Now)
		return nil
	})
	if err != nil || !Recovers(c.Method) {
		return err
	}
	act := audit.RecoveryUsed
	if c.Method == policy.AdminBypass {
		act = audit.BypassUsed
	}
	if err := s.record(ctx, c, act, p.Enrollment); err != nil {
		return err
	}
	// Whoever comes back after a loss shuts out whoever found what was lost (S12).
	if err := s.end(ctx, c.Subject, directory.EndedRecovery); err != nil {
		return err
	}
	return s.tell(ctx, c.Subject, Change{What: RecoveryUsed, Method: c.Method, Left: left, At: c.Now})
}

func (s *Service) left(e Enrollment, now time.Time) int {
	if f, err := s.Factor(e.Method); err == nil {
		if c, counts := f.(Countable); counts {
			return c.Left(e, now)
		}
	}
	return 0
}

// enrol keeps what somebody set up.
func (s *Service) enrol(ctx context.Context, c *Ceremony, f Factor, answer url.Values) (Passed, error) {
	enroller, ok := f.(Enroller)
	if !ok {
		return Passed{}, ErrUnknown.Because(string(c.Method))
	}
	made, passed, err := enroller.Enroll(ctx, c, answer)
	if err != nil {
		return Passed{}, err
	}
	same := slices.DeleteFunc(slices.Clone(c.Enrollments), func(e Enrollment) bool { return e.Method != c.Method })
	what := FactorAdded
	if c.Method == policy.RecoveryCode && len(same) > 0 { // a new set takes the old one's place
		what = FactorReplaced
	} else if len(same) >= most {
		return Passed{}, ErrMany
	}
	sub := c.Subject
	made.ID, made.Realm, made.Home, made.Person, made.Org = directory.NewFactorID(c.Now), sub.Realm, sub.Home, sub.Person, sub.Org
	made.Method, made.CreatedAt, made.LastUsed, made.CountsFrom = c.Method, c.Now, c.Now, c.From
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, old := range same {
			if what == FactorReplaced {
				if err := s.RemoveEnrollment(ctx, sub.Home, old.ID); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
			}
		}
		if err := s.AddEnrollment(ctx, sub.Home, made); err != nil {
			return err
		}
		if err := s.record(ctx, c, audit.FactorAdded, made.ID); err != nil {
			return err
		}
		return s.tell(ctx, sub, Change{What: what, Method: c.Method, Label: made.Label, At: c.Now})
	})
	if err != nil {
		return Passed{}, err
	}
	passed.Enrollment, passed.Method, passed.At, passed.Org, passed.From = made.ID, c.Method, c.Now, made.Org, made.CountsFrom
	return passed, nil
}

func (s *Service) tell(ctx context.Context, sub Subject, what Change) error {
	if s.Told == nil {
		return nil
	}
	return s.Told(ctx, sub, what)
}

func (s *Service) record(ctx context.Context, c *Ceremony, act audit.Action, id directory.FactorID) error {
	return s.Audit.Record(ctx, audit.Entry{
		ID: string(directory.NewEntryID(c.Now)), At: c.Now, Org: string(c.Subject.Home),
		Actor: audit.Ref{Kind: "person", ID: string(c.Subject.Person)}, Action: act, Target: audit.Ref{Kind: "factor", ID: string(id)},
		Detail: map[string]string{"method": string(c.Method)},
	})
}

func key(id string) string { return "ceremony/" + id }

func (s *Service) put(ctx context.Context, c Ceremony) error {
	left := c.Until.Sub(s.Now())
	if left < time.Second {
		return ErrOver
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return err
	}
	nonce := make([]byte, s.Seal.NonceSize())
	rand.Read(nonce)
	return s.Brief.Put(ctx, key(c.ID), s.Seal.Seal(nonce, nonce, plain, []byte(key(c.ID))), left)
}

func (s *Service) open(q Question, sealed []byte) (Ceremony, error) {
	n := s.Seal.NonceSize()
	if len(sealed) < n {
		return Ceremony{}, ErrOver
	}
	plain, err := s.Seal.Open(nil, sealed[:n], sealed[n:], []byte(key(q.ID)))
	if err != nil {
		return Ceremony{}, ErrOver.With(err)
	}
	c := Ceremony{ID: q.ID}
	if err := json.Unmarshal(plain, &c); err != nil {
		return Ceremony{}, ErrOver.With(err)
	}
	// One that was begun for another login, person, organization or purpose answers for nobody else.
	if c.Bound != q.Bound || c.Person != q.Subject.Person || c.Org != q.Subject.Org || c.Method != q.Method || c.Enrol != q.Enrol || !s.Now().Before(c.Until) {
		return Ceremony{}, ErrOver.Because("another question")
	}
	return c, nil
}

func (s *Service) look(ctx context.Context, q Question) (Ceremony, error) {
	if q.ID == "" {
		return Ceremony{}, ErrOver
	}
	sealed, err := s.Brief.Get(ctx, key(q.ID))
	if err != nil {
		return Ceremony{}, err
	}
	return s.open(q, sealed)
}

func (s *Service) take(ctx context.Context, q Question) (Ceremony, error) {
	if q.ID == "" {
		return Ceremony{}, ErrOver
	}
	sealed, err := s.Brief.Take(ctx, key(q.ID))
	if err != nil {
		return Ceremony{}, err
	}
	return s.open(q, sealed)
}
