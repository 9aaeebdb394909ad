package mfatest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/templates"
)

// Kind is a factor with what answers it.
type Kind struct {
	// New makes the factor, over the house's stores.
	New func(h *House) mfa.Factor
	// Device is something that one person holds and answers with: a fresh one each time.
	Device func(t *testing.T, h *House) Device
	// Shows and AMR are what a right answer must show.
	Shows mfa.Evidence
	AMR   []string
	// Lasting: an answer is good until it is used, whichever question it is given to.
	Lasting bool
	// Wait is how long until the same device has another right answer.
	Wait time.Duration
}

// Device answers pages as a person would.
type Device struct {
	// SetUp answers the pages that set it up, one after another until it is; nil where nobody sets it up.
	SetUp func(p templates.Page) url.Values
	// Hold gives somebody what they did not set up themselves; nil where SetUp is, or where people have it
	// without.
	Hold func(s mfa.Subject)
	// Right and Wrong answer a question.
	Right, Wrong func(p templates.Page) url.Values
}

// person is somebody with a device, in a login.
type person struct {
	t   *testing.T
	h   *House
	q   mfa.Question
	dev Device
}

func (k Kind) house(t *testing.T) *House {
	h := NewHouse(t)
	return h.With(k.New(h))
}

// somebody has a device that is ready to answer.
func (k Kind) somebody(t *testing.T, h *House, s mfa.Subject) *person {
	t.Helper()
	p := &person{t: t, h: h, dev: k.Device(t, h), q: mfa.Question{Bound: "login-of-" + string(s.Person), Method: h.Factor.Method(), Subject: s}}
	switch {
	case p.dev.SetUp != nil:
		if _, _, err := p.setUp(); err != nil {
			t.Fatalf("it could not be set up: %v", err)
		}
	case p.dev.Hold != nil:
		p.dev.Hold(s)
	}
	h.Pass(k.Wait)
	return p
}

// setUp sets the device up, and gives the last answer.
func (p *person) setUp() (mfa.Passed, url.Values, error) {
	p.t.Helper()
	q := p.q
	q.Enrol, q.ID = true, ""
	for range 4 {
		page, id, err := p.h.Show(p.t.Context(), q)
		if err != nil {
			return mfa.Passed{}, nil, err
		}
		q.ID = id
		answer := p.dev.SetUp(page)
		passed, err := p.h.Answer(p.t.Context(), q, answer)
		if !errors.Is(err, mfa.ErrAgain) {
			return passed, answer, err
		}
	}
	return mfa.Passed{}, nil, errors.New("it asks and asks")
}

// asked shows the question: the open one, or a new one.
func (p *person) asked() templates.Page {
	p.t.Helper()
	page, id, err := p.h.Show(p.t.Context(), p.q)
	if err != nil {
		p.t.Fatalf("asking: %v", err)
	}
	p.q.ID = id
	return page
}

func (p *person) answers(v url.Values) (mfa.Passed, error) {
	return p.h.Answer(p.t.Context(), p.q, v)
}

func (p *person) refused(what string, v url.Values, want ...error) {
	p.t.Helper()
	passed, err := p.answers(v)
	if err == nil {
		p.t.Errorf("%s passed: %+v", what, passed)
	}
	if len(want) > 0 && !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		p.t.Errorf("%s: %v", what, err)
	}
}

// Run holds a factor to all of it.
func Run(t *testing.T, k Kind) {
	for name, test := range map[string]func(*testing.T, Kind){
		"a right answer passes, and says what it shows":                right,
		"a wrong answer is wrong, and leaves the question open":        wrong,
		"S16 the same answer passes once":                              twice,
		"S7 five wrong answers end the question":                       five,
		"after its time no answer is good":                             late,
		"another login's question is nobody's":                         elsewhere,
		"another person's question and another person's answer fail":   other,
		"setting up is no answer, and a question sets nothing up":      setting,
		"S16 of sixteen equal answers at once one passes":              parallel,
		"S16 of sixteen logins with one answer at most one passes":     logins,
		"what was removed meanwhile answers no more":                   removed,
		"an answer that is no answer is wrong and breaks nothing else": junk,
	} {
		t.Run(name, func(t *testing.T) { test(t, k) })
	}
}

