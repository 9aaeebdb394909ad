package store

import (
	"context"
	"errors"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var _ directory.Orgs = (*Store)(nil)

// ErrFixed is a bug of ours: an update touched what the store derives or what never changes.
var ErrFixed = fault.New(fault.Internal, "store.fixed", "Something broke on our side.")

const (
	maxDepth  = 8
	codeWidth = 5 // characters of one organization in a path: 33 million organizations

	orgColumns = "id, realm_id, parent_id, top_id, path, handle, name, status, contact, version"
	selectOrg  = "SELECT " + orgColumns + " FROM organizations "
)

func (r *row) org() directory.Org {
	return directory.Org{ID: directory.OrgID(r.text()), Realm: directory.RealmID(r.text()), Parent: directory.OrgID(r.text()),
		Top: directory.OrgID(r.text()), Path: r.text(), Handle: r.text(), Name: r.text(), Status: directory.Status(r.text()),
		Contact: r.text(), Version: r.int()}
}

// org finds one organization. The value is shared: it may not be changed.
func (s *Store) org(ctx context.Context, id directory.OrgID) (*directory.Org, error) {
	o, err := cached(ctx, s, &s.caches.orgs, string(id), func(ctx context.Context) (found *directory.Org, err error) {
		_, err = s.rows(ctx, selectOrg+"WHERE id = $1", func(r *row) { o := r.org(); found = &o }, id)
		return found, err
	})
	if err == nil && o == nil {
		return nil, directory.ErrOrgNotFound
	}
	return o, err
}

// placeOf finds an organization for its realm and top, which never change: memory is as good as the
// truth, in a transaction too.
func (s *Store) placeOf(ctx context.Context, id directory.OrgID) (*directory.Org, error) {
	if o := s.caches.orgs.peek(string(id)); o != nil {
		return o, nil
	}
	return s.org(ctx, id)
}

// OrgChain gives the organization with all its ancestors. It is put together from single
// organizations, so that a change of one costs nothing to the rest of its tree.
func (s *Store) OrgChain(ctx context.Context, org directory.OrgID) (directory.Chain, error) {
	o, err := s.org(ctx, org)
	if err != nil {
		return nil, err
	}
	chain := make(directory.Chain, len(o.Path)/codeWidth)
	for i := len(chain) - 1; i >= 0; i-- {
		chain[i] = *o
		if i == 0 {
			break
		}
		if o, err = s.org(ctx, o.Parent); err != nil {
			return nil, err
		}
	}
	return chain, nil
}

// OrgByHandle finds a living organization in the realm by its handle of today.
func (s *Store) OrgByHandle(ctx context.Context, realm directory.RealmID, handle string) (directory.OrgID, error) {
	id, err := cached(ctx, s, &s.caches.handles, handleKey(realm, handle), func(ctx context.Context) (found *directory.OrgID, err error) {
		_, err = s.rows(ctx, "SELECT org_id FROM org_handles WHERE realm_id = $1 AND handle = $2", func(r *row) {
			id := directory.OrgID(r.text())
			found = &id
		}, realm, handle)
		return found, err
	})
	if err != nil {
		return "", err
	}
	if id == nil {
		return "", directory.ErrOrgNotFound
	}
	o, err := s.org(ctx, *id)
	if err != nil {
		return "", err
	}
	if o.Handle != handle || o.Status == directory.Archived {
		return "", directory.ErrOrgNotFound
	}
	return o.ID, nil
}

func handleKey(realm directory.RealmID, handle string) string { return string(realm) + "/" + handle }

// OrgByID says which realm an organization is in.
func (s *Store) OrgByID(ctx context.Context, id directory.OrgID) (directory.RealmID, error) {
	o, err := s.org(ctx, id)
	if err != nil {
		return "", err
	}
	return o.Realm, nil
}

// Children lists an organization's own children, by handle.
func (s *Store) Children(ctx context.Context, org directory.OrgID) ([]directory.Org, error) {
	if org == "" {
		return nil, nil // the tops of all realms are nobody's children
	}
	var list []directory.Org
	_, err := s.rows(ctx, selectOrg+"WHERE parent_id = $1 ORDER BY handle", func(r *row) { list = append(list, r.org()) }, org)
	return list, err
}

// CreateOrg makes an organization and derives Path, Top and, below a parent, Realm.
func (s *Store) CreateOrg(ctx context.Context, o directory.Org) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if err := s.place(ctx, &o); err != nil {
			return err
		}
		if err := t.takeHandle(o); err != nil {
			return err
		}
		code, err := t.orgCode()
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO organizations ("+orgColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
			o.ID, o.Realm, o.Parent, o.Top, o.Path+code, o.Handle, o.Name, o.Status, o.Contact, 1)
		if err != nil {
			return err
		}
		return t.touch(ofOrg, string(o.ID))
	})
}

