package store

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/store/storetest"
)

// A node makes each plan once, from what PostgreSQL knows then. What Analyze tells reaches nodes that run
// already, with the plans of empty tables.
func TestWhatAnalyzeTellsReachesPlansThatWereMadeBefore(t *testing.T) {
	o := onPostgres(t, storetest.NewClock())
	must(t, Migrate(t.Context(), o))
	must(t, withPostgres(o.DSN, func(db *sql.DB) error {
		db.SetMaxOpenConns(1)
		plan := func() string {
			t.Helper()
			rows, err := db.QueryContext(t.Context(), "EXPLAIN EXECUTE below (1)")
			must(t, err)
			defer rows.Close()
			var all []string
			for rows.Next() {
				var line string
				must(t, rows.Scan(&line))
				all = append(all, line)
			}
			must(t, rows.Err())
			return strings.Join(all, "\n")
		}
		for _, q := range []string{"SET plan_cache_mode = force_generic_plan", "PREPARE below (bigint) AS SELECT name FROM counters WHERE n < $1"} {
			_, err := db.ExecContext(t.Context(), q)
			must(t, err)
		}
		empty := plan()
		_, err := db.ExecContext(t.Context(), "INSERT INTO counters (name, n) SELECT 'c' || i, i FROM generate_series(1, 20000) i")
		must(t, err)
		if got := plan(); got != empty {
			t.Fatalf("a plan is not kept, so this shows nothing: %s", got)
		}
		must(t, Analyze(t.Context(), o))
		if got := plan(); got == empty || !strings.Contains(got, "rows=66") {
			t.Errorf("the plan is still that of an empty table: %s", got)
		}
		return nil
	}))
}
