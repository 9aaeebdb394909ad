package flows

import (
	"context"
	"net/url"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Step is one thing that a login may want. Wants is pure and says why; a fault from it refuses the
// login. Ask shows the step; Take takes the browser's answer and writes it into the turn's login.
type Step interface {
	Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error)
	Ask(ctx context.Context, t *Turn) (Reply, error)
	Take(ctx context.Context, t *Turn, answer url.Values) error
}

// steps is the table: one line for each step.
var steps = map[StepName]Step{
	StepIdentify:     identify{},
	StepChoose:       choose{},
	StepAuthenticate: authenticate{},
	StepLink:         link{},
	StepMembership:   membership{},
	StepFactor:       factor{},
	StepEnroll:       enroll{},
	StepNotice:       notice{},
	StepTerms:        terms{},
	StepProfile:      profile{},
	StepDeny:         deny{},
}

// Turn is one request's work on one login.
type Turn struct {
	Engine     *Engine
	Login      *Login
	State      State
	Policy     policy.Effective
	Remembered []Remembered // what this browser used before
	Known      []knownDevice
}

// Reply is how a step asks: a page, a departure, or neither when it went on by itself.
type Reply struct {
	Page   templates.Page
	Status int // of the page; 0 is 200
	Depart *upstream.Departure
	// Changed says that the login's row must be written before the answer goes out.
	Changed bool
	// Again asks for another decision at once.
	Again bool
}
