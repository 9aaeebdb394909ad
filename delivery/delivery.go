// Package delivery is how something leaves the house later and must arrive: logout tokens, e-mail,
// webhooks. Whoever changes something enqueues a Job in the transaction of the change, so that both are
// there or neither, and a Runner on every node sends what is due.
//
// A job is leased while it is sent, tried again with growing pauses until NotAfter, and leaves one line
// in the log of deliveries when it is over. Two nodes send one job twice only after a crash between
// sending and noting it; its ID travels along, so that receivers can drop the copy. A receiver that is
// down has bounds of its own, and slows nobody else.
//
// One more kind of delivery is one Sender and one line in cmd/vestibule/registry.go. The package knows
// jobs, not what is in them: payloads are the sender's.
package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// Kind says which Sender a job is for. Stored, never renamed.
type Kind string

// Job is one thing that must arrive.
type Job struct {
	ID   string // job_…, unique, in the order of making; receivers see it and can drop a copy
	Kind Kind
	Org  string // whose record its outcome stands in, under whose key its payload is sealed; "" is the platform
	// Target is who receives it, by id: an app, a person, a webhook. The log of deliveries names it.
	Target string
	// Host is where it goes. Jobs of one host share its bounds, so that one that is down slows no other.
	Host string
	// Payload is the sender's own. It is sealed at rest and erased when the job is over; nil when it could
	// not be opened where it lay.
	Payload   []byte
	CreatedAt time.Time
	NotBefore time.Time // zero: at once
	NotAfter  time.Time // what has not arrived by then is dropped, and said so
	Attempts  int       // tries that were begun, this one included
	// Lease is the right to say how this try went; the queue gives it.
	Lease string
}

// Outbox takes jobs.
type Outbox interface {
	// Enqueue joins the transaction of ctx: nothing is sent before it commits, and a commit forgets
	// nothing.
	Enqueue(ctx context.Context, j Job) error
}

// Queue keeps jobs and the log of deliveries.
type Queue interface {
	Outbox
	// LeaseJobs takes jobs that are due for whoever asks, and counts a try of each: of many nodes that
	// ask one gets a job. A lease that is not answered by Until is over, and the job is due again.
	LeaseJobs(ctx context.Context, w Want) ([]Job, error)
	// RetryJob makes a leased job due again at a time. A lease that is over changes nothing.
	RetryJob(ctx context.Context, j Job, at time.Time, class string) error
	// FinishJob erases a leased job and writes its line in the log; ErrLease when the lease is over.
	FinishJob(ctx context.Context, j Job, d Delivery) error
	// PostponeJobs puts off what is due for a host until a time, without counting a try.
	PostponeJobs(ctx context.Context, kind Kind, host string, until time.Time) error
	// Deliveries lists what is on its way and what is over of one organization, the newest first.
	Deliveries(ctx context.Context, org string, q Query) ([]Delivery, error)
}

// Want says which jobs a lease may take.
type Want struct {
	Kind    Kind
	Most    int      // at most MaxLease
	PerHost int      // at most, of one host
	Busy    []string // hosts to leave out, at most MaxLease
	Until   time.Time
}

// MaxLease is how many jobs one lease takes at most.
const MaxLease = 32

// Outcome is how a job ended.
type Outcome string

const (
	Waiting   Outcome = "waiting"   // it has not ended
	Delivered Outcome = "delivered" // the receiver took it
	Refused   Outcome = "refused"   // the receiver will never take it
	Expired   Outcome = "expired"   // it did not arrive in its time
)

// Delivery is one line of the log. It holds nothing that the receiver said: Class is ours.
type Delivery struct {
	ID        string // the job's
	Org       string
	Kind      Kind
	Target    string
	CreatedAt time.Time
	At        time.Time // when it ended; zero while it is waiting
	Outcome   Outcome
	Attempts  int
	Class     string // of the last try that failed; "" when none did
}

// Query bounds a list of deliveries. Kind and Target are "" for all; Before is the ID of the last one of
// the page before.
type Query struct {
	Kind   Kind
	Target string
	Before string
	Most   int
}

// KeepLog is how long the outcome of a job can be looked up.
const KeepLog = 14 * 24 * time.Hour

// Sender sends the jobs of one kind. Its error says by Fail or Never what class of failure it was; any
// other error is a failure of class "internal", and tried again.
type Sender interface {
	Send(ctx context.Context, j Job) error
}

// Noter is a Sender whose outcomes stand in the audit record too, with the line that ends the job.
type Noter interface {
	Note(j Job, d Delivery) (audit.Entry, bool)
}

// failure is why a try failed.
type failure struct {
	class string
	final bool
	cause error
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.class
	}
	return f.class + ": " + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }

// Fail is a failure that another try may mend. class is a word of ours for the log; cause is for the
// service's own log alone and may be nil.
func Fail(class string, cause error) error { return &failure{class: class, cause: cause} }

// Never is a failure that no other try mends.
func Never(class string, cause error) error { return &failure{class: class, final: true, cause: cause} }

// Final says whether an error of Send is one that no other try mends.
func Final(err error) bool {
	_, final := classOf(err)
	return final
}

// classOf reads an error of Send.
func classOf(err error) (class string, final bool) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.class, f.final
	}
	return "internal", false
}
