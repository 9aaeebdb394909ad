package store

import (
	"context"
	"encoding/json"

	"github.com/vestibule-id/vestibule/audit"
)

var _ audit.Traces = (*Store)(nil)

// SaveTrace keeps a trace for audit.TraceLife. A later story under the same code replaces the earlier.
func (s *Store) SaveTrace(ctx context.Context, v audit.Trace) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.send(`INSERT INTO traces (code, at, org_id, doc) VALUES ($1, $2, $3, $4)
			ON CONFLICT (code) DO UPDATE SET at = excluded.at, org_id = excluded.org_id, doc = excluded.doc`, v.Code, v.At, v.Org, string(doc))
	})
}

// TraceByCode finds a trace that is not over its time (S44).
func (s *Store) TraceByCode(ctx context.Context, code string) (v audit.Trace, ok bool, err error) {
	var doc string
	n, err := s.rows(ctx, "SELECT doc FROM traces WHERE code = $1 AND at > $2", func(r *row) { doc = r.text() },
		code, s.now().Add(-audit.TraceLife))
	if err != nil || n == 0 {
		return v, false, err
	}
	err = json.Unmarshal([]byte(doc), &v)
	return v, err == nil, err
}
