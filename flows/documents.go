package flows

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
)

// FlowHead says which versions of an organization's flow are in use. The zero FlowHead is an organization
// that wrote none.
type FlowHead struct {
	// Latest counts the versions; Published is what logins run on, Draft what is being written: 0 is none.
	// Before is what was published before.
	Latest    int64 `json:"latest"`
	Published int64 `json:"published,omitempty"`
	Before    int64 `json:"before,omitempty"`
	Draft     int64 `json:"draft,omitempty"`
	// Testers are the people whose logins run on the draft.
	Testers []directory.PersonID `json:"testers,omitempty"`
	Version int64                `json:"-"` // moves with every change; 0: nothing was ever set
}

// FlowVersion is one version of a flow. It never changes.
type FlowVersion struct {
	Version int64
	At      time.Time
	Actor   directory.Actor
	Doc     json.RawMessage // a Document
}

// Flows keeps each organization's flow.
type Flows interface {
	FlowHead(ctx context.Context, org directory.OrgID) (FlowHead, error)
	// PutFlowHead is compare-and-swap on Version: directory.ErrMoved.
	PutFlowHead(ctx context.Context, org directory.OrgID, h FlowHead) error
	// PutFlowVersion adds a version; one that is there already is directory.ErrMoved.
	PutFlowVersion(ctx context.Context, org directory.OrgID, v FlowVersion) error
	// FlowVersion is one version: ErrFlowVersion.
	FlowVersion(ctx context.Context, org directory.OrgID, version int64) (FlowVersion, error)
	// FlowVersions are the newest first, at most so many.
	FlowVersions(ctx context.Context, org directory.OrgID, most int) ([]FlowVersion, error)
}

// FlowService holds the use cases of flows, and hands out what logins run on. All fields are required.
type FlowService struct {
	Flows
	Terms
	Directory *directory.Service
	// Methods are the second steps of this installation.
	Methods func() []mfa.Method
	Tx      directory.Tx
	Audit   audit.Recorder
	Now     func() time.Time

	kept compiled
}

// FlowPin is the version of one organization's flow that a login runs on; 0: it has none.
type FlowPin struct {
	Org     directory.OrgID `json:"org"`
	Version int64           `json:"ver,omitempty"`
}

// Pins are the versions that a login of that person begins on now, the uppermost organization first. Who tests
// a draft gets the draft.
func (s *FlowService) Pins(ctx context.Context, chain directory.Chain, person directory.PersonID) ([]FlowPin, error) {
	pins := make([]FlowPin, 0, len(chain))
	for _, o := range chain {
		h, err := s.FlowHead(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		at := h.Published
		if h.Draft != 0 && person != "" && slices.Contains(h.Testers, person) {
			at = h.Draft
		}
		pins = append(pins, FlowPin{o.ID, at})
	}
	return pins, nil
}

// Pinned is the flow of those versions.
func (s *FlowService) Pinned(ctx context.Context, pins []FlowPin) (Flow, error) {
	if !slices.ContainsFunc(pins, func(p FlowPin) bool { return p.Version != 0 }) {
		return DefaultFlow, nil
	}
	var key strings.Builder
	for _, p := range pins {
		if p.Version != 0 {
			key.WriteString(stationID(p.Org, p.Version, ""))
		}
	}
	if f, ok := s.kept.flow(key.String()); ok {
		return f, nil
	}
	var parts []*part
	for _, p := range pins {
		if p.Version == 0 {
			continue
		}
		ready, err := s.part(ctx, p)
		if err != nil {
			return Flow{}, err
		}
		parts = append(parts, ready)
	}
	f := join(parts)
	s.kept.keep(key.String(), f)
	return f, nil
}

// part is one version, compiled. What this program cannot read lets nobody in.
func (s *FlowService) part(ctx context.Context, p FlowPin) (*part, error) {
	v, err := s.FlowVersion(ctx, p.Org, p.Version)
	if err != nil {
		return nil, err
	}
	d, err := ParseDocument(v.Doc)
	if err != nil {
		return unknownPart(p.Org, p.Version), nil
	}
	ready, _ := compile(p.Org, p.Version, d)
	return ready, nil
}

// compiled keeps flows that are ready to run, by the versions they are made of. Versions never change, so
// nothing in it grows old.
type compiled struct {
	mu sync.RWMutex
	by map[string]Flow
}

// maxCompiled bounds the memory of compiled flows, some ten kilobytes each.
const maxCompiled = 2048

func (c *compiled) flow(key string) (Flow, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f, ok := c.by[key]
	return f, ok
}

func (c *compiled) keep(key string, f Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil || len(c.by) >= maxCompiled {
		c.by = map[string]Flow{}
	}
	c.by[key] = f
}

// Drafted is what became of a document that was written down.
type Drafted struct {
	Version  int64     `json:"version"`
	Problems []Problem `json:"problems,omitempty"` // why it cannot be published as it is
}

// SetDraft keeps a document as the next version, to be tested and published. It may still have problems.
func (s *FlowService) SetDraft(ctx context.Context, a directory.Actor, org directory.OrgID, d Document) (Drafted, error) {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return Drafted{}, err
	}
	out := Drafted{}
	var err error
	if out.Problems, err = s.problems(ctx, org, d); err != nil {
		return Drafted{}, err
	}
	doc, err := json.Marshal(d)
	if err != nil {
		return Drafted{}, err
	}
	if len(doc) > maxDocument {
		return Drafted{}, ErrFlowMalformed.Because("longer than 256 KiB")
	}
	version := int64(0)
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		h, err := s.FlowHead(ctx, org)
		if err != nil {
			return err
		}
		h.Latest++
		h.Draft = h.Latest
		version = h.Latest
		return s.wrote(ctx, a, org, h, &FlowVersion{h.Latest, s.Now(), a, doc}, audit.FlowDrafted, h.Draft)
	})
	if err != nil {
		return Drafted{}, err
	}
	out.Version = version
	return out, nil
}

