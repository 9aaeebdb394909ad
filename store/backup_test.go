package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// fullWorld is the sealed world with somebody signed in, an entry in the record, and awkward values.
func fullWorld(t *testing.T, s *Store) (one, two upstream.Connection, session broker.Session, grant broker.TokenGrant) {
	t.Helper()
	one, two = sealedWorld(t, s)
	_, err := s.Secret(t.Context(), "cookies")
	must(t, err)
	realm, err := s.RealmByHandle(t.Context(), "r")
	must(t, err)
	for i := range 1200 { // more than two pages
		p := directory.Person{ID: directory.NewPersonID(s.now()), Realm: realm.ID, Home: one.Org, Name: fmt.Sprintf("Zoë \"%d\"\t<>& \U0001F600\u2028", i), Status: directory.Active, CreatedAt: s.now()}
		must(t, s.CreatePerson(t.Context(), one.Org, p, nil))
		if i == 0 {
			session = broker.Session{ID: directory.NewSessionID(s.now()), TokenHash: [32]byte{1, 2, 0, 255}, Realm: realm.ID, Person: p.ID, Home: one.Org, CreatedAt: s.now(), Ends: s.now().Add(time.Hour)}
			must(t, s.CreateSession(t.Context(), one.Org, session))
			grant = broker.TokenGrant{ID: directory.NewGrantID(s.now()), Org: one.Org, Realm: realm.ID, App: "app_a", Person: p.ID, Session: session.ID, CodeHash: [32]byte{7}, CreatedAt: s.now(), ExpiresAt: s.now().Add(time.Hour)}
			must(t, s.CreateToken(t.Context(), one.Org, grant))
			must(t, s.PutConsent(t.Context(), one.Org, broker.Consent{Org: one.Org, Person: p.ID, App: "app_a", Scope: []string{"openid"}, Since: s.now(), UpdatedAt: s.now()}))
			must(t, s.CreateRegistrationToken(t.Context(), broker.RegistrationToken{Hash: [32]byte{9}, Realm: realm.ID, Name: "partner", CreatedAt: s.now(), Expires: s.now().Add(time.Hour), Uses: 1}))
		}
	}
	must(t, s.InTx(t.Context(), func(ctx context.Context) error { return recordMany(ctx, s, 30) }))
	must(t, s.chainAll(t.Context()))
	must(t, s.Record(t.Context(), audit.Entry{ID: "ent_waits", Org: "org_a"}))
	return one, two, session, grant
}

func backup(t *testing.T, s *Store) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "b.vestibule")
	_, err := s.BackupTo(t.Context(), file)
	must(t, err)
	return file
}

// everyRow is what lies in the tables, but for those that a restore changes on purpose.
func everyRow(t *testing.T, s *Store) map[string][][]any {
	t.Helper()
	out := map[string][][]any{}
	must(t, s.db.(snapshotter).snapshot(t.Context(), func(at snapshot) error {
		list, err := at.tables()
		must(t, err)
		for _, table := range list {
			if slices.Contains([]string{"sessions", "token_grants", "audit_pending", "audit", "audit_heads", "marks", "consents", "registration_tokens"}, table.Name) {
				continue
			}
			must(t, at.each(table, func(v []any) error { out[table.Name] = append(out[table.Name], v); return nil }))
		}
		return nil
	}))
	return out
}

var restoring = Restoring{Entry: audit.Entry{ID: "ent_restored", Action: "backup.restored", At: time.Unix(1, 0)}}

