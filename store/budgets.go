package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
)

var _ delivery.Budgets = (*Store)(nil)

// Charge uses budgets, each row by row in the order given, so that two who use the same ones do not wait
// for each other in a ring. A row says how much fits: of many at once none passes it.
func (s *Store) Charge(ctx context.Context, charges []delivery.Charge) ([]int, error) {
	if len(charges) == 0 {
		return nil, nil
	}
	now := s.now()
	q, args := chargeBudgets(charges, now)
	var refused []int
	err := s.write(ctx, func(_ context.Context, t *tx) error {
		var fit []string
		if _, err := t.returning(q, func(r *row) { fit = append(fit, r.text()) }, slices.Clone(args)...); err != nil {
			return err
		}
		refused = nil
		for i, c := range charges {
			if !slices.Contains(fit, c.Key) || c.Cost > c.Most {
				refused = append(refused, i)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err // the write may still run: refused is its own
	}
	return refused, nil
}

func chargeBudgets(charges []delivery.Charge, now time.Time) (string, []any) {
	var q strings.Builder
	args := []any{now}
	q.WriteString("INSERT INTO budgets (k, n, most, until) VALUES ")
	for i, c := range charges {
		if i > 0 {
			q.WriteString(", ")
		}
		at := len(args)
		fmt.Fprintf(&q, "($%d, $%d, $%d, $%d)", at+1, at+2, at+3, at+4)
		args = append(args, c.Key, c.Cost, c.Most, now.Add(c.Per))
	}
	q.WriteString(` ON CONFLICT (k) DO UPDATE SET
		n = CASE WHEN budgets.until <= $1 THEN excluded.n ELSE budgets.n + excluded.n END,
		most = excluded.most,
		until = CASE WHEN budgets.until <= $1 THEN excluded.until ELSE budgets.until END
		WHERE budgets.until <= $1 OR budgets.n + excluded.n <= excluded.most RETURNING k`)
	return q.String(), args
}

// CountSMS counts codes of an organization in a slot of time.
func (s *Store) CountSMS(ctx context.Context, org string, slot time.Time, sent, used int) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec(`INSERT INTO sms_codes (org_id, slot, sent, used) VALUES ($1, $2, $3, $4)
			ON CONFLICT (org_id, slot) DO UPDATE SET sent = sms_codes.sent + excluded.sent, used = sms_codes.used + excluded.used`, org, slot, sent, used)
		return err
	})
}

// SMSShare sums what was sent from a slot up to before another, and what was used since the first. An
// organization has a row for each quarter of an hour in which it sent something.
func (s *Store) SMSShare(ctx context.Context, org string, from, settled time.Time) (sent, used int64, err error) {
	_, err = s.rows(ctx, "SELECT slot, sent, used FROM sms_codes WHERE org_id = $1 AND slot >= $2", func(r *row) {
		slot, n := r.time(), r.int()
		if slot.Before(settled) {
			sent += n
		}
		used += r.int()
	}, org, from)
	return sent, used, err
}
