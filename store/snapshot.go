package store

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// This file reads a whole database as it is at one moment, and says which tables and columns it has. It
// is the third that knows which database is below, for what a backup needs and nobody else.

// column is a column of a table as a backup has it. All of them are NOT NULL.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"` // int, text or bytes
	key  int64  // its place in the primary key, from 1; 0 is none
}

// table is a table as a backup has it.
type table struct {
	Name    string   `json:"name"`
	Columns []column `json:"columns"`
}

// notKept are the tables that a backup leaves out, with the reason.
var notKept = map[string]string{
	"nodes":     "who runs now",
	"changes":   "for the memory of who runs now",
	"epochs":    "what is short-lived begins anew after a restore (S16)",
	"notes":     "short-lived",
	"counts":    "short-lived",
	"budgets":   "of a day at most",
	"sms_codes": "of two days at most",
}

var createTable = regexp.MustCompile(`(?m)^CREATE TABLE (?:IF NOT EXISTS )?(\w+)`)

// tableNames lists every table in the order of its making: what others refer to comes first.
func tableNames() ([]string, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var names []string
	for _, f := range files {
		text, err := fs.ReadFile(migrationFiles, f)
		if err != nil {
			return nil, err
		}
		for _, m := range createTable.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(names, m[1]) { // one that is for each database in its own words
				names = append(names, m[1])
			}
		}
	}
	return names, nil
}

// snapshot is a database at one moment.
type snapshot struct {
	wire    wire
	columns string // asks for the columns of a table, in order: name, type, place in the key
}

// types are what databases call the three kinds of columns that migrations write.
var columnTypes = map[string]string{
	"INTEGER": "int", "TEXT": "text", "BLOB": "bytes",
	"bigint": "int", "integer": "int", "smallint": "int", "text": "text", "bytea": "bytes",
}

const (
	sqliteColumns   = "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid"
	postgresColumns = `SELECT c.column_name::text, c.data_type::text, coalesce((SELECT array_position(i.indkey::int2[], a.attnum) FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = c.column_name
		WHERE i.indrelid = to_regclass(c.table_schema || '.' || c.table_name) AND i.indisprimary), -1)::bigint + 1
		FROM information_schema.columns c WHERE c.table_schema = current_schema() AND c.table_name = $1 ORDER BY c.ordinal_position`
)

// snapshotter gives a function the database as it is at one moment, however long it takes. Nobody waits
// for it.
type snapshotter interface {
	snapshot(ctx context.Context, fn func(snapshot) error) error
}

func (f *files) snapshot(ctx context.Context, fn func(snapshot) error) (err error) {
	c, err := f.readers.get(ctx)
	if err != nil {
		return err
	}
	defer f.readers.put(c)
	if err := c.script("BEGIN"); err != nil { // the first read sets the moment
		return err
	}
	defer func() {
		if e := c.script("COMMIT"); err == nil {
			err = e
		}
	}()
	return fn(snapshot{wire: c, columns: sqliteColumns})
}

func (p *postgres) snapshot(ctx context.Context, fn func(snapshot) error) error {
	if err := p.enter(ctx, p.reads); err != nil {
		return err
	}
	defer func() { <-p.reads }()
	s, err := p.take()
	if err != nil {
		return err
	}
	defer p.give(s)
	s.fate, s.collided = alive, false
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.rollback()
	for _, q := range []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL idle_in_transaction_session_timeout = 0", "SET LOCAL statement_timeout = 0"} {
		if _, err := s.exec(q); err != nil {
			return err
		}
	}
	return fn(snapshot{wire: s, columns: postgresColumns})
}

// tables lists the tables with their columns.
func (s snapshot) tables() ([]table, error) {
	names, err := tableNames()
	if err != nil {
		return nil, err
	}
	var list []table
	for _, name := range names {
		if notKept[name] != "" {
			continue
		}
		t, err := s.table(name)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func (s snapshot) table(name string) (table, error) {
	t := table{Name: name}
	var unknown error
	_, err := s.wire.rows(s.columns, func(r *row) {
		c := column{Name: r.text(), Type: columnTypes[r.text()]}
		if c.key = r.int(); c.Type == "" {
			unknown = fmt.Errorf("the column %s of %s has an unknown type", c.Name, name)
		}
		t.Columns = append(t.Columns, c)
	}, []any{name})
	if err == nil && len(t.Columns) == 0 {
		err = fmt.Errorf("there is no table %s", name)
	}
	if err == nil {
		err = unknown
	}
	return t, err
}

// page is the statement that reads a table's next rows after a key, and the places of the key's columns.
func (t table) page(first bool) (q string, key []int) {
	for i, c := range t.Columns {
		if c.key > 0 {
			key = append(key, i)
		}
	}
	slices.SortFunc(key, func(a, b int) int { return int(t.Columns[a].key - t.Columns[b].key) })
	var names, params []string
	for n, i := range key {
		names, params = append(names, t.Columns[i].Name), append(params, fmt.Sprintf("$%d", n+1))
	}
	where, limit := "", "$1"
	if !first {
		where = " WHERE (" + strings.Join(names, ", ") + ") > (" + strings.Join(params, ", ") + ")"
		limit = fmt.Sprintf("$%d", len(key)+1)
	}
	return "SELECT " + strings.Join(t.names(), ", ") + " FROM " + t.Name + where + " ORDER BY " + strings.Join(names, ", ") + " LIMIT " + limit, key
}

func (t table) names() (names []string) {
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	return names
}

const backupPage = 500

// each gives every row of a table in the order of its key, a page at a time. The values are int64, string
// and []byte.
func (s snapshot) each(t table, give func([]any) error) error {
	var args []any
	for first := true; ; first = false {
		q, key := t.page(first)
		if len(key) == 0 {
			return fmt.Errorf("the table %s has no key", t.Name)
		}
		var failed error
		var last []any
		n, err := s.wire.rows(q, func(r *row) {
			values := make([]any, len(t.Columns))
			for i, c := range t.Columns {
				switch c.Type {
				case "int":
					values[i] = r.int()
				case "text":
					values[i] = r.text()
				default:
					values[i] = append([]byte{}, r.bytes()...)
				}
			}
			if last = values; failed == nil {
				failed = give(values)
			}
		}, append(args, int64(backupPage)))
		if err != nil || failed != nil {
			return firstOf(failed, err)
		}
		if n < backupPage {
			return nil
		}
		args = args[:0]
		for _, i := range key {
			args = append(args, last[i])
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
