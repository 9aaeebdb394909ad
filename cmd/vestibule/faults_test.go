//go:build !quick

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// This file breaks what a cluster stands on, under load, and holds it to what it acknowledged.

// account is what the cluster acknowledged under load, and how it answered.
type account struct {
	c    *cluster
	mu   sync.Mutex
	all  []*acknowledged
	said map[string]int // how many answers of each kind
	// raced counts codes and refresh tokens that were shown to all nodes at once.
	raced map[string]int
	wrong []string
}

// acknowledged is what one browser and its app were told.
type acknowledged struct {
	org      directory.OrgID
	cookies  []*http.Cookie // "vs" among them: a session
	code     string
	verifier string
	asked    time.Time // when the browser's last request left
	access   string
	refresh  string
	rotated  int
	given    []time.Time // when the requests left that were answered with a code or tokens
	unsure   bool        // an answer was lost, or the grant was meant to die: what lives is not known
	revoked  bool        // given up, and told so
}

func (l *account) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

func (l *account) count(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said[kind]++
}

// judge holds one answer to its form: a page with a trace code, or an RFC's JSON; and when to come again.
func (l *account) judge(where string, status int, header http.Header, body []byte) {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	switch {
	case status == 0:
		l.count("no answer: the node died or was cut off")
		return
	case status < 400:
		l.count("good")
		return
	case kind == "text/html":
		if !shownCode.Match(body) {
			l.fail("%s: %d: a page without a trace code: %s", where, status, textOf(string(body)))
		}
		l.count(fmt.Sprintf("%d page", status))
	case kind == "application/json":
		var e struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &e) != nil || e.Error == "" {
			l.fail("%s: %d: no error of the RFC: %s", where, status, body)
		}
		l.count(fmt.Sprintf("%d %s", status, e.Error))
	default:
		l.fail("%s: %d: neither page nor JSON: %q %s", where, status, kind, body)
	}
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && header.Get("Retry-After") == "" {
		l.fail("%s: %d without Retry-After", where, status)
	}
	if status == http.StatusInternalServerError {
		l.fail("%s: 500: %s", where, textOf(string(body)))
	}
}

// spin signs people in to an organization, and uses what they get, until end.
func (l *account) spin(end <-chan struct{}, orgs []directory.OrgID) {
	for {
		select {
		case <-end:
			return
		case <-time.After(rand.N(40 * time.Millisecond)):
		}
		a := l.login(orgs[rand.IntN(len(orgs))])
		if a.code != "" {
			l.redeem(a)
		}
		for range rand.IntN(3) {
			l.rotate(a)
		}
		if a.access != "" && rand.IntN(6) == 0 {
			l.giveUp(a)
		}
		l.mu.Lock()
		l.all = append(l.all, a)
		l.mu.Unlock()
	}
}

// login is a browser that goes as far as it comes.
func (l *account) login(org directory.OrgID) *acknowledged {
	jar, _ := cookiejar.New(nil)
	a := &acknowledged{org: org}
	q := l.c.request(away(org))
	a.verifier = q.verifier
	home, _ := url.Parse(l.c.url)
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		if req.URL.Host == home.Host {
			a.asked = time.Now()
		}
		return nil
	}}
	resp, err := client.Get(l.c.url + "/authorize?" + q.Encode())
	a.cookies = jar.Cookies(home)
	if err != nil {
		l.judge("a browser", 0, nil, nil)
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get(cutOff) != "" {
		l.judge("a browser", 0, nil, nil)
		return a
	}
	l.judge("a browser at "+resp.Request.URL.Path, resp.StatusCode, resp.Header, body)
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode/100 != 3 {
		return a
	}
	if e := to.Query().Get("error"); e != "" {
		l.count("redirect " + e)
	}
	if a.code = to.Query().Get("code"); a.code != "" {
		a.given = append(a.given, a.asked)
	}
	return a
}

func (a *acknowledged) session() bool {
	return slices.ContainsFunc(a.cookies, func(c *http.Cookie) bool { return c.Name == "vs" })
}

// redeem shows the code: to the next node, or now and then to all at once, of which one may accept it.
func (l *account) redeem(a *acknowledged) {
	form := exchange(a.code, a.verifier)
	if rand.IntN(4) > 0 {
		l.take(a, form)
		return
	}
	a.unsure = true // whoever shows a code twice ends what it opened
	l.race("codes", form)
}

// take asks the token endpoint and keeps what it gives.
func (l *account) take(a *acknowledged, form url.Values) {
	asked := time.Now()
	tok := l.post(nil, "/token", form)
	if tok.Status != http.StatusOK {
		a.unsure = true
		return
	}
	a.access, a.refresh, a.given = tok.Access, tok.Refresh, append(a.given, asked)
}

