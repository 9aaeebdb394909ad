// Package fakeidp is an identity provider that is made up: for tests, for the demo and for compose.
//
// One Provider is one company's provider, as an http.Handler. It speaks OpenID Connect or SAML like
// the ones companies have, but it asks for no password: its page offers "Continue as …" for each of
// its People, and "Answer wrongly instead…" for each way in which a provider can be wrong (see
// misbehave.go). It signs whatever it is told to, so nothing that matters may ever trust it: it
// answers on loopback only (S54), every key it makes is marked (Marked), and only tests, internal/demo
// and cmd import it.
//
// A program that wants no page sets Auto to a person; a test that wants a wrong answer sets
// Misbehavior on the provider or on one person. Everything may be changed while it serves.
//
// It keeps no cookies, so that nothing of it can be mistaken for the state of the application that it
// answers: every visit starts by choosing a person, and a request waits in memory under a random id.
package fakeidp

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// Faults of setting up a provider.
var (
	ErrConfig      = fault.New(fault.Invalid, "fakeidp.config", "The made-up identity provider is set up incompletely.")
	ErrNotLoopback = fault.New(fault.Invalid, "fakeidp.not_loopback", "A made-up identity provider signs anything for anybody, so it listens on loopback only. Give it an address such as 127.0.0.1:0.")
)

// Kind is the protocol that a provider speaks.
type Kind string

const (
	OIDC Kind = "oidc"
	SAML Kind = "saml"
)

// Anyone, as Provider.Auto, signs in the next person at each request, in turn.
const Anyone = "*"

// Person is somebody whom the provider can vouch for.
type Person struct {
	ID            string // the subject: OIDC sub, SAML NameID and object id
	Email         string
	EmailVerified bool // OIDC only; SAML has no word for it
	Name          string
	Given, Family string
	Groups        []string
	// AMR is how they proved themselves (RFC 8176); empty means a password.
	AMR []string
	// Attributes are sent as they stand, over what the fields above would send. One value is sent as a
	// string in OpenID Connect, several as a list.
	Attributes map[string][]string
	// Misbehavior is what happens whenever this person signs in.
	Misbehavior Misbehavior
	// Unlisted keeps a person off the page: only a request that hints at their address gets them, and
	// at once. It is for who wants one wrong answer without a page, while everybody else sees the page.
	Unlisted bool
}

// Provider is one company's identity provider. Fill the fields, then call Start or Handler; after that
// change it through its methods only.
type Provider struct {
	Name string // of the company: "TechCorp"
	Kind Kind
	// Base is where the provider is reached, without a trailing slash; it is the OIDC issuer and stands
	// in front of the SAML entityID. Start fills it when it is empty. A path is allowed, so that several
	// providers can share one listener.
	Base    string
	People  []Person
	Clients []Client // applications, OIDC
	SPs     []SP     // applications, SAML
	Look    Look
	// Tenant makes an OpenID provider name its tenant as Entra ID does: claims tid and oid, and no
	// email_verified.
	Tenant string
	// Auto is the id of the person who is signed in without a page, or Anyone. A login_hint that is
	// somebody's address goes before it.
	Auto        string
	Misbehavior Misbehavior   // for every request
	Delay       time.Duration // how long Slow hangs; zero means 30 seconds
	// Foreign is the address that ForeignEmail claims: one of another company.
	Foreign string
	// Algorithm signs: ES256 (also ""), RS256, and EdDSA for OpenID Connect only.
	Algorithm string
	// Keys: the first signs, all are published. Empty means that one is made.
	Keys []*Key
	Now  func() time.Time
	// Exposed lets it answer on addresses that are not loopback, as inside a container. It is the flag
	// of S54: whoever sets it has asked the operator.
	Exposed bool

	mu      sync.RWMutex
	turn    atomic.Uint64
	stray   *Key // signs for UnknownKey; published nowhere
	waiting shelf[*request]
	codes   shelf[grant]
	tokens  shelf[grant]
	seen    shelf[bool] // jti of client assertions
}

// EntityID names a SAML provider.
func (p *Provider) EntityID() string { return p.Base + "/saml/metadata" }

// SetMisbehavior makes every answer from now on wrong in this way; None ends it.
func (p *Provider) SetMisbehavior(m Misbehavior) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Misbehavior = m
}

// SetAuto changes who is signed in without a page; "" shows the page again.
func (p *Provider) SetAuto(person string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Auto = person
}

