package manifest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/yamlfile"
	"github.com/vestibule-id/vestibule/manifest"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/store"
)

var operator = directory.Actor{Kind: directory.Operator, ID: "test"}

func protocols() upstream.Protocols {
	return upstream.Protocols{"oidc": oidc.Protocol(), "saml": saml.Protocol()}
}

// world is a store with the use cases on it.
type world struct {
	*manifest.Service
	t     *testing.T
	db    *store.Store
	env   map[string]string
	files map[string]string
}

func newWorld(t *testing.T) *world { return worldAt(t, t.TempDir(), false) }

func worldAt(t *testing.T, dir string, beside bool) *world {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "vestibule.db"), Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Beside: beside, Twice: !beside})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	people := &directory.Service{Realms: db, Orgs: db, Domains: db, People: db, Memberships: db, Identities: db, Entitlements: db, Policies: db,
		Revocations: db, Passwords: db, Accounts: db, Tx: db, Audit: db, Now: time.Now}
	return &world{t: t, db: db, env: map[string]string{"SECRET": "a-client-secret-of-256-random-bits", "OTHER": "another-client-secret-of-random-bits"}, files: map[string]string{},
		Service: &manifest.Service{
			Directory:   people,
			Connections: &upstream.Service{Connections: db, Protocols: protocols(), Revocations: db, Tx: db, Audit: db, Now: time.Now},
			Broker:      &broker.Broker{Apps: db, Directory: people, Tx: db, Audit: db, Now: time.Now},
			Themes:      &flows.ThemeService{Themes: db, Tx: db, Audit: db, Now: time.Now},
			Flows: &flows.FlowService{Flows: db, Terms: db, Directory: people, Methods: func() []mfa.Method { return []mfa.Method{policy.TOTP, policy.Passkey} },
				Tx: db, Audit: db, Now: time.Now},
			Lists: db, Revisions: db, Now: time.Now,
			Fetch: func(_ context.Context, address string, _ []string) ([]byte, error) {
				raw, err := os.ReadFile(filepath.Join("..", "examples", "idp-metadata.xml"))
				if address != "https://id3.mexbanco.example/metadata" {
					err = fmt.Errorf("nobody is at %s", address)
				}
				return raw, err
			},
		}}
}

func (w *world) sources() manifest.Sources {
	file := func(path string) (string, error) {
		text, ok := w.files[path]
		if !ok {
			return "", fmt.Errorf("there is no file %s", path)
		}
		return text, nil
	}
	return manifest.Sources{Secret: file, Document: file, Env: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok }}
}

func (w *world) read(texts ...string) (*manifest.Manifest, error) {
	var files []manifest.File
	for i, text := range texts {
		files = append(files, manifest.File{Name: string(rune('a'+i)) + ".yaml", From: strings.NewReader(text)})
	}
	return manifest.Read(files, protocols(), w.sources())
}

func (w *world) try(o manifest.Options, texts ...string) (*manifest.Plan, error) {
	m, err := w.read(texts...)
	if err != nil {
		return nil, err
	}
	return w.Apply(w.t.Context(), operator, m, o)
}

// apply must work.
func (w *world) apply(texts ...string) *manifest.Plan {
	w.t.Helper()
	plan, err := w.try(manifest.Options{}, texts...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, said(err))
	}
	return plan
}

func said(err error) string {
	if problems, ok := errors.AsType[yamlfile.Problems](err); ok {
		return problems.Error()
	}
	return fmt.Sprint(err)
}

func lines(p *manifest.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s %s", c.Kind, c.Noun, c.Name)
		for _, f := range c.Fields {
			fmt.Fprintf(&b, " %s:%s>%s", f.Name, f.Before, f.After)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// example reads a file of examples/ with the files and variables that it names.
func (w *world) example(name string) string {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "examples", name))
	if err != nil {
		w.t.Fatal(err)
	}
	metadata, err := os.ReadFile(filepath.Join("..", "examples", "idp-metadata.xml"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.files["mightybank-client-secret"], w.files["idp-metadata.xml"] = "a-secret-in-a-file-of-its-own", string(metadata)
	w.env["OLIVIA_PASSWORD_HASH"] = "pbkdf2_sha256$1000$saltsaltsaltsalt$8Fiyy9V747LB3N4eQfr3eXhd4LrXW6v7zeV0sjKEGhQ="
	w.files["avery-password-hash"] = "$2y$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
	keys := ours()
	for _, name := range []string{"ACME_CLIENT_SECRET", "PAYMENTS_SECRET", "UPSTREAM_SECRET", "TOOL_SECRET"} {
		w.env[name] = "a-secret-in-the-variable-" + name
	}
	w.env["MIGHTYBANK_CLIENT_KEY"] = keys.Encryption[0].Key
	w.env["MEXBANCO_SIGNING_KEY"], w.env["MEXBANCO_SIGNING_CERTIFICATE"] = keys.Signing[1].Key, keys.Signing[1].Certificate
	w.env["MEXBANCO_ENCRYPTION_KEY"], w.env["MEXBANCO_ENCRYPTION_CERTIFICATE"] = keys.Encryption[0].Key, keys.Encryption[0].Certificate
	return string(raw)
}

// ours are keys of a SAML connection.
var ours = sync.OnceValue(func() saml.Secret {
	s, err := saml.NewSecret(rand.Reader, time.Now(), "test")
	if err != nil {
		panic(err)
	}
	return s
})

func TestTheExamplesApplyOnceAndChangeNothingTheSecondTime(t *testing.T) {
	for _, name := range []string{"minimal.yaml", "complete.yaml", "blackbox.yaml"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			text := w.example(name)
			if p := w.apply(text); len(p.Changes) < 4 {
				t.Errorf("it made only\n%s", lines(p))
			}
			before := w.everything()
			if p := w.apply(text); len(p.Changes) != 0 {
				t.Errorf("the second time changed\n%s", lines(p))
			}
			if after := w.everything(); after != before {
				t.Errorf("something changed all the same:\n%s\n%s", before, after)
			}
		})
	}
}