// A backup of one engine restores on the other and on its own, with every row and every secret.
func TestABackupRestoresOnEveryEngine(t *testing.T) {
	for from, optionsFrom := range engines {
		t.Run(from, func(t *testing.T) {
			clock := storetest.NewClock()
			o := optionsFrom(t, clock)
			s := openTest(t, o)
			one, two, session, grant := fullWorld(t, s)
			file := backup(t, s)
			want := everyRow(t, s)
			for to, optionsTo := range engines {
				for _, keep := range []bool{false, true} {
					t.Run(fmt.Sprint(to, keep), func(t *testing.T) {
						target := optionsTo(t, clock)
						target.KeyFile = keyOfStore(o)
						how := restoring
						how.KeepSessions = keep
						m, err := Restore(t.Context(), file, target, how)
						must(t, err)
						if m.Rows < 1200 || m.Chains != 2 {
							t.Errorf("%+v", m)
						}
						if _, err := Restore(t.Context(), file, target, how); !errors.Is(err, ErrNotEmpty) {
							t.Fatalf("restored over data: %v", err)
						}
						r := openTest(t, target)
						got := everyRow(t, r)
						for name := range want {
							if !reflect.DeepEqual(got[name], want[name]) {
								t.Errorf("%s differs: %d rows, want %d", name, len(got[name]), len(want[name]))
							}
						}
						must(t, reads(t, r, one, two))
						// S16: what was spent since is not known, so what could be spent again is over.
						g, err := r.Token(t.Context(), one.Org, grant.ID)
						must(t, err)
						if g.RevokedAt.IsZero() || g.Reason != "restored" {
							t.Errorf("a grant with its refresh token goes on: %+v", g)
						}
						back, err := r.SessionByToken(t.Context(), session.TokenHash)
						must(t, err)
						if back.Ended.IsZero() != keep {
							t.Errorf("keep %v: the session ended %v", keep, back.Ended)
						}
						if list, err := r.ConsentsOf(t.Context(), one.Org, session.Person); err != nil || (len(list) == 1) != keep {
							t.Errorf("keep %v: consents %v, %v", keep, list, err)
						}
						if _, err := r.RegistrationToken(t.Context(), [32]byte{9}, clock.Now()); !errors.Is(err, broker.ErrRegistrationToken) {
							t.Errorf("a registration token is good again: %v", err)
						}
						if target.DSN != "" {
							estimated(t, target.DSN, "people", 1200)
						}
						must(t, r.chainAll(t.Context()))
						if n, err := r.VerifyAudit(t.Context(), ""); err != nil || n != 1 {
							t.Errorf("the platform's record: %d, %v", n, err)
						}
						if n, err := r.VerifyAudit(t.Context(), "org_a"); err != nil || n != 16 {
							t.Errorf("an organization's record: %d, %v", n, err)
						}
						must(t, r.SaveTrace(t.Context(), audit.Trace{Code: "AAAA"})) // what numbers itself goes on
						must(t, r.Record(t.Context(), audit.Entry{ID: "ent_after", Org: "org_a"}))
					})
				}
			}
		})
	}
}