// wrote keeps a head, perhaps with a new version, and the record of it.
func (s *FlowService) wrote(ctx context.Context, a directory.Actor, org directory.OrgID, h FlowHead, v *FlowVersion, act audit.Action, version int64) error {
	if v != nil {
		if err := s.PutFlowVersion(ctx, org, *v); err != nil {
			return err
		}
	}
	if err := s.PutFlowHead(ctx, org, h); err != nil {
		return err
	}
	detail := map[string]string{}
	if version != 0 {
		detail["version"] = strconv.FormatInt(version, 10)
	}
	return s.record(ctx, a.Ref(), org, act, audit.Ref{Kind: "org", ID: string(org)}, detail)
}

func (s *FlowService) record(ctx context.Context, who audit.Ref, org directory.OrgID, act audit.Action, target audit.Ref, detail map[string]string) error {
	now := s.Now()
	return s.Audit.Record(ctx, audit.Entry{ID: string(directory.NewEntryID(now)), At: now, Org: string(org), Actor: who, Action: act, Target: target, Detail: detail})
}

// Validate says what keeps a document from being published in an organization, under the policy of now.
func (s *FlowService) Validate(ctx context.Context, a directory.Actor, org directory.OrgID, d Document) ([]Problem, error) {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return nil, err
	}
	return s.problems(ctx, org, d)
}

func (s *FlowService) problems(ctx context.Context, org directory.OrgID, d Document) ([]Problem, error) {
	chain, err := s.Directory.OrgChain(ctx, org)
	if err != nil {
		return nil, err
	}
	eff, err := s.Directory.Effective(ctx, chain, "")
	if err != nil {
		return nil, err
	}
	ready, list := compile(org, 0, d)
	return append(list, ready.under(eff, s.Methods())...), nil
}

// Publish lets logins that begin from now on run on a version; 0 is the draft. What cannot be published now
// is refused, however often it was published before.
func (s *FlowService) Publish(ctx context.Context, a directory.Actor, org directory.OrgID, version int64) (int64, error) {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return 0, err
	}
	published := int64(0)
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		h, err := s.FlowHead(ctx, org)
		if err != nil {
			return err
		}
		at := version
		if at == 0 {
			at = h.Draft
		}
		if at == 0 {
			return ErrNoDraft
		}
		if err := s.fit(ctx, org, at); err != nil {
			return err
		}
		published = at
		return s.publish(ctx, a, org, h, at)
	})
	if err != nil {
		return 0, err
	}
	return published, nil
}

// fit says whether a version may be published.
func (s *FlowService) fit(ctx context.Context, org directory.OrgID, version int64) error {
	v, err := s.FlowVersion(ctx, org, version)
	if err != nil {
		return err
	}
	d, err := ParseDocument(v.Doc)
	if err != nil {
		return err
	}
	list, err := s.problems(ctx, org, d)
	if err != nil {
		return err
	}
	return invalid(list)
}

// InvalidFlow is ErrFlowInvalid with what is wrong.
type InvalidFlow struct{ Problems []Problem }

func (e *InvalidFlow) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return ErrFlowInvalid.Public + " " + strings.Join(lines, "; ")
}

func (e *InvalidFlow) Unwrap() error { return ErrFlowInvalid }

// invalid is the problems of a document as an error; nil where there are none.
func invalid(list []Problem) error {
	if len(list) == 0 {
		return nil
	}
	return &InvalidFlow{list}
}

