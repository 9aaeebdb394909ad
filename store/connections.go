package store

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

var _ upstream.Connections = (*Store)(nil)

const (
	connectionColumns = "id, org_id, realm_id, type, name, status, issuer, config, secret, offered, jit, authoritative, guests, private, skew, logout, proofs_after, mfa, version"
	selectConnection  = "SELECT " + connectionColumns + " FROM connections "
)

// connection reads a row; its secret is sealed still, and private and mfa are JSON.
func (r *row) connection() (c upstream.Connection, private, mfa string) {
	c = upstream.Connection{ID: directory.ConnectionID(r.text()), Org: directory.OrgID(r.text()), Realm: directory.RealmID(r.text()),
		Type: upstream.Type(r.text()), Name: r.text(), Status: upstream.Status(r.text()), Issuer: r.text(),
		Config: json.RawMessage(r.text()), Secret: r.bytes(), Offered: r.bool(), JIT: upstream.JIT(r.text()), Authoritative: r.bool(), Guests: r.bool()}
	private = r.text()
	c.Skew, c.Logout, c.ProofsAfter = r.duration(), upstream.LogoutChoice(r.text()), r.time()
	mfa, c.Version = r.text(), r.int()
	return c, private, mfa
}

func secretSlot(c upstream.Connection) slot {
	return slot{"connections", "secret", string(c.ID), string(c.Org)}
}

// findConnections reads connections and opens their secrets.
func (s *Store) findConnections(ctx context.Context, where string, args ...any) ([]upstream.Connection, error) {
	var list []upstream.Connection
	var privates, mfas []string
	_, err := s.rows(ctx, selectConnection+where, func(r *row) {
		c, private, mfa := r.connection()
		list, privates, mfas = append(list, c), append(privates, private), append(mfas, mfa)
	}, args...)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := json.Unmarshal([]byte(privates[i]), &list[i].Private); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(mfas[i]), &list[i].MFA); err != nil {
			return nil, err
		}
		if list[i].Secret, err = s.unseal(ctx, secretSlot(list[i]), list[i].Secret); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ConnectionByID finds a connection. Config, Secret and Private are shared: nobody may change them.
func (s *Store) ConnectionByID(ctx context.Context, id directory.ConnectionID) (upstream.Connection, error) {
	c, err := cached(ctx, s, &s.caches.connections, string(id), func(ctx context.Context) (*upstream.Connection, error) {
		list, err := s.findConnections(ctx, "WHERE id = $1", id)
		if err != nil || len(list) == 0 {
			return nil, err
		}
		return &list[0], nil
	})
	if err != nil {
		return upstream.Connection{}, err
	}
	if c == nil {
		return upstream.Connection{}, upstream.ErrConnectionNotFound
	}
	return *c, nil
}

// ConnectionsFor lists what org may use: its own by id, then what its ancestors offer, the nearest first.
func (s *Store) ConnectionsFor(ctx context.Context, org directory.OrgID) ([]upstream.Connection, error) {
	chain, err := s.OrgChain(ctx, org)
	if err != nil {
		return nil, err
	}
	var list []upstream.Connection
	for i := len(chain) - 1; i >= 0; i-- {
		owned, err := s.connectionsOf(ctx, chain[i].ID)
		if err != nil {
			return nil, err
		}
		for _, c := range owned {
			if c.Org == org || c.Offered {
				list = append(list, c)
			}
		}
	}
	return list, nil
}

func (s *Store) connectionsOf(ctx context.Context, org directory.OrgID) ([]upstream.Connection, error) {
	list, err := cached(ctx, s, &s.caches.ownedBy, string(org), func(ctx context.Context) (*[]upstream.Connection, error) {
		list, err := s.findConnections(ctx, "WHERE org_id = $1 ORDER BY id", org)
		if err != nil || len(list) == 0 {
			return nil, err
		}
		return &list, nil
	})
	if err != nil || list == nil {
		return nil, err
	}
	return *list, nil
}

