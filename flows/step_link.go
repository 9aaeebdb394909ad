package flows

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// link finds out whose assertion has arrived. It shows nothing: it runs in the request that brought
// the assertion.
type link struct{}

func (link) Wants(_ policy.Effective, s State) (bool, []Reason, *fault.Error) {
	return s.Arrived, nil, nil
}

// Ask finds, links or makes the person, and turns the assertion into a proof.
func (link) Ask(ctx context.Context, t *Turn) (Reply, error) {
	l, a := t.Login, t.Login.Arrived
	c, err := t.Engine.Judge.Connections.ConnectionByID(ctx, a.Connection)
	if err != nil {
		return Reply{}, err
	}
	if !slices.ContainsFunc(t.State.Org.Usable, func(u ConnectionFacts) bool { return u.ID == c.ID }) {
		return Reply{}, t.failure(upstream.ErrDisabled.Because("switched off, or allowed no more, since it was asked"), c, nil)
	}
	who := linking{engine: t.Engine, connection: c, assertion: a.Assertion, login: l, policy: t.Policy, now: t.State.Now}
	person, err := who.person(ctx)
	if err != nil {
		return Reply{}, t.failure(err, c, who.report(ctx, err))
	}
	if l.Person != person {
		l.Proofs = nil // what somebody else proved earlier in this login is not this person's (S2)
	}
	l.Person = person
	l.Proofs = append(l.Proofs, Proof{
		Connection: c.ID, Org: c.Org, Key: a.Assertion.Key, At: a.Assertion.AuthTime, Seen: a.Seen,
		AMR: a.Assertion.AMR, ACR: a.Assertion.ACR, SID: a.Assertion.SID, Until: a.Assertion.Until,
	})
	l.Arrived = nil
	return Reply{Changed: true, Again: true}, nil
}

func (link) Take(context.Context, *Turn, url.Values) error { return ErrOutOfOrder }

// linking is one assertion on its way to a person.
type linking struct {
	engine     *Engine
	connection upstream.Connection
	assertion  upstream.Assertion
	login      *Login
	policy     policy.Effective
	now        time.Time
}

// address is what an assertion's e-mail address is worth to its connection's organization.
type address struct {
	norm     string
	own      bool      // the domain is the organization's own
	verified bool      // and proved, and the proof is not doubtful (S10)
	since    time.Time // when the domain was verified
	foreign  bool      // another organization of the realm has verified the domain
	vouched  bool      // verified, and the provider vouches for the address: it may identify (S8)
}

// person finds who the assertion means, or makes them. It is idempotent: the same assertion twice gives
// the same person.
func (k linking) person(ctx context.Context) (directory.PersonID, error) {
	mail, err := k.address(ctx)
	if err != nil {
		return "", err
	}
	if err := k.admissible(mail); err != nil {
		return "", err
	}
	known, err := k.engine.Judge.Directory.PersonByIdentity(ctx, k.connection.Org, k.assertion.Key)
	switch {
	case err == nil:
		return known.ID, k.sync(ctx, known, mail)
	case !errors.Is(err, directory.ErrPersonNotFound):
		return "", err
	}
	// Nobody becomes a member of a descendant by arriving: an account is made at home or not at all. A
	// doubtful domain goes on signing in whom it knows, and makes and links nobody (S10).
	if k.login.Org != k.connection.Org || k.connection.JIT != upstream.JITCreate || mail.own && !mail.verified {
		return "", ErrNotMember
	}
	return k.join(ctx, mail)
}

// admissible refuses addresses that the connection may not assert: an organization's provider speaks
// for the organization's own domains, for others only where guests are allowed, and never for a domain
// of another organization.
func (k linking) admissible(mail address) error {
	switch {
	case mail.foreign:
		return ErrEmailDomain.Because("another organization has verified the domain")
	case mail.own || k.connection.Guests:
		return nil
	case mail.norm == "":
		return ErrEmailMissing
	}
	return ErrEmailDomain
}