// SetPeople changes whom the provider knows: somebody left, somebody has a new address.
func (p *Provider) SetPeople(people ...Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.People = slices.Clone(people)
}

// AddClient registers an application, or replaces the one with its id.
func (p *Provider) AddClient(c Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Clients = append(slices.DeleteFunc(slices.Clone(p.Clients), func(o Client) bool { return o.ID == c.ID }), c)
}

// AddSP registers a SAML application, or replaces the one with its entityID.
func (p *Provider) AddSP(s SP) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.SPs = append(slices.DeleteFunc(slices.Clone(p.SPs), func(o SP) bool { return o.EntityID == s.EntityID }), s)
}

// Rotate signs with a new key from now on. The old ones stay published, as in a proper rollover.
func (p *Provider) Rotate() error {
	k, err := NewKey(p.Algorithm, p.Now())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Keys = append([]*Key{k}, p.Keys...)
	return nil
}

// Handler checks the settings, makes the keys that are missing, and returns the provider's pages and
// endpoints, all below the path of Base.
func (p *Provider) Handler() (http.Handler, error) {
	if err := p.prepare(); err != nil {
		return nil, err
	}
	base, err := url.Parse(p.Base)
	if err != nil || base.Host == "" || strings.HasSuffix(p.Base, "/") {
		return nil, ErrConfig.Because("Base must be an absolute URL without a trailing slash")
	}
	mux := http.NewServeMux()
	p.routePages(mux)
	if p.Kind == SAML {
		p.routeSAML(mux)
	} else {
		p.routeOIDC(mux)
	}
	return p.onlyLoopback(http.StripPrefix(base.Path, p.troubled(mux))), nil
}

func (p *Provider) prepare() error {
	if p.Now == nil {
		return ErrConfig.Because("Now is missing")
	}
	if p.Kind != OIDC && p.Kind != SAML {
		return ErrConfig.Because("Kind must be oidc or saml")
	}
	if p.Kind == SAML && p.Algorithm == "EdDSA" {
		return ErrConfig.Because("SAML signs with ES256 or RS256")
	}
	ids := map[string]bool{}
	for _, person := range p.People {
		if person.ID == "" || person.ID == Anyone || ids[person.ID] {
			return ErrConfig.Because("every person needs an id of their own")
		}
		ids[person.ID] = true
	}
	p.waiting.life, p.codes.life = 30*time.Minute, time.Minute
	p.tokens.life, p.seen.life = tokenLife, tokenLife
	return p.makeKeys()
}

func (p *Provider) makeKeys() (err error) {
	if len(p.Keys) == 0 {
		k, err := NewKey(p.Algorithm, p.Now())
		if err != nil {
			return err
		}
		p.Keys = []*Key{k}
	}
	p.stray, err = NewKey(p.Algorithm, p.Now())
	return err
}

// signer is the key that an answer is signed with.
func (p *Provider) signer(m Misbehavior) *Key {
	if m == UnknownKey {
		return p.stray
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.Keys[0]
}

func (p *Provider) published() []*Key {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.Keys)
}

func (p *Provider) misbehavior() Misbehavior {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.Misbehavior
}

func (p *Provider) people() []Person {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.People
}

func (p *Provider) person(id string) (Person, bool) {
	people := p.people()
	i := slices.IndexFunc(people, func(o Person) bool { return o.ID == id })
	if i < 0 {
		return Person{}, false
	}
	return people[i], true
}

func (p *Provider) hinted(address string) (Person, bool) {
	people := p.people()
	i := slices.IndexFunc(people, func(o Person) bool { return address != "" && strings.EqualFold(o.Email, address) })
	if i < 0 {
		return Person{}, false
	}
	return people[i], true
}

// silent says whether somebody is signed in without a page.
func (p *Provider) silent() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.Auto != "" && len(p.People) > 0
}

// auto is the person who is signed in without a page, if any.
func (p *Provider) auto(hint string) (Person, bool) {
	if person, ok := p.hinted(hint); ok && person.Unlisted {
		return person, true
	}
	p.mu.RLock()
	auto, people := p.Auto, p.People
	p.mu.RUnlock()
	if auto == "" || len(people) == 0 {
		return Person{}, false
	}
	if person, ok := p.hinted(hint); ok {
		return person, true
	}
	if auto == Anyone {
		return people[p.turn.Add(1)%uint64(len(people))], true
	}
	return p.person(auto)
}