// CreateConnection makes a connection of org.
func (s *Store) CreateConnection(ctx context.Context, org directory.OrgID, c upstream.Connection) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.org(ctx, org)
		if err != nil {
			return err
		}
		c.Org, c.Realm = org, o.Realm
		private, mfa, secret, err := s.connectionDocs(ctx, t, o, c)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO connections ("+connectionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
			c.ID, org, o.Realm, c.Type, c.Name, c.Status, c.Issuer, string(c.Config), secret, c.Offered, c.JIT, c.Authoritative, c.Guests, private, c.Skew, logoutOf(c), c.ProofsAfter, mfa, 1)
		if err != nil {
			return err
		}
		return t.touchConnection(c)
	})
}

func (s *Store) connectionDocs(ctx context.Context, t *tx, o *directory.Org, c upstream.Connection) (private, mfa string, secret []byte, err error) {
	doc, err := json.Marshal(c.Private)
	if err != nil {
		return "", "", nil, err
	}
	rule, err := json.Marshal(append([]string{}, c.MFA...))
	if err != nil {
		return "", "", nil, err
	}
	secret, err = s.seal(ctx, t, string(o.Top), secretSlot(c), c.Secret)
	return string(doc), string(rule), secret, err
}

func logoutOf(c upstream.Connection) upstream.LogoutChoice {
	return cmp.Or(c.Logout, upstream.LogoutLocal)
}

func (t *tx) touchConnection(c upstream.Connection) error {
	if err := t.touch(ofConnection, string(c.ID)); err != nil {
		return err
	}
	return t.touch(ofConnections, string(c.Org))
}

// UpdateConnection changes a connection of org. Whom it trusts is fixed once people sign in by it (S4).
func (s *Store) UpdateConnection(ctx context.Context, org directory.OrgID, id directory.ConnectionID, change func(*upstream.Connection) error) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		was, err := s.ConnectionByID(ctx, id)
		if err != nil {
			return err
		}
		if was.Org != org {
			return upstream.ErrConnectionNotFound
		}
		c := was
		if err := change(&c); err != nil {
			return err
		}
		if c.ID != was.ID || c.Org != was.Org || c.Realm != was.Realm {
			return ErrFixed.Because("a connection's id, organization and realm are not changed by UpdateConnection")
		}
		if err := s.mayTrust(ctx, was, c); err != nil {
			return err
		}
		return s.saveConnection(ctx, t, was, c)
	})
}

func (s *Store) mayTrust(ctx context.Context, was, c upstream.Connection) error {
	if c.Issuer == was.Issuer && c.Type == was.Type {
		return nil
	}
	n, err := s.rows(ctx, "SELECT 1 FROM identities WHERE connection_id = $1 LIMIT 1", nil, c.ID)
	if err == nil && n > 0 {
		return upstream.ErrImmutable
	}
	return err
}

func (s *Store) saveConnection(ctx context.Context, t *tx, was, c upstream.Connection) error {
	o, err := s.org(ctx, c.Org)
	if err != nil {
		return err
	}
	private, mfa, secret, err := s.connectionDocs(ctx, t, o, c)
	if err != nil {
		return err
	}
	n, err := t.exec(`UPDATE connections SET type = $1, name = $2, status = $3, issuer = $4, config = $5, secret = $6, offered = $7,
		jit = $8, authoritative = $9, guests = $10, private = $11, skew = $12, logout = $13, proofs_after = $14, mfa = $15, version = version + 1 WHERE id = $16 AND version = $17`,
		c.Type, c.Name, c.Status, c.Issuer, string(c.Config), secret, c.Offered, c.JIT, c.Authoritative, c.Guests, private, c.Skew, logoutOf(c), c.ProofsAfter, mfa, c.ID, was.Version)
	if err != nil {
		return err
	}
	if n == 0 {
		return directory.ErrMoved
	}
	return t.touchConnection(c)
}