// post sends a form as the app and judges the answer.
func (l *account) post(at http.RoundTripper, path string, form url.Values) tokenAnswer {
	status, header, body := l.c.ask(at, path, form)
	l.judge(path, status, header, body)
	tok := tokenAnswer{Status: status}
	_ = json.Unmarshal(body, &tok)
	return tok
}

// race shows one thing to all nodes at once, and says how many different tokens came of it.
func (l *account) race(what string, form url.Values) map[string]bool {
	var mu sync.Mutex
	came := map[string]bool{}
	l.c.everywhere(func(at http.RoundTripper) {
		if tok := l.post(at, "/token", form); tok.Status == http.StatusOK {
			mu.Lock()
			came[tok.Refresh] = true
			mu.Unlock()
		}
	})
	l.mu.Lock()
	l.raced[what]++
	l.mu.Unlock()
	if len(came) > 1 {
		l.fail("%s: one was accepted %d times", what, len(came))
	}
	return came
}

// rotate renews tokens. A former token gets the present one again for five seconds, so of a race two
// answers may be good, and never two tokens come of it.
func (l *account) rotate(a *acknowledged) {
	if a.refresh == "" || a.unsure {
		return
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.refresh}}
	if rand.IntN(4) == 0 {
		came := l.race("refresh tokens", form)
		a.unsure = len(came) != 1
		for next := range came {
			a.refresh = next
		}
		a.access = ""
		return
	}
	l.take(a, form)
	if !a.unsure {
		a.rotated++
	}
}

func (l *account) giveUp(a *acknowledged) {
	status, header, body := l.c.ask(nil, "/revoke", url.Values{"token": {a.refresh}})
	l.judge("/revoke", status, header, body)
	a.revoked = status == http.StatusOK
	a.unsure = true
}

// counts is what was found of what was acknowledged.
type counts struct{ sessions, grants, rotated, revoked, spent int }

// settle looks for everything that was acknowledged, after the storm, and shows every code again.
func (l *account) settle(t *testing.T, lasting []directory.OrgID) (n counts) {
	for _, a := range spread(l.all, sampleOf) {
		if !slices.Contains(lasting, a.org) {
			continue
		}
		if a.session() {
			n.sessions++
			b := receipt{cookies: a.cookies}.browser(t)
			code, fault := b.silently(l.c.world, in(a.org))
			for tries := 0; fault == "temporarily_unavailable" && tries < 50; tries++ {
				time.Sleep(100 * time.Millisecond)
				code, fault = b.silently(l.c.world, in(a.org))
			}
			if code == "" {
				t.Errorf("a session that was acknowledged is gone: %s", fault)
			}
		}
		switch {
		case a.revoked:
			n.revoked++
			for i := range l.c.nodes {
				if tok := l.insist(pinned(i), "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.refresh}}); tok.Error != "invalid_grant" {
					t.Errorf("a grant that was given up lives: %d %s", tok.Status, tok.Error)
				}
			}
		case !a.unsure && a.refresh != "":
			n.grants++
			n.rotated += a.rotated
			if tok := l.insist(nil, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.refresh}}); tok.Status != http.StatusOK {
				t.Errorf("a grant that was acknowledged is gone after %d rotations: %d %s %s", a.rotated, tok.Status, tok.Error, tok.Description)
			}
		}
		if a.access != "" || a.revoked {
			n.spent++
			if tok := l.insist(nil, "/token", exchange(a.code, a.verifier)); tok.Error != "invalid_grant" {
				t.Errorf("a spent code redeems: %d %s", tok.Status, tok.Error)
			}
		}
	}
	return n
}

// insist is post that comes again where it is told to, as a busy machine may.
func (l *account) insist(at http.RoundTripper, path string, form url.Values) tokenAnswer {
	tok := l.post(at, path, form)
	for tries := 0; tok.Status == http.StatusServiceUnavailable && tries < 50; tries++ {
		time.Sleep(100 * time.Millisecond)
		tok = l.post(at, path, form)
	}
	return tok
}

// spread takes about n, evenly.
func spread(all []*acknowledged, n int) (out []*acknowledged) {
	step := max(1, len(all)/n)
	for i := len(all) - 1; i >= 0; i -= step {
		out = append(out, all[i])
	}
	return out
}

// storm is a cluster under load with faults.
type storm struct {
	*account
	steady  []directory.OrgID
	fleet   directory.OrgID // which is suspended now and then
	freeze  time.Duration
	then    func()                     // what holds once the service is back
	back    map[string][]time.Duration // how long after each fault was over whole logins worked
	refused int                        // codes of an earlier epoch that were refused
	held    int                        // suspensions that held
}

