package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/store/storetest"
)

// small tables hold a row for each realm, key, named value or token that an operator makes, and may be read whole.
var small = map[string]bool{"realms": true, "counters": true, "marks": true, "signing_keys": true, "data_keys": true,
	"sqlite_schema": true, "goose_db_version": true, "nodes": true, "epochs": true, "registration_tokens": true}

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
			<-lite(s).readers.free
			c := lite(s).readers.last()
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
			given := strings.HasSuffix(step, "VALUES CLAUSE") // the rows of the statement itself
			if m != nil && !small[m[1]] && !few && !given {
				t.Errorf("%s\n  %s", q, step)
			}
		}
	}
	plansOnPostgres(t, seen)
}

var (
	pgScan   = regexp.MustCompile(`(Seq|Index|Index Only) Scan (?:using \S+ )?on (\S+)`)
	pgLookup = regexp.MustCompile(`Index Cond:`)
)

// manyRows fills every table, so that the planner sees what an index is worth.
const manyRows = `SET session_replication_role = replica;
DO $$ DECLARE t record; names text; made text; BEGIN
	FOR t IN SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'goose_db_version' LOOP
		SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(CASE
			WHEN atttypid = 'bytea'::regtype THEN 'decode(md5(g::text), ''hex'')'
			WHEN atttypid = 'text'::regtype THEN '''x'' || g'
			WHEN EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary AND attnum = ANY (i.indkey)) THEN '1000000 + g'
			ELSE 'g % 2' END, ', ' ORDER BY attnum) INTO names, made
		FROM pg_attribute WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped;
		EXECUTE format('INSERT INTO %I (%s) SELECT %s FROM generate_series(1, 3000) g', t.relname, names, made);
	END LOOP;
END $$;
ANALYZE; SET enable_seqscan = off`

// plansOnPostgres explains the same statements there. Reading from end to end is forbidden to the planner,
// so whatever does so all the same has no index; and an index that is read without a condition is no
// better.
func plansOnPostgres(t *testing.T, seen map[string]bool) {
	p := postgresOf(openTest(t, onPostgres(t, storetest.NewClock())))
	c, err := p.take()
	must(t, err)
	defer c.close()
	_, err = c.c.Exec(t.Context(), manyRows).ReadAll()
	must(t, err)
	explained := 0
	for q := range seen {
		if strings.HasPrefix(q, "INSERT") || strings.Contains(q, "sqlite_") {
			continue
		}
		explained++
		name := fmt.Sprint("plan", explained)
		d, err := c.c.Prepare(t.Context(), name, forPostgres(q), nil)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		text := "EXPLAIN EXECUTE " + name
		if n := len(d.ParamOIDs); n > 0 {
			text += "(" + strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ") + ")"
		}
		results, err := c.c.Exec(t.Context(), text).ReadAll()
		must(t, err)
		var lines []string
		for _, row := range results[0].Rows {
			lines = append(lines, string(row[0]))
		}
		for i, line := range lines {
			m := pgScan.FindStringSubmatch(line)
			looked := i+1 < len(lines) && pgLookup.MatchString(lines[i+1])
			if m != nil && !small[m[2]] && !looked && !strings.Contains(q, "LIMIT") {
				t.Errorf("%s\n  %s", q, strings.Join(lines, "\n  "))
			}
		}
	}
	if explained < 60 {
		t.Errorf("only %d statements explained", explained)
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
