package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

// errPending is how `migrate --check` says that there is something to do, by its status.
var errPending = fault.New(fault.Conflict, "vestibule.migrations_pending", "The database is not at this version's schema. `vestibule migrate` brings it there, and so does the next start of `vestibule serve`.")

func runBackup(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("backup", "FILE", "Writes everything that lasts into one file, as it is at this moment, while the service runs.\nThe sealing key is not in it: the backup is of use only with the key that it names. It holds personal data.", errs)
	db, err := cmd.begin(ctx, args, 1, "Name the file to make.")
	if err != nil {
		return err
	}
	defer db.Close()
	m, err := db.BackupTo(ctx, cmd.args[0])
	if err != nil {
		return err
	}
	if err := record(ctx, db, "", audit.BackupMade, audit.Ref{Kind: "key", ID: m.Key}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Backed up %d rows into %s.\nIt can be read only with the sealing key %s: keep a copy of its file, apart from this one.\n", m.Rows, cmd.args[0], m.Key)
	return err
}

func runRestore(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("restore", "FILE", "Restores a backup into an empty place: a SQLite file that is not there yet, or an empty PostgreSQL database, named by --database.\nEverybody signs in again afterwards: what was used or ended since the backup is not known to it. The backup is checked whole before anything is written.", errs)
	verify := cmd.Bool("verify", false, "only check that the backup is whole and unchanged, and that the sealing key at hand opens it")
	keep := cmd.Bool("keep-sessions", false, "let people stay signed in and keep what they let apps do, also of those who signed out or took it back since the backup; refresh tokens end all the same")
	if err := cmd.parse(args, 1, "Name the backup."); err != nil {
		return err
	}
	if *verify && *keep {
		return cmd.misused("--verify restores nothing.")
	}
	s, err := cmd.read()
	if err != nil {
		return err
	}
	o := s.storeOptions(quietLog(errs), true)
	if *verify {
		m, err := store.VerifyBackup(ctx, cmd.args[0], o)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "The backup of %s is whole: %d rows, schema %d, %d chains of the record. The sealing key %s opens it.\n", moment(m.At), m.Rows, m.Schema, m.Chains, m.Key)
		return err
	}
	now := time.Now()
	m, err := store.Restore(ctx, cmd.args[0], o, store.Restoring{KeepSessions: *keep, Entry: audit.Entry{
		ID: string(directory.NewEntryID(now)), At: now, Actor: commandLine.Ref(), Action: audit.BackupRestored, Target: audit.Ref{Kind: "backup", ID: filepath.Base(cmd.args[0])}}})
	if err != nil {
		return err
	}
	sessions := "Everybody signs in again, and is asked again what apps may do."
	if *keep {
		sessions = "People stay signed in; refresh tokens ended."
	}
	_, err = fmt.Fprintf(out, "Restored %d rows of %s. %s\n", m.Rows, moment(m.At), sessions)
	return err
}

func runMigrate(ctx context.Context, args []string, out, errs io.Writer) error {
	cmd := newTool("migrate", "", "Brings the database to this version's schema; `vestibule serve` does so by itself. The version before runs on the new schema too.", errs)
	check := cmd.Bool("check", false, "only say whether there is something to do: status 0 is no, 1 is yes")
	if err := cmd.parse(args, 0, only); err != nil {
		return err
	}
	s, err := cmd.read()
	if err != nil {
		return err
	}
	o := s.storeOptions(quietLog(errs), true)
	have, want, err := store.PendingMigrations(ctx, o)
	switch {
	case err != nil:
		return err
	case have >= want:
		_, err = fmt.Fprintf(out, "The database is at schema %d. There is nothing to do.\n", have)
		return err
	case *check:
		return errPending.With(fmt.Errorf("it is at schema %d, this version's is %d", have, want))
	}
	if err := store.Migrate(ctx, o); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The database was brought from schema %d to %d.\n", have, want)
	return err
}
