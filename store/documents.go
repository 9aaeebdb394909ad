package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/themes"
)

var (
	_ flows.Themes          = (*Store)(nil)
	_ directory.Policies    = (*Store)(nil)
	_ directory.PolicyReach = (*Store)(nil)
)

// Theme gives what an organization set of its look.
func (s *Store) Theme(ctx context.Context, org directory.OrgID) (themes.Theme, error) {
	v, err := cached(ctx, s, &s.caches.themes, string(org), func(ctx context.Context) (*themes.Theme, error) {
		v, _, err := document[themes.Theme](ctx, s, string(org), ofTheme)
		return v, err
	})
	if err != nil || v == nil {
		return themes.Theme{}, err
	}
	return *v, nil
}

// PutTheme replaces what an organization set of its look.
func (s *Store) PutTheme(ctx context.Context, org directory.OrgID, v themes.Theme) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.org(ctx, org); err != nil {
			return err
		}
		_, version, err := document[themes.Theme](ctx, s, string(org), ofTheme)
		if err != nil {
			return err
		}
		return t.putDocument(string(org), ofTheme, v, version)
	})
}

// policyRef is where a level's document lies; ids of different nouns never meet.
func policyRef(at directory.PolicyLevel) string {
	return string(at.Realm) + string(at.Org) + string(at.App)
}

// PolicyDoc gives what one level set. Its maps are shared: nobody may change them.
func (s *Store) PolicyDoc(ctx context.Context, at directory.PolicyLevel) (directory.PolicyDoc, error) {
	v, err := cached(ctx, s, &s.caches.policies, policyRef(at), func(ctx context.Context) (*directory.PolicyDoc, error) {
		v, version, err := document[directory.PolicyDoc](ctx, s, policyRef(at), ofPolicy)
		if v != nil {
			v.Version = version
		}
		return v, err
	})
	if err != nil || v == nil {
		return directory.PolicyDoc{}, err
	}
	return *v, nil
}

// PutPolicyDoc replaces what one level set, if it is still as d.Version saw it.
func (s *Store) PutPolicyDoc(ctx context.Context, at directory.PolicyLevel, d directory.PolicyDoc) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if err := s.levelExists(ctx, at); err != nil {
			return err
		}
		return t.putDocument(policyRef(at), ofPolicy, d, d.Version)
	})
}

// PutPolicyChange adds to the history of a level's policy.
func (s *Store) PutPolicyChange(ctx context.Context, at directory.PolicyLevel, c directory.PolicyChange) error {
	doc, err := json.Marshal(c.Doc)
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := s.levelExists(ctx, at); err != nil {
			return err
		}
		return t.send(`INSERT INTO policy_history (ref, version, at, actor_kind, actor_id, doc) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (ref, version) DO NOTHING`, policyRef(at), c.Version, c.At, string(c.Actor.Kind), c.Actor.ID, string(doc))
	})
}

// PolicyChanges is the history of a level's policy, the newest first.
func (s *Store) PolicyChanges(ctx context.Context, at directory.PolicyLevel, most int) (list []directory.PolicyChange, err error) {
	var docs []string
	_, err = s.rows(ctx, "SELECT version, at, actor_kind, actor_id, doc FROM policy_history WHERE ref = $1 ORDER BY version DESC LIMIT $2",
		func(r *row) {
			c := directory.PolicyChange{Version: r.int(), At: r.time(), Actor: directory.Actor{Kind: directory.ActorKind(r.text()), ID: r.text()}}
			list, docs = append(list, c), append(docs, r.text())
		}, policyRef(at), most)
	if err != nil {
		return nil, err
	}
	for i, doc := range docs {
		if err := json.Unmarshal([]byte(doc), &list[i].Doc); err != nil {
			return nil, err
		}
		list[i].Doc.Version = list[i].Version
	}
	return list, nil
}

