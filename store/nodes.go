package store

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/broker"
)

var _ broker.Nodes = (*Store)(nil)

// Clock is the database's time: a file has that of its machine.
func (s *Store) Clock(context.Context) (time.Time, error) { return s.now(), nil }

// Others lists the other live nodes: a file is served by one process.
func (s *Store) Others(context.Context) ([]broker.Node, error) { return nil, nil }

// Hold tells other nodes which keys of a use this one has.
func (s *Store) Hold(string, []string) {}
