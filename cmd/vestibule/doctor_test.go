package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store"
)

// diagnosis is what doctor said.
type diagnosis struct {
	Healthy  bool
	Findings []finding
	status   int
	raw      string
}

func doctorSays(t *testing.T, args ...string) (d diagnosis) {
	t.Helper()
	var out, errs bytes.Buffer
	d.status = run(t.Context(), append([]string{"doctor", "--json"}, args...), &out, &errs)
	d.raw = out.String() + errs.String()
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("%v\n%s", err, d.raw)
	}
	if d.Healthy != (d.status == 0) {
		t.Errorf("healthy %v with status %d", d.Healthy, d.status)
	}
	return d
}

// has says whether a finding of that status and check has those words in its text or remedy.
func (d diagnosis) has(status, check, words string) bool {
	for _, f := range d.Findings {
		if f.Status == status && f.Check == check && strings.Contains(f.About+" "+f.Text+" "+f.Remedy, words) {
			return true
		}
	}
	return false
}

func (d diagnosis) wants(t *testing.T, status, check, words string) {
	t.Helper()
	if !d.has(status, check, words) {
		t.Errorf("no %s line of %s says %q:\n%s", status, check, words, d.raw)
	}
}

// examined is the doctor's word on a world, by the settings that world has.
func (w *world) examined(args ...string) diagnosis {
	w.t.Helper()
	w.t.Setenv("VESTIBULE_DATABASE", "sqlite:"+filepath.Join(w.dir, "vestibule.db"))
	w.t.Setenv("VESTIBULE_REDIS", "")
	if dsn, ok := stored.Load(w.dir); ok {
		w.t.Setenv("VESTIBULE_DATABASE", dsn.(string))
		w.t.Setenv("VESTIBULE_KEY_FILE", filepath.Join(w.dir, "vestibule.key"))
	}
	if url, ok := shortLived.Load(w.dir); ok {
		w.t.Setenv("VESTIBULE_REDIS", url.(string))
	}
	return doctorSays(w.t, append([]string{"--issuer", w.url, "--development"}, args...)...)
}

func TestDoctorFindsAGoodInstallationWell(t *testing.T) {
	w := newWorld(t)
	acme, bolt := w.addOIDC("acme", nil), w.addSAML("bolt", nil)
	d := w.examined()
	for _, f := range d.Findings {
		if f.Status == fail && !strings.Contains(f.Text, "fsync is off") { // as it is on the PostgreSQL of tests
			t.Errorf("%+v", f)
		}
	}
	if backend() == "" && d.status != 0 {
		t.Errorf("status %d\n%s", d.status, d.raw)
	}
	for check, words := range map[string]string{
		"configuration": "The issuer is " + w.url, "database": "at this version's schema", "nodes": "1 serve", "sealing key": "opens the data",
		"signing key": "ES256 for tokens", "issuer": "answers as this issuer", "published keys": "Every key", "apps": "1 are active",
	} {
		d.wants(t, fine, check, words)
	}
	d.wants(t, fine, "connection", "acme "+string(acme.con.ID))
	d.wants(t, fine, "connection", "bolt "+string(bolt.con.ID))
	if strings.Contains(d.raw, "@") || strings.Contains(d.raw, "s3cret") || strings.Contains(d.raw, w.secret) {
		t.Errorf("it tells of people or secrets:\n%s", d.raw)
	}
	real := w.examined("--development=false") // which believes no made-up provider
	real.wants(t, fail, "connection", "acme "+string(acme.con.ID))
	real.wants(t, fail, "connection", "bolt "+string(bolt.con.ID))
	if off := w.examined("--offline"); off.has(fine, "issuer", "") || off.has(fine, "connection", "") {
		t.Errorf("offline it called somebody:\n%s", off.raw)
	}
}

