package manifest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

func unwrapProblems(err error) (yamlfile.Problems, bool) {
	return errors.AsType[yamlfile.Problems](err)
}

func (p *planner) app(rec appRecord) {
	realm := p.realmOf(rec.realm, rec.at, nil)
	if realm.ID == "" {
		return
	}
	before, err := p.Broker.Apps.AppByClientID(p.ctx, rec.clientID)
	fresh := !p.found(err)
	if p.err != nil {
		return
	}
	switch {
	case !fresh && before.Realm != realm.ID:
		p.wrong.Say(rec.at, "The app %s belongs to another realm, and stays there.", rec.clientID)
		return
	case !fresh && rec.id != "" && before.ID != rec.id:
		p.wrong.Say(rec.at, "The app %s is %s, and not %s.", rec.clientID, before.ID, rec.id)
		return
	}
	after, ok := p.wantedApp(rec, realm, before, fresh)
	if !ok {
		return
	}
	p.apps[rec.clientID] = after.ID
	p.saveApp(rec, before, after, fresh)
	if rec.policy != nil {
		p.policy(rec.policy.at, "app", rec.clientID, directory.PolicyLevel{App: after.ID}, realm.ID, fresh, rec.policy)
	}
}

func (p *planner) wantedApp(rec appRecord, realm realmState, before broker.App, fresh bool) (broker.App, bool) {
	after := before
	if fresh {
		after = broker.App{ID: directory.NewAppID(p.Now()), Realm: realm.ID, ClientID: rec.clientID, Status: directory.Active, Name: rec.clientID}
		after.Method = broker.SecretBasic // RFC 7591 section 2
		if rec.id != "" {
			after.ID = rec.id
		}
	}
	form := appForm{after.Name, after.Status}
	rec.form.on(&form)
	after.Name, after.Status = form.Name, form.Status
	rec.settings.on(&after.Settings)
	if !p.references(rec, realm, &after) {
		return after, false
	}
	if rec.secrets != nil {
		after.Secrets = secretsOf(*rec.secrets, before.Secrets, p)
	}
	checked, err := after.Checked()
	if err != nil {
		p.refuse(rec.at, err)
		return after, false
	}
	return checked, true
}

// secretsOf are the secrets that a file names; one that is there already keeps its dates.
func secretsOf(hashes [][32]byte, have []broker.Secret, p *planner) []broker.Secret {
	var out []broker.Secret
	for _, h := range hashes {
		if slices.ContainsFunc(out, func(s broker.Secret) bool { return s.Hash == h }) {
			continue
		}
		i := slices.IndexFunc(have, func(s broker.Secret) bool { return s.Hash == h })
		if i >= 0 {
			out = append(out, have[i])
			continue
		}
		out = append(out, broker.Secret{Hash: h, CreatedAt: p.Now()})
	}
	return out
}

// references resolves what an app's settings name.
func (p *planner) references(rec appRecord, realm realmState, to *broker.App) bool {
	if rec.org != nil {
		to.Org = ""
		if *rec.org != "" {
			o := p.orgOf(*rec.org, rec.realm, rec.at)
			if o == nil {
				return false
			}
			to.Org = o.ID
		}
	}
	if rec.connections == nil {
		return true
	}
	to.Connections = nil
	for _, ref := range *rec.connections {
		org, name, ok := cutLast(ref)
		if !ok {
			p.wrong.Say(rec.at, "A connection is named here by its organization and its name, such as acme/Okta, not %s.", yamlfile.Quote(ref))
			return false
		}
		o := p.orgOf(org, rec.realm, rec.at)
		if o == nil || !p.load(o) {
			return false
		}
		c, ok := p.ownConnection(o, name, rec.at)
		if !ok {
			return false
		}
		to.Connections = append(to.Connections, c.ID)
	}
	return true
}

