package store

import (
	"context"
	"time"
)

// This file is the seam between the tables and the databases below them. Every table speaks to a wire;
// SQLite's is conn (sqlite.go), PostgreSQL's is session (postgres.go).

// wire is one connection in a transaction. It is used by one goroutine at a time.
type wire interface {
	// exec runs a statement and returns how many rows it changed.
	exec(q string, args ...any) (int64, error)
	// send is exec for whoever does not ask how many. It may travel with a later statement, whose answer is
	// then its error; the transaction is broken all the same.
	send(q string, args ...any) error
	// sendNew is send for a row that must be new: where its key is taken, the error is taken, now or as the
	// answer to a later statement.
	sendNew(taken error, q string, args ...any) error
	// rows gives each row to scan, which may be nil, and returns how many there were.
	rows(q string, scan func(*row), args []any) (int, error)
	// script runs statements without parameters, savepoints above all.
	script(texts ...string) error
	// hold takes a turn until the transaction ends, for itself or shared with others that read. Whoever
	// takes turnConfig for itself changes configuration; errTurn when it has read before.
	hold(l turn, shared bool) error
	// try takes a turn until the transaction ends, unless somebody has it.
	try(l turn) (bool, error)
}

// turn is something that one transaction of all nodes does at a time. SQLite has one writer, so there
// each is held by whoever writes.
type turn int32

const (
	turnConfig  turn = iota + 1 // changes of configuration; those who decide by it share it (S15)
	turnChain                   // chaining the record
	turnSweep                   // removing what is over
	turnMigrate                 // bringing the database to a program's schema
)

// database is everything that stands below the tables.
type database interface {
	// submit runs one function in a transaction and waits for its outcome.
	submit(c *call) error
	// read runs a statement that reads, in no transaction.
	read(ctx context.Context, q string, scan func(*row), args []any) (int, error)
	// clock is the database's time.
	clock(ctx context.Context) (time.Time, error)
	// lineage names the line of the database's history. Another one, after a failover or a restore, may
	// lack the last commits.
	lineage(ctx context.Context) (string, error)
	// listen calls wake whenever another node may have changed configuration, until ctx ends.
	listen(ctx context.Context, wake func())
	// writable tries whether a transaction commits.
	writable(ctx context.Context) error
	// close ends it after what was begun.
	close()
}
