package broker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/vestibule-id/vestibule/directory"
)

// This file says by what name an app knows a person: the person's id, or a pairwise subject.

// Secrets keeps sealed values that are made once and never change.
type Secrets interface {
	// SecretNamed gives the value of a name. Where it has none, it is fresh from then on: of many nodes
	// that start together all get the same.
	SecretNamed(ctx context.Context, name string, fresh []byte) ([]byte, error)
}

// Subjects makes pairwise subjects (OpenID Connect Core section 8.1), under a key that is never rotated:
// another key would make everybody a stranger to every pairwise app (S40).
type Subjects struct{ key []byte }

// LoadSubjects reads the key of pairwise subjects, and makes it for a platform that has none.
func LoadSubjects(ctx context.Context, s Secrets) (Subjects, error) {
	var fresh [sha256.Size]byte
	rand.Read(fresh[:])
	key, err := s.SecretNamed(ctx, "pairwise subjects", fresh[:])
	if err == nil && len(key) != len(fresh) {
		err = ErrAppSettings.Because("the key of pairwise subjects is damaged")
	}
	return Subjects{key}, err
}

// of is base64url(HMAC-SHA256(key, sector NUL person)).
func (s Subjects) of(sector string, person directory.PersonID) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(sector + "\x00" + string(person)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// subject is the sub by which an app knows a person: in every token, at userinfo and introspection, and
// in logout tokens. It is the same in all the person's organizations.
func (b *Broker) subject(app App, person directory.PersonID) string {
	if !app.Pairwise {
		return string(person)
	}
	sector := app.Sector
	if sector == "" {
		sector = "app:" + string(app.ID) // shared with no other app
	}
	return b.Subjects.of(sector, person)
}

// sector is the sector of a pairwise app that names none: the one host of its redirect URIs (OpenID
// Connect Core section 8.1). "" is a sector of the app's own: every app may answer on the person's own
// machine, so a loopback address joins nobody with anybody. ok is false when there is not exactly one host.
// What a private-use scheme says of a host counts for nothing: such an address comes back to the app
// whatever host stands in it.
func (a App) sector() (host string, ok bool) {
	for i, r := range a.RedirectURIs {
		u, err := url.Parse(r)
		if err != nil || !postable(r) || u.Hostname() == "" {
			return "", false
		}
		next := strings.ToLower(u.Hostname())
		if loopback(next) {
			next = ""
		}
		if i > 0 && next != host {
			return "", false
		}
		host = next
	}
	return host, len(a.RedirectURIs) > 0
}
