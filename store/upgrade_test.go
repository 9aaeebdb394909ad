package store

import (
	"database/sql"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// firstTables are the tables of the first release's schema, and what stands in a column of each of its
// types, told by a letter.
var (
	firstTable  = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\)`)
	firstColumn = regexp.MustCompile(`(?m)^  (\w+) +\{(\w+)\}`)
)

// firstInserts are the statements by which a program of the first release writes a row of each table.
func firstInserts(t *testing.T) (order []string, of map[string]func(letter string) (string, []any)) {
	t.Helper()
	text, err := migrationFiles.ReadFile("migrations/0001_start.sql")
	must(t, err)
	of = map[string]func(string) (string, []any){}
	for _, m := range firstTable.FindAllStringSubmatch(string(text), -1) {
		table, columns := m[1], firstColumn.FindAllStringSubmatch(m[2], -1)
		order = append(order, table)
		of[table] = func(letter string) (string, []any) {
			var names, places []string
			var values []any
			for _, c := range columns {
				if c[2] == "serial" {
					continue
				}
				names, places = append(names, c[1]), append(places, fmt.Sprint("$", len(names)+1))
				switch c[2] {
				case "int":
					values = append(values, int64(letter[0]))
				case "bool":
					values = append(values, true)
				case "bytes":
					values = append(values, []byte(letter))
				default:
					values = append(values, letter)
				}
			}
			return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")", values
		}
	}
	return order, of
}

// The release before must run on the new schema, and its rows must be there still: a database of the
// first schema, filled, brought up to date, and written to by the first release's statements again.
func TestTheFirstReleasesRowsAndStatementsOutliveEveryMigration(t *testing.T) {
	order, inserts := firstInserts(t)
	if len(order) < 20 {
		t.Fatalf("only %v", order)
	}
	first := func(dialect goose.Dialect, types dialectTypes) func(*sql.DB) error {
		return func(db *sql.DB) error { return upTo(t.Context(), dialect, db, types, 1) }
	}
	clock := storetest.NewClock()
	lite := options(t, clock)
	must(t, usable(strings.TrimSuffix(lite.Path, "vestibule.db")))
	must(t, withSQLite(lite.Path, first(goose.DialectSQLite3, sqliteTypes)))
	full := Options{DSN: pgtest.Database(t), Now: clock.Now, Log: storeLog}
	must(t, withPostgres(full.DSN, first(goose.DialectPostgres, postgresTypes)))

	for name, c := range map[string]struct {
		o    Options
		with func(o Options, fn func(on wire))
	}{
		"SQLite": {lite, func(o Options, fn func(on wire)) {
			c, err := openDurable(o.Path, durablePragmas)
			must(t, err)
			defer c.close()
			fn(c)
		}},
		"PostgreSQL": {full, func(o Options, fn func(on wire)) {
			config, size, err := postgresConfig(o.DSN)
			must(t, err)
			p := newPostgres(t.Context(), config, size, o, nil)
			defer p.close()
			s, err := p.take()
			must(t, err)
			defer p.give(s)
			fn(s)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			write := func(letter string) func(on wire) {
				return func(on wire) {
					for _, table := range order {
						q, values := inserts[table](letter)
						if _, err := on.exec(q, values...); err != nil {
							t.Errorf("%s: %v", q, err)
						}
					}
				}
			}
			c.with(c.o, write("a"))
			must(t, Migrate(t.Context(), c.o))
			c.with(c.o, func(on wire) {
				write("b")(on)
				want := map[string]int{}
				got := map[string]int{}
				for _, table := range order {
					want[table] = 2
					for _, letter := range []string{"a", "b"} {
						q, values := inserts[table](letter)
						n, err := on.rows("SELECT 1 FROM "+table+" WHERE "+firstName(q)+" = $1", nil, values[:1])
						must(t, err)
						got[table] += n
					}
				}
				if !maps.Equal(got, want) {
					t.Errorf("rows of each table: %v", got)
				}
			})
		})
	}
	if !slices.Contains(order, "sessions") {
		t.Error("the sessions were left out")
	}
}

func firstName(insert string) string {
	_, rest, _ := strings.Cut(insert, "(")
	name, _, _ := strings.Cut(rest, ",")
	return name
}
