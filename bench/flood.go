package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// This file measures tokens at a steady rate, in peace and while strangers type wrong passwords: what a flood
// of sign-ins costs those who only want tokens.

const (
	// steady is how often each of the apps asks: with sixteen, 200 a second, which leaves a machine room.
	steady = 80 * time.Millisecond
	// strangers are how many type passwords for each app. Each waits for its answer.
	strangers = 8
)

// flood is strangers at work. It ends by itself when nobody is measured any more.
type flood struct {
	last  atomic.Int64 // when somebody was measured last, in nanoseconds
	tried atomic.Int64
	wg    sync.WaitGroup
}

// flooded is clientCredentials beside a flood.
func flooded(ctx context.Context, d *driver) (func(context.Context) error, error) {
	f := &flood{}
	f.last.Store(time.Now().UnixNano())
	for range strangers {
		at, cookies, err := d.passwordPage(ctx)
		if err != nil {
			return nil, err
		}
		f.wg.Go(func() { f.guess(ctx, d, at, cookies) })
	}
	ask, err := clientCredentials(ctx, d)
	return func(ctx context.Context) error {
		f.last.Store(time.Now().UnixNano())
		return ask(ctx)
	}, err
}

// guess types a wrong password for another address each time, so that nothing but the pool slows it.
func (f *flood) guess(ctx context.Context, d *driver, at string, cookies map[string]string) {
	for time.Since(time.Unix(0, f.last.Load())) < 2*time.Second && ctx.Err() == nil {
		address := fmt.Sprintf("nobody%d@local.example", rand.Int64())
		status, err := d.posts(ctx, at+"/authenticate", url.Values{"step": {"authenticate"}, "act": {"password"}, "identifier": {address}, "password": {"wrong " + address}}, cookies)
		if err != nil || status >= http.StatusBadRequest {
			if at, cookies, err = d.passwordPage(ctx); err != nil {
				return
			}
			continue
		}
		f.tried.Add(1)
	}
}

// passwordPage begins a sign-in to the organization that has no identity provider.
func (d *driver) passwordPage(ctx context.Context) (at string, cookies map[string]string, err error) {
	cookies = map[string]string{}
	next, _, err := d.hop(ctx, d.authorization(url.Values{"organization": {"local"}, "scope": {scope}}), nil, cookies)
	if err != nil {
		return "", nil, err
	}
	if !strings.Contains(next, "/login/") {
		return "", nil, fmt.Errorf("no sign-in begins: %q", next)
	}
	to, err := resolve(d.issuer, next)
	if err != nil {
		return "", nil, err
	}
	_, body, err := d.hop(ctx, to.String(), nil, cookies)
	if err == nil && !strings.Contains(body, `name="password"`) {
		err = fmt.Errorf("no password is asked for: %s", words(body))
	}
	return to.String(), cookies, err
}

// posts sends a form with the browser's cookies.
func (d *driver) posts(ctx context.Context, to string, form url.Values, cookies map[string]string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range cookies {
		req.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}