// A backup is one moment: what was written together is in it together, however it is being written to.
func TestABackupIsOneMoment(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, clock *storetest.Clock) {
		s := openTest(t, o)
		one, two, _, _ := fullWorld(t, s)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprint("moment ", i)
				err := s.InTx(t.Context(), func(ctx context.Context) error {
					for _, org := range []directory.OrgID{one.Org, two.Org} {
						if err := s.UpdateOrg(ctx, org, func(o *directory.Org) error { o.Name = name; return nil }); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for range 3 {
			target := options(t, clock)
			target.KeyFile = keyOfStore(o)
			_, err := Restore(t.Context(), backup(t, s), target, restoring)
			must(t, err)
			r := openTest(t, target)
			a, err := r.OrgChain(t.Context(), one.Org)
			must(t, err)
			b, err := r.OrgChain(t.Context(), two.Org)
			must(t, err)
			if a.Org().Name != b.Org().Name {
				t.Errorf("%q and %q", a.Org().Name, b.Org().Name)
			}
		}
		stop()
		<-done
	})
}

// A damaged backup, one of a newer version, and one whose key is not there are refused with words, and
// nothing is made.
func TestABackupThatCannotBeRestoredSaysWhyAndTouchesNothing(t *testing.T) {
	clock := storetest.NewClock()
	o := options(t, clock)
	s := openTest(t, o)
	fullWorld(t, s)
	file := backup(t, s)
	good, err := os.ReadFile(file)
	must(t, err)
	zip, err := gzip.NewReader(bytes.NewReader(good))
	must(t, err)
	text, err := io.ReadAll(zip)
	must(t, err)
	id, err := s.SealingKeyID(t.Context())
	must(t, err)
	key := keyOfStore(o)
	zipped := func(text []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(text)
		must(t, errors.Join(err, w.Close()))
		return b.Bytes()
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	cases := map[string]struct {
		archive []byte
		key     string
		want    error
		says    string
	}{
		"nothing":                {nil, key, ErrArchive, ""},
		"a letter":               {[]byte("Dear operator"), key, ErrArchive, ""},
		"another archive":        {zipped([]byte(`{"hello":"world"}` + "\n")), key, ErrArchive, ""},
		"a name changed":         {zipped(bytes.Replace(text, []byte("moment"), []byte("xxxxxx"), 1)), key, nil, ""},
		"a person changed":       {zipped(bytes.Replace(text, []byte(`"active"`), []byte(`"actixe"`), 1)), key, ErrArchive, ""},
		"a row removed":          {zipped(bytes.Join(slices.Delete(slices.Clone(lines), len(lines)/2, len(lines)/2+1), nil)), key, ErrArchive, ""},
		"rows exchanged":         {zipped(bytes.Join(append(append(slices.Clone(lines[:700]), lines[701], lines[700]), lines[702:]...), nil)), key, ErrArchive, ""},
		"its end removed":        {zipped(bytes.Join(lines[:len(lines)-2], nil)), key, ErrArchive, ""},
		"something added":        {zipped(append(slices.Clone(text), lines[5]...)), key, ErrArchive, ""},
		"a table of another":     {zipped(bytes.Replace(text, []byte(`"columns":[{"name":"id"`), []byte(`"columns":[{"name":"id; DROP TABLE x"`), 1)), key, ErrArchive, ""},
		"of a newer version":     {zipped(bytes.Replace(text, fmt.Appendf(nil, `"schema":%d`, schema), []byte(`"schema":9999`), 1)), key, ErrArchiveNew, ""},
		"no key":                 {good, filepath.Join(t.TempDir(), "none"), ErrArchiveKey, id},
		"another's key":          {good, "", ErrArchiveKey, id},
		"a key file with no key": {good, file, ErrKeyFile, ""},
	}
	for _, cut := range []int{1, 10, 100, len(good) / 2, len(good) - 9, len(good) - 1} {
		c := cases["nothing"]
		c.archive = good[:cut]
		cases[fmt.Sprint("cut off after ", cut)] = c
	}
	delete(cases, "a name changed")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad")
			must(t, os.WriteFile(bad, c.archive, 0o600))
			if c.key == "" {
				c.key = filepath.Join(t.TempDir(), "other")
				_, err := NewSealingKeyFile(c.key)
				must(t, err)
			}
			target := options(t, clock)
			target.KeyFile = c.key
			for what, do := range map[string]func() error{
				"verify":  func() error { _, err := VerifyBackup(t.Context(), bad, target); return err },
				"restore": func() error { _, err := Restore(t.Context(), bad, target, restoring); return err },
			} {
				err := do()
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: answered %v", what, err)
				}
			}
			if _, err := os.Stat(target.Path); err == nil {
				t.Error("a database was made")
			}
		})
	}
	if _, err := VerifyBackup(t.Context(), file, o); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := s.BackupTo(t.Context(), file); !errors.Is(err, ErrBackupFile) {
		t.Errorf("a backup is overwritten: %v", err)
	}
	secret, err := os.ReadFile(key)
	must(t, err)
	if bytes.Contains(text, bytes.TrimSpace(secret[len(keyPrefix):])) || bytes.Contains(text, []byte(secretText)) {
		t.Error("the backup holds the sealing key or a secret")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", info.Mode(), err)
	}
}

