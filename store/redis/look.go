package redis

import (
	"context"
	"strconv"
)

// Facts are what an operator wants to know of a server.
type Facts struct {
	State
	Version string // "7.0.15"; Valkey tells the version of Redis that it is compatible with
	AOF     bool   // what is kept is written to a file as it comes
	MaxMemory,
	Memory int64 // bytes; MaxMemory 0 is no bound
}

// Look asks the server what it is, by the checks of Beat, and changes nothing.
func (c *Client) Look(ctx context.Context) (Facts, error) {
	s, err := c.Beat(ctx, "", "")
	if err != nil {
		return Facts{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, max(pulseTimeout, c.timeout))
	defer cancel()
	p := c.pulse.Pipeline()
	server, memory, persistence := p.Info(ctx, "server"), p.Info(ctx, "memory"), p.Info(ctx, "persistence")
	if _, err := p.Exec(ctx); err != nil {
		return Facts{}, ErrUnreachable.With(err)
	}
	return Facts{
		State: s, Version: line(server.Val(), "redis_version"), AOF: line(persistence.Val(), "aof_enabled") == "1",
		MaxMemory: number(memory.Val(), "maxmemory"), Memory: number(memory.Val(), "used_memory"),
	}, nil
}

func number(info, name string) int64 {
	n, _ := strconv.ParseInt(line(info, name), 10, 64)
	return n
}
