package store

import (
	"context"
	"encoding/json"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.Apps = (*Store)(nil)

// AppByID finds an app. Its lists are shared: nobody may change them.
func (s *Store) AppByID(ctx context.Context, id directory.AppID) (broker.App, error) {
	a, err := cached(ctx, s, &s.caches.apps, string(id), func(ctx context.Context) (*broker.App, error) { return s.loadApp(ctx, id) })
	if err != nil {
		return broker.App{}, err
	}
	if a == nil {
		return broker.App{}, broker.ErrAppNotFound
	}
	return *a, nil
}

func (s *Store) loadApp(ctx context.Context, id directory.AppID) (*broker.App, error) {
	var a broker.App
	var doc string
	n, err := s.rows(ctx, "SELECT id, client_id, realm_id, name, status, config, version FROM apps WHERE id = $1", func(r *row) {
		a = broker.App{ID: directory.AppID(r.text()), ClientID: r.text(), Realm: directory.RealmID(r.text()), Name: r.text(), Status: directory.Status(r.text())}
		doc, a.Version = r.text(), r.int()
	}, id)
	if err != nil || n == 0 {
		return nil, err
	}
	if err := json.Unmarshal([]byte(doc), &a.Settings); err != nil {
		return nil, err
	}
	_, err = s.rows(ctx, "SELECT hash, created_at, until FROM app_secrets WHERE app_id = $1 ORDER BY hash", func(r *row) {
		var secret broker.Secret
		copy(secret.Hash[:], r.bytes())
		secret.CreatedAt, secret.Until = r.time(), r.time()
		a.Secrets = append(a.Secrets, secret)
	}, id)
	return &a, err
}

// AppByClientID finds an app by what it calls itself.
func (s *Store) AppByClientID(ctx context.Context, clientID string) (broker.App, error) {
	id, err := cached(ctx, s, &s.caches.clients, clientID, func(ctx context.Context) (found *directory.AppID, err error) {
		_, err = s.rows(ctx, "SELECT id FROM apps WHERE client_id = $1", func(r *row) {
			id := directory.AppID(r.text())
			found = &id
		}, clientID)
		return found, err
	})
	if err != nil {
		return broker.App{}, err
	}
	if id == nil {
		return broker.App{}, broker.ErrAppNotFound
	}
	return s.AppByID(ctx, *id)
}

// CreateApp makes an app.
func (s *Store) CreateApp(ctx context.Context, a broker.App) error {
	doc, err := json.Marshal(a.Settings)
	if err != nil {
		return err
	}
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.Realm(ctx, a.Realm); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO apps (id, client_id, realm_id, name, status, config, version) VALUES ($1, $2, $3, $4, $5, $6, 1)
			ON CONFLICT (client_id) DO NOTHING`, a.ID, a.ClientID, a.Realm, a.Name, a.Status, string(doc))
		if err != nil {
			return err
		}
		if n == 0 {
			return broker.ErrClientIDTaken
		}
		return t.saveSecrets(a)
	})
}

// saveSecrets replaces an app's secrets, and is the last step of a change.
func (t *tx) saveSecrets(a broker.App) error {
	if _, err := t.exec("DELETE FROM app_secrets WHERE app_id = $1", a.ID); err != nil {
		return err
	}
	for _, secret := range a.Secrets {
		if _, err := t.exec("INSERT INTO app_secrets (app_id, hash, created_at, until) VALUES ($1, $2, $3, $4)",
			a.ID, secret.Hash[:], secret.CreatedAt, secret.Until); err != nil {
			return err
		}
	}
	if err := t.touch(ofClient, a.ClientID); err != nil {
		return err
	}
	return t.touch(ofApp, string(a.ID))
}

// UpdateApp changes everything but id, client id and realm.
func (s *Store) UpdateApp(ctx context.Context, id directory.AppID, change func(*broker.App) error) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		was, err := s.AppByID(ctx, id)
		if err != nil {
			return err
		}
		a := was
		if err := change(&a); err != nil {
			return err
		}
		if a.ID != was.ID || a.ClientID != was.ClientID || a.Realm != was.Realm {
			return ErrFixed.Because("an app's id, client id and realm are not changed by UpdateApp")
		}
		doc, err := json.Marshal(a.Settings)
		if err != nil {
			return err
		}
		n, err := t.exec("UPDATE apps SET name = $1, status = $2, config = $3, version = version + 1 WHERE id = $4 AND version = $5",
			a.Name, a.Status, string(doc), id, was.Version)
		if err != nil {
			return err
		}
		if n == 0 {
			return directory.ErrMoved
		}
		return t.saveSecrets(a)
	})
}
