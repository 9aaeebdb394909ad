package store

import (
	"context"
	"encoding/json"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

var (
	_ flows.Flows = (*Store)(nil)
	_ flows.Terms = (*Store)(nil)
)

// FlowHead says which versions of an organization's flow are in use.
func (s *Store) FlowHead(ctx context.Context, org directory.OrgID) (flows.FlowHead, error) {
	v, err := cached(ctx, s, &s.caches.flows, string(org), func(ctx context.Context) (*flows.FlowHead, error) {
		v, version, err := document[flows.FlowHead](ctx, s, string(org), ofFlow)
		if v != nil {
			v.Version = version
		}
		return v, err
	})
	if err != nil || v == nil {
		return flows.FlowHead{}, err
	}
	return *v, nil
}

// PutFlowHead replaces which versions are in use, if they are still as h.Version saw them.
func (s *Store) PutFlowHead(ctx context.Context, org directory.OrgID, h flows.FlowHead) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.org(ctx, org); err != nil {
			return err
		}
		return t.putDocument(string(org), ofFlow, h, h.Version)
	})
}

// PutFlowVersion adds a version of an organization's flow.
func (s *Store) PutFlowVersion(ctx context.Context, org directory.OrgID, v flows.FlowVersion) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.org(ctx, org); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO flow_versions (org_id, version, at, actor_kind, actor_id, doc) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (org_id, version) DO NOTHING`, org, v.Version, v.At, string(v.Actor.Kind), v.Actor.ID, string(v.Doc))
		if err == nil && n == 0 {
			return directory.ErrMoved
		}
		return err
	})
}

const flowColumns = "SELECT version, at, actor_kind, actor_id, doc FROM flow_versions WHERE org_id = $1 "

func flowVersion(r *row) flows.FlowVersion {
	return flows.FlowVersion{
		Version: r.int(), At: r.time(), Actor: directory.Actor{Kind: directory.ActorKind(r.text()), ID: r.text()}, Doc: json.RawMessage(r.text()),
	}
}

// FlowVersion is one version of an organization's flow.
func (s *Store) FlowVersion(ctx context.Context, org directory.OrgID, version int64) (v flows.FlowVersion, err error) {
	n, err := s.rows(ctx, flowColumns+"AND version = $2", func(r *row) { v = flowVersion(r) }, org, version)
	if err == nil && n == 0 {
		err = flows.ErrFlowVersion
	}
	return v, err
}

// FlowVersions are an organization's, the newest first.
func (s *Store) FlowVersions(ctx context.Context, org directory.OrgID, most int) (list []flows.FlowVersion, err error) {
	_, err = s.rows(ctx, flowColumns+"ORDER BY version DESC LIMIT $2", func(r *row) { list = append(list, flowVersion(r)) }, org, most)
	return list, err
}

// TermsAccepted lists what a member of org accepted.
func (s *Store) TermsAccepted(ctx context.Context, org directory.OrgID, person directory.PersonID) (list []flows.Acceptance, err error) {
	_, err = s.rows(ctx, `SELECT a.org_id, a.version, a.at FROM memberships m JOIN terms_accepted a ON a.person_id = m.person_id
		WHERE m.org_id = $1 AND m.person_id = $2 ORDER BY a.org_id, a.version`,
		func(r *row) {
			list = append(list, flows.Acceptance{Org: directory.OrgID(r.text()), Version: r.text(), At: r.time()})
		}, org, person)
	return list, err
}

// AcceptTerms keeps that a member of org accepted a version of somebody's terms.
func (s *Store) AcceptTerms(ctx context.Context, org directory.OrgID, person directory.PersonID, a flows.Acceptance) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, _, err := s.Person(ctx, org, person); err != nil {
			return err
		}
		return t.send(`INSERT INTO terms_accepted (person_id, org_id, version, at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (person_id, org_id, version) DO NOTHING`, person, a.Org, a.Version, a.At)
	})
}
