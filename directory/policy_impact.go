package directory

// This file says what a change of policy would do, before it is made.

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

// ErrLocksOut: a change after which nobody of an organization could sign in was not confirmed. Its sentence
// is replaced by one that names the organization.
var ErrLocksOut = fault.New(fault.Conflict, "directory.locks_out", "After this change people could not sign in any more. Confirm it if that is what you want.")

// PolicyReach is what an impact is counted on.
type PolicyReach interface {
	RealmList(ctx context.Context) ([]Realm, error)
	// OrgList lists a realm's organizations of any status, parents first.
	OrgList(ctx context.Context, realm RealmID) ([]Org, error)
	// PolicyDocsAfter gives the documents of levels whose ids come after one, in order, at most n.
	PolicyDocsAfter(ctx context.Context, after string, n int) ([]LevelDoc, error)
	// SessionsOver counts the running sessions that org would accept no longer.
	SessionsOver(ctx context.Context, org OrgID, a SessionAges) (int, error)
	// MembersWithout counts the active members of org who set up none of the methods. mailed leaves out those
	// who have a good e-mail address.
	MembersWithout(ctx context.Context, org OrgID, now time.Time, methods []policy.Method, mailed bool) (int, error)
}

// LevelDoc is the document of the realm, organization or app with an id; "" is the platform.
type LevelDoc struct {
	ID  string
	Doc PolicyDoc
}

// SessionAges are the bounds of sessions before and after a change, at a time.
type SessionAges struct {
	Now              time.Time
	Life, Idle       time.Duration // after
	WasLife, WasIdle time.Duration // before
}

// mostImpacts is how many organizations an impact names; the others are counted.
const mostImpacts = 100

// PolicyImpact is what a change would do to active organizations.
type PolicyImpact struct {
	Organizations int // whose effective values change
	Named         []OrgImpact
	Sessions      int // running sessions that end: their people sign in again
	Enrol         int // people who must set up a second step, unless their identity provider asks for one
	LockedOut     int // organizations in which nobody could sign in any more
}

// OrgImpact is what it would do to one of them.
type OrgImpact struct {
	Org       Org
	Changes   []policy.Difference
	Sessions  int
	Enrol     int
	LockedOut []string // why nobody could sign in; empty where somebody can
}

// Refusal is what stands in the way of a change that was not confirmed: nil where nothing does.
func (i PolicyImpact) Refusal() error {
	if i.LockedOut == 0 {
		return nil
	}
	refusal := *ErrLocksOut
	for _, o := range i.Named {
		if len(o.LockedOut) > 0 {
			refusal.Public = "After this change nobody of " + o.Org.Name + " could sign in. " + strings.Join(o.LockedOut, " ") + " Confirm it if that is what you want."
			break
		}
	}
	return &refusal
}

// PolicyImpact says what SetLevelPolicy with the same arguments would do. A change that would be refused is
// refused.
func (s *Service) PolicyImpact(ctx context.Context, a Actor, reach PolicyReach, at PolicyLevel, app RealmID, w PolicyWishes) (PolicyImpact, error) {
	if err := allowPolicy(a, at); err != nil {
		return PolicyImpact{}, err
	}
	up, chain, err := s.levelsTo(ctx, at, app)
	if err != nil {
		return PolicyImpact{}, err
	}
	levels, err := s.read(ctx, up, chain)
	if err != nil {
		return PolicyImpact{}, err
	}
	own, err := s.PolicyDoc(ctx, at)
	if err != nil {
		return PolicyImpact{}, err
	}
	next, err := w.on(own, levels, policy.Note{})
	if err != nil {
		return PolicyImpact{}, err
	}
	t := trial{Service: s, reach: reach, at: at, before: map[string]PolicyDoc{}, next: next, now: s.Now()}
	return t.run(ctx, chain, app)
}

// trial is a change that is tried on every organization that it reaches.
type trial struct {
	*Service
	reach  PolicyReach
	at     PolicyLevel
	before map[string]PolicyDoc // by id
	next   PolicyDoc
	now    time.Time
	impact PolicyImpact
}

// page is how many documents are read at once.
const page = 1000

func (t *trial) run(ctx context.Context, chain Chain, app RealmID) (PolicyImpact, error) {
	realms := []RealmID{t.at.Realm + app}
	switch {
	case t.at.Org != "":
		realms[0] = chain.Org().Realm
	case t.at == (PolicyLevel{}):
		list, err := t.reach.RealmList(ctx)
		if err != nil {
			return PolicyImpact{}, err
		}
		realms = realms[:0]
		for _, r := range list {
			realms = append(realms, r.ID)
		}
	}
	platform, err := t.PolicyDoc(ctx, PolicyLevel{})
	if err != nil {
		return PolicyImpact{}, err
	}
	t.before[""] = platform
	for after := ""; ; {
		docs, err := t.reach.PolicyDocsAfter(ctx, after, page)
		if err != nil {
			return PolicyImpact{}, err
		}
		for _, d := range docs {
			t.before[d.ID], after = d.Doc, d.ID
		}
		if len(docs) < page {
			break
		}
	}
	for _, realm := range realms {
		if err := t.realm(ctx, realm); err != nil {
			return PolicyImpact{}, err
		}
	}
	return t.impact, nil
}

