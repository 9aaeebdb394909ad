package flows

import (
	"context"
	"errors"
	"net/mail"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// identify asks whose login this is: an address, an organization's handle, or one that this browser
// remembers.
type identify struct{}

// The notes that a login carries from an answer that led nowhere to the page that says so.
const (
	noteMalformed = "malformed"
	noteEmpty     = "empty"
	noteNoCompany = "no_company"
)

func (identify) Wants(_ policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Org != nil || s.Person != nil || s.Arrived || s.Local {
		return false, nil, nil
	}
	return true, []Reason{{Text: "No organization is known yet."}}, nil
}

func (identify) Ask(ctx context.Context, t *Turn) (Reply, error) {
	l := t.Login
	action := t.Engine.answerURL(l, StepIdentify)
	if l.Note == noteNoCompany {
		return Reply{Page: templates.NoCompanyPage{Action: action, Step: string(StepIdentify), Value: l.Identifier, App: l.Request.App.Name}}, nil
	}
	page := templates.IdentifyPage{
		Action: action, Step: string(StepIdentify), Value: l.Identifier, App: l.Request.App.Name,
		HandleAllowed: true, Remembered: t.Engine.rememberedOrgs(ctx, l, t.Remembered),
	}
	switch l.Note {
	case noteMalformed:
		page.Error = templates.IdentifyMalformed
	case noteEmpty:
		page.Error = templates.IdentifyEmpty
	}
	if page.Value == "" {
		page.Value = l.Request.Hint
	}
	changed, err := t.invite(ctx, StepIdentify, &page.Passkey)
	return Reply{Page: page, Changed: changed}, err
}

func (identify) Take(ctx context.Context, t *Turn, answer url.Values) error {
	l := t.Login
	l.Note = ""
	if answer.Has("credential") {
		return t.recognize(ctx, answer)
	}
	if org := directory.OrgID(answer.Get("org")); org != "" {
		return t.Engine.routeRemembered(ctx, l, org, t.Remembered)
	}
	l.Identifier = strings.TrimSpace(answer.Get("identifier"))
	if len(l.Identifier) > maxIdentifier { // the row stays small, and there is nothing to look up
		l.Identifier, l.Note = "", noteMalformed
		return nil
	}
	found, err := t.Engine.routeIdentifier(ctx, l, l.Identifier)
	switch {
	case errors.Is(err, errEmpty):
		l.Note = noteEmpty
	case errors.Is(err, errMalformed):
		l.Note = noteMalformed
	case err != nil:
		return err
	case !found:
		return t.elsewise(ctx)
	}
	return nil
}

// elsewise is what comes of an address that leads to no identity provider: the one page on which everybody
// signs in whose organization has none, whether the address, its domain or anybody behind it exists (S31).
// Where the platform lets nobody sign in so, and for a handle, the page says that there is no company.
func (t *Turn) elsewise(ctx context.Context) error {
	l := t.Login
	p, err := t.Engine.Judge.Directory.RealmPolicy(ctx, l.Request.Realm)
	if err != nil {
		return err
	}
	if !strings.Contains(l.Identifier, "@") || !t.Engine.Judge.localLimit(p).byAddress() {
		l.Note = noteNoCompany
		return nil
	}
	l.Local = &Local{Address: l.Identifier}
	return nil
}

// maxIdentifier is the longest address there can be (RFC 5321 section 4.5.3.1).
const maxIdentifier = 320

var (
	errEmpty     = errors.New("nothing was typed")
	errMalformed = errors.New("neither an address nor a handle")
)

// routeIdentifier finds the organization of an address or handle. An unknown domain, a domain of an
// organization that has no sign-in here, is suspended or may not use the app: all are "not found", after
// the same work (S31).
func (e *Engine) routeIdentifier(ctx context.Context, l *Login, typed string) (bool, error) {
	typed = strings.TrimSpace(norm.NFKC.String(typed))
	if typed == "" {
		return false, errEmpty
	}
	if len(typed) > maxIdentifier {
		return false, errMalformed
	}
	org, con, err := e.lookUp(ctx, l.Request.Realm, typed)
	if err != nil || org == "" {
		return false, err
	}
	facts, _, err := e.Judge.org(ctx, org, l.Request.App)
	if errors.Is(err, ErrOrgUnavailable) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !facts.Entitled || facts.Chain.Status() != directory.Active {
		return false, nil
	}
	if len(facts.Usable) == 0 {
		return false, nil
	}
	l.Org, l.Route, l.Connection = org, RouteIdentifier, con
	return true, nil
}

// lookUp finds who claims an address's domain, or holds a handle, in the realm.
func (e *Engine) lookUp(ctx context.Context, realm directory.RealmID, typed string) (directory.OrgID, directory.ConnectionID, error) {
	if !strings.Contains(typed, "@") {
		if !directory.ValidHandle(strings.ToLower(typed)) {
			return "", "", errMalformed
		}
		org, err := e.Judge.Directory.OrgByHandle(ctx, realm, strings.ToLower(typed))
		if errors.Is(err, directory.ErrOrgNotFound) {
			return "", "", nil
		}
		return org, "", err
	}
	name, ok := DomainOf(typed)
	if !ok {
		return "", "", errMalformed
	}
	d, found, err := e.Judge.Directory.OrgOfDomain(ctx, realm, name)
	if err != nil || !found {
		return "", "", err
	}
	return d.Org, d.Connection, nil
}

// DomainOf gives the domain of an e-mail address as A-labels in lower case (UTS 46).
func DomainOf(address string) (string, bool) {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address {
		return "", false
	}
	_, domain, _ := strings.Cut(a.Address[strings.LastIndex(a.Address, "@"):], "@")
	name, err := idna.Lookup.ToASCII(domain)
	if err != nil || !strings.Contains(name, ".") {
		return "", false
	}
	return strings.ToLower(name), true
}
