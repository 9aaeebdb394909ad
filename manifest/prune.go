package manifest

import (
	"context"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

// pruned is where changes stand that no line of a file asks for.
var pruned = yamlfile.Place{File: "--prune"}

// prune archives what the realms of the files hold and the files do not name. Children first, so that
// nothing is archived under somebody who is not.
func (p *planner) prune(m *Manifest) {
	declared := map[string]bool{}
	for _, r := range m.realms {
		declared[r.handle] = true
	}
	for _, o := range m.orgs {
		declared[o.realm] = true
	}
	for _, a := range m.apps {
		declared[a.realm] = true
	}
	for _, realm := range sorted(declared) {
		if r := p.realms[realm]; r.ID != "" && !r.fresh {
			p.pruneApps(r)
			p.pruneOrgs(r)
		}
	}
	for _, rec := range m.orgs {
		p.pruneWithin(rec)
	}
}

func (p *planner) pruneOrgs(r realmState) {
	list, err := p.Lists.OrgList(p.ctx, r.ID)
	if !p.found(err) {
		return
	}
	for i := len(list) - 1; i >= 0; i-- {
		o := list[i]
		if state := p.named[o.ID]; state != nil && state.rec != nil || o.Status == directory.Archived || p.keepsNamed(list, o.ID) ||
			r.Handle == defaultRealm && o.Handle == platformOrg {
			continue
		}
		p.step(pruned, Change{Kind: Archive, Noun: "organization", Name: r.Handle + "/" + o.Handle, ID: string(o.ID)},
			func(ctx context.Context) error {
				return p.Directory.SetOrgStatus(ctx, p.actor, o.ID, directory.Archived)
			})
	}
}

// keepsNamed says whether an organization that a file names stands below this one.
func (p *planner) keepsNamed(list []directory.Org, id directory.OrgID) bool {
	parents := map[directory.OrgID]directory.OrgID{}
	for _, o := range list {
		parents[o.ID] = o.Parent
	}
	for _, state := range p.named {
		if state.rec == nil {
			continue
		}
		up := state.Parent
		for ; up != "" && up != id; up = parents[up] {
		}
		if up == id {
			return true
		}
	}
	return false
}

func (p *planner) pruneApps(r realmState) {
	list, err := p.Lists.AppList(p.ctx, r.ID)
	if !p.found(err) {
		return
	}
	for _, a := range list {
		if _, named := p.apps[a.ClientID]; named || a.Status != directory.Active || len(a.Registration) > 0 {
			continue // apps that registered themselves are nobody's to list
		}
		p.step(pruned, Change{Kind: Archive, Noun: "app", Name: a.ClientID, ID: string(a.ID), Fields: []Field{{Name: "status", Before: string(a.Status), After: string(directory.Suspended)}}},
			func(ctx context.Context) error { return p.Broker.SetAppStatus(ctx, p.actor, a.ID, directory.Suspended) })
	}
}

// pruneWithin takes from an organization that a file names what the file does not.
func (p *planner) pruneWithin(rec *orgRecord) {
	o := p.orgs[rec.realm+"/"+rec.handle]
	if o == nil || o.fresh || !p.load(o) {
		return
	}
	name := rec.realm + "/" + rec.handle
	for _, c := range o.connections {
		if c.named || c.Status == upstream.Disabled || c.Status == upstream.Draft {
			continue
		}
		p.step(pruned, Change{Kind: Archive, Noun: "connection", Name: name + "/" + c.Name, ID: string(c.ID), Fields: []Field{{Name: "status", Before: string(c.Status), After: string(upstream.Disabled)}}},
			func(ctx context.Context) error {
				return p.Connections.Update(ctx, p.actor, o.ID, c.ID, func(to *upstream.Connection) error { to.Status = upstream.Disabled; return nil })
			})
	}
	named := map[directory.AppID]bool{}
	for _, e := range rec.apps {
		named[p.apps[e.clientID]] = true
	}
	for _, e := range o.entitled {
		if id := e.App; !named[id] {
			p.step(pruned, Change{Kind: Archive, Noun: "entitlement", Name: name + " to " + string(id), ID: string(id)},
				func(ctx context.Context) error { return p.Directory.Unentitle(ctx, p.actor, o.ID, id) })
		}
	}
}
