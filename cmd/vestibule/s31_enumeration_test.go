package main

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// masks are what differs between any two answers: ids, codes, moments.
var masks = regexp.MustCompile(`/login/[A-Za-z0-9_-]{43}|VB-[0-9A-Z]{4}-[0-9A-Z]{4}|\d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d:\d\d UTC|st-[A-Za-z0-9_-]{8}|challenge&#34;:&#34;[A-Za-z0-9_-]{43}`)

// seen is an answer without what differs between any two: status, headers and every byte of the body.
func (p *page) seen(name string) string {
	head := p.header.Clone()
	for _, h := range []string{"Date", "Set-Cookie", "Content-Length"} {
		head.Del(h)
	}
	text := fmt.Sprintf("%d %v\n%s", p.status, head, p.body)
	return strings.ReplaceAll(masks.ReplaceAllString(text, "*"), name, "NAME")
}

// hidden are organizations of one world that nobody may sign in to, by what is the matter with them. All
// names are equally long.
func hidden(w *world) map[string]directory.OrgID {
	orgs := map[string]directory.OrgID{"unknown": ""}
	add := func(handle string) company { return w.addOIDC(handle, nil) }
	suspended := add("suspend")
	w.must(w.h.directory.SetOrgStatus(w.t.Context(), operator, suspended.org, directory.Suspended))
	orgs["suspend"] = suspended.org
	archived := add("archive")
	w.must(w.h.directory.SetOrgStatus(w.t.Context(), operator, archived.org, directory.Archived))
	orgs["archive"] = archived.org
	unentitled := add("nottitl")
	w.must(w.h.directory.RemoveEntitlement(w.t.Context(), unentitled.org, w.app.ID))
	orgs["nottitl"] = unentitled.org
	parent := w.addOrg("parents", "")
	orgs["child07"] = w.connectOIDC(w.addOrg("child07", parent), "child07", nil).org
	w.must(w.h.directory.SetOrgStatus(w.t.Context(), operator, parent, directory.Suspended))
	return orgs
}

// withoutSSO are those that an address leads nowhere for, besides.
func withoutSSO(w *world) map[string]directory.OrgID {
	orgs := hidden(w)
	none := w.addOrg("withno1", "")
	w.must(w.h.directory.DeclareDomain(w.t.Context(), operator, none, "withno1.example", ""))
	orgs["withno1"] = none
	disabled := w.addOIDC("disable", nil)
	w.change(disabled, func(c *upstream.Connection) { c.Status = upstream.Disabled })
	orgs["disable"] = disabled.org
	narrow := w.addOIDC("narrow1", nil)
	w.policy(narrow.org, map[string]string{"sso.protocols": `["saml"]`})
	orgs["narrow1"] = narrow.org
	return orgs
}

// An address or handle that leads nowhere tells nothing of why.
func TestS31AnAddressThatLeadsNowhereGetsOnePage(t *testing.T) {
	w := newWorld(t)
	orgs := withoutSSO(w)
	for _, form := range []string{"ada@%s.example", "%s"} {
		var first, firstName string
		for _, name := range slices.Sorted(maps(orgs)) {
			b := newBrowser(t)
			typed := fmt.Sprintf(form, name)
			p := b.authorize(w, w.request(nil))
			posted := forms(p)[0]
			posted.values.Set("identifier", typed)
			answer := b.send(http.MethodPost, w.url+posted.action, posted.values, false)
			page := b.follow(answer)
			got := answer.seen(name) + "\n" + page.seen(name)
			if page.status != http.StatusOK {
				t.Errorf("%s: %d", typed, page.status)
			}
			if first == "" {
				first, firstName = got, name
			} else if got != first {
				t.Errorf("%s and %s get different answers:\n%s\n----\n%s", firstName, name, first, got)
			}
		}
	}
}