// place sets what follows from the parent; Path is the parent's.
func (s *Store) place(ctx context.Context, o *directory.Org) error {
	o.Top, o.Path = o.ID, ""
	if o.Parent == "" {
		_, err := s.Realm(ctx, o.Realm)
		return err
	}
	parent, err := s.org(ctx, o.Parent)
	if err != nil {
		return err
	}
	if o.Realm != "" && o.Realm != parent.Realm {
		return directory.ErrOrgNotFound // nothing crosses realms, and nobody learns what is in another (S26)
	}
	if len(parent.Path) >= maxDepth*codeWidth {
		return directory.ErrTooDeep
	}
	o.Realm, o.Top, o.Path = parent.Realm, parent.Top, parent.Path
	return nil
}

// takeHandle gives a handle to an organization, which may have had it before; nobody else may (S40).
func (t *tx) takeHandle(o directory.Org) error {
	n, err := t.exec(`INSERT INTO org_handles (realm_id, handle, org_id) VALUES ($1, $2, $3)
		ON CONFLICT (realm_id, handle) DO UPDATE SET org_id = excluded.org_id WHERE org_handles.org_id = excluded.org_id`,
		o.Realm, o.Handle, o.ID)
	if err != nil {
		return err
	}
	if n == 0 {
		return directory.ErrHandleTaken
	}
	return t.touch(ofHandle, handleKey(o.Realm, o.Handle))
}

// orgCode makes the next code of a path. Codes of a step that was undone are not given again.
func (t *tx) orgCode() (string, error) {
	if t.code == 0 {
		if _, err := t.read("SELECT n FROM counters WHERE name = 'org_code'", func(r *row) { t.code = r.int() }, nil); err != nil {
			return "", err
		}
	}
	t.code++
	n := t.code
	const digits = "0123456789abcdefghijklmnopqrstuv"
	var code [codeWidth]byte
	for i := codeWidth - 1; i >= 0; i-- {
		code[i] = digits[n%32]
		n /= 32
	}
	if n != 0 {
		return "", errors.New("no code is left for another organization")
	}
	return string(code[:]), nil
}

// UpdateOrg changes handle, name, status and contact.
func (s *Store) UpdateOrg(ctx context.Context, org directory.OrgID, change func(*directory.Org) error) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		was, err := s.org(ctx, org)
		if err != nil {
			return err
		}
		o := *was
		if err := change(&o); err != nil {
			return err
		}
		if o.ID != was.ID || o.Realm != was.Realm || o.Parent != was.Parent || o.Top != was.Top || o.Path != was.Path {
			return ErrFixed.Because("an organization's id, realm, parent, top and path are not changed by UpdateOrg")
		}
		if o.Handle != was.Handle {
			if err := t.takeHandle(o); err != nil {
				return err
			}
		}
		n, err := t.exec("UPDATE organizations SET handle = $1, name = $2, status = $3, contact = $4, version = version + 1 WHERE id = $5 AND version = $6",
			o.Handle, o.Name, o.Status, o.Contact, org, was.Version)
		if err != nil {
			return err
		}
		if n == 0 {
			return directory.ErrMoved
		}
		return t.touch(ofOrg, string(org))
	})
}

// OrgOfHandle finds whom a handle of a realm was given to, also when it was renamed or archived since:
// handles are never given to anybody else (S40).
func (s *Store) OrgOfHandle(ctx context.Context, realm directory.RealmID, handle string) (id directory.OrgID, err error) {
	err = s.one(ctx, directory.ErrOrgNotFound, "SELECT org_id FROM org_handles WHERE realm_id = $1 AND handle = $2",
		func(r *row) { id = directory.OrgID(r.text()) }, realm, handle)
	return id, err
}
