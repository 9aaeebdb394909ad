package store

import (
	"errors"
	"strings"
	"time"

	lib "modernc.org/sqlite/lib"
)

// This file and sqlite.go are the only ones that know which database is below. Everything else writes
// SQL that PostgreSQL understands too: $n parameters, ON CONFLICT and RETURNING, no NULL where it would
// be ordered, no functions of one vendor.

// typeTokens are what migrations write instead of a database's own type names.
var typeTokens = strings.NewReplacer(
	"{id}", "TEXT", // an opaque id, time-ordered
	"{key}", "TEXT", // compared by machines, normalized in Go
	"{text}", "TEXT", // for people, never compared
	"{int}", "INTEGER", // 64 bits; times are microseconds UTC
	"{bool}", "INTEGER",
	"{doc}", "TEXT", // JSON that only Go reads
	"{bytes}", "BLOB",
	"{empty}", "x''", // no bytes, as a default
	"{serial}", "INTEGER PRIMARY KEY", // grows with each insert
	"{strict}", "STRICT", // or SQLite stores text in integer columns
	"{wr}", "STRICT, WITHOUT ROWID", // rows lie in key order
)

// Pragmas of the durable file. FULL is for power loss: a commit that was answered is on the disk.
// The writer reads through the memory map. Readers do not: whenever another connection wrote, SQLite
// unmaps and maps the file anew at the next read, which costs ten times the read itself.
var (
	durablePragmas = []string{
		"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON",
		"PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-8192", "PRAGMA mmap_size=268435456",
		"PRAGMA wal_autocheckpoint=4000",
	}
	readerPragmas = []string{
		"PRAGMA query_only=ON", "PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-2048", "PRAGMA mmap_size=0",
	}
	// Nothing in the short-lived file counts unless a clean stop marked it, so its writes need no
	// journal and no fsync until then. EXCLUSIVE is also how a second serve notices the first.
	shortLivedPragmas = []string{
		"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF",
		"PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-2048",
	}
)

// skipLocked lets many nodes take rows of a queue without waiting for one another. Here one writer is alone.
const skipLocked = ""

// busyTimeout is how long the writer waits for another process (a command beside a running serve).
const busyTimeout = 5 * time.Second

// primary is the family of what SQLite answered; 0 when err is not SQLite's.
func primary(err error) int32 {
	if e, ok := errors.AsType[*sqliteError](err); ok {
		return e.code & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	return primary(err) == lib.SQLITE_BUSY || primary(err) == lib.SQLITE_LOCKED
}

func isNotDatabase(err error) bool {
	return primary(err) == lib.SQLITE_NOTADB || primary(err) == lib.SQLITE_CORRUPT
}

// unavailable says that the trouble is the machine's: the disk, its room, its rights.
func unavailable(err error) bool {
	switch primary(err) {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN,
		lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_NOMEM, lib.SQLITE_INTERRUPT:
		return true
	}
	return false
}
