package fakeidp

import (
	"sync"
	"time"
)

// shelf keeps things for a while. It holds two generations and throws the older away as a whole, so
// that keeping costs the same under load as at rest.
type shelf[T any] struct {
	life time.Duration

	mu         sync.Mutex
	young, old map[string]kept[T]
	turned     time.Time
}

type kept[T any] struct {
	thing T
	until time.Time
}

func (s *shelf[T]) put(now time.Time, id string, thing T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || now.Sub(s.turned) > s.life {
		s.old, s.young, s.turned = s.young, map[string]kept[T]{}, now
	}
	s.young[id] = kept[T]{thing, now.Add(s.life)}
}

func (s *shelf[T]) get(now time.Time, id string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(now, id)
}

// take gives a thing to one caller only.
func (s *shelf[T]) take(now time.Time, id string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	thing, ok := s.find(now, id)
	delete(s.young, id)
	delete(s.old, id)
	return thing, ok
}

func (s *shelf[T]) find(now time.Time, id string) (none T, ok bool) {
	k, ok := s.young[id]
	if !ok {
		k, ok = s.old[id]
	}
	if !ok || now.After(k.until) {
		return none, false
	}
	return k.thing, true
}
