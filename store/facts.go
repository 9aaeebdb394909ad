package store

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// Facts are what an operator wants to know of the database that lies below a store.
type Facts struct {
	Server  string        // its name and version: "PostgreSQL 17.2", "SQLite 3.46.0"
	Ahead   time.Duration // how far this machine's clock and the database's differ, at least; a file has no clock of its own
	Nodes   int           // how many serve on it now
	Pool    int           // connections that this process may use, by its settings; 0 for a file
	Most    int           // connections that the server lets ordinary users have; 0 for a file
	Fsync   bool          // what was committed survives a power cut
	Refused error         // why a transaction does not commit; nil when it does
}

// Facts asks the database. Nothing is changed by it.
func (s *Store) Facts(ctx context.Context) (f Facts, err error) {
	if p, ok := s.db.(*postgres); ok {
		f, err = p.facts(ctx)
	} else {
		f.Fsync = true // openDurable sees to it
		_, err = s.rows(ctx, "SELECT sqlite_version()", func(r *row) { f.Server = "SQLite " + r.text() })
	}
	if err != nil {
		return f, stored(err)
	}
	if _, f.Ahead, err = s.offset(ctx); err != nil {
		return f, err
	}
	others, err := s.Others(ctx)
	f.Nodes, f.Refused = len(others), s.db.writable(ctx)
	return f, err
}

func (p *postgres) facts(ctx context.Context) (f Facts, err error) {
	f.Pool = p.wide + cap(p.reads)
	_, err = p.read(ctx, `SELECT current_setting('server_version'), CASE current_setting('fsync') WHEN 'on' THEN 1 ELSE 0 END,
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int`, func(r *row) {
		f.Server, f.Fsync, f.Most = "PostgreSQL "+r.text(), r.bool(), int(r.int())
	}, nil)
	return f, err
}

// ConnectionPage lists connections of any organization and status by id, after one; at most n.
func (s *Store) ConnectionPage(ctx context.Context, after directory.ConnectionID, n int) ([]upstream.Connection, error) {
	return s.findConnections(ctx, "WHERE id > $1 ORDER BY id LIMIT $2", after, n)
}
