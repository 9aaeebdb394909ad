package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/templates"
)

// publish gives an organization its flow.
func (w *world) publish(org directory.OrgID, items ...flows.Item) {
	w.t.Helper()
	w.must(w.h.engine.Judge.Flows.SetFlow(w.t.Context(), operator, org, &flows.Document{Items: items}))
}

func says(text string) *flows.Custom { return &flows.Custom{Text: templates.Said{"en": text}} }

// stand answers the form of a flow's own step, with more than it holds.
func (b *browser) stand(p *page, more url.Values) *page {
	b.t.Helper()
	for _, f := range forms(p) {
		if f.values.Has("at") {
			for k, v := range more {
				f.values[k] = v
			}
			to, err := p.url.Parse(f.action)
			if err != nil {
				b.t.Fatal(err)
			}
			return b.follow(b.send(http.MethodPost, to.String(), f.values, false))
		}
	}
	b.t.Fatalf("no step of a flow on %s %d\n%s", p.url, p.status, textOf(p.body))
	return nil
}

func (p *page) shows(t *testing.T, text string) *page {
	t.Helper()
	if !strings.Contains(p.body, text) {
		t.Fatalf("no %q on %s %d\n%s", text, p.url, p.status, textOf(p.body))
	}
	return p
}

// A person reads, accepts and fills in what the organization asks, once each; what was answered twice, or
// answers another step, counts for nothing.
func TestPeopleGoThroughTheirOrganizationsFlow(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	acme.people("ada", "ada@acme.example")
	w.publish(acme.org,
		flows.Item{Step: flows.StepNotice, Settings: says("The first text.")}, flows.Item{Step: flows.StepNotice, Settings: says("The second text.")},
		flows.Item{Step: flows.StepIdentify},
		flows.Item{Step: flows.StepTerms, Settings: &flows.Custom{Version: "1", Text: templates.Said{"en": "The terms."}}},
		flows.Item{Step: flows.StepProfile, Settings: &flows.Custom{Fields: []string{"phone_number"}}},
	)
	b, r := newBrowser(t), w.request(in(acme.org))
	first := b.authorize(w, r).shows(t, "The first text.")
	second := b.stand(first, nil).shows(t, "The second text.")
	b.stand(first, nil).shows(t, "The second text.") // a double click reads nothing else
	rules := b.stand(second, nil).shows(t, "The terms.")
	b.stand(rules, nil).shows(t, "The terms.") // nothing was ticked
	asks := b.stand(rules, url.Values{"accept": {"1"}})
	b.stand(asks, url.Values{"phone_number": {"none"}}).shows(t, "aria-invalid")
	w.redeem(b.stand(asks, url.Values{"phone_number": {"+34 600 123 456"}}).code(t), r.verifier)
	if p := w.person(acme, "ada"); p.Profile.Phone != "+34600123456" {
		t.Errorf("the phone is %q", p.Profile.Phone)
	}
	// The session goes on: nothing is asked again. A new sign-in shows the notices alone.
	b.signIn(w, in(acme.org))
	c := newBrowser(t)
	c.stand(c.stand(c.authorize(w, w.request(in(acme.org))), nil), nil).code(t)
	// Another version is asked for, of a running session too; an app that asks for no page is told so.
	w.publish(acme.org, flows.Item{Step: flows.StepTerms, Settings: &flows.Custom{Version: "2", Text: templates.Said{"en": "New terms."}}})
	silent := w.request(func(v url.Values) { in(acme.org)(v); v.Set("prompt", "none") })
	if p := b.authorize(w, silent); p.url.Query().Get("error") == "" {
		t.Errorf("a silent request got %s", p.url)
	}
	b.stand(b.authorize(w, w.request(in(acme.org))).shows(t, "New terms."), url.Values{"accept": {"1"}}).code(t)
}

// A login in progress ends on the version it began with; the next begins on the new one.
func TestALoginEndsOnTheVersionItBeganWith(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	acme.people("ada", "ada@acme.example")
	w.publish(acme.org, flows.Item{Step: flows.StepNotice, Settings: says("The old text.")}, flows.Item{Step: flows.StepIdentify})
	b := newBrowser(t)
	old := b.authorize(w, w.request(in(acme.org))).shows(t, "The old text.")
	w.publish(acme.org, flows.Item{Step: flows.StepDeny, If: "!device.known", Settings: says("Not from here.")})
	b.stand(old, nil).code(t)
	newBrowser(t).authorize(w, w.request(in(acme.org))).shows(t, "Not from here.")
}

// A parent's notice stands in its child's sign-in, whatever the child writes; a draft is for its testers alone.
func TestAParentsFlowAndADraft(t *testing.T) {
	w := newWorld(t)
	group := w.addOrg("group", "")
	acme := w.connectOIDC(w.addOrg("acme", group), "acme", nil)
	acme.people("ada", "ada@acme.example", "bob", "bob@acme.example")
	newBrowser(t).signIn(w, in(acme.org))
	ada := w.person(acme, "ada")
	service := w.h.engine.Judge.Flows
	_, err := service.SetDraft(t.Context(), operator, acme.org, flows.Document{Items: []flows.Item{{Step: flows.StepNotice, Settings: says("The draft.")}}})
	w.must(err)
	w.must(service.SetTesters(t.Context(), operator, acme.org, []directory.PersonID{ada.ID}))
	b := newBrowser(t)
	b.stand(b.authorize(w, w.request(in(acme.org))).shows(t, "The draft."), nil).code(t)
	acme.idp.SetAuto("bob")
	newBrowser(t).signIn(w, in(acme.org))
	w.publish(group, flows.Item{Step: flows.StepNotice, Settings: says("From above.")})
	w.publish(acme.org, flows.Item{Step: flows.StepNotice, If: "false || device.known", Settings: says("Never here.")})
	c := newBrowser(t)
	c.stand(c.authorize(w, w.request(in(acme.org))).shows(t, "From above."), nil).code(t)
}