// What a provider answers is its own text: it is told in quotes, and draws nothing on a terminal (S23).
func TestS23DoctorTellsWhatProvidersLackInItsOwnWords(t *testing.T) {
	w := newWorld(t)
	liar := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, `{"issuer":"http://evil.example/\u001b[31mroot-password","authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","jwks_uri":"%[1]s/k"}`, "http://"+r.Host)
	}))
	t.Cleanup(liar.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for handle, base := range map[string]string{"liar": liar.URL, "gone": gone.URL} {
		w.addOIDC(handle, func(c *upstream.Connection, _ *oidc.Config) {
			c.Issuer, c.Private = base, []string{strings.TrimPrefix(base, "http://")}
		})
	}
	w.addOIDC("closed", func(c *upstream.Connection, _ *oidc.Config) { c.Private = nil; c.Issuer = "https://127.0.0.1" })
	d := w.examined()
	if d.status != 1 {
		t.Errorf("status %d", d.status)
	}
	d.wants(t, fail, "connection", "liar con_")
	d.wants(t, fail, "connection", "oidc.issuer")
	d.wants(t, fail, "connection", "gone con_")
	d.wants(t, fail, "connection", "upstream.unreachable")
	d.wants(t, fail, "connection", "closed con_")
	for _, raw := range []string{"\x1b", `\u001b`, "refused:", "dial tcp"} {
		if strings.Contains(d.raw, raw) {
			t.Errorf("it prints %q:\n%s", raw, d.raw)
		}
	}
}

func TestDoctorSeesAnIssuerThatIsNotThisInstallation(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	front := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	}
	var claimed string // an issuer whose nodes use another database
	claimed = front(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			resp, err := http.Get(other.url + "/keys")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var b bytes.Buffer
			b.ReadFrom(resp.Body)
			rw.Write(b.Bytes())
			return
		}
		fmt.Fprintf(rw, `{"issuer":%q,"jwks_uri":%q}`, claimed, claimed+"/keys")
	})
	for _, tc := range []struct{ issuer, check, words string }{
		{front(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(rw, `{"issuer":%q,"jwks_uri":%q}`, other.url, other.url+"/keys")
		}), "issuer", "another issuer"},
		{front(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusMisdirectedRequest) }), "issuer", "pass on the Host"},
		{front(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusBadGateway) }), "issuer", "Start `vestibule serve`"},
		{front(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/elsewhere", http.StatusFound) }), "issuer", "without a redirect"},
		{front(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "<h1>It works!</h1>") }), "issuer", "something else answers"},
		{claimed, "published keys", "use this database"},
	} {
		d := w.examined("--issuer", tc.issuer)
		if d.status != 1 {
			t.Errorf("%s: status %d", tc.words, d.status)
		}
		d.wants(t, fail, tc.check, tc.words)
	}
	cert, key := certificateFor(t, t.TempDir(), "localhost", time.Now().Add(72*time.Hour))
	d := w.examined("--development=false", "--issuer", "https://localhost:1", "--tls-cert", cert, "--tls-key", key)
	d.wants(t, warn, "certificate", "ends on")
	d.wants(t, fail, "issuer", "cannot be reached")
	self := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(self.Close)
	w.examined("--development=false", "--issuer", strings.Replace(self.URL, "127.0.0.1", "localhost", 1)).wants(t, fail, "issuer", "certificate is not believed")
}

// Whatever is wrong with the place itself: a line that fails and names the remedy, and nothing is made or
// changed there.
func TestDoctorRefusesWhatServeRefusesAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "v.db"), filepath.Join(dir, "v.key")
	w := worldIn(t, t.TempDir(), func(c *config) { c.Database, c.KeyFile, c.Redis = database{Path: file}, key, "" })
	w.h.close()
	t.Setenv("VESTIBULE_REDIS", "")
	ask := func() diagnosis {
		return doctorSays(t, "--offline", "--database", "sqlite:"+file, "--key-file", key)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	idle := ask()
	idle.wants(t, warn, "nodes", "Nobody serves")
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("doctor changed the database: %v", err)
	}
	w.must(os.Chmod(key, 0o644))
	ask().wants(t, warn, "sealing key", "chmod 600")

	right, err := os.ReadFile(key)
	w.must(err)
	w.must(os.Remove(key))
	ask().wants(t, fail, "sealing key", "Put the key file")
	if _, err := os.Stat(key); err == nil {
		t.Error("doctor made a key")
	}
	if _, err := store.NewSealingKeyFile(key); err != nil {
		t.Fatal(err)
	}
	ask().wants(t, fail, "database", "The sealing key does not belong to this data")
	w.must(os.WriteFile(key, right, 0o600))

	empty := t.TempDir()
	doctorSays(t, "--offline", "--database", "sqlite:"+filepath.Join(empty, "none.db")).wants(t, fail, "database", "There is no database there")
	if made, _ := os.ReadDir(empty); len(made) > 0 {
		t.Errorf("doctor made %v", made)
	}
	t.Setenv("VESTIBULE_LISTEM", "localhost:1")
	doctorSays(t).wants(t, fail, "configuration", "VESTIBULE_LISTEM")
}

