package store

import (
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/store/storetest"
)

// small tables hold a row for each realm, key or named value, and may be read whole.
var small = map[string]bool{"realms": true, "counters": true, "marks": true, "signing_keys": true, "data_keys": true,
	"sqlite_schema": true, "goose_db_version": true}

var scanned = regexp.MustCompile(`^SCAN (\S+)(.*)$`)

// Every statement that the contract suite makes is explained, with the planner knowing the sizes: none
// may read a table that grows from end to end.
func TestNoStatementScansATableThatGrows(t *testing.T) {
	var stores []*Store
	storetest.Run(t, func(t *testing.T, clock *storetest.Clock) storetest.Store {
		s, err := Open(t.Context(), options(t, clock))
		must(t, err)
		must(t, s.sweep(t.Context()))
		stores = append(stores, s)
		return s
	})
	seen := map[string]bool{}
	for _, s := range stores {
		lite(s).main.close()
		grown(t, lite(s).main.conn)
		lite(s).main.conn.stmtsInto(seen)
		s.stop()
		s.idle.Wait()
		for range lite(s).lent {
			c := <-lite(s).readers.free
			c.stmtsInto(seen)
			c.close()
		}
	}
	if len(seen) < 80 {
		t.Errorf("only %d statements seen", len(seen))
	}
	c := lite(stores[0]).main.conn
	for q := range seen {
		for i, step := range plan(t, c, q) {
			m := scanned.FindStringSubmatch(step)
			// In order and with a LIMIT, only the first few rows are read.
			few := strings.Contains(q, "LIMIT") && (i > 0 || strings.HasPrefix(q, "SELECT"))
			if m != nil && !small[m[1]] && !few {
				t.Errorf("%s\n  %s", q, step)
			}
		}
	}
}

// grown makes the planner believe that every table holds a million rows.
func grown(t *testing.T, c *conn) {
	t.Helper()
	must(t, c.script("ANALYZE", "DELETE FROM sqlite_stat4",
		"UPDATE sqlite_stat1 SET stat = '1000000' || substr(stat, instr(stat || ' ', ' '))", "ANALYZE sqlite_schema"))
}

func (c *conn) stmtsInto(seen map[string]bool) {
	for q := range c.stmts {
		if word, _, _ := strings.Cut(q, " "); strings.Contains(q, "sqlite_stat") {
			continue
		} else if word == "SELECT" || word == "UPDATE" || word == "DELETE" || word == "INSERT" {
			seen[q] = true
		}
	}
}

func plan(t *testing.T, c *conn, q string) []string {
	t.Helper()
	s, err := c.prepare("EXPLAIN QUERY PLAN " + q)
	must(t, err)
	var steps []string
	_, err = c.rows("EXPLAIN QUERY PLAN "+q, func(r *row) {
		r.int()
		r.int()
		r.int()
		steps = append(steps, r.text())
	}, make([]any, s.n))
	must(t, err)
	return steps
}