// PolicyDocsAfter gives the documents of levels below the platform, by id, at most n.
func (s *Store) PolicyDocsAfter(ctx context.Context, after string, n int) (list []directory.LevelDoc, err error) {
	var docs []string
	_, err = s.rows(ctx, "SELECT ref, doc, version FROM documents WHERE ref > $1 AND kind = $2 ORDER BY ref LIMIT $3", func(r *row) {
		d := directory.LevelDoc{ID: r.text()}
		docs = append(docs, r.text())
		d.Doc.Version = r.int()
		list = append(list, d)
	}, after, ofPolicy, n)
	if err != nil {
		return nil, err
	}
	for i, doc := range docs {
		if err := json.Unmarshal([]byte(doc), &list[i].Doc); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// SessionsOver counts the running sessions that org accepts now and would not after a change.
func (s *Store) SessionsOver(ctx context.Context, org directory.OrgID, a directory.SessionAges) (n int, err error) {
	_, err = s.rows(ctx, `SELECT COUNT(*) FROM session_orgs o JOIN sessions v ON v.id = o.session_id
		WHERE o.org_id = $1 AND v.ended_at = 0 AND v.ends_at > $2 AND o.held > $2 AND o.since > $3 AND o.seen > $4 AND (o.since <= $5 OR o.seen <= $6)`,
		func(r *row) { n = int(r.int()) }, org, a.Now, a.Now.Add(-a.WasLife), a.Now.Add(-a.WasIdle), a.Now.Add(-a.Life), a.Now.Add(-a.Idle))
	return n, err
}

// mostMethods is how many methods one statement asks for.
const mostMethods = 6

// MembersWithout counts the active members of org who set up none of the methods.
func (s *Store) MembersWithout(ctx context.Context, org directory.OrgID, now time.Time, methods []policy.Method, mailed bool) (n int, err error) {
	args := []any{org, now, mailed}
	for i := range mostMethods {
		m := policy.Method("")
		if i < len(methods) {
			m = methods[i]
		}
		args = append(args, string(m))
	}
	_, err = s.rows(ctx, `SELECT COUNT(*) FROM memberships m JOIN people p ON p.id = m.person_id
		WHERE m.org_id = $1 AND m.status = 'active' AND (m.until = 0 OR m.until > $2)
		AND NOT ($3 = 1 AND (p.email_since > 0 OR p.email_proved > 0))
		AND NOT EXISTS (SELECT 1 FROM factors f WHERE f.person_id = m.person_id AND f.method IN ($4, $5, $6, $7, $8, $9))`,
		func(r *row) { n = int(r.int()) }, args...)
	return n, err
}

func (s *Store) levelExists(ctx context.Context, at directory.PolicyLevel) (err error) {
	switch at {
	case directory.PolicyLevel{}:
	case directory.PolicyLevel{Realm: at.Realm}:
		_, err = s.Realm(ctx, at.Realm)
	case directory.PolicyLevel{Org: at.Org}:
		_, err = s.org(ctx, at.Org)
	case directory.PolicyLevel{App: at.App}:
		_, err = s.AppByID(ctx, at.App)
	default:
		err = ErrFixed.Because("a policy level names one of realm, organization and app")
	}
	return err
}

// document gives what a level set of a kind, nil when it set nothing.
func document[V any](ctx context.Context, s *Store, ref, kind string) (v *V, version int64, err error) {
	var doc string
	n, err := s.rows(ctx, "SELECT doc, version FROM documents WHERE ref = $1 AND kind = $2",
		func(r *row) { doc, version = r.text(), r.int() }, ref, kind)
	if err != nil || n == 0 {
		return nil, 0, err
	}
	v = new(V)
	return v, version, json.Unmarshal([]byte(doc), v)
}

// putDocument writes the document after version; ErrMoved when another is there by now.
func (t *tx) putDocument(ref, kind string, v any, version int64) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	q := "UPDATE documents SET doc = $3, version = $4 + 1 WHERE ref = $1 AND kind = $2 AND version = $4"
	if version == 0 {
		q = "INSERT INTO documents (ref, kind, doc, version) VALUES ($1, $2, $3, $4 + 1) ON CONFLICT (ref, kind) DO NOTHING"
	}
	n, err := t.exec(q, ref, kind, string(doc), version)
	if err != nil {
		return err
	}
	if n == 0 {
		return directory.ErrMoved
	}
	return t.touch(kind, ref)
}
