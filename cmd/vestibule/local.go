package main

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/password"
)

// This file wires how people sign in who have no identity provider.

// passwordsWait is how many passwords may wait to be checked.
const passwordsWait = 256

var errBreached = fault.New(fault.Invalid, "vestibule.breached_passwords", "The list of breached passwords cannot be opened. Make it with `vestibule passwords list`.")

// bylocal is what flows needs for it. The list of breached passwords stays open as long as the process runs.
func (h *house) bylocal(c config, counter brief.Counter) (*flows.By, error) {
	lists := []*password.List{password.Common()}
	if c.Breached != "" {
		list, err := openBreached(c.Breached)
		if err != nil {
			return nil, errBreached.With(err)
		}
		lists = append(lists, list)
	}
	limit := c.Limits.PasswordsPerNetwork
	return &flows.By{
		// Half of the processors at most: tokens and pages have the rest.
		Passwords: &password.Keeper{Cost: c.Cost, Pool: &password.Pool{Workers: max(1, runtime.GOMAXPROCS(0)/2), Waiting: passwordsWait, Rest: twiceAsLong}},
		Lists:     lists, Guesses: h.store, Tries: h.store, Messages: h.messages, Spent: h.store, Seal: h.factors.Seal,
		Admit:   func(ctx context.Context, network string) error { return limit.Check(ctx, counter, network) },
		Network: func(r *http.Request) string { return web.Network(c.Proxies.Address(r)) },
		Rest:    rest,
	}, nil
}

// twiceAsLong lets a place rest twice as long as its work took, which on a busy machine is longer.
func twiceAsLong(work func()) time.Duration {
	began := time.Now()
	work()
	return 2 * time.Since(began)
}

func openBreached(name string) (*password.List, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return password.OpenList(file, info.Size())
}

func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