func TestDoctorSeesADatabaseThatForgetsAndOneThatIsNewer(t *testing.T) {
	w := worldOnPostgres(t)
	t.Setenv("VESTIBULE_REDIS", "")
	dsn, keyFile := w.dsn, w.keyFile
	ask := func() diagnosis { return doctorSays(t, "--offline", "--database", dsn, "--key-file", keyFile) }
	good := ask()
	good.wants(t, fine, "database", "PostgreSQL 1")
	good.wants(t, fine, "database clock", "agree")
	// The server of tests syncs nothing, and doctor says so.
	good.wants(t, fail, "database", "fsync")

	name := dsn[strings.LastIndex(dsn, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	sql := func(text string) {
		t.Helper()
		if err := pgtest.Shared(t).Exec(t.Context(), name, text); err != nil {
			t.Fatal(err)
		}
	}
	sql("ALTER DATABASE " + name + " SET synchronous_commit = off")
	ask().wants(t, fail, "database", "Turn it on for the server")
	sql("ALTER DATABASE " + name + " RESET synchronous_commit")
	sql("UPDATE counters SET n = 9999 WHERE name = 'schema_needs'")
	ask().wants(t, fail, "database", "newer version")
	sql("UPDATE counters SET n = 0 WHERE name = 'schema_needs'; DELETE FROM goose_db_version WHERE version_id > 3")
	ask().wants(t, fail, "database", "vestibule migrate")
}

type onPostgres struct{ dsn, keyFile string }

// worldOnPostgres is a database that was served from, and its key.
func worldOnPostgres(t *testing.T) onPostgres {
	t.Helper()
	p := onPostgres{keyFile: filepath.Join(t.TempDir(), "vestibule.key")}
	if _, err := store.NewSealingKeyFile(p.keyFile); err != nil {
		t.Fatal(err)
	}
	p.dsn = pgtest.Database(t)
	db, err := store.Open(t.Context(), store.Options{DSN: p.dsn, KeyFile: p.keyFile, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDoctorSeesARedisThatForgets(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		status, words string
		options       []string
		dead          bool
	}{
		{status: fine, words: "noeviction"},
		{status: warn, words: "appendonly yes"},
		{status: fail, words: "maxmemory-policy noeviction", options: []string{"--maxmemory-policy", "allkeys-lru"}},
		{status: warn, words: "Raise maxmemory", options: []string{"--maxmemory", "1mb"}},
		{status: fail, words: "Redis does not answer", dead: true},
	} {
		s := redistest.Start(t, tc.options...)
		if tc.dead {
			s.Kill()
		}
		t.Setenv("VESTIBULE_REDIS", s.URL("doctor")+"&timeout=5s")
		doctorSays(t, "--offline", "--database", "sqlite:"+dir+"/none.db").wants(t, tc.status, "redis", tc.words)
	}
}

func TestDoctorPointsAtAppsThatInviteTrouble(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	for id, change := range map[string]func(*broker.App){
		"no-pkce": func(a *broker.App) { a.PKCEExempt = true },
		"ends":    func(a *broker.App) { a.Secrets[0].Until = now.Add(48 * time.Hour) },
	} {
		w.addApp(id, change)
	}
	d := w.examined("--offline")
	d.wants(t, warn, "app", "main/no-pkce")
	d.wants(t, warn, "app", "main/ends")
	if d.has(warn, "app", "main/payments") {
		t.Errorf("it complains of a good app:\n%s", d.raw)
	}
	d = w.examined("--offline", "--development=false", "--issuer", "https://login.example.com")
	d.wants(t, warn, "app", "whatever runs on the person's machine")
}

func TestClocksAreApartByAtLeastWhatIsSeen(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ said, want time.Duration }{{-7 * time.Second, 7 * time.Second}, {0, 0}, {time.Second, 0}, {9 * time.Second, 7 * time.Second}} {
		if got := apart(at.Add(tc.said), at, at.Add(2*time.Second)); got != tc.want {
			t.Errorf("a clock that says %s is off by %s, not %s", tc.said, tc.want, got)
		}
	}
	d := doctor{}
	d.clock("c", 6*time.Second)
	d.clock("c", 2*time.Second)
	d.clock("c", 0)
	if d.list[0].Status != fail || d.list[1].Status != warn || d.list[2].Status != fine {
		t.Errorf("%+v", d.list)
	}
}
