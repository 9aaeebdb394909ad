package flows

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxOpen is how many logins one browser may have open (S53).
const maxOpen = 10

// openLogins remembers the open logins of each browser, on this node and as long as it runs: it bounds
// what one cookie can pile up, and is no record.
type openLogins struct {
	mu    sync.Mutex
	of    map[[sha256.Size]byte][]openLogin
	swept time.Time
}

type openLogin struct {
	id string
	at time.Time
}

// add notes a login and returns the id of the oldest when there are too many, else "".
func (o *openLogins) add(browser [sha256.Size]byte, id string, now time.Time) (oldest string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep(now)
	if o.of == nil {
		o.of = map[[sha256.Size]byte][]openLogin{}
	}
	list := append(o.of[browser], openLogin{id, now})
	if len(list) > maxOpen {
		oldest, list = list[0].id, list[1:]
	}
	o.of[browser] = list
	return oldest
}

func (o *openLogins) remove(browser [sha256.Size]byte, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.of[browser]
	for i, l := range list {
		if l.id == id {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(o.of, browser)
		return
	}
	o.of[browser] = list
}

// sweep forgets browsers whose logins are all over, once in a while.
func (o *openLogins) sweep(now time.Time) {
	if now.Sub(o.swept) < Life/6 {
		return
	}
	o.swept = now
	for browser, list := range o.of {
		if now.Sub(list[len(list)-1].at) > Life {
			delete(o.of, browser)
		}
	}
}