func right(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	passed, err := ada.answers(ada.dev.Right(ada.asked()))
	if err != nil {
		t.Fatal(err)
	}
	if passed.Method != h.Factor.Method() || passed.Shows != k.Shows || !slices.Equal(passed.AMR, k.AMR) {
		t.Errorf("it shows %+v", passed)
	}
	if !passed.At.Equal(h.Time()) || passed.Org != Ada().Home || !passed.From.IsZero() {
		t.Errorf("it counts wrongly: %+v", passed)
	}
	// And once more, later.
	h.Pass(k.Wait)
	if _, err := ada.answers(ada.dev.Right(ada.asked())); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func wrong(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	ada.refused("a wrong answer", ada.dev.Wrong(ada.asked()), mfa.ErrWrong)
	open := ada.q.ID
	page := ada.asked()
	if ada.q.ID != open {
		t.Error("the question is another one")
	}
	if _, err := ada.answers(ada.dev.Right(page)); err != nil {
		t.Errorf("right after wrong: %v", err)
	}
}

func twice(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	v := ada.dev.Right(ada.asked())
	if _, err := ada.answers(v); err != nil {
		t.Fatal(err)
	}
	ada.refused("the same answer to the same question", v, mfa.ErrOver)
	ada.asked()
	ada.refused("the same answer to the next question", v, mfa.ErrWrong, mfa.ErrReplay)
}

func five(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	page := ada.asked()
	for range mfa.TriesALogin - 1 {
		ada.refused("a wrong answer", ada.dev.Wrong(page), mfa.ErrWrong)
		page = ada.asked()
	}
	v := ada.dev.Right(page)
	ada.refused("the last one", ada.dev.Wrong(page), mfa.ErrTries)
	ada.refused("a right one after it", v, mfa.ErrOver)
}

func late(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	v := ada.dev.Right(ada.asked())
	h.Pass(10*time.Minute + time.Second)
	ada.refused("an answer after its time", v, mfa.ErrOver)
	old := ada.q.ID
	ada.asked()
	if ada.q.ID == old {
		t.Error("a question that is over is asked again")
	}
	if k.Lasting {
		return
	}
	ada.refused("the old answer to the new question", v, mfa.ErrWrong, mfa.ErrReplay)
}

func elsewhere(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	v := ada.dev.Right(ada.asked())
	was := ada.q
	ada.q.Bound = "another-login"
	ada.refused("an answer in another login", v, mfa.ErrOver)
	ada.q = was
	ada.q.Subject.Org = "org_other"
	ada.asked()
	ada.q.ID = was.ID
	ada.refused("an answer for another organization", v, mfa.ErrOver)
}

func other(t *testing.T, k Kind) {
	h := k.house(t)
	ada, bob := k.somebody(t, h, Ada()), k.somebody(t, h, Bob())
	v := bob.dev.Right(bob.asked())
	ada.asked()
	ada.refused("Bob's answer to Ada's question", v, mfa.ErrWrong, mfa.ErrReplay)
	ada.q.ID = bob.q.ID
	ada.refused("Bob's answer to Bob's question, by Ada", v, mfa.ErrOver)
}

func setting(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	if ada.dev.SetUp == nil {
		q := ada.q
		q.Enrol = true
		if _, _, err := h.Show(t.Context(), q); !errors.Is(err, mfa.ErrUnknown) {
			t.Errorf("people set it up: %v", err)
		}
		return
	}
	bob := &person{t: t, h: h, dev: k.Device(t, h), q: mfa.Question{Bound: "login-of-bob", Method: h.Factor.Method(), Subject: Bob()}}
	passed, answer, err := bob.setUp()
	if err != nil {
		t.Fatal(err)
	}
	if passed.Enrollment == "" || passed.Org != Bob().Org {
		t.Errorf("what was set up: %+v", passed)
	}
	bob.asked()
	bob.refused("what set it up, as an answer", answer, mfa.ErrWrong, mfa.ErrReplay)
	// The open page of the one is not the other.
	q := ada.q
	q.Enrol = true
	page, id, err := h.Show(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	ada.q.ID = id
	ada.refused("a setting up as a question", ada.dev.SetUp(page), mfa.ErrOver)
}

func parallel(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	v := ada.dev.Right(ada.asked())
	var won atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := ada.answers(v); err == nil {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d passed", won.Load())
	}
}

func logins(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	var open []person
	var v url.Values
	for i := range 16 {
		one := *ada
		one.q.Bound, one.q.ID = fmt.Sprintf("login-%d", i), ""
		page := one.asked()
		if i == 0 {
			v = one.dev.Right(page)
		}
		open = append(open, one)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for _, one := range open {
		all.Go(func() {
			if _, err := one.answers(v); err == nil {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d passed", won.Load())
	}
}

func removed(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	v := ada.dev.Right(ada.asked())
	list, err := h.EnrollmentsOf(t.Context(), Ada().Home, Ada().Person)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if err := h.RemoveEnrollment(t.Context(), Ada().Home, e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) > 0 {
		ada.refused("what is gone", v, mfa.ErrWrong, mfa.ErrNotFound)
	}
}

func junk(t *testing.T, k Kind) {
	h := k.house(t)
	ada := k.somebody(t, h, Ada())
	long := make([]byte, 1<<16)
	for i := range long {
		long[i] = '7'
	}
	for _, v := range []url.Values{nil, {"code": {""}}, {"code": {"\x00\xff"}}, {"code": {string(long)}, "answer": {string(long)}}} {
		ada.asked()
		ada.refused(fmt.Sprintf("%.20v", v), v, mfa.ErrWrong)
	}
	if _, err := ada.answers(ada.dev.Right(ada.asked())); err != nil {
		t.Errorf("right after junk: %v", err)
	}
}

// Keep stores what somebody did not set up themselves.
func (h *House) Keep(t *testing.T, s mfa.Subject, e mfa.Enrollment) mfa.Enrollment {
	t.Helper()
	e.ID, e.Realm, e.Home, e.Person, e.Org, e.CreatedAt = directory.NewFactorID(h.Time()), s.Realm, s.Home, s.Person, s.Org, h.Time()
	e.Method = h.Factor.Method()
	if err := h.AddEnrollment(t.Context(), s.Home, e); err != nil {
		t.Fatal(err)
	}
	return e
}
