package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/sessions"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/policy"
)

// A browser holds up to five sessions, of different people; the first is current. Its cookie holds
// their secrets and nothing else: everything a session means is in the store.
const (
	sessionCookie = "vs"
	maxSessions   = 5
	secretLen     = 43
)

// jar is gorilla's session store over our own sessions. A gorilla session's ID is the cookie's value,
// the secrets of the browser's sessions; its Values stay empty, so that nothing of ours is ever decoded
// from a cookie and Save cannot overwrite what another request wrote.
type jar struct{ cookies web.Cookies }

var _ sessions.Store = jar{}

// Get gives the request's session, the same one each time it is asked.
func (j jar) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(j, name)
}

// New reads the cookie. A value that is not of our making is as good as none: ids are never adopted.
func (j jar) New(r *http.Request, name string) (*sessions.Session, error) {
	s := sessions.NewSession(j, name)
	s.Options = &sessions.Options{Path: "/", Secure: j.cookies.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	s.ID = j.cookies.Get(r, name)
	s.IsNew = s.ID == ""
	return s, nil
}

// Save sets the cookie to the session's ID; an empty one removes it.
func (j jar) Save(_ *http.Request, w http.ResponseWriter, s *sessions.Session) error {
	options := *s.Options
	if s.ID == "" {
		options.MaxAge = -1
	}
	http.SetCookie(w, sessions.NewCookie(j.cookies.Name(s.Name()), s.ID, &options))
	return nil
}

// secrets are the session secrets that the browser brought, the current one first.
func (b *Broker) secrets(r *http.Request) []string {
	s, err := jar{b.Cookies}.Get(r, sessionCookie)
	if err != nil || len(s.ID) > maxSessions*(secretLen+1) {
		return nil
	}
	return slices.DeleteFunc(strings.Split(s.ID, "."), func(v string) bool { return len(v) != secretLen })
}

// setSecrets gives the browser its sessions. It keeps them when it is closed, until a time, where each one's
// home organization lets it; the zero time is until then.
func (b *Broker) setSecrets(w http.ResponseWriter, r *http.Request, secrets []string, until time.Time) error {
	s, err := jar{b.Cookies}.Get(r, sessionCookie)
	if err != nil {
		return err
	}
	s.ID = strings.Join(secrets, ".")
	if left := until.Sub(b.Now()); !until.IsZero() && left > 0 {
		s.Options.MaxAge = int(left / time.Second)
	}
	return s.Save(r, w)
}

// keptUntil is how long a browser may keep sessions after it is closed: until the last of them ends, if all of
// their home organizations say that they persist. They have one cookie together.
func (b *Broker) keptUntil(ctx context.Context, list []Session) (until time.Time, err error) {
	for _, s := range list {
		chain, err := b.Directory.OrgChain(ctx, s.Home)
		if err != nil {
			return time.Time{}, err
		}
		eff, err := b.Directory.Effective(ctx, chain, "")
		if err != nil || !policy.SessionPersistent.In(eff) {
			return time.Time{}, err
		}
		ends := s.CreatedAt.Add(policy.SessionLifetime.In(eff))
		if s.Ends.Before(ends) {
			ends = s.Ends
		}
		if ends.After(until) {
			until = ends
		}
	}
	return until, nil
}

// brought is a session that the browser brought and that is good.
type brought struct {
	secret string
	Session
	person directory.Person
}

// browserSessions are the browser's running sessions, the current one first.
func (b *Broker) browserSessions(ctx context.Context, r *http.Request) ([]brought, error) {
	var out []brought
	for _, secret := range b.secrets(r) {
		s, err := b.Sessions.SessionByToken(ctx, hashOf(secret))
		if errors.Is(err, ErrSessionNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p, ok, err := b.running(ctx, s)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, brought{secret, s, p})
		} else if s.Ended.IsZero() {
			b.expire(ctx, s)
		}
	}
	return out, nil
}

// expire ends a session whose time was found to be over, so that its apps are told. The answer does not
// wait for it to succeed: whoever comes next finds the same.
func (b *Broker) expire(ctx context.Context, s Session) {
	if err := b.endSession(ctx, s, "expired"); err != nil && !errors.Is(err, directory.ErrMoved) {
		b.Log.WarnContext(ctx, "a session that is over could not be ended", "session", s.ID, "error", err)
	}
}

// running says whether a session goes on at all: it was not ended, the person may still be here, and
// the home organization's lifetime and idle time of now are not over (S47).
func (b *Broker) running(ctx context.Context, s Session) (directory.Person, bool, error) {
	now := b.Now()
	if !s.Ended.IsZero() || !now.Before(s.Ends) {
		return directory.Person{}, false, nil
	}
	p, err := b.Directory.PersonInRealm(ctx, s.Realm, s.Person)
	if errors.Is(err, directory.ErrPersonNotFound) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	if p.Status != directory.Active || s.CreatedAt.Before(p.SessionsAfter) {
		return p, false, nil
	}
	chain, err := b.Directory.OrgChain(ctx, s.Home)
	if errors.Is(err, directory.ErrOrgNotFound) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	eff, err := b.Directory.Effective(ctx, chain, "")
	if err != nil {
		return p, false, err
	}
	young := now.Before(s.CreatedAt.Add(policy.SessionLifetime.In(eff))) && now.Before(s.seen().Add(policy.SessionIdle.In(eff)))
	return p, young && chain.Status() == directory.Active, nil
}

func (s brought) held() *flows.Held {
	h := s.Session.held()
	h.Email = s.person.Email
	return h
}

// held is the session as deciding sees it.
func (s Session) held() *flows.Held {
	h := &flows.Held{ID: s.ID, Realm: s.Realm, Person: s.Person, Home: s.Home, Since: s.CreatedAt, Proofs: s.Proofs}
	for _, m := range s.Orgs {
		h.Marks = append(h.Marks, flows.Mark{Org: m.Org, Since: m.Since, Seen: m.Seen, Held: m.Held})
	}
	return h
}

// seen is the person's last activity, in whichever organization.
func (s Session) seen() time.Time {
	last := s.CreatedAt
	for _, m := range s.Orgs {
		if m.Seen.After(last) {
			last = m.Seen
		}
	}
	return last
}

// touchEvery is how often the person's last activity is written.
const touchEvery = time.Minute

// mark notes that the session is used for an organization. A fresh proof opens it anew; without one the
// time it was opened stays, and silent requests are no activity of the person.
func (s *Session) mark(org directory.OrgID, now time.Time, fresh, silent bool, since time.Time, life time.Duration) (changed bool) {
	for i, m := range s.Orgs {
		if m.Org != org {
			continue
		}
		if fresh {
			s.Orgs[i] = OrgMark{Org: org, Since: now, Seen: now, Held: now.Add(life)}
			return true
		}
		if silent || now.Sub(m.Seen) < touchEvery {
			return false
		}
		s.Orgs[i].Seen = now
		return true
	}
	seen := now
	switch {
	case fresh:
		since = now
	case silent:
		seen = s.seen()
	}
	s.Orgs = append(s.Orgs, OrgMark{Org: org, Since: since, Seen: seen, Held: since.Add(life)})
	return true
}

// prove adds what a login proved; a newer proof of the same upstream account replaces the older.
func (s *Session) prove(fresh []flows.Proof) {
	for _, p := range fresh {
		s.Proofs = append(slices.DeleteFunc(s.Proofs, func(q flows.Proof) bool { return q.Same(p) }), p)
	}
}