// report says for the organization's administrator what of the address was wrong: its domain alone, and
// the domains that would have done.
func (k linking) report(ctx context.Context, err error) upstream.Report {
	switch {
	case errors.Is(err, ErrEmailMissing):
		return upstream.Report{{Name: "email", Got: "none", Expected: "an e-mail address"}}
	case !errors.Is(err, ErrEmailDomain):
		return nil
	}
	got, _ := DomainOf(k.assertion.Email)
	check := audit.Check{Name: "email_domain", Got: got, Expected: "a verified domain of this organization"}
	domains, err := k.engine.Judge.Directory.DomainsOf(ctx, k.connection.Org)
	if err != nil {
		return upstream.Report{check}
	}
	var own []string
	for _, d := range domains {
		if !d.VerifiedAt.IsZero() && len(own) < 5 {
			own = append(own, d.Name)
		}
	}
	if len(own) > 0 {
		check.Expected = strings.Join(own, ", ")
	}
	return upstream.Report{check}
}

func (k linking) address(ctx context.Context) (address, error) {
	domain, ok := DomainOf(k.assertion.Email)
	if !ok {
		return address{}, nil
	}
	a := address{norm: NormalAddress(k.assertion.Email)}
	d, found, err := k.engine.Judge.Directory.OrgOfDomain(ctx, k.connection.Realm, domain)
	if err != nil || !found {
		return a, err
	}
	if d.Org != k.connection.Org {
		a.foreign = true
		return a, nil
	}
	a.own, a.verified, a.since = true, d.Vouches(), d.VerifiedAt
	a.vouched = a.verified && k.assertion.EmailVouched
	return a, nil
}

// NormalAddress is an address as identifiers compare it: NFKC and case folded.
func NormalAddress(s string) string {
	return cases.Fold().String(norm.NFKC.String(strings.TrimSpace(s)))
}

// join links the assertion to the account that its vouched address means, where that is safe, else
// makes a new person.
func (k linking) join(ctx context.Context, mail address) (directory.PersonID, error) {
	dir := k.engine.Judge.Directory
	var person directory.PersonID
	made := false
	err := dir.Tx.InTx(ctx, func(ctx context.Context) error {
		made = false // this may run twice
		known, err := dir.PersonByIdentity(ctx, k.connection.Org, k.assertion.Key)
		if err == nil { // another request of the same person was faster
			person = known.ID
			return nil
		}
		if !errors.Is(err, directory.ErrPersonNotFound) {
			return err
		}
		found, identify, err := k.match(ctx, mail)
		if err != nil {
			return err
		}
		if found == "" && policy.MembersJoin.In(k.policy) != policy.JoinOpen {
			return ErrNotMember.Because(k.policy.Why(policy.MembersJoin.Key).Words())
		}
		if found == "" {
			made = true
			if found, err = k.create(ctx, mail, identify); err != nil {
				return err
			}
		}
		person = found
		return dir.LinkPerson(ctx, directory.Actor{Kind: directory.Engine, ID: string(k.connection.ID)}, k.connection.Org, directory.Identity{
			Key: k.assertion.Key, Org: k.connection.Org, Person: found, CreatedAt: k.now, LastLogin: k.now,
		})
	})
	if err != nil {
		return "", err // the write may still run: what it found is its own
	}
	if made {
		k.login.note(k.now, audit.Step{Name: "link", Text: "A new account was made for somebody that " + k.connection.Name + " vouched for."})
	}
	return person, nil
}

// match looks for the account that the address identifies and says whether it may be linked in silence
// (S8). identify says whether a new account may be given the address as its identifier.
func (k linking) match(ctx context.Context, mail address) (found directory.PersonID, identify bool, err error) {
	if !mail.vouched {
		return "", false, nil
	}
	dir := k.engine.Judge.Directory
	p, err := dir.PersonByIdentifier(ctx, k.connection.Org, "email", mail.norm)
	if errors.Is(err, directory.ErrPersonNotFound) {
		return "", true, nil
	}
	if err == nil {
		err = k.standing(ctx, p)
	}
	if err != nil {
		return "", false, err
	}
	safe, err := k.safe(ctx, p, mail)
	if err != nil || !safe {
		return "", false, err
	}
	return p.ID, false, nil
}

// standing refuses whoever was suspended here: a new account beside the old one would undo it.
func (k linking) standing(ctx context.Context, p directory.Person) error {
	if p.Home != k.connection.Org {
		return nil
	}
	_, m, err := k.engine.Judge.Directory.Person(ctx, p.Home, p.ID)
	if errors.Is(err, directory.ErrPersonNotFound) {
		return nil
	}
	if err == nil && (p.Status != directory.Active || m.Status != directory.Active) {
		return ErrSuspended
	}
	return err
}

