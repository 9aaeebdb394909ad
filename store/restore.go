package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// ErrNotEmpty: a backup is restored beside what there is, never over it.
var ErrNotEmpty = fault.New(fault.Conflict, "store.not_empty", "There is data already, and a backup is never restored over data. Name a SQLite file that is not there, or an empty PostgreSQL database, or move away what is there. Nothing was restored.")

// VerifyBackup reads a backup to its end, checks that it is whole and unchanged, that this program knows
// its schema, and that the sealing key at hand opens it. It writes nothing.
func VerifyBackup(ctx context.Context, file string, o Options) (Manifest, error) {
	return readArchive(ctx, file, o.keySource(), archive{
		table: func(table) error { return nil }, row: func(table, []any) error { return nil }})
}

// Restoring says how a backup is restored.
type Restoring struct {
	// KeepSessions lets people stay signed in and keeps what they let apps do, for a move that lost nothing.
	// Refresh tokens and registration tokens end all the same: one that was used since the backup would be
	// good again (S16).
	KeepSessions bool
	Entry        audit.Entry // what the record is told
}

// Restore fills an empty place with a backup that was verified first: all of it, or nothing. What was
// spent or taken back since the backup is not known to it, so what could be spent again ends (S16): grants
// with their refresh tokens, registration tokens, sessions, for people who were signed out since would be in
// again, and consents, for one that was withdrawn would hold again.
func Restore(ctx context.Context, file string, o Options, how Restoring) (Manifest, error) {
	m, err := VerifyBackup(ctx, file, o)
	if err != nil {
		return m, err
	}
	if err := emptyPlace(ctx, o, m.Schema); err != nil {
		return m, err
	}
	if err := migrateTo(ctx, o, m.Schema); err != nil {
		return m, err
	}
	err = filling(ctx, o, func(w wire, postgres bool) error {
		in := inserter{wire: w, postgres: postgres}
		again, err := readArchive(ctx, file, o.keySource(), archive{table: in.table, row: in.row})
		if err == nil && (again.Rows != m.Rows || again.Heads != m.Heads) {
			err = ErrArchive.Because("it changed while it was read")
		}
		if err != nil {
			return err
		}
		return errors.Join(in.counters(m.Tables), afterRestore(w, o.Now(), how, m.Tables))
	})
	if err != nil {
		return m, err
	}
	if err := Migrate(ctx, o); err != nil {
		return m, err
	}
	analyzed(ctx, o)
	return m, nil
}

// emptyPlace refuses a place where there is anything. What an interrupted restore left is nothing.
func emptyPlace(ctx context.Context, o Options, version int64) error {
	if o.Path != "" {
		if info, err := os.Stat(o.Path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
			return usable(filepath.Dir(o.Path))
		}
	}
	return onWire(ctx, o, func(w wire, postgres bool) error {
		have, _, err := schemaBelow(w, postgres)
		switch {
		case err != nil:
			return err
		case have == 0:
			return nil
		case have > version:
			return ErrNotEmpty.Because(fmt.Sprintf("it has schema %d already, the backup %d", have, version))
		}
		for _, name := range []string{"data_keys", "realms", "organizations", "apps", "signing_keys", "audit_pending"} {
			n, err := w.rows("SELECT 1 FROM "+name+" LIMIT 1", nil, nil)
			if err != nil {
				return err
			}
			if n > 0 {
				return ErrNotEmpty.Because("there are rows in " + name)
			}
		}
		return nil
	})
}

func schemaBelow(w wire, postgres bool) (version, needs int64, err error) {
	tables, applied := "SELECT 1 FROM sqlite_schema WHERE name IN ('goose_db_version', 'counters')", "is_applied = 1"
	if postgres {
		tables = `SELECT 1 FROM pg_catalog.pg_class c WHERE c.relname IN ('goose_db_version', 'counters')
			AND c.relkind = 'r' AND pg_catalog.pg_table_is_visible(c.oid)`
		applied = "is_applied"
	}
	n, err := w.rows(tables, nil, nil)
	if err != nil || n < 2 {
		return 0, 0, err
	}
	if _, err = w.rows("SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE "+applied, func(r *row) { version = r.int() }, nil); err != nil {
		return 0, 0, err
	}
	_, err = w.rows("SELECT n FROM counters WHERE name = 'schema_needs'", func(r *row) { needs = r.int() }, nil)
	return version, needs, err
}

// onWire gives fn one connection in a transaction that writes nothing.
func onWire(ctx context.Context, o Options, fn func(w wire, postgres bool) error) error {
	stop := errors.New("stop")
	var out error
	if err := filling(ctx, o, func(w wire, postgres bool) error { out = fn(w, postgres); return stop }); !errors.Is(err, stop) {
		return err
	}
	return out
}

// filling runs fn in one transaction on a database that nobody uses, without migrating it. It commits when fn
// returns nil.
func filling(ctx context.Context, o Options, fn func(w wire, postgres bool) error) error {
	if o.DSN != "" {
		return fillingPostgres(ctx, o, fn)
	}
	c, err := openDurable(o.Path, durablePragmas)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return opening(o.Path, err)
	}
	if err := fn(c, false); err != nil {
		return errors.Join(err, c.script("ROLLBACK"))
	}
	return stored(c.script("COMMIT"))
}