// maps gives a map's keys.
func maps[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// named are the ways in which an app names an organization.
func named(name string, id directory.OrgID) map[string]string {
	if id == "" {
		id = directory.NewOrgID(time.Unix(0, 0))
	}
	return map[string]string{"handle": name, "id": string(id), "realm and handle": "main/" + name}
}

// Unknown, suspended and not entitled organizations are one page, for people and for prompt=none.
func TestS31OrganizationsThatMayNotBeUsedAreOnePage(t *testing.T) {
	w := newWorld(t)
	orgs := hidden(w)
	for _, way := range []string{"handle", "id", "realm and handle"} {
		for _, prompt := range []string{"", "none", "login"} {
			var first, firstName string
			for _, name := range slices.Sorted(maps(orgs)) {
				value := named(name, orgs[name])[way]
				b := newBrowser(t)
				p := b.send(http.MethodGet, w.url+"/authorize?"+w.request(func(v url.Values) {
					v.Set("organization", value)
					if prompt != "" {
						v.Set("prompt", prompt)
					}
				}).Encode(), nil, false)
				got := p.seen(value)
				if len(p.header.Values("Set-Cookie")) != 0 {
					t.Errorf("%s %s: a cookie", way, name)
				}
				if prompt != "none" {
					if p.status != http.StatusForbidden {
						t.Errorf("%s %s: %d", way, name, p.status)
					}
					w.traced(p)
				} else if !strings.Contains(p.header.Get("Location"), "error=access_denied") {
					t.Errorf("%s %s: %s", way, name, p.header.Get("Location"))
				}
				if first == "" {
					first, firstName = got, name
				} else if got != first {
					t.Errorf("by %s, prompt %q: %s and %s get different answers:\n%s\n----\n%s", way, prompt, firstName, name, first, got)
				}
			}
		}
	}
}

var shownCode = regexp.MustCompile(`VB-[0-9A-Z]{4}-[0-9A-Z]{4}`)

// traced says that the code on a page has a story behind it.
func (w *world) traced(p *page) {
	w.t.Helper()
	code, ok := audit.ParseCode(shownCode.FindString(p.body))
	if !ok {
		w.t.Errorf("no trace code on the page: %s", textOf(p.body))
		return
	}
	if _, found, err := w.h.store.TraceByCode(w.t.Context(), code); err != nil || !found {
		w.t.Errorf("the code on the page leads to no trace (%v)", err)
	}
}

// median of the times that a request takes.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// compare measures kinds of requests in turn, so that whatever else this machine does hits all alike, and
// fails when the medians are grossly apart. They are reported: absolute times say nothing here.
func compare(t *testing.T, samples int, kinds map[string]func()) {
	t.Helper()
	names := slices.Sorted(maps(kinds))
	times := map[string][]time.Duration{}
	for range samples / len(names) {
		for _, name := range names {
			began := time.Now()
			kinds[name]()
			times[name] = append(times[name], time.Since(began))
		}
	}
	low, high := time.Duration(1<<62), time.Duration(0)
	for _, name := range names {
		m := median(times[name])
		t.Logf("%-8s median %v of %d", name, m, len(times[name]))
		low, high = min(low, m), max(high, m)
	}
	if ratio := float64(high) / float64(low); ratio >= 3 {
		t.Errorf("the slowest kind takes %.1f times as long as the fastest", ratio)
	}
}

func TestS31AnAddressThatLeadsNowhereTakesOneTime(t *testing.T) {
	w := newWorld(t)
	kinds := map[string]func(){}
	for name := range withoutSSO(w) {
		b := newBrowser(t)
		p := b.authorize(w, w.request(nil))
		kinds[name] = func() {
			posted := forms(p)[0]
			posted.values.Set("identifier", "ada@"+name+".example")
			p = b.follow(b.send(http.MethodPost, w.url+posted.action, posted.values, false))
		}
	}
	compare(t, 10_000, kinds)
}

func TestS31AnOrganizationThatMayNotBeUsedTakesOneTime(t *testing.T) {
	w := newWorld(t)
	kinds := map[string]func(){}
	b := newBrowser(t)
	for name := range hidden(w) {
		kinds[name] = func() {
			b.send(http.MethodGet, w.url+"/authorize?"+w.request(func(v url.Values) { v.Set("organization", name) }).Encode(), nil, false)
		}
	}
	compare(t, 10_000, kinds)
}
