package broker

import (
	"slices"
	"strings"
	"time"
)

// How keys come and go (S25). Everything here is pure: what the keys are, what time the database has, and
// what the other nodes hold, give what is to be changed.

const (
	// keyLead is how long a key is published before it signs: twice as long as apps may keep the key
	// set, and five minutes.
	keyLead = 2*keysMaxAge + 5*time.Minute
	// keyLag is how long a key that signs no more is still published: longer than any token that it can
	// have signed, and a day in which apps may still bring its id tokens as hints.
	keyLag = 25 * time.Hour
	// keyMargin is how long before its time a key must be everywhere, or the change is put off by
	// keyDelay.
	keyMargin = time.Minute
	keyDelay  = 5 * time.Minute
	// keySettle is how far ahead of now a change is planned that cannot wait: nodes read it before.
	keySettle = 10 * time.Second
)

// KeyState is what a key is good for at some time.
type KeyState string

const (
	KeyNext    KeyState = "next"    // published, not signing yet
	KeyActive  KeyState = "active"  // signing
	KeyRetired KeyState = "retired" // published until the last token it can have signed is over
	KeyRevoked KeyState = "revoked" // out of the key set: nothing that it signed is believed
	KeyGone    KeyState = "gone"
)

// published says whether apps see the key and what it signed is believed.
func (k Key) published(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// began says whether the key's time to sign has come. Its RetireAt is not asked: a key goes on until its
// successor signs.
func (k Key) began(now time.Time) bool { return !k.ReadyAt.IsZero() && !now.Before(k.ActiveAt) }

// newer orders keys: the latest that began signs.
func (k Key) newer(other Key) bool {
	if !k.ActiveAt.Equal(other.ActiveAt) {
		return k.ActiveAt.After(other.ActiveAt)
	}
	return k.KID > other.KID
}

// leading is the place of the key of alg that began last, whatever became of it; -1 where none did. What
// began before it never signs again.
func leading(list []Key, alg string, now time.Time) int {
	at := -1
	for i, k := range list {
		if k.Alg == alg && k.began(now) && (at < 0 || k.newer(list[at])) {
			at = i
		}
	}
	return at
}

// signing is the place of the key that signs with alg; -1 where none does.
func signing(list []Key, alg string, now time.Time) int {
	if at := leading(list, alg, now); at >= 0 && list[at].published(now) {
		return at
	}
	return -1
}

// waiting is the place of the key that is to sign next with alg; -1 where there is none.
func waiting(list []Key, alg string, now time.Time) int {
	last, at := leading(list, alg, now), -1
	for i, k := range list {
		if k.Alg == alg && k.published(now) && (last < 0 || k.newer(list[last])) && (at < 0 || k.newer(list[at])) {
			at = i
		}
	}
	return at
}

// after is when a key can begin that follows all that began: at t, or right after the last of them.
func after(list []Key, alg string, now, t time.Time) time.Time {
	if last := leading(list, alg, now); last >= 0 && !t.After(list[last].ActiveAt) {
		return list[last].ActiveAt.Add(time.Microsecond)
	}
	return t
}

// stateOf says what a key of list is good for.
func stateOf(list []Key, at int, now time.Time) KeyState {
	k := list[at]
	switch {
	case !k.RevokedAt.IsZero():
		return KeyRevoked
	case !k.published(now):
		return KeyGone
	case at == signing(list, k.Alg, now):
		return KeyActive
	case at == waiting(list, k.Alg, now):
		return KeyNext
	}
	return KeyRetired
}

// keyPlan is what has to be changed now.
type keyPlan struct {
	list    []Key
	changed bool
	make    []keyOrder // keys that are missing
}

// keyOrder is a key to be made. Making takes time (RSA), so it is done outside of any transaction.
type keyOrder struct {
	alg    string
	active time.Time
}

// KeySchedule says when keys change by themselves.
type KeySchedule struct {
	Every time.Duration // how long a key signs; 0 is DefaultKeys', negative is for ever
	Ahead time.Duration // how long before that its successor is published
}

// DefaultKeys is the schedule where nothing else is said.
var DefaultKeys = KeySchedule{Every: 90 * 24 * time.Hour, Ahead: 7 * 24 * time.Hour}

func (s KeySchedule) filled() KeySchedule {
	if s.Every == 0 {
		s.Every = DefaultKeys.Every
	}
	if s.Ahead == 0 {
		s.Ahead = min(DefaultKeys.Ahead, s.Every/4)
	}
	s.Ahead = max(s.Ahead, keyLead+keyMargin)
	return s
}

// planKeys decides for each algorithm. everywhere says whether every live node has a key in its key set.
func planKeys(list []Key, algs []string, s KeySchedule, now time.Time, everywhere func(kid string) bool) keyPlan {
	p := keyPlan{list: slices.Clone(list)}
	for _, alg := range algs {
		p.plan(alg, s.filled(), now, everywhere)
	}
	return p
}

func (p *keyPlan) plan(alg string, s KeySchedule, now time.Time, everywhere func(kid string) bool) {
	current, next := signing(p.list, alg, now), waiting(p.list, alg, now)
	switch {
	case current < 0 && next < 0: // the first key, or all were revoked: it signs as soon as it is everywhere
		p.make = append(p.make, keyOrder{alg, now})
	case next >= 0 && p.list[next].ReadyAt.IsZero() && everywhere(p.list[next].KID):
		p.ready(current, next, now)
	case next >= 0 && p.list[next].ReadyAt.IsZero():
		if current >= 0 && p.list[next].ActiveAt.Before(now.Add(keyMargin)) {
			p.switchAt(current, next, now.Add(keyDelay))
		}
	case current >= 0 && next < 0 && s.Every > 0:
		ends := p.list[current].ActiveAt.Add(s.Every)
		if !now.Before(ends.Add(-s.Ahead)) {
			p.make = append(p.make, keyOrder{alg, later(ends, now.Add(keyLead+keyMargin))})
		}
	}
}

// ready notes that every live node has a key. One that is late gets a time that all of them can learn of.
func (p *keyPlan) ready(current, next int, now time.Time) {
	p.changed = true
	defer func() { p.list[next].ReadyAt = now }()
	switch {
	case current < 0:
		p.list[next].ActiveAt = after(p.list, p.list[next].Alg, now, now) // nothing else signs
	case p.list[next].ActiveAt.Before(now.Add(keySettle)):
		p.switchAt(current, next, now.Add(keySettle))
	}
}

// switchAt plans the change from one key to the next.
func (p *keyPlan) switchAt(current, next int, at time.Time) {
	p.changed = true
	p.list[next].ActiveAt = at
	p.list[current].RetireAt, p.list[current].ExpiresAt = at, at.Add(keyLag)
}

// addKey puts a new key into a list, and plans the end of the one that it follows.
func addKey(list []Key, k Key, now time.Time) []Key {
	p := keyPlan{list: slices.Clone(list)}
	current := signing(p.list, k.Alg, now)
	k.ActiveAt = after(p.list, k.Alg, now, k.ActiveAt)
	p.list = append(p.list, k)
	if current >= 0 {
		p.switchAt(current, len(p.list)-1, k.ActiveAt)
	}
	return p.list
}

// signedIn is when a key may have signed: from when it was to, until the next one of its algorithm did on
// every node. Its RetireAt says less, for a key goes on until its successor is ready. Grants have the time
// of the node that made them, so there is some on either side.
func signedIn(list []Key, kid string, now time.Time) (s Span) {
	at := slices.IndexFunc(list, func(k Key) bool { return k.KID == kid })
	if at < 0 {
		return s
	}
	s.Since = list[at].ActiveAt.Add(-keySettle)
	if !list[at].began(now) {
		s.Until = list[at].CreatedAt // it never did
	}
	for _, k := range list {
		if k.Alg != list[at].Alg || !k.began(now) || !k.newer(list[at]) {
			continue
		}
		if took := later(k.ActiveAt, k.ReadyAt).Add(keySettle); s.Until.IsZero() || took.Before(s.Until) {
			s.Until = took
		}
	}
	return s
}

// revokeKey takes a key out of a list, and its successor, where there is one, into its place.
func revokeKey(list []Key, kid string, now time.Time) ([]Key, Key, error) {
	list = slices.Clone(list)
	at := slices.IndexFunc(list, func(k Key) bool { return k.KID == kid })
	if at < 0 {
		return nil, Key{}, ErrKeyNotFound
	}
	if list[at].RevokedAt.IsZero() {
		if !list[at].began(now) {
			list[at].ReadyAt = time.Time{} // it never will
		}
		list[at].RevokedAt, list[at].ExpiresAt = now, now
		if list[at].RetireAt.IsZero() || list[at].RetireAt.After(now) {
			list[at].RetireAt = now
		}
	}
	alg := list[at].Alg
	current, next := signing(list, alg, now), waiting(list, alg, now)
	switch {
	case current < 0 && next >= 0:
		list[next].ActiveAt = after(list, alg, now, now) // as soon as every node has it
	case current >= 0 && next < 0:
		list[current].RetireAt, list[current].ExpiresAt = time.Time{}, time.Time{} // it goes on, with no end planned
	}
	return list, list[at], nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// algsOf lists the algorithms of a list once each, in order.
func algsOf(list []Key) []string {
	var algs []string
	for _, k := range list {
		algs = append(algs, k.Alg)
	}
	slices.SortFunc(algs, strings.Compare)
	return slices.Compact(algs)
}