// safe says whether an account may be linked without proving it: it is at home here, the address is still
// its own and was verified as this one is, and nothing on it comes from another organization or from
// before that. Nor does this provider know it under another subject: then the address was somebody
// else's before.
func (k linking) safe(ctx context.Context, p directory.Person, mail address) (bool, error) {
	if p.Home != k.connection.Org || p.EmailSince.IsZero() || NormalAddress(p.Email) != mail.norm {
		return false, nil
	}
	dir := k.engine.Judge.Directory
	ids, err := dir.IdentifiersOf(ctx, p.Home, p.ID)
	if err != nil {
		return false, err
	}
	var since time.Time
	for _, i := range ids {
		if i.Kind == "email" && i.Value == mail.norm {
			since = i.VerifiedAt
		}
	}
	if since.IsZero() || since.Before(mail.since) {
		return false, nil
	}
	identities, err := dir.IdentitiesOf(ctx, p.Realm, p.ID)
	if err != nil {
		return false, err
	}
	for _, i := range identities {
		if i.Org != k.connection.Org || i.Key.Connection == k.connection.ID || i.CreatedAt.Before(since) {
			return false, nil
		}
	}
	return k.ownSafe(ctx, p, since)
}

// ownSafe says whether what the person set up themselves came from here, and not from before the address
// was verified: whoever made the account then would keep a way in.
func (k linking) ownSafe(ctx context.Context, p directory.Person, since time.Time) (bool, error) {
	word, err := k.engine.Judge.Directory.PasswordOf(ctx, p.Home, p.ID)
	if err != nil || !word.Set.IsZero() && word.Set.Before(since) {
		return false, err
	}
	if k.engine.Judge.Factors == nil {
		return true, nil
	}
	list, err := k.engine.Judge.Factors.EnrollmentsOf(ctx, p.Home, p.ID)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(list, func(e mfa.Enrollment) bool { return e.Org != k.connection.Org || e.CreatedAt.Before(since) }), nil
}

func (k linking) create(ctx context.Context, mail address, identify bool) (directory.PersonID, error) {
	a := k.assertion
	p := directory.Person{
		ID: directory.NewPersonID(k.now), Realm: k.connection.Realm, Home: k.connection.Org,
		Name: displayName(a), Given: a.Given, Family: a.Family, Locale: a.Locale, Email: a.Email,
		Status: directory.Active, Source: "jit", CreatedAt: k.now,
	}
	var ids []directory.Identifier
	if identify {
		ids = []directory.Identifier{{Kind: "email", Value: mail.norm, VerifiedAt: k.now}}
		p.EmailSince = k.now
	}
	return p.ID, k.engine.Judge.Directory.AddPerson(ctx, directory.Actor{Kind: directory.Engine, ID: string(k.connection.ID)}, p, ids)
}

func displayName(a upstream.Assertion) string {
	switch {
	case a.Name != "":
		return a.Name
	case a.Given != "" || a.Family != "":
		return strings.TrimSpace(a.Given + " " + a.Family)
	}
	return a.Email
}

// sync carries what the provider now says of somebody whom it made here. An address is carried only
// when it is vouched for; as an identifier it never moves.
func (k linking) sync(ctx context.Context, p directory.Person, mail address) error {
	a := k.assertion
	change := func(q *directory.Person) error {
		q.Name = displayName(a)
		// What the provider does not say it does not take away: the person may have told it themselves.
		q.Given, q.Family = cmp.Or(a.Given, q.Given), cmp.Or(a.Family, q.Family)
		if mail.vouched && NormalAddress(q.Email) != mail.norm {
			q.Email, q.EmailSince, q.EmailProved = a.Email, time.Time{}, time.Time{}
		}
		return nil
	}
	if p.Source != "jit" || p.Home != k.connection.Org {
		return nil
	}
	after := p
	if err := change(&after); err != nil || after == p {
		return err
	}
	return k.engine.Judge.Directory.UpdatePerson(ctx, p.Home, p.ID, change)
}