// breakage is one thing that goes wrong, and is over when it returns.
type breakage struct {
	name string
	do   func(*storm)
}

var breakages = []breakage{
	{"a node killed and started again", func(s *storm) {
		n := s.anyNode()
		n.kill()
		time.Sleep(300 * time.Millisecond)
		n.start()
	}},
	{"PostgreSQL crashed and started again", func(s *storm) { s.c.pg.Kill(); s.c.must(s.c.pg.Restart()) }},
	{"Redis restarted with what it saved", func(s *storm) { s.forgets(func() { s.c.redis.Save(s.c.t); s.c.redis.Restart(s.c.t) }) }},
	{"PostgreSQL restarted", func(s *storm) { s.c.must(s.c.pg.Restart()) }},
	{"a node frozen and let go on", func(s *storm) {
		n := s.anyNode()
		n.signal(syscall.SIGSTOP)
		time.Sleep(s.freeze)
		n.signal(syscall.SIGCONT)
	}},
	{"Redis replaced by an empty one", func(s *storm) { s.forgets(func() { s.c.redis.Restore(s.c.t, nil) }) }},
	{"all connections to PostgreSQL cut", func(s *storm) {
		s.c.must(s.c.pg.Exec(s.c.t.Context(), "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+clusterDatabase+"'"))
	}},
	{"an organization suspended and let in again", (*storm).suspends},
	{"Redis put back from an older snapshot", func(s *storm) {
		snapshot := s.c.redis.Snapshot(s.c.t)
		s.forgets(func() { s.c.redis.Restore(s.c.t, snapshot) })
	}},
	{"a signing key rotated", func(s *storm) {
		if status, said := program(s.c.t, s.c.dir, s.c.environment(), "keys", "rotate", "--alg", "ES256"); status != 0 && !strings.Contains(said, "is published already") {
			s.c.t.Errorf("keys rotate: %d %s", status, said)
		}
	}},
}

func (s *storm) anyNode() *instance { return s.c.nodes[rand.IntN(len(s.c.nodes))] }

// forgets is a fault after which no code of before is good, at any node.
func (s *storm) forgets(fault func()) {
	var before []*acknowledged
	for range 5 {
		if a := s.login(s.steady[0]); a.code != "" {
			before = append(before, a)
		}
	}
	if len(before) == 0 {
		s.fail("nobody could sign in before a fault")
	}
	fault()
	s.then = func() {
		for _, a := range before {
			for i := range s.c.nodes {
				if tok := s.post(pinned(i), "/token", exchange(a.code, a.verifier)); tok.Error != "invalid_grant" {
					s.fail("a code of an earlier epoch: %d %s", tok.Status, tok.Error)
				}
			}
			s.refused++
		}
	}
}

// suspends an organization: from a second after that was acknowledged no node gives anything for it.
func (s *storm) suspends() {
	var began, ended time.Time
	s.c.within(func(h *house) {
		s.c.must(h.directory.SetOrgStatus(s.c.t.Context(), operator, s.fleet, directory.Suspended))
		began = time.Now()
		time.Sleep(3 * time.Second)
		ended = time.Now()
		s.c.must(h.directory.SetOrgStatus(s.c.t.Context(), operator, s.fleet, directory.Active))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.all {
		for _, at := range a.given {
			if a.org == s.fleet && at.After(began.Add(1500*time.Millisecond)) && at.Before(ended) {
				s.wrong = append(s.wrong, fmt.Sprintf("something was given for a suspended organization, %s after that was acknowledged", at.Sub(began)))
			}
		}
	}
	s.held++
}

// returned waits until each node carries a whole login, and says how long that took.
func (s *storm) returned() time.Duration {
	begun := time.Now()
	for good := 0; good < len(s.c.nodes); {
		if time.Since(begun) > 30*time.Second {
			s.fail("the service did not come back within %s", time.Since(begun))
			return time.Since(begun)
		}
		a := s.login(s.steady[0])
		if a.code == "" {
			good = 0
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if tok := s.post(pinned(good), "/token", exchange(a.code, a.verifier)); tok.Status != http.StatusOK {
			good = 0
			continue
		}
		good++
	}
	return time.Since(begun)
}

// The cluster under load while what it stands on fails, one after the other: nothing durable that was
// acknowledged is lost, nothing is accepted twice, nothing of an earlier epoch is accepted, every error is
// a page of ours or an RFC's JSON, and the service is back within seconds.
func TestS16UnderFaultsNothingAcknowledgedIsLostOrAcceptedTwice(t *testing.T) {
	s := &storm{back: map[string][]time.Duration{}, freeze: frozenFor}
	c := newCluster(t, faultNodes, func(w *world) {
		w.app, w.secret = w.addApp("desk", func(a *broker.App) { refreshing(a) })
		for _, handle := range []string{"acme", "globex", "fleet"} {
			of := w.addOIDC(handle, nil)
			of.idp.SetPeople(crowd(handle, 100)...)
			of.idp.SetAuto(fakeidp.Anyone)
			s.steady = append(s.steady, of.org)
		}
		s.steady, s.fleet = s.steady[:2], s.steady[2]
	})
	s.account = &account{c: c, said: map[string]int{}, raced: map[string]int{}}
	s.returned()
	end := make(chan struct{})
	var drivers sync.WaitGroup
	for range 4 {
		drivers.Go(func() { s.spin(end, append(slices.Clone(s.steady), s.fleet)) })
	}
	began := time.Now()
	for i := 0; i < len(breakages) || time.Since(began) < faultsFor; i++ {
		b := breakages[i%len(breakages)]
		if i >= len(breakages) {
			b = breakages[rand.IntN(len(breakages))]
		}
		time.Sleep(200*time.Millisecond + rand.N(200*time.Millisecond))
		s.then = func() {}
		b.do(s)
		took := s.returned()
		s.then()
		s.back[b.name] = append(s.back[b.name], took)
		if took > 20*time.Second {
			t.Errorf("%s: the service was back after %s", b.name, took)
		}
	}
	lasted := time.Since(began)
	close(end)
	drivers.Wait()
	n := s.settle(t, s.steady)
	for _, w := range s.wrong {
		t.Error(w)
	}
	if status, said := program(t, c.dir, c.environment(), "audit", "verify"); status != 0 {
		t.Errorf("the record: %d %s", status, said)
	}
	if n.sessions == 0 || n.grants == 0 || n.rotated == 0 || n.revoked == 0 || n.spent == 0 || s.refused == 0 || s.raced["codes"] == 0 || s.raced["refresh tokens"] == 0 {
		t.Errorf("the storm proved nothing: %+v, %v, %d refused", n, s.raced, s.refused)
	}
	report := s.report(lasted, n)
	t.Log("\n" + report)
	if reportFaults && !t.Failed() {
		if err := os.WriteFile("../../docs/faults.md", []byte(report), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// report is docs/faults.md.
func (s *storm) report(lasted time.Duration, n counts) string {
	var b strings.Builder
	logins := 0
	for _, a := range s.all {
		if a.code != "" {
			logins++
		}
	}
	fmt.Fprintf(&b, "# Faults\n\nWritten by `make test-long` (the test `%s`): %d nodes of `vestibule serve` on one PostgreSQL and one Redis, behind a balancer that gives each request to the next node, under load, while what they stand on fails. The load ran for %s.\n\n",
		s.c.t.Name(), len(s.c.nodes), lasted.Round(time.Second))
	b.WriteString("## What failed, and how soon whole logins worked on every node again\n\n| fault | times | at most after |\n| --- | ---: | ---: |\n")
	for _, x := range breakages {
		if d := s.back[x.name]; len(d) > 0 {
			fmt.Fprintf(&b, "| %s | %d | %.2f s |\n", x.name, len(d), slices.Max(d).Seconds())
		}
	}
	fmt.Fprintf(&b, "\nThe time counts from when the fault is over. A frozen node stood still for %s.\n\n", s.freeze)
	b.WriteString("## What was acknowledged, and what was left of it\n\n| | looked at | lost or accepted again |\n| --- | ---: | ---: |\n")
	for _, row := range []struct {
		what string
		n    int
	}{
		{"logins that got a code, in all", logins},
		{"sessions: a silent request afterwards", n.sessions},
		{"grants: the last refresh token renews", n.grants},
		{"rotations behind those grants", n.rotated},
		{"grants that were given up: at every node", n.revoked},
		{"spent codes, shown once more", n.spent},
		{"codes shown to all nodes at once", s.raced["codes"]},
		{"refresh tokens shown to all nodes at once", s.raced["refresh tokens"]},
		{"codes from before Redis forgot, at every node", s.refused},
		{"suspensions: codes and tokens given 1.5 s later or more", s.held},
	} {
		fmt.Fprintf(&b, "| %s | %d | 0 |\n", row.what, row.n)
	}
	b.WriteString("\nSessions, grants and spent codes are looked at in an even sample. The chains of the record were verified at the end.\n\n## How it answered meanwhile\n\n| answer | times |\n| --- | ---: |\n")
	var kinds []string
	for kind := range s.said {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Fprintf(&b, "| %s | %d |\n", kind, s.said[kind])
	}
	b.WriteString("\nEvery error was a page with a trace code or the JSON of its RFC; each 503 and 429 said when to try again. \"No answer\" is a node that was killed, or frozen for longer than the balancer waits, with the request in its hands.\n")
	return b.String()
}
