package store

import (
	"context"
	"encoding/json"

	"github.com/vestibule-id/vestibule/audit"
)

var _ audit.Recorder = (*Store)(nil)

// Record writes an entry with the change it records; chaining follows within a second (S43).
func (s *Store) Record(ctx context.Context, e audit.Entry) error {
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		err := t.send(`INSERT INTO audit_pending (id, org_id, at, actor_kind, actor_id, action, target_kind, target_id, detail)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			e.ID, e.Org, e.At, e.Actor.Kind, e.Actor.ID, e.Action, e.Target.Kind, e.Target.ID, string(detail))
		if s.recorded != nil {
			t.after = append(t.after, func() { s.recorded(e.Action) })
		}
		return err
	})
}
