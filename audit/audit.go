// Package audit is the record: who did what to whom, and how each login went.
//
// It knows nothing of the nouns it records. Entries are plain strings and outlive what they name.
// A change and its entry commit together: a Recorder joins the transaction in ctx. A Trace is the
// story of one login, kept for two weeks under a short code that error pages show (security.md S44).
package audit

import (
	"context"
	"time"
)

// Ref names a thing by kind and id: {"person", "per_…"}. Never a name or an address: erasing a person
// must not need the record to change.
type Ref struct{ Kind, ID string }

// Entry is one line of the record. It is written in the past tense by the use case that made the
// change, and holds no secrets and no personal data.
type Entry struct {
	ID     string // ent_…, given by the recorder's caller so that a transaction that runs twice writes once
	At     time.Time
	Org    string // org_… whose record this is; "" is the platform's own
	Actor  Ref
	Action Action
	Target Ref
	// Detail holds short facts by name: ids, codes, setting keys. Values are shown as they are.
	Detail map[string]string
}

// Recorder writes an entry in the transaction of ctx.
type Recorder interface {
	Record(ctx context.Context, e Entry) error
}

// Step is one line of a trace: what was decided or seen, and why, in words that both an
// administrator and an operator may read.
type Step struct {
	At     time.Time         `json:"at"`
	Name   string            `json:"name"`             // "route", "depart", "arrive", "link", "admit", "code", "refused" …
	Text   string            `json:"text"`             // one sentence
	Code   string            `json:"code,omitempty"`   // the fault's code, when this step failed
	Checks []Check           `json:"checks,omitempty"` // what the upstream's answer was checked for
	Facts  map[string]string `json:"facts,omitempty"`  // only names listed in AllowedFacts
}

// Check is one thing that an answer of an identity provider was examined for.
type Check struct {
	Name     string `json:"name"` // "signature", "audience", …
	OK       bool   `json:"ok"`
	Got      string `json:"got,omitempty"`
	Expected string `json:"expected,omitempty"`
}

// Trace is the story of one login or of one refused request.
type Trace struct {
	Code    string    `json:"code"` // what people read out: eight characters, 40 random bits
	At      time.Time `json:"at"`
	Org     string    `json:"org"` // whose story it is; "" when no organization was known: the operator's
	App     string    `json:"app,omitempty"`
	Outcome string    `json:"outcome"` // "signed_in", "refused", "failed"
	Fault   string    `json:"fault,omitempty"`
	Steps   []Step    `json:"steps"`
}

// TraceLife is how long a trace can be looked up (S44).
const TraceLife = 14 * 24 * time.Hour

// Traces keeps traces. SaveTrace joins the transaction in ctx where there is one.
type Traces interface {
	SaveTrace(ctx context.Context, t Trace) error
	// TraceByCode finds a trace by what a person read out; the second result says whether there is one.
	TraceByCode(ctx context.Context, code string) (Trace, bool, error)
}
