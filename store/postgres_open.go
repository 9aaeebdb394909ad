package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// Why a PostgreSQL database does not open. None of them, nor its cause, holds the DSN's password.
var (
	ErrDSN         = fault.New(fault.Invalid, "store.dsn", "The address of the PostgreSQL database cannot be read. It looks like postgres://user:password@host:5432/database?sslmode=verify-full.")
	ErrUnreachable = fault.New(fault.Unavailable, "store.unreachable", "The PostgreSQL database cannot be reached. Check that it runs, that its address is right and that nothing stands in between.")
	ErrLogin       = fault.New(fault.Denied, "store.login", "The PostgreSQL server does not let this user in. Check the user, its password and the server's pg_hba.conf.")
	ErrNoDatabase  = fault.New(fault.NotFound, "store.no_database", "The PostgreSQL server has no database of this name. Create it: CREATE DATABASE vestibule OWNER vestibule ENCODING 'UTF8' TEMPLATE template0.")
	ErrTooOld      = fault.New(fault.Invalid, "store.server_too_old", "The PostgreSQL server is too old. Version 13 or later is needed.")
	ErrAsync       = fault.New(fault.Invalid, "store.synchronous_commit", "The setting synchronous_commit is off, so a power cut would undo sign-outs and bring used codes back. Turn it on for the server, the database and the user (ALTER SYSTEM, ALTER DATABASE and ALTER ROLE set it).")
	ErrEncoding    = fault.New(fault.Invalid, "store.encoding", "The PostgreSQL database does not keep text as UTF-8. Create one that does: CREATE DATABASE vestibule ENCODING 'UTF8' TEMPLATE template0.")
	ErrStandby     = fault.New(fault.Unavailable, "store.standby", "The PostgreSQL server takes no writes: it is a standby, or set to read only. Name the primary, or list all hosts in the address, and the one that takes writes is found.")
	ErrRights      = fault.New(fault.Denied, "store.rights", "The PostgreSQL user may not use or make the tables. Let it own its database or schema: GRANT USAGE, CREATE ON SCHEMA public TO vestibule.")
)

const (
	connectTime = 3 * time.Second
	oldestMajor = 13
)

// sessionStart sets what every connection must have, whatever server, database and user were given as
// defaults, and asks for what cannot be set. Every statement reads or writes a few rows by index: its
// plan does not depend on its values, and none is worth compiling. A plan that was made while a table was
// empty must use the index too, for a large apply fills it within one transaction.
const sessionStart = `SET statement_timeout = 5000; SET lock_timeout = 3000; SET idle_in_transaction_session_timeout = 15000;
	SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; SET jit = off; SET enable_seqscan = off; SET bytea_output = hex;
	SELECT current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('transaction_read_only'), current_setting('fsync')`

// postgresConfig reads a DSN. size is how many connections it allows.
func postgresConfig(dsn string) (config *pgconn.Config, size int, err error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return nil, 0, ErrDSN.Because("it does not begin with postgres://")
	}
	if config, err = pgconn.ParseConfig(dsn); err != nil {
		return nil, 0, ErrDSN.Because(whyUnread(err)) // its text may hold the password
	}
	size = poolSize
	if text, ok := config.RuntimeParams["pool_max_conns"]; ok {
		delete(config.RuntimeParams, "pool_max_conns")
		if size, err = strconv.Atoi(text); err != nil || size < 2 || size > 1000 {
			return nil, 0, ErrDSN.Because("pool_max_conns must be a number from 2 to 1000")
		}
	}
	if config.ConnectTimeout <= 0 {
		config.ConnectTimeout = connectTime
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "vestibule"
	}
	config.ValidateConnect = fit
	return config, size, nil
}

// whyUnread gives the part of an error that holds nothing of the DSN.
func whyUnread(err error) string {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return "it is no URL; characters of the password such as / ? # @ % must be written as %2F, %3F, %23, %40, %25"
	}
	return "a part of it is not understood"
}

// fit sets a new connection up and says whether it will do; with several hosts the next is tried when not.
func fit(ctx context.Context, c *pgconn.PgConn) error {
	if err := newEnough(c.ParameterStatus("server_version")); err != nil {
		return err
	}
	results, err := c.Exec(ctx, sessionStart).ReadAll()
	if err != nil {
		return err
	}
	facts := results[len(results)-1].Rows[0]
	switch {
	case string(facts[0]) != "UTF8":
		return ErrEncoding.Because("server_encoding is " + string(facts[0]))
	case string(facts[1]) == "off":
		return ErrAsync.Because("synchronous_commit is off for user " + strconv.Quote(c.ParameterStatus("session_authorization")))
	case string(facts[2]) == "on":
		return ErrStandby.Because("transaction_read_only is on")
	}
	return nil
}

// newEnough judges a version such as "15.8 (Debian 15.8-0+deb12u1)" or "18beta1".
func newEnough(version string) error {
	major := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	if n, err := strconv.Atoi(major); err != nil || n < oldestMajor {
		return ErrTooOld.Because("the server is version " + version)
	}
	return nil
}

// connecting says in words why no connection came about.
func connecting(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		cause := fmt.Errorf("the server says: %s (%s)", pg.Message, pg.Code)
		switch {
		case strings.HasPrefix(pg.Code, "28"):
			return ErrLogin.With(cause)
		case pg.Code == "3D000":
			return ErrNoDatabase.With(cause)
		case pg.Code == "42501":
			return ErrRights.With(cause)
		}
		return ErrUnreachable.With(cause)
	}
	return ErrUnreachable.With(err)
}

// openPostgres connects, migrates and gives the database.
func openPostgres(ctx context.Context, base context.Context, o Options, applied func([]touch)) (*postgres, error) {
	config, size, err := postgresConfig(o.DSN)
	if err != nil {
		return nil, err
	}
	p := newPostgres(base, config, size, o, applied)
	if err := p.migrate(ctx, o.DSN); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// migrate brings the database to this program's schema; of many nodes at once one does it.
func (p *postgres) migrate(ctx context.Context, dsn string) error {
	version, needs, err := p.schema(ctx)
	if err != nil {
		return opened(err)
	}
	if needs > schema {
		return ErrNewer.With(fmt.Errorf("the database needs schema %d, this program knows %d", needs, schema))
	}
	if version >= schema {
		return nil
	}
	if err := upPostgres(ctx, dsn); err != nil {
		return opened(err)
	}
	analyzed(ctx, Options{DSN: dsn, Log: p.log})
	return nil
}

func (p *postgres) schema(ctx context.Context) (version, needs int64, err error) {
	tables, err := p.read(ctx, `SELECT 1 FROM pg_catalog.pg_class c WHERE c.relname IN ('goose_db_version', 'counters')
		AND c.relkind = 'r' AND pg_catalog.pg_table_is_visible(c.oid)`, nil, nil)
	if err != nil || tables < 2 {
		return 0, 0, err
	}
	if _, err = p.read(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied", func(r *row) { version = r.int() }, nil); err != nil {
		return 0, 0, err
	}
	_, err = p.read(ctx, "SELECT n FROM counters WHERE name = 'schema_needs'", func(r *row) { needs = r.int() }, nil)
	return version, needs, err
}

// opened says in words why a database that was reached cannot be used.
func opened(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		cause := fmt.Errorf("the server says: %s (%s)", pg.Message, pg.Code)
		switch pg.Code {
		case "42501", "3F000":
			return ErrRights.With(cause)
		case "25006":
			return ErrStandby.With(cause)
		}
	}
	return stored(err)
}