// everything is what an export holds, and how long the record is: a second apply writes not even there.
func (w *world) everything() string {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.Export(w.t.Context(), operator, &b, manifest.ExportOptions{Hashes: true, People: true}); err != nil {
		w.t.Fatal(err)
	}
	n, err := w.db.Revision(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("%s\nrevision %d", &b, n)
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// place is where a map stands, whichever of a list it is.
func place(path string) string {
	p := indexes.ReplaceAllString(path, "")
	for strings.HasPrefix(p, "organizations.organizations") {
		p = strings.TrimPrefix(p, "organizations.")
	}
	switch {
	case strings.HasSuffix(p, "policy") && p != "platform.policy", strings.HasPrefix(p, "platform.policy."):
		return "policy" // the settings are the same at every level
	case p == "organizations.people":
		return "people"
	case strings.HasPrefix(p, "organizations.people."):
		return strings.TrimPrefix(p, "organizations.")
	case strings.Contains(p, "secret") && (strings.HasSuffix(p, "key") || strings.HasSuffix(p, "certificate") || strings.HasSuffix(p, "secret")) || strings.HasSuffix(p, "client_secrets"):
		return "secret"
	}
	return p
}

// keysOf gives, for every map that the complete example has, the keys that there are and those that stand
// in the example.
func keysOf(t *testing.T) (known, used map[string]map[string]bool) {
	w := newWorld(t)
	text := w.example("complete.yaml")
	known, used = map[string]map[string]bool{}, map[string]map[string]bool{}
	add := func(to map[string]map[string]bool, at, key string) {
		if to[at] == nil {
			to[at] = map[string]bool{}
		}
		to[at][key] = true
	}
	_, err := manifest.ReadVisited([]manifest.File{{Name: "complete.yaml", From: strings.NewReader(text)}}, protocols(), w.sources(), func(path string, keys []string) {
		for _, k := range keys {
			add(known, place(path), k)
		}
	})
	if err != nil {
		t.Fatal(said(err))
	}
	docs, err := yamlfile.Parse("complete.yaml", strings.NewReader(text), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(v yamlfile.Value)
	r := &yamlfile.Reader{}
	walk = func(v yamlfile.Value) {
		switch {
		case v.IsMap():
			r.Each(v, func(key string, _, value yamlfile.Value) {
				add(used, place(v.Path), key)
				walk(value)
			})
		case v.IsList():
			for _, item := range r.Items(v) {
				walk(item)
			}
		}
	}
	walk(docs[0])
	return known, used
}

func TestTheCompleteExampleHasEveryKey(t *testing.T) {
	known, used := keysOf(t)
	for at, keys := range known {
		for key := range keys {
			if !used[at][key] && !(at == "people" && slices.Contains([]string{"roles", "grants", "operator", "admin", "administrator"}, key)) {
				t.Errorf("examples/complete.yaml has no %s in %s", key, at)
			}
		}
	}
	if len(known) < 15 {
		t.Errorf("only %d maps were seen: %v", len(known), slices.Sorted(maps.Keys(known)))
	}
}

func TestTheManualNamesEveryKey(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(filepath.Join("..", "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	known, _ := keysOf(t)
	for at, keys := range known {
		for key := range keys {
			if at == "policy" && strings.Contains(string(settings), "`"+key+"`") {
				continue
			}
			if !strings.Contains(string(raw), "`"+key+"`") {
				t.Errorf("docs/configuration.md has no `%s` (of %s)", key, at)
			}
		}
	}
}

// Whoever applies a hundred thousand organizations must not hold their files' every comma until the end.
func TestWhatWasReadDoesNotHoldTheFilesItStoodIn(t *testing.T) {
	const organizations = 3000
	var b strings.Builder
	b.WriteString("organizations:\n")
	for i := range organizations {
		fmt.Fprintf(&b, "- handle: org-%d\n  name: Organization %d\n  apps: [desk]\n  domains: [{name: org-%d.example, verified: operator, connection: Okta}]\n  connections:\n", i, i, i)
		b.WriteString("  - {name: Okta, type: oidc, issuer: \"https://idp.example\", settings: {client_id: vestibule}, secrets: {client_secret: {env: SECRET}}}\n")
	}
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first one may find what ran meanwhile
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	w := newWorld(t)
	before := used()
	m, err := manifest.Read([]manifest.File{{Name: "many.yaml", From: strings.NewReader(b.String())}}, protocols(), w.sources())
	if err != nil {
		t.Fatal(err)
	}
	each := int64(used()-before) / organizations
	runtime.KeepAlive(m)
	if each > 4<<10 {
		t.Errorf("%d bytes are held of each organization", each)
	}
	t.Logf("%d bytes are held of each organization", each)
}