// A backup of an older release is restored as it was and then migrated, as its database would have been.
func TestABackupOfAnOlderSchemaIsMigrated(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, clock *storetest.Clock) {
		if o.DSN != "" {
			o.DSN = emptyPostgres(t)
		} else if _, err := newKeyFile(keyOfStore(o)); err != nil {
			t.Fatal(err)
		}
		keys, err := o.keySource().read()
		must(t, err)
		check := make([]byte, 32)
		m := Manifest{Form: backupForm, At: clock.Now(), Schema: 1, Needs: 1, Key: keys[0].ID(), Tables: []table{
			{Name: "realms", Columns: []column{{"id", "text", 1}, {"handle", "text", 0}, {"scope", "text", 0}, {"status", "text", 0}}},
			{Name: "signing_keys", Columns: []column{{"kid", "text", 1}, {"use", "text", 0}, {"alg", "text", 0}, {"private", "bytes", 0},
				{"created_at", "int", 0}, {"active_at", "int", 0}, {"retire_at", "int", 0}, {"expires_at", "int", 0}}},
		}}
		m.Check, err = keys[0].Wrap(t.Context(), check, backupAbout)
		must(t, err)
		file := filepath.Join(t.TempDir(), "old")
		f, err := os.Create(file)
		must(t, err)
		zip := gzip.NewWriter(f)
		w := newArchiveWriter(zip, check)
		must(t, errors.Join(w.write(m), w.write(map[string]string{"table": "realms"}), w.write([]any{"rlm_a", "r", "realm", "active"}),
			w.write(map[string]string{"table": "signing_keys"}), w.write([]any{"k1", "oidc", "ES256", []byte{}, 5, 77, 0, 0})))
		must(t, errors.Join(w.write(backupEnd{Rows: 2, Check: w.mac.Sum(nil)}), zip.Close(), f.Close()))
		_, err = Restore(t.Context(), file, o, restoring)
		must(t, err)
		s := openTest(t, o)
		realm, err := s.RealmByHandle(t.Context(), "r")
		must(t, err)
		ready := int64(0)
		_, err = s.rows(t.Context(), "SELECT ready_at FROM signing_keys", func(r *row) { ready = r.int() })
		must(t, err)
		if realm.ID != "rlm_a" || ready != 77 { // which a migration fills from active_at
			t.Errorf("%+v, %d", realm, ready)
		}
	})
}

// Every table of the schema is in the backup, or it is said why not; and each can be: it has a key, and
// its columns hold something.
func TestEveryTableIsInTheBackup(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, _ *storetest.Clock) {
		s := openTest(t, o)
		all, nullable := "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", `SELECT m.name || '.' || p.name FROM sqlite_schema m, pragma_table_info(m.name) p
			WHERE m.type = 'table' AND p."notnull" = 0 AND p.pk = 0 AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`
		if o.DSN != "" {
			all, nullable = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()", `SELECT table_name || '.' || column_name FROM information_schema.columns
				WHERE table_schema = current_schema() AND is_nullable = 'YES' AND table_name <> 'goose_db_version'`
		}
		names, err := tableNames()
		must(t, err)
		count := 0
		_, err = s.rows(t.Context(), all, func(r *row) {
			count++
			if name := r.text(); name != "goose_db_version" && !slices.Contains(names, name) {
				t.Errorf("the table %s is not found in the migrations", name)
			}
		})
		must(t, err)
		if count < 20 {
			t.Errorf("only %d tables", count)
		}
		_, err = s.rows(t.Context(), nullable, func(r *row) { t.Errorf("%s may be NULL", r.text()) })
		must(t, err)
		must(t, s.db.(snapshotter).snapshot(t.Context(), func(at snapshot) error {
			list, err := at.tables()
			must(t, err)
			if kept := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return notKept[n] != "" }); len(list) != len(kept) {
				t.Errorf("%d tables are kept, want %v", len(list), kept)
			}
			for _, table := range list {
				must(t, at.each(table, func([]any) error { return nil }))
			}
			return nil
		}))
	})
}

func emptyPostgres(t *testing.T) string {
	t.Helper()
	return pgtest.Database(t)
}

// estimated waits until PostgreSQL knows that a table has so many rows, which without ANALYZE it does not.
func estimated(t *testing.T, dsn, table string, rows int) {
	t.Helper()
	got := pgtest.Query(t, dsn, "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('"+table+"')")
	if len(got) != 1 || got[0][0] != fmt.Sprint(rows) {
		t.Errorf("%s: PostgreSQL plans for %v rows, there are %d", table, got, rows)
	}
}
