package flows

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

// authenticate sends the browser to the organization's identity provider.
type authenticate struct{}

func (authenticate) Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Arrived || s.Org == nil && !s.Local {
		return false, nil, nil
	}
	if s.Org == nil {
		return true, []Reason{{Text: "An address was typed whose organization has no identity provider here, or that nobody has."}}, nil
	}
	counting, why := s.Counting(p)
	if slices.ContainsFunc(counting, func(q Proof) bool { return s.Opens(p, q) }) {
		return false, nil, nil
	}
	if slices.ContainsFunc(s.Proofs, func(q Proof) bool { return s.inLogin(q) && s.identifies(q) && s.Opens(p, q) }) {
		return false, why, ErrNotFresh // it was asked in this login, and asking again changes nothing
	}
	if s.local(p) {
		why := append(why, s.because(p, policy.LoginMethods.Key, "The organization signs people in here."))
		return true, why, nil
	}
	if len(s.Org.Usable) == 0 {
		return false, why, ErrOrgUnavailable
	}
	return true, append(why, Reason{Text: "The organization signs its people in with " + s.connection().Name + "."}), nil
}

// connection is the one to use: the chosen one while it is usable, else the first.
func (s State) connection() ConnectionFacts {
	for _, c := range s.Org.Usable {
		if c.ID == s.Connection {
			return c
		}
	}
	return s.Org.Usable[0]
}

func (authenticate) Ask(ctx context.Context, t *Turn) (Reply, error) {
	if t.State.local(t.Policy) {
		return t.askLocal(ctx)
	}
	id := t.State.connection().ID
	c, err := t.Engine.Judge.Connections.ConnectionByID(ctx, id)
	if err != nil {
		return Reply{}, err
	}
	up, err := t.Engine.Upstreams.Open(ctx, c)
	if err != nil {
		return Reply{}, t.failure(err, c, nil)
	}
	changed := t.attempt(id)
	t.Login.Attempt.Demands = demands(t.Policy)
	to, err := up.Depart(ctx, *t.Login.Attempt)
	if err != nil {
		return Reply{}, t.failure(err, c, nil)
	}
	if changed {
		t.Login.note(t.State.Now, audit.Step{Name: "depart", Text: "Sent to " + c.Name + ".", Facts: map[string]string{"connection": string(c.ID)}})
	}
	return Reply{Depart: &to, Changed: changed}, nil
}

// Take has something to take only where the organization's people sign in here: otherwise this step's answer
// arrives from the identity provider.
func (authenticate) Take(ctx context.Context, t *Turn, answer url.Values) error {
	if !t.State.local(t.Policy) {
		return ErrOutOfOrder
	}
	return t.takeLocal(ctx, answer)
}

// attempt makes sure that the login waits for an answer of that connection. Departing again, by
// reload or the back button, waits for the same answer: whichever the person finishes is good.
func (t *Turn) attempt(id directory.ConnectionID) (made bool) {
	l := t.Login
	if l.Attempt != nil && l.Connection == id {
		return false
	}
	hint := l.Identifier
	if l.Route == RouteIdentifier && !strings.Contains(hint, "@") {
		hint = "" // a handle names the organization, and nobody in it
	}
	l.Connection = id
	l.Attempt = &upstream.Attempt{
		ID:    l.ID + directory.NewSecret()[:attemptLen],
		Nonce: directory.NewSecret(), Verifier: directory.NewSecret(),
		At: t.State.Now, Until: l.Started.Add(Life),
		LoginHint: hint, Force: l.Request.Force, MaxAge: l.Request.MaxAge,
	}
	return true
}

// demands are what the policy of the login's organization asks of providers.
func demands(p policy.Effective) upstream.Demands {
	return upstream.Demands{
		Algorithms: policy.SignatureAlgorithms.In(p).Words(),
		Encrypted:  policy.SAMLEncryption.In(p), SignedRequests: policy.SAMLSignedRequests.In(p),
	}
}

// attemptLen is the length of an attempt's own secret behind the login's id: 132 bits; together 65
// characters, within the 80 bytes of a RelayState (SAML Bindings section 3.4.3).
const attemptLen = 22

func (t *Turn) failure(err error, c upstream.Connection, report upstream.Report) error {
	return t.Engine.failure(t.Login, err, c, report)
}
