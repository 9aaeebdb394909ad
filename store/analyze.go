package store

import (
	"context"
	"database/sql"
	"strings"
)

// Analyze tells PostgreSQL at once how large its tables have become, after much was written. Plans are
// made once for all values (sessionStart), from what is known then; new statistics make them anew, on
// every node. PostgreSQL finds out by itself within a minute or so (autovacuum). SQLite plans by the
// schema alone.
func Analyze(ctx context.Context, o Options) error {
	if o.DSN == "" {
		return nil
	}
	names, err := tableNames()
	if err != nil {
		return err
	}
	return opened(withPostgres(o.DSN, func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "ANALYZE "+strings.Join(names, ", ")) // ours: of others it would only warn
		return err
	}))
}

// analyzed is Analyze for those who are done already: what they did counts, and time heals the rest.
func analyzed(ctx context.Context, o Options) {
	if err := Analyze(ctx, o); err != nil {
		o.Log.Warn("store: the tables could not be analyzed; PostgreSQL does it by itself within minutes", "error", err)
	}
}
