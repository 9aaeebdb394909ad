package manifest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/policy"
)

var (
	// ErrMoved: what the plan was made from is not what is there any more.
	ErrMoved = fault.New(fault.Conflict, "manifest.moved", "Somebody else changed the configuration at the same moment, and nothing was applied. Run it again.")
	// errRehearsed ends the transaction of a plan, so that nothing of it stays.
	errRehearsed = errors.New("this was a rehearsal")
)

// Lists is what exists, for pruning and export.
type Lists interface {
	// RealmList lists all realms, by handle.
	RealmList(ctx context.Context) ([]directory.Realm, error)
	// OrgList lists a realm's organizations of any status, parents before their children.
	OrgList(ctx context.Context, realm directory.RealmID) ([]directory.Org, error)
	// AppList lists a realm's apps, by client id.
	AppList(ctx context.Context, realm directory.RealmID) ([]broker.App, error)
	// EntitlementList lists what org itself is entitled to, by app.
	EntitlementList(ctx context.Context, org directory.OrgID) ([]directory.Entitlement, error)
	// PeopleAt lists people at home in org, by id, after one; at most n.
	PeopleAt(ctx context.Context, org directory.OrgID, after directory.PersonID, n int) ([]directory.Person, error)
}

// Revisions counts changes of configuration, so that a plan is not applied to another world than it saw.
type Revisions interface {
	Revision(ctx context.Context) (int64, error)
}

// Service plans, applies and exports. All fields but Random are required; Broker needs only what keeps apps.
type Service struct {
	Directory   *directory.Service
	Connections *upstream.Service
	Broker      *broker.Broker
	Themes      *flows.ThemeService
	Flows       *flows.FlowService
	Lists       Lists
	Revisions   Revisions
	Now         func() time.Time
	// Fetch reads the document at an address that a connection names, which may call its private targets.
	Fetch  func(ctx context.Context, address string, private []string) ([]byte, error)
	Random io.Reader // crypto/rand.Reader unless a test says otherwise
}

// Kind is what happens to a thing.
type Kind string

const (
	Create  Kind = "create"
	Alter   Kind = "change"
	Archive Kind = "archive" // what Prune does: archived, disabled, suspended or taken back; never erased
)

// Change is one thing that is made, changed or archived.
type Change struct {
	Kind   Kind
	Noun   string // "organization", "connection", …
	Name   string // "main/acme", "main/acme/Okta"
	ID     string
	Fields []Field
}

// Field is one value that becomes another. Before and After are for people; of a secret nothing is shown.
type Field struct {
	Name, Before, After string
	Secret              bool
}

// Plan is what would change, in the order in which it is done.
type Plan struct {
	Changes []Change
	Notes   []string // what the operator should know, though it is no mistake
	steps   []step
	seen    int64
}

// step does one change.
type step struct {
	at yamlfile.Place
	do func(ctx context.Context) error
}

// Options are how a manifest is applied.
type Options struct {
	// Prune archives what the files' realms hold and the files do not name: organizations are archived,
	// connections disabled, apps suspended, entitlements taken back. People, domains and policy are left.
	Prune bool
}

// Plan says what Apply would change. It tries everything and takes it back, so that what Apply would
// refuse is refused here too.
func (s *Service) Plan(ctx context.Context, a directory.Actor, m *Manifest, o Options) (*Plan, error) {
	return s.apply(ctx, a, m, o, true)
}

// Apply makes what is there as the manifest says: all of it, in one transaction, or nothing. Applied
// twice it changes nothing the second time.
func (s *Service) Apply(ctx context.Context, a directory.Actor, m *Manifest, o Options) (*Plan, error) {
	return s.apply(ctx, a, m, o, false)
}

func (s *Service) apply(ctx context.Context, a directory.Actor, m *Manifest, o Options, rehearse bool) (*Plan, error) {
	for _, act := range []directory.Action{directory.ManageRealms, directory.ManageOrgs, directory.ManageApps, directory.ManagePeople, directory.ManageSignIn} {
		if err := directory.Allow(a, "", act); err != nil {
			return nil, err
		}
	}
	plan, err := s.plan(ctx, a, m, o)
	if err != nil || len(plan.steps) == 0 {
		return plan, err
	}
	err = s.Directory.Tx.InTx(ctx, func(ctx context.Context) error {
		now, err := s.Revisions.Revision(ctx)
		if err != nil {
			return err
		}
		if now != plan.seen {
			return ErrMoved
		}
		for _, one := range plan.steps {
			if err := one.do(ctx); err != nil {
				return refused(one.at, err)
			}
		}
		if rehearse {
			return errRehearsed
		}
		return nil
	})
	if errors.Is(err, errRehearsed) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return plan, nil
}

