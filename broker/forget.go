package broker

import (
	"net/http"
	"time"
)

// Forget ends every session of this browser at once, and makes it forget its organizations and logins.
// Only a form of our own site that says so may lead here.
func (b *Broker) Forget(w http.ResponseWriter, r *http.Request) error {
	list, err := b.browserSessions(r.Context(), r)
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := b.endSession(r.Context(), s.Session, "logout"); err != nil {
			return err
		}
	}
	b.Flows.Forget(w)
	return b.setSecrets(w, r, nil, time.Time{})
}