func (t *trial) realm(ctx context.Context, realm RealmID) error {
	list, err := t.reach.OrgList(ctx, realm)
	if err != nil {
		return err
	}
	chains := make(map[OrgID]Chain, len(list))
	for _, o := range list { // parents come first
		above := chains[o.Parent]
		chain := append(above[:len(above):len(above)], o)
		chains[o.ID] = chain
		if chain.Status() != Active || t.at.Org != "" && !chain.has(t.at.Org) {
			continue
		}
		if t.at.App != "" {
			if entitled, err := t.Entitled(ctx, o.ID, t.at.App); err != nil || !entitled {
				if err != nil {
					return err
				}
				continue
			}
		}
		if err := t.org(ctx, chain); err != nil {
			return err
		}
	}
	return nil
}

func (c Chain) has(id OrgID) bool {
	for _, o := range c {
		if o.ID == id {
			return true
		}
	}
	return false
}

func (t *trial) org(ctx context.Context, chain Chain) error {
	at := levelsOf(chain, t.at.App)
	before, err := t.fold(at, chain, false)
	if err != nil {
		return err
	}
	after, err := t.fold(at, chain, true)
	if err != nil {
		return err
	}
	changes := policy.Differences(before, after)
	if len(changes) == 0 {
		return nil
	}
	o := OrgImpact{Org: chain.Org(), Changes: changes}
	ages := SessionAges{Now: t.now, Life: policy.SessionLifetime.In(after), Idle: policy.SessionIdle.In(after),
		WasLife: policy.SessionLifetime.In(before), WasIdle: policy.SessionIdle.In(before)}
	if ages.Life < ages.WasLife || ages.Idle < ages.WasIdle {
		if o.Sessions, err = t.reach.SessionsOver(ctx, chain.Org().ID, ages); err != nil {
			return err
		}
	}
	if wanted, was := stepsOf(after), stepsOf(before); wanted != was && wanted.asked {
		mail := slices.Contains(wanted.methods(), policy.Email)
		if o.Enrol, err = t.reach.MembersWithout(ctx, chain.Org().ID, t.now, wanted.methods(), mail); err != nil {
			return err
		}
	}
	if len(policy.Blocked(before)) == 0 {
		o.LockedOut = policy.Blocked(after)
	}
	t.count(o)
	return nil
}

// steps are what a policy wants of second steps.
type steps struct {
	asked, resistant bool
	allowed          policy.Set
}

func stepsOf(p policy.Effective) steps {
	return steps{policy.MFARequirement.In(p) != policy.Off, policy.MFAPhishingResistant.In(p), policy.MFAMethods.In(p)}
}

// methods are those that are enough.
func (s steps) methods() []policy.Method {
	return slices.DeleteFunc(s.allowed.Methods(), func(m policy.Method) bool { return s.resistant && m.Class() != policy.PhishingResistant })
}

// count adds an organization. Whoever is locked out is named before the others.
func (t *trial) count(o OrgImpact) {
	t.impact.Organizations++
	t.impact.Sessions += o.Sessions
	t.impact.Enrol += o.Enrol
	if len(o.LockedOut) > 0 {
		if t.impact.LockedOut++; t.impact.LockedOut == 1 {
			t.impact.Named = append([]OrgImpact{o}, t.impact.Named...)
			return
		}
	}
	if len(t.impact.Named) < mostImpacts {
		t.impact.Named = append(t.impact.Named, o)
	}
}

func (t *trial) fold(at []PolicyLevel, chain Chain, changed bool) (policy.Effective, error) {
	levels := make([]policy.Level, len(at))
	for i, l := range at {
		doc := t.before[string(l.Realm)+string(l.Org)+string(l.App)]
		if changed && l == t.at {
			doc = t.next
		}
		levels[i] = doc.level()
		switch {
		case l.Org != "":
			levels[i].Kind, levels[i].ID, levels[i].Name = policy.Org, string(l.Org), chain[i-2].Name
		case l.App != "":
			levels[i].Kind, levels[i].ID = policy.App, string(l.App)
		case l.Realm != "":
			levels[i].Kind, levels[i].ID = policy.Realm, string(l.Realm)
		default:
			levels[i].Kind = policy.Platform
		}
	}
	return policy.Resolve(levels)
}