// refused says where in the files stands what a use case refused.
func refused(at yamlfile.Place, err error) error {
	f := fault.Of(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable || errors.Is(err, directory.ErrMoved) {
		return err
	}
	said := f.Public
	if bad, ok := errors.AsType[*flows.InvalidFlow](err); ok {
		said = bad.Error() // and where
	}
	if cause := f.Unwrap(); cause != nil {
		said = strings.TrimSuffix(said, ".") + ": " + cause.Error() + "."
	}
	return ErrFiles.With(yamlfile.Problems{{At: at.At(), Path: at.Path, Text: said}})
}

// planner compares a manifest with what is there.
type planner struct {
	*Service
	ctx    context.Context
	actor  directory.Actor
	out    *Plan
	wrong  yamlfile.Reader
	err    error // of the store
	realms map[string]realmState
	orgs   map[string]*orgState // by realm/handle
	named  map[directory.OrgID]*orgState
	apps   map[string]directory.AppID
}

type realmState struct {
	directory.Realm
	fresh bool
}

// orgState is an organization that the plan knows: as it is, or as it will be.
type orgState struct {
	directory.Org
	fresh       bool
	rec         *orgRecord
	connections []connectionState
	entitled    []directory.Entitlement
	loaded      bool
}

type connectionState struct {
	*upstream.Connection
	named bool // by a file
}

func (s *Service) plan(ctx context.Context, a directory.Actor, m *Manifest, o Options) (*Plan, error) {
	p := &planner{Service: s, ctx: ctx, actor: a, out: &Plan{}, realms: map[string]realmState{}, orgs: map[string]*orgState{},
		named: map[directory.OrgID]*orgState{}, apps: map[string]directory.AppID{}}
	var err error
	if p.out.seen, err = s.Revisions.Revision(ctx); err != nil {
		return nil, err
	}
	for _, platform := range m.platform {
		p.policy(platform.at, "platform", "", directory.PolicyLevel{}, "", false, &platform)
	}
	for _, r := range m.realms {
		p.realm(r)
	}
	p.organizations(m.orgs)
	for _, rec := range m.orgs {
		p.signIn(rec)
	}
	for _, app := range m.apps {
		p.app(app)
	}
	for _, rec := range m.orgs {
		p.entitlements(rec)
	}
	for _, person := range m.people {
		p.person(person)
	}
	if o.Prune && p.err == nil && len(p.wrong.Problems) == 0 {
		p.prune(m)
	}
	if p.err != nil {
		return nil, p.err
	}
	if err := p.wrong.Err(); err != nil {
		return nil, ErrFiles.With(err)
	}
	// The steps know what they do. What they were planned from is as large as the files, and let go.
	p.realms, p.orgs, p.named, p.apps = nil, nil, nil, nil
	return p.out, nil
}

func (p *planner) random() io.Reader {
	if p.Random != nil {
		return p.Random
	}
	return rand.Reader
}

// found says whether a read found something; what else went wrong ends the plan.
func (p *planner) found(err error) bool {
	if err != nil && fault.Of(err).Kind != fault.NotFound && p.err == nil {
		p.err = err
	}
	return err == nil
}

// step notes a change and how it is done.
func (p *planner) step(at yamlfile.Place, c Change, do func(ctx context.Context) error) {
	c.Fields = append(make([]Field, 0, len(c.Fields)), c.Fields...) // no more than is there: plans are long
	p.out.Changes = append(p.out.Changes, c)
	p.out.steps = append(p.out.steps, step{at, do})
}

func (p *planner) realm(rec realmRecord) {
	have := p.realmOf(rec.handle, rec.at, &rec)
	if have.ID == "" {
		return
	}
	if !have.fresh {
		if rec.id != "" && rec.id != have.ID {
			p.wrong.Say(rec.at, "The realm %s is %s, and not %s.", rec.handle, have.ID, rec.id)
		}
		if rec.scope != have.Scope {
			p.wrong.Say(rec.at, "The realm %s has the scope %s. A scope never changes: it says what people are known by.", rec.handle, have.Scope)
		}
	}
	if rec.policy != nil {
		p.policy(rec.policy.at, "realm", rec.handle, directory.PolicyLevel{Realm: have.ID}, "", have.fresh, rec.policy)
	}
}

// realmOf finds a realm. One that a file declares is made where it is missing, and so is the default one.
func (p *planner) realmOf(handle string, at yamlfile.Place, rec *realmRecord) realmState {
	if r, ok := p.realms[handle]; ok {
		return r
	}
	r, err := p.Directory.RealmByHandle(p.ctx, handle)
	state := realmState{Realm: r}
	switch {
	case p.found(err):
	case p.err != nil:
		return realmState{}
	case rec == nil && handle != defaultRealm:
		p.wrong.Say(at, "There is no realm %s. Declare it under realms, or name one that exists.", handle)
	default:
		state = p.newRealm(handle, at, rec)
	}
	p.realms[handle] = state
	return state
}

func (p *planner) newRealm(handle string, at yamlfile.Place, rec *realmRecord) realmState {
	r := directory.Realm{ID: directory.NewRealmID(p.Now()), Handle: handle, Scope: directory.ScopeRealm, Status: directory.Active}
	if rec != nil {
		r.Scope = rec.scope
		if rec.id != "" {
			r.ID = rec.id
		}
	}
	p.step(at, Change{Kind: Create, Noun: "realm", Name: handle, ID: string(r.ID), Fields: []Field{{Name: "scope", After: string(r.Scope)}}},
		func(ctx context.Context) error { return p.Directory.AddRealm(ctx, p.actor, r) })
	return realmState{r, true}
}

// policy plans the changes of one level's document.
func (p *planner) policy(at yamlfile.Place, noun, name string, level directory.PolicyLevel, realm directory.RealmID, fresh bool, rec *policyRecord) {
	var doc directory.PolicyDoc
	if !fresh {
		var err error
		if doc, err = p.Directory.PolicyDoc(p.ctx, level); !p.found(err) {
			return
		}
	}
	fields, w := rec.changes(doc)
	if len(fields) == 0 {
		return
	}
	p.step(at, Change{Kind: Alter, Noun: "policy", Name: strings.TrimSpace(noun + " " + name), ID: string(level.Realm) + string(level.Org) + string(level.App), Fields: fields},
		func(ctx context.Context) error { return p.Directory.SetLevelPolicy(ctx, p.actor, level, realm, w) })
}

// changes are what a file says otherwise than the document.
func (p *policyRecord) changes(doc directory.PolicyDoc) (fields []Field, w directory.PolicyWishes) {
	for _, part := range []struct {
		part       policy.Part
		prefix     string
		have, wish map[string]json.RawMessage
		out        *map[string]json.RawMessage
	}{{policy.OwnValues, "", doc.Values, p.values, &w.Values}, {policy.Defaults, "defaults.", doc.Defaults, p.defaults, &w.Defaults},
		{policy.Limits, "limits.", doc.Limits, p.limits, &w.Limits}, {policy.Kept, "keep.", doc.Keep, p.keep, &w.Keep}} {
		for _, key := range sorted(part.wish) {
			wish, have := part.wish[key], part.have[key]
			if sameJSON(wish, have) {
				continue
			}
			if *part.out == nil {
				*part.out = map[string]json.RawMessage{}
			}
			(*part.out)[key] = wish
			fields = append(fields, Field{Name: part.prefix + key, Before: string(have), After: string(wish)})
		}
	}
	for _, key := range sorted(p.reasons) {
		have, wish := doc.Notes[key].Reason, p.reasons[key]
		if have != wish {
			fields = append(fields, Field{Name: "reason of " + key, Before: have, After: wish})
		}
		if w.Reasons == nil {
			w.Reasons = map[string]string{}
		}
		w.Reasons[key] = wish
	}
	if len(fields) == 0 {
		return nil, directory.PolicyWishes{}
	}
	return fields, w
}

func sorted[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// sameJSON compares values; nil is none.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return fmt.Sprintf("%#v", x) == fmt.Sprintf("%#v", y)
}
