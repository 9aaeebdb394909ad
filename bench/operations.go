package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// operation is what one browser or app does again and again. begin is done once by each and returns
// what is measured.
type operation struct {
	name  string
	begin func(ctx context.Context, d *driver) (func(context.Context) error, error)
	// pace is how often each does it; zero: as often as it can.
	pace time.Duration
}

var operations = []operation{
	{name: "login", begin: signIn("login")},
	{name: "saml", begin: signIn("saml")},
	{name: "refresh", begin: refresh},
	{name: "client_credentials", begin: clientCredentials},
	{name: "userinfo", begin: userinfo},
	{name: "discovery", begin: discovery},
	{name: "tokens_steady", begin: clientCredentials, pace: steady},
	{name: "tokens_flooded", begin: flooded, pace: steady},
}

const scope = "openid profile email"

func signIn(organization string) func(context.Context, *driver) (func(context.Context) error, error) {
	return func(_ context.Context, d *driver) (func(context.Context) error, error) {
		return func(ctx context.Context) error {
			_, err := d.login(ctx, organization, scope)
			return err
		}, nil
	}
}

// refresh turns one refresh token into the next, again and again.
func refresh(ctx context.Context, d *driver) (func(context.Context) error, error) {
	t, err := d.login(ctx, "login", scope+" offline_access")
	if err == nil && t.Refresh == "" {
		err = errors.New("the app got no refresh token")
	}
	return func(ctx context.Context) error {
		next, err := d.token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}})
		if err == nil && (next.Refresh == "" || next.Refresh == t.Refresh) {
			err = errors.New("the refresh token did not rotate")
		}
		t = next
		return err
	}, err
}

func clientCredentials(_ context.Context, d *driver) (func(context.Context) error, error) {
	return func(ctx context.Context) error {
		_, err := d.token(ctx, url.Values{"grant_type": {"client_credentials"}, "organization": {"login"}})
		return err
	}, nil
}

func userinfo(ctx context.Context, d *driver) (func(context.Context) error, error) {
	t, err := d.login(ctx, "login", scope)
	header := http.Header{"Authorization": {"Bearer " + t.Access}}
	return func(ctx context.Context) error {
		raw, err := d.get(ctx, d.issuer+"/userinfo", header)
		if err == nil && !strings.Contains(string(raw), `"sub"`) {
			err = fmt.Errorf("userinfo names nobody: %s", raw)
		}
		return err
	}, err
}

func discovery(_ context.Context, d *driver) (func(context.Context) error, error) {
	return func(ctx context.Context) error {
		_, err := d.get(ctx, d.issuer+"/.well-known/openid-configuration", nil)
		return err
	}, nil
}

// run measures an operation: first as often as there are people, so that everybody has an account and
// everything is warm, then in earnest.
func (w *world) run(ctx context.Context, p plan, o operation) (r row, err error) {
	d := w.driver()
	defer d.http.CloseIdleConnections()
	r.name = o.name
	var all []func(context.Context) error
	for range p.Browsers {
		do, err := o.begin(ctx, d)
		if err != nil {
			return r, err
		}
		all = append(all, do)
	}
	if _, err := together(ctx, all, p.People, 0, 0); err != nil {
		return r, err
	}
	if err := w.analyze(ctx); err != nil {
		return r, err
	}
	if r.signature, err = signatures(); err != nil {
		return r, err
	}
	before, err := w.used()
	if err != nil {
		return r, err
	}
	profiled, err := w.profile(ctx, p, o)
	if err != nil {
		return r, err
	}
	began := time.Now()
	took, err := together(ctx, all, p.Count, p.For, o.pace)
	r.took, r.count = time.Since(began), len(took)
	if err = errors.Join(err, profiled()); err != nil {
		return r, err
	}
	after, err := w.used()
	if err != nil {
		return r, err
	}
	r.broker, r.pg, r.redis = after[0]-before[0], after[1]-before[1], after[2]-before[2]
	slices.Sort(took)
	r.p50, r.p99 = took[len(took)/2], took[len(took)*99/100]
	return r, nil
}

// together runs all at once, count times in all, or without a count for as long, each at its pace; it says how long each
// took. The first error ends it.
func together(ctx context.Context, all []func(context.Context) error, count int, long, pace time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := time.Now().Add(long)
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([][]time.Duration, len(all))
	for i, do := range all {
		wg.Go(func() {
			due := time.Now().Add(pace * time.Duration(i) / time.Duration(len(all)))
			for ctx.Err() == nil {
				began := time.Now()
				if pace > 0 { // what comes late waits from when it was due
					time.Sleep(time.Until(due))
					began, due = due, due.Add(pace)
				}
				if count > 0 && next.Add(1) > int64(count) || count == 0 && began.After(end) {
					return
				}
				if err := do(ctx); err != nil {
					cancel(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if sum := slices.Concat(took...); len(sum) > 0 {
		return sum, nil
	}
	return nil, errors.New("nothing was done")
}

// profile takes a processor profile of the service while an operation runs, where one is wanted.
func (w *world) profile(ctx context.Context, p plan, o operation) (wait func() error, err error) {
	if p.Profiles == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(p.Profiles, 0o755); err != nil {
		return nil, err
	}
	on := "sqlite"
	if w.postgres != nil {
		on = "postgres"
	}
	file, err := os.Create(filepath.Join(p.Profiles, fmt.Sprintf("%s-%s-%d.pprof", o.name, on, w.organizations)))
	if err != nil {
		return nil, err
	}
	at := fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=%d", w.admin, max(1, int(p.For.Seconds())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = io.Copy(file, resp.Body)
			resp.Body.Close()
		}
		done <- errors.Join(err, file.Close())
	}()
	return func() error { return <-done }, nil
}