func (s *FlowService) publish(ctx context.Context, a directory.Actor, org directory.OrgID, h FlowHead, at int64) error {
	if h.Published != at {
		h.Before, h.Published = h.Published, at
	}
	if h.Draft == at {
		h.Draft = 0
	}
	if at == 0 {
		return s.wrote(ctx, a, org, h, nil, audit.FlowWithdrawn, 0)
	}
	return s.wrote(ctx, a, org, h, nil, audit.FlowPublished, at)
}

// Rollback publishes what was published before the present version: 0 is no flow of the organization's own.
func (s *FlowService) Rollback(ctx context.Context, a directory.Actor, org directory.OrgID) (int64, error) {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return 0, err
	}
	back := int64(0)
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		h, err := s.FlowHead(ctx, org)
		if err != nil {
			return err
		}
		if h.Published == 0 && h.Before == 0 {
			return ErrFlowVersion.Because("nothing was published")
		}
		if h.Before != 0 {
			if err := s.fit(ctx, org, h.Before); err != nil {
				return err
			}
		}
		back = h.Before
		return s.publish(ctx, a, org, h, h.Before)
	})
	if err != nil {
		return 0, err
	}
	return back, nil
}

// SetFlow writes and publishes a document in one step; nil takes the organization's own flow back. What is
// published already stays as it is.
func (s *FlowService) SetFlow(ctx context.Context, a directory.Actor, org directory.OrgID, d *Document) error {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return err
	}
	var doc []byte
	if d != nil {
		list, err := s.problems(ctx, org, *d)
		if err == nil {
			err = invalid(list)
		}
		if err != nil {
			return err
		}
		if doc, err = json.Marshal(d); err != nil {
			return err
		}
		if len(doc) > maxDocument {
			return ErrFlowMalformed.Because("longer than 256 KiB")
		}
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		h, err := s.FlowHead(ctx, org)
		if err != nil {
			return err
		}
		if d == nil {
			if h.Published == 0 {
				return nil
			}
			return s.publish(ctx, a, org, h, 0)
		}
		h.Latest++
		if err := s.PutFlowVersion(ctx, org, FlowVersion{h.Latest, s.Now(), a, doc}); err != nil {
			return err
		}
		return s.publish(ctx, a, org, h, h.Latest)
	})
}

// Published is the document that is published; false where the organization has none of its own.
func (s *FlowService) Published(ctx context.Context, org directory.OrgID) (Document, bool, error) {
	h, err := s.FlowHead(ctx, org)
	if err != nil || h.Published == 0 {
		return Document{}, false, err
	}
	v, err := s.FlowVersion(ctx, org, h.Published)
	if err != nil {
		return Document{}, false, err
	}
	d, err := ParseDocument(v.Doc)
	return d, err == nil, err
}

// maxTesters is how many people may test a draft.
const maxTesters = 50

// SetTesters names the people whose logins run on the draft.
func (s *FlowService) SetTesters(ctx context.Context, a directory.Actor, org directory.OrgID, people []directory.PersonID) error {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return err
	}
	if len(people) > maxTesters {
		return ErrTesters
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, id := range people {
			if _, _, err := s.Directory.Person(ctx, org, id); err != nil {
				return err
			}
		}
		h, err := s.FlowHead(ctx, org)
		if err != nil {
			return err
		}
		h.Testers = slices.Clone(people)
		return s.wrote(ctx, a, org, h, nil, audit.FlowTesters, 0)
	})
}

// FlowReport is what an administrator sees of an organization's flow.
type FlowReport struct {
	Head     FlowHead
	Versions []FlowVersion // the newest first
	// Above are the organizations above whose flows come first.
	Above []directory.Org
}

// Report shows an organization's flow and its newest versions.
func (s *FlowService) Report(ctx context.Context, a directory.Actor, org directory.OrgID) (FlowReport, error) {
	if err := directory.Allow(a, org, directory.ManageSignIn); err != nil {
		return FlowReport{}, err
	}
	chain, err := s.Directory.OrgChain(ctx, org)
	if err != nil {
		return FlowReport{}, err
	}
	var r FlowReport
	for _, o := range chain[:len(chain)-1] {
		h, err := s.FlowHead(ctx, o.ID)
		if err != nil {
			return FlowReport{}, err
		}
		if h.Published != 0 {
			r.Above = append(r.Above, o)
		}
	}
	if r.Head, err = s.FlowHead(ctx, org); err != nil {
		return FlowReport{}, err
	}
	r.Versions, err = s.FlowVersions(ctx, org, 50)
	return r, err
}

// acceptTerms keeps that a member accepted terms, with the record of it.
func (s *FlowService) acceptTerms(ctx context.Context, org directory.OrgID, person directory.PersonID, a Acceptance) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.AcceptTerms(ctx, org, person, a); err != nil {
			return err
		}
		who := audit.Ref{Kind: "person", ID: string(person)}
		return s.record(ctx, who, org, audit.TermsAccepted, who, map[string]string{"version": a.Version, "org": string(a.Org)})
	})
}