func fillingPostgres(ctx context.Context, o Options, fn func(w wire, postgres bool) error) error {
	config, size, err := postgresConfig(o.DSN)
	if err != nil {
		return err
	}
	p := newPostgres(context.WithoutCancel(ctx), config, size, o, func([]touch) {})
	defer p.close()
	s, err := p.take()
	if err != nil {
		return err
	}
	defer p.give(s)
	s.fate, s.collided = alive, false
	if err := s.begin(ctx); err != nil {
		s.rollback()
		return opened(err)
	}
	for _, q := range []string{"SET LOCAL idle_in_transaction_session_timeout = 0", "SET LOCAL statement_timeout = 0"} {
		if _, err := s.exec(q); err != nil {
			s.rollback()
			return opened(err)
		}
	}
	if err := fn(s, true); err != nil {
		s.rollback()
		return err
	}
	if _, err := s.commit(); err != nil {
		s.rollback()
		return stored(err)
	}
	return nil
}

// migrateTo brings an empty database to the schema that a backup has, so that the migrations after it run
// on its rows as they did where it came from.
func migrateTo(ctx context.Context, o Options, version int64) error {
	if o.DSN != "" {
		return opened(withPostgres(o.DSN, func(db *sql.DB) error {
			return upTo(ctx, goose.DialectPostgres, db, postgresTypes, version, goose.WithSessionLocker(oneByOne{}))
		}))
	}
	if err := private(o.Path); err != nil {
		return ErrDirectory.With(err)
	}
	err := withSQLite(o.Path, func(db *sql.DB) error { return upTo(ctx, goose.DialectSQLite3, db, sqliteTypes, version) })
	if err != nil {
		return opening(o.Path, err)
	}
	return nil
}

// inserter writes the rows of a backup.
type inserter struct {
	wire     wire
	postgres bool
	insert   string
}

// table empties a table of what migrations wrote into it.
func (in *inserter) table(t table) error {
	var params []string
	for i := range t.Columns {
		params = append(params, fmt.Sprintf("$%d", i+1))
	}
	in.insert = "INSERT INTO " + t.Name + " (" + strings.Join(t.names(), ", ") + ") VALUES (" + strings.Join(params, ", ") + ")"
	return stored(in.wire.send("DELETE FROM " + t.Name))
}

func (in *inserter) row(_ table, values []any) error {
	return stored(in.wire.send(in.insert, values...))
}

// counters sets what numbers rows by itself behind the highest number.
func (in *inserter) counters(tables []table) error {
	if !in.postgres {
		return nil
	}
	for _, t := range tables {
		serial := ""
		if _, err := in.wire.rows("SELECT coalesce(pg_get_serial_sequence($1, $2), '')", func(r *row) { serial = r.text() }, []any{t.Name, t.Columns[0].Name}); err != nil {
			return stored(err)
		}
		if serial == "" {
			continue
		}
		if _, err := in.wire.rows("SELECT setval($1::text::regclass, coalesce(max("+t.Columns[0].Name+"), 0) + 1, false) FROM "+t.Name, nil, []any{serial}); err != nil {
			return stored(err)
		}
	}
	return nil
}

// afterRestore ends what could be used again, in the transaction of the restore.
// A backup of an older schema has not all tables yet.
func afterRestore(w wire, now time.Time, how Restoring, tables []table) error {
	type step struct {
		table, q string
		args     []any
	}
	e := how.Entry
	steps := []step{
		{"marks", "DELETE FROM marks WHERE name = $1", []any{stopMark}}, // short-lived state that lies there is of another time
		{"token_grants", "UPDATE token_grants SET revoked_at = $1, reason = 'restored' WHERE revoked_at = 0", []any{now}},
		{"registration_tokens", "DELETE FROM registration_tokens", nil},
		{"", `INSERT INTO audit_pending (id, org_id, at, actor_kind, actor_id, action, target_kind, target_id, detail)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '{}')`, []any{e.ID, e.Org, e.At, e.Actor.Kind, e.Actor.ID, string(e.Action), e.Target.Kind, e.Target.ID}},
	}
	if !how.KeepSessions {
		steps = append(steps, step{"sessions", "UPDATE sessions SET ended_at = $1 WHERE ended_at = 0", []any{now}}, step{"consents", "DELETE FROM consents", nil})
	}
	for _, s := range steps {
		if s.table != "" && !slices.ContainsFunc(tables, func(t table) bool { return t.Name == s.table }) {
			continue
		}
		if _, err := w.exec(s.q, s.args...); err != nil {
			return stored(err)
		}
	}
	return nil
}

// PendingMigrations says which schema a database has and which one this program would bring it to; 0 is a
// database with nothing in it.
func PendingMigrations(ctx context.Context, o Options) (have, want int64, err error) {
	if o.Path != "" {
		if _, err := os.Stat(o.Path); err != nil {
			return 0, schema, nil
		}
	}
	err = onWire(ctx, o, func(w wire, postgres bool) error {
		var needs int64
		if have, needs, err = schemaBelow(w, postgres); err == nil && needs > schema {
			err = ErrNewer.Because(fmt.Sprintf("it needs schema %d, this program knows %d", needs, schema))
		}
		return err
	})
	return have, schema, err
}