func (p *planner) saveApp(rec appRecord, before, after broker.App, fresh bool) {
	fields := appFields(before, after)
	if fresh {
		p.step(rec.at, Change{Kind: Create, Noun: "app", Name: rec.clientID, ID: string(after.ID), Fields: fields},
			func(ctx context.Context) error { return p.Broker.AddApp(ctx, p.actor, after) })
		return
	}
	if len(fields) == 0 {
		return
	}
	p.step(rec.at, Change{Kind: Alter, Noun: "app", Name: rec.clientID, ID: string(after.ID), Fields: fields}, func(ctx context.Context) error {
		if before.Status != after.Status {
			if err := p.Broker.SetAppStatus(ctx, p.actor, after.ID, after.Status); err != nil || len(fields) == 1 {
				return err
			}
		}
		return p.Broker.ChangeApp(ctx, p.actor, after.ID, func(a *broker.App) error {
			registration, version := a.Registration, a.Version
			*a = after
			a.Registration, a.Version = registration, version
			return nil
		})
	})
}

func appFields(before, after broker.App) []Field {
	fields := appShape.differences("", reflect.ValueOf(appForm{before.Name, before.Status}), reflect.ValueOf(appForm{after.Name, after.Status}))
	fields = append(fields, differing("", settingsPlain(before.Settings), settingsPlain(after.Settings))...)
	if before.Org != after.Org {
		fields = append(fields, Field{Name: "organization", Before: string(before.Org), After: string(after.Org)})
	}
	if !slices.Equal(before.Connections, after.Connections) {
		fields = append(fields, Field{Name: "connections", Before: fmt.Sprint(before.Connections), After: fmt.Sprint(after.Connections)})
	}
	if !sameHashes(before.Secrets, after.Secrets) {
		fields = append(fields, Field{Name: "client_secrets", Secret: true})
	}
	return fields
}

// settingsPlain are an app's settings as a file writes them.
func settingsPlain(s broker.Settings) []pairOf {
	var out []pairOf
	for _, p := range settingsShape.plain(reflect.ValueOf(s)) {
		switch p.key {
		case "native":
			p = pairOf{"application_type", "native"}
		case "pairwise":
			p = pairOf{"subject_type", "pairwise"}
		}
		out = append(out, p)
	}
	return out
}

func sameHashes(a, b []broker.Secret) bool {
	if len(a) != len(b) {
		return false
	}
	for _, s := range a {
		if !slices.ContainsFunc(b, func(o broker.Secret) bool { return o.Hash == s.Hash }) {
			return false
		}
	}
	return true
}

// entitlements plans which apps an organization's people may use.
func (p *planner) entitlements(rec *orgRecord) {
	o := p.orgs[rec.realm+"/"+rec.handle]
	if o == nil || len(rec.apps) == 0 || !p.load(o) {
		return
	}
	for _, e := range rec.apps {
		app, ok := p.appOf(e.clientID, e.at)
		if !ok {
			continue
		}
		want := directory.Entitlement{Org: o.ID, App: app, Below: e.below}
		at := slices.IndexFunc(o.entitled, func(e directory.Entitlement) bool { return e.App == app })
		if at >= 0 && o.entitled[at] == want {
			continue
		}
		c := Change{Kind: Create, Noun: "entitlement", Name: rec.realm + "/" + rec.handle + " to " + e.clientID, ID: string(app), Fields: []Field{{Name: "below", After: show(e.below)}}}
		if at >= 0 {
			c.Kind, c.Fields[0].Before = Alter, show(o.entitled[at].Below)
			o.entitled[at] = want
		} else {
			o.entitled = append(o.entitled, want)
		}
		p.step(e.at, c, func(ctx context.Context) error { return p.Directory.Entitle(ctx, p.actor, want) })
	}
}

func (p *planner) appOf(clientID string, at yamlfile.Place) (directory.AppID, bool) {
	if id, ok := p.apps[clientID]; ok {
		return id, true
	}
	app, err := p.Broker.Apps.AppByClientID(p.ctx, clientID)
	if p.found(err) {
		p.apps[clientID] = app.ID
		return app.ID, true
	}
	if p.err == nil {
		p.wrong.Say(at, "There is no app with the client_id %s. Declare it under apps, or name one that exists.", yamlfile.Quote(clientID))
	}
	return "", false
}
